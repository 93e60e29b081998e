"""The benchmark measures what it says: its inputs, its verdicts, and a small run of each."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from stocklog.bench import machine
from stocklog.bench.job import Result
from stocklog.bench.runner import Contender, Measured, chosen
from stocklog.bench.targets import Target, targets_section
from stocklog.bench.updates import as_bodies, as_dicts, as_frame, foreign, write_file
from stocklog.broker import NodeInfo
from stocklog.cli import bench as bench_command
from stocklog.errors import InvalidUpdateError
from stocklog.inventory import codec
from stocklog.inventory.feeds import FeedOptions, open_feed
from stocklog.inventory.update import to_frame


def contender(key: str, yardstick: str = "rstream", limit: str = "") -> Contender:
    return Contender(key, key, lambda number: Result(0, 1.0, 0.0, 0), yardstick, limit)


def measured(key: str, *rates: int, yardstick: str = "rstream", limit: str = "") -> Measured:
    results = [Result(rate, 1.0, 0.0, 0) for rate in rates]
    return Measured(contender(key, yardstick, limit), results)


def reached(found: list[Measured], target: Target) -> str:
    return targets_section("", found, [target]).rows[0][-1]


@pytest.mark.parametrize(
    ("rate", "verdict"),
    [(99, "neither"), (100, "at least"), (149, "at least"), (150, "aim")],
)
def test_a_job_is_held_to_multiples_of_its_yardstick(rate: int, verdict: str) -> None:
    found = [measured("ours", rate), measured("rstream", 10)]
    assert reached(found, Target("ours", "", 10, 15)) == verdict


@pytest.mark.parametrize(
    ("wire", "verdict"),
    [(1000, "neither"), (250, "at least"), (221, "aim")],
)
def test_plain_entries_are_also_held_to_the_wire(wire: int, verdict: str) -> None:
    found = [measured("plain", 200, limit="wire"), measured("rstream", 10), measured("wire", wire)]
    assert reached(found, Target("plain", "", 10, 15, 0.8, 0.9)) == verdict


def test_the_median_counts_and_a_job_that_was_not_run_has_no_row() -> None:
    found = [measured("ours", 10, 100, 5000), measured("rstream", 9, 10, 99)]
    table = targets_section("", found, [Target("ours", "", 10, 15), Target("other", "", 1, 2)])
    assert [row[1] for row in table.rows] == ["10.0"]


def test_a_choice_brings_what_it_is_measured_by() -> None:
    every = [contender("a"), contender("b", limit="wire"), contender("wire"), contender("rstream")]
    assert [one.key for one in chosen(every, {"b"})] == ["b", "wire", "rstream"]
    assert chosen(every, ()) == every


def test_json_of_others_says_the_same_in_another_order() -> None:
    updates = as_dicts(200, 5)
    texts = list(foreign(updates, 5))
    assert [json.loads(text) for text in texts] == updates
    assert len({tuple(json.loads(text)) for text in texts}) > 150
    assert all(": " in text for text in texts)
    assert any("\\/" in text for text in texts)
    assert any("\\u" in text for text in texts)


def test_frames_and_bodies_hold_the_same_updates_with_strings() -> None:
    frame = as_frame(1000, 5)
    assert pl.Categorical not in frame.dtypes
    bodies = [codec.decode_row(body) for body in as_bodies(1000, 5)]
    assert to_frame(bodies).equals(to_frame(frame))


@pytest.mark.parametrize("count", [3000, 25_000, 30_000])
@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl", "jsonl-nulls"])
def test_one_row_of_a_file_is_broken_and_the_rest_are_the_simulators(
    tmp_path: Path, form: str, count: int
) -> None:
    form, _, nulls = form.partition("-")
    path = tmp_path / f"updates.{form}"
    write_file(path, count, 5, nulls=bool(nulls))
    with open_feed(path, FeedOptions()) as feed:
        batches = list(feed)
    rejects = [reject for batch in batches for reject in batch.rejects]
    assert len(rejects) == 1
    assert "quantity" in rejects[0].reason
    found = pl.concat([batch.updates for batch in batches])
    assert found.equals(to_frame(as_frame(count, 5)))


def test_updates_of_a_million_have_at_least_30_000_skus() -> None:
    assert as_frame(1_000_000, 5)["sku"].n_unique() >= 30_000


def test_passwords_do_not_get_into_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["bench", "--beside", "three nodes=rabbitmq-stream://u:se@cret@h:1,i:2/v"]
    monkeypatch.setattr(sys, "argv", ["stocklog", *words])
    assert machine.command_line() == (
        "stocklog bench --beside 'three nodes=rabbitmq-stream://u:***@h:1,i:2/v'"
    )


@pytest.mark.parametrize("name", ["intake", "replay"])
def test_the_command_knows_every_contender(name: str) -> None:
    module = __import__(f"stocklog.bench.{name}", fromlist=["x"])
    fake = type("Fake", (), {"amqp_port": 1})()
    found = module._contenders(fake, None) if name == "replay" else module._contenders(fake)
    assert tuple(one.key for one in found) == bench_command._MEASURES[name].keys


def test_a_part_that_does_not_exist_is_refused_by_name() -> None:
    done = stocklog("bench", "replay", "--only", "own,fast")
    assert done.returncode == 2
    assert "there is no 'fast'; there are own, lz4" in done.stderr


def stocklog(*words: str, uri: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "STOCKLOG_URI": uri}
    return subprocess.run(
        [sys.executable, "-m", "stocklog", *words],
        capture_output=True, text=True, env=environment, check=False, timeout=120,
    )  # fmt: skip


def run(broker: NodeInfo, folder: Path, *words: str) -> dict[str, dict[str, float]]:
    """Figures of the table of rates, by contender."""
    done = stocklog(
        "bench", *words, "--count", "10000", "--rounds", "1", "--amqp-port", "0",
        "--output", str(folder), uri=broker.uri,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads((folder / f"bench-{words[0]}.json").read_text())
    figures: dict[str, dict[str, float]] = report["sections"][0]["figures"]
    return figures


def test_a_port_where_pika_finds_nothing_is_said_before_anything_is_measured(
    one_broker: NodeInfo,
) -> None:
    with socket.socket() as nobody:  # bound, and not listening
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        done = stocklog(
            "bench", "intake", "--only", "pika", "--amqp-port", str(port), uri=one_broker.uri
        )
    assert done.returncode == 2, done.stderr
    assert f"pika cannot reach the broker by AMQP 0-9-1: 127.0.0.1:{port} answers" in done.stderr
    assert "--amqp-port; 0 leaves pika out" in done.stderr
    assert "warm-up" not in done.stderr


def test_intake_measures_what_was_asked_for(broker: NodeInfo, tmp_path: Path) -> None:
    figures = run(broker, tmp_path, "intake", "--only", "frame,csv,rows")
    assert list(figures) == [
        "stocklog, Polars frame of strings",
        "stocklog load, CSV",
        "stocklog, one update at a time",
        "rstream",
    ]
    assert figures["stocklog load, CSV"]["updates"] == 10_000


def test_replay_finds_the_planted_message_in_every_form(
    one_broker: NodeInfo, tmp_path: Path
) -> None:
    figures = run(one_broker, tmp_path, "replay", "--only", "foreign,single,to-jsonl,to-parquet")
    assert figures["stocklog, to Parquet"]["updates"] == 10_000
    assert figures["stocklog, anyone's JSON"]["updates"] == 10_000
    assert figures["stocklog, one-message chunks"]["yardstick"] == "rstream-single"


def test_places_stand_beside_each_other(one_broker: NodeInfo, tmp_path: Path) -> None:
    done = stocklog(
        "bench", "places", "--here", "one", "--beside", f"other={one_broker.uri}",
        "--count", "10000", "--rounds", "1", "--output", str(tmp_path), uri=one_broker.uri,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = (tmp_path / "bench-places.md").read_text()
    assert "produce, lz4, other" in report
    assert "× one" in report
    password = one_broker.uri.rpartition("@")[0].rpartition(":")[2]
    assert password not in report


def test_scale_writes_every_length_with_and_without_retention(
    one_broker: NodeInfo, tmp_path: Path
) -> None:
    figures = run(one_broker, tmp_path, "scale", "--only", "length")
    counts = ("1,000", "10,000", "100,000", "500,000")
    series = ("produce", "produce, all kept", "consume")
    assert list(figures) == [f"{name} {count}" for count in counts for name in series]
    assert (tmp_path / "bench-scale-1.svg").stat().st_size > 1000


@pytest.mark.slow
def test_latency_and_a_slow_reader_are_measured_at_every_rate(
    one_broker: NodeInfo, tmp_path: Path
) -> None:
    latency = run(one_broker, tmp_path, "latency")
    assert "500,000 a second, sub-batches" in latency
    slow = run(one_broker, tmp_path, "slow-reader")
    assert any("one slow reader" in case for case in slow)


def test_an_invalid_row_among_a_million_is_counted_as_one() -> None:
    from stocklog.bench.updates import with_broken
    from stocklog.ledger.producer import _checked

    with pytest.raises(InvalidUpdateError, match="1 of 1,000,001 updates") as raised:
        _checked(with_broken(as_frame(1_000_000, 5)))
    assert len(raised.value.reasons) == 1

"""produce, load, consume and stream on a real broker, as a user types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from shell import PATIENCE, Done

from stocklog.broker import NodeInfo
from stocklog.cli.consume import consume as consume_command
from stocklog.protocol.amqp import frame_bodies
from stocklog.stream import CONNECTIONS, StreamClient

Call = Callable[..., Done]
Launch = Callable[..., subprocess.Popen[str]]

LINE = (
    '{"update_id":"%s","type":"adjustment","sku":"S","location_id":"L","quantity":%s,'
    '"occurred_at":"2026-11-24T14:05:00Z","reason":"sale","source":"till"}\n'
)


def rows(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.out.splitlines()]


def publish(uri: str, stream: str, *bodies: bytes) -> None:
    """Messages that nobody of ours would write."""
    import pyarrow as pa

    with StreamClient(uri) as client, client.publisher(stream, sub_batch=1) as publisher:
        publisher.send(*frame_bodies(pa.array(bodies, pa.large_binary()), plain=True))


@pytest.fixture
def filled(stocklog_on: Call, stream_name: str) -> str:
    """A stream of 2,000 updates."""
    done = stocklog_on("produce", "-n", "2000", "-s", stream_name, "--seed", "1")
    assert done.status == 0, done.err
    return stream_name


def test_produce_says_which_broker_makes_the_stream_and_sums_up(
    stocklog_on: Call, stream_name: str, tmp_path: Path, one_broker: NodeInfo
) -> None:
    kept = tmp_path / "summary.json"
    words = ["produce", "-n", "12345", "-s", stream_name, "--summary", str(kept)]
    done = stocklog_on(*words)
    assert (done.status, done.out) == (0, "")
    broker, made, last = done.err.splitlines()
    assert one_broker.version in broker
    assert "***" in broker
    assert one_broker.uri.split(":")[2].split("@")[0] not in done.err
    assert f"'{stream_name}'" in made
    assert "20 GB" in made
    assert last.startswith("stocklog: 12,345 updates confirmed in ")
    facts = json.loads(kept.read_text())
    assert facts["updates"] == 12345
    assert facts["rate"] == pytest.approx(facts["updates"] / facts["seconds"])
    assert facts["unconfirmed"] == 0


@pytest.mark.parametrize("envelope", ["--codec=lz4", "--sub-batch=1", "--sub-batch=7"])
def test_same_seed_same_updates_in_every_envelope(
    stocklog_on: Call, filled: str, stream_name: str, envelope: str
) -> None:
    other = f"{stream_name}-2"
    words = ["produce", "-n", "2000", "--seed", "1", "-s", other, envelope]
    assert stocklog_on(*words).status == 0
    one, two = (
        rows(stocklog_on("consume", "first", "-e", "-f", "jsonl", "-s", name))
        for name in (filled, other)
    )
    assert len(one) == 2000
    for row in [*one, *two]:
        del row["recorded_at"]
    assert one == two


def test_quiet_says_nothing(stocklog_on: Call, filled: str) -> None:
    assert stocklog_on("produce", "-n", "10", "-s", filled, "-q").err == ""
    assert stocklog_on("consume", "last", "-e", "-s", filled, "-q").err == ""


def test_a_rate_is_held(stocklog_on: Call, stream_name: str, tmp_path: Path) -> None:
    kept = tmp_path / "s.json"
    words = ["produce", "-n", "300", "--rate", "150", "-s", stream_name, "--summary", str(kept)]
    assert stocklog_on(*words).status == 0
    assert 120 < json.loads(kept.read_text())["rate"] < 180


def test_under_a_name_the_count_is_the_total(stocklog_on: Call, stream_name: str) -> None:
    words = ["produce", "--name", "p", "--seed", "3", "-s", stream_name]
    assert stocklog_on(*words, "-n", "1000").status == 0
    assert stocklog_on(*words, "-n", "2500").status == 0
    done = stocklog_on(*words, "-n", "2500")
    assert (done.status, "0 updates confirmed" in done.err) == (0, True)
    found = rows(stocklog_on("consume", "first", "-e", "-f", "jsonl", "-s", stream_name))
    assert len({row["update_id"] for row in found}) == len(found) == 2500


def test_text_is_the_default_and_only_data_is_on_stdout(stocklog_on: Call, filled: str) -> None:
    done = stocklog_on("consume", "last:3", "-e", "-s", filled)
    assert [int(line.split()[0]) for line in done.out.splitlines()] == [1997, 1998, 1999]
    assert "reading" in done.err
    assert done.err.splitlines()[-1].startswith("stocklog: 3 updates in ")


@pytest.mark.parametrize(
    ("offset", "first", "last"),
    [
        ("first", 0, 1999),
        ("last", 1999, 1999),
        ("1990", 1990, 1999),
        ("10..20", 10, 20),
        ("1h", 0, 1999),
        ("first..3", 0, 3),
    ],
)
def test_offsets_reach_the_stream(
    stocklog_on: Call, filled: str, offset: str, first: int, last: int
) -> None:
    found = rows(stocklog_on("consume", offset, "-e", "-f", "jsonl", "-s", filled))
    assert [row["offset"] for row in found] == list(range(first, last + 1))


def test_count_ends_a_live_read(stocklog_on: Call, filled: str) -> None:
    done = stocklog_on("consume", "first", "-n", "1234", "-f", "jsonl", "-s", filled)
    assert done.status == 0
    assert [row["offset"] for row in rows(done)] == list(range(1234))


def test_next_with_an_end_ends_at_once(stocklog_on: Call, filled: str) -> None:
    done = stocklog_on("consume", "-e", "-s", filled)
    assert (done.status, done.out) == (0, "")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_columns_come_back_out_of_a_file(
    stocklog_on: Call, filled: str, form: str, tmp_path: Path
) -> None:
    path = tmp_path / f"out.{form}"
    words = ["consume", "first", "-e", "-f", form, "-o", str(path), "-s", filled]
    done = stocklog_on(*words)
    assert (done.status, done.out) == (0, "")
    frame = pl.read_parquet(path) if form == "parquet" else pl.read_csv(path)
    assert frame["offset"].to_list() == list(range(2000))


def test_what_was_written_is_loaded_into_another_stream_and_is_the_same(
    stocklog_on: Call, filled: str, tmp_path: Path
) -> None:
    path = tmp_path / "out.csv"
    stocklog_on("consume", "first", "-e", "-f", "csv", "-o", str(path), "-s", filled)
    done = stocklog_on("load", str(path), "-s", f"{filled}-2")
    assert done.status == 0, done.err
    one, two = (
        rows(stocklog_on("consume", "first", "-e", "-f", "jsonl", "-s", name))
        for name in (filled, f"{filled}-2")
    )
    for row in [*one, *two]:
        del row["recorded_at"]
    assert one == two


def test_none_validates_everything_and_prints_nothing(
    stocklog_on: Call, filled: str, one_broker: NodeInfo, tmp_path: Path
) -> None:
    publish(one_broker.uri, filled, b"no update", (LINE % ("a", 0)).strip().encode())
    kept = tmp_path / "s.json"
    words = ["consume", "first", "-e", "-f", "none", "-s", filled, "--summary", str(kept)]
    done = stocklog_on(*words)
    assert (done.status, done.out) == (0, "")
    facts = json.loads(kept.read_text())
    assert (facts["updates"], facts["invalid"]) == (2000, 2)
    assert "2 messages were no updates" in done.err


def test_messages_that_are_no_updates_stop_nobody(
    stocklog_on: Call, stream_name: str, one_broker: NodeInfo
) -> None:
    stocklog_on("stream", "create", stream_name)
    good = (LINE % ("a", 1)).strip().encode()
    publish(one_broker.uri, stream_name, b"\xff\xfe", good, b'{"sku":"x"}')
    done = stocklog_on("consume", "first", "-e", "-f", "jsonl", "-s", stream_name)
    bad, update, worse = rows(done)
    assert done.status == 0
    assert (bad["offset"], bad["body"], bad["body_encoding"]) == (0, "//4=", "base64")
    assert (update["offset"], update["update_id"]) == (1, "a")
    assert (worse["offset"], worse["body"]) == (2, '{"sku":"x"}')
    shown = stocklog_on("consume", "first", "-e", "-s", stream_name).out.splitlines()
    assert ["!! no update" in line for line in shown] == [True, False, True]
    table = stocklog_on("consume", "first", "-e", "-f", "csv", "-s", stream_name)
    assert len(table.out.splitlines()) == 2
    assert "left out of csv" in table.err


@pytest.mark.parametrize("form", ["text", "jsonl"])
def test_a_broken_pipe_ends_it_quietly(
    on_broker: dict[str, str], stocklog_on: Call, stream_name: str, form: str
) -> None:
    stocklog_on("produce", "-n", "60000", "-s", stream_name)  # far more than a pipe holds
    line = (
        f"{sys.executable} -m stocklog consume first -q -s {stream_name} -f {form} | head -n 1; "
        "exit ${PIPESTATUS[0]}"
    )
    done = subprocess.run(
        ["bash", "-c", line],
        env=on_broker,
        text=True,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, "", 1)


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    """Read stderr until a line holds the text."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if text in line:
            return said
    raise AssertionError(said)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_a_waiting_reader_with_its_summary(
    launch: Launch, on_broker: dict[str, str], filled: str, number: signal.Signals, tmp_path: Path
) -> None:
    kept = tmp_path / "s.json"
    process = launch(["consume", "next", "-s", filled, "--summary", str(kept)], on_broker)
    wait_for(process, "waiting for new updates")
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "0 updates" in err
    assert "interrupted" in err
    assert json.loads(kept.read_text())["interrupted"] is True


def test_ctrl_c_leaves_a_whole_parquet_file(
    launch: Launch, on_broker: dict[str, str], filled: str, tmp_path: Path
) -> None:
    path = tmp_path / "out.parquet"
    words = ["consume", "first", "-s", filled, "-f", "parquet", "-o", str(path)]
    process = launch(words, on_broker)
    wait_for(process, "reading")
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert pl.read_parquet(path)["offset"].to_list() == list(range(2000))
    assert os.listdir(tmp_path) == ["out.parquet", "state"] or path.exists()


def test_ctrl_c_during_produce_waits_for_the_confirms_of_what_is_sent(
    launch: Launch, on_broker: dict[str, str], stocklog_on: Call, stream_name: str, tmp_path: Path
) -> None:
    kept = tmp_path / "s.json"
    words = ["produce", "--forever", "--rate", "2000", "-s", stream_name, "--summary", str(kept)]
    process = launch(words, on_broker)
    wait_for(process, "made the stream")
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    facts = json.loads(kept.read_text())
    assert facts["unconfirmed"] == 0
    found = stocklog_on("consume", "first", "-e", "-f", "jsonl", "-s", stream_name)
    assert len(rows(found)) == facts["updates"]


def test_load_takes_good_rows_and_keeps_bad_ones(
    stocklog_on: Call, stream_name: str, tmp_path: Path
) -> None:
    feed, bad, kept = tmp_path / "f.jsonl", tmp_path / "bad.jsonl", tmp_path / "s.json"
    feed.write_text(LINE % ("a", 1) + LINE % ("b", 0) + "nonsense\n" + LINE % ("c", "1.5"))
    bad.write_text("from an earlier load\n")
    options = ["--rejects", str(bad), "--summary", str(kept), "-s", stream_name]
    done = stocklog_on("load", str(feed), *options)
    assert done.status == 3
    kept_rows = [json.loads(line) for line in bad.read_text().splitlines()]
    assert [(row["file"], row["line"]) for row in kept_rows] == [("f.jsonl", n) for n in (2, 3, 4)]
    assert kept_rows[1]["row"] == "nonsense"
    facts = json.loads(kept.read_text())
    assert (facts["updates"], facts["rejects"], facts["read"]) == (1, 3, 4)
    assert sum(facts["reasons"].values()) == 3
    for reason in facts["reasons"]:
        assert reason in done.err
    found = rows(stocklog_on("consume", "first", "-e", "-f", "jsonl", "-s", stream_name))
    assert [row["update_id"] for row in found] == ["a"]


def test_a_dry_run_needs_no_broker_and_sends_nothing(stocklog: Call, tmp_path: Path) -> None:
    feed, bad = tmp_path / "f.jsonl", tmp_path / "bad.jsonl"
    feed.write_text(LINE % ("a", 1) + LINE % ("b", 0))
    done = stocklog("load", str(feed), "--dry-run", "--rejects", str(bad))
    assert done.status == 3
    assert "dry run: 1 of 2 rows are updates" in done.err
    assert "stocklog: broker" not in done.err
    assert len(bad.read_text().splitlines()) == 1


def test_a_file_that_cannot_be_read_is_named_before_anything_is_sent(
    stocklog_on: Call, filled: str, tmp_path: Path
) -> None:
    feed = tmp_path / "good.jsonl"
    feed.write_text(LINE % ("a", 1))
    done = stocklog_on("load", str(feed), str(tmp_path / "missing.csv"), "-s", filled)
    assert done.status == 1
    assert "missing.csv" in done.err
    found = rows(stocklog_on("consume", "last", "-e", "-f", "jsonl", "-s", filled))
    assert found[0]["offset"] == 1999


def test_a_file_that_turns_out_damaged_keeps_what_came_before(
    stocklog_on: Call, stream_name: str, tmp_path: Path
) -> None:
    import gzip

    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl.gz"
    whole.write_text(LINE % ("a", 1))
    packed = gzip.compress("".join(LINE % (f"b{n}", 1) for n in range(20_000)).encode())
    cut.write_bytes(packed[: len(packed) // 2])
    done = stocklog_on("load", str(whole), str(cut), "-s", stream_name)
    assert done.status == 1
    assert "whole.jsonl: 1 of 1 rows" in done.err
    assert "cut.jsonl.gz" in done.err.splitlines()[-1] or "cut.jsonl.gz" in done.err
    assert "not read to its end" in done.err
    found = rows(stocklog_on("consume", "first", "-e", "-f", "jsonl", "-s", stream_name))
    assert found[0]["update_id"] == "a"
    assert [row["update_id"] for row in found[1:]] == [f"b{n}" for n in range(len(found) - 1)]


@pytest.mark.parametrize(
    "envelope",
    [[], ["--codec", "lz4"], ["--sub-batch", "1"], ["--name", "till-7", "--sub-batch", "1"]],
    ids=" ".join,
)
def test_lines_of_a_pipe_go_out_as_they_come(
    launch: Launch,
    on_broker: dict[str, str],
    stocklog_on: Call,
    stream_name: str,
    envelope: list[str],
) -> None:
    words = ["load", "-", "-s", stream_name, *envelope]
    process = launch(words, on_broker, stdin=subprocess.PIPE)
    assert process.stdin is not None
    wait_for(process, "made the stream")
    written = []
    for number in range(3):
        time.sleep(1)
        written.append(time.time())
        process.stdin.write(LINE % (f"n{number}", 1))
        process.stdin.flush()
    deadline = time.monotonic() + PATIENCE
    found: list[dict[str, Any]] = []
    while len(found) < 3 and time.monotonic() < deadline:
        found = rows(stocklog_on("consume", "first", "-e", "-f", "jsonl", "-s", stream_name))
    assert [row["update_id"] for row in found] == ["n0", "n1", "n2"]
    for row, at in zip(found[1:], written[1:], strict=True):  # the first waits for the start-up
        assert datetime.fromisoformat(row["recorded_at"]).timestamp() - at < 3
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    process.communicate()


def test_a_named_pipe_is_loaded_whole(
    launch: Launch, on_broker: dict[str, str], stocklog_on: Call, stream_name: str, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = launch(["load", str(pipe), "--input-format", "jsonl", "-s", stream_name], on_broker)
    pipe.write_text("".join(LINE % (f"n{n}", 1) for n in range(100)))
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    found = rows(stocklog_on("consume", "first", "-e", "-f", "jsonl", "-s", stream_name))
    assert [row["update_id"] for row in found] == [f"n{n}" for n in range(100)]


def test_stream_create_info_and_delete(stocklog_on: Call, stream_name: str) -> None:
    words = ["stream", "create", stream_name, "--max-age", "7D", "--max-length-bytes", "1GB"]
    assert "made the stream" in stocklog_on(*words).err
    assert "there already" in stocklog_on(*words).err
    stocklog_on("produce", "-n", "10", "-s", stream_name)
    (facts,) = rows(stocklog_on("stream", "info", stream_name, "--format", "jsonl"))
    assert (facts["first_offset"], facts["last_offset"], facts["messages"]) == (0, 9, 10)
    assert facts["leader"]
    assert facts["retention"] is None  # this broker is named by a URI: nobody beside to ask
    assert "unknown" in stocklog_on("stream", "info", stream_name).out
    assert stocklog_on("stream", "delete", stream_name, "--yes").status == 0
    gone = stocklog_on("stream", "info", stream_name)
    assert gone.status == 1
    assert "There is no stream" in gone.err


def test_stream_info_of_an_empty_stream_says_so(stocklog_on: Call, stream_name: str) -> None:
    stocklog_on("stream", "create", stream_name)
    assert "the stream is empty" in stocklog_on("stream", "info", stream_name).out


def test_stream_list_of_a_foreign_broker_says_what_it_needs(stocklog_on: Call) -> None:
    done = stocklog_on("stream", "list")
    assert done.status == 2
    assert "--management" in done.err
    assert "rabbitmqctl" in done.err


def test_the_private_node_tells_what_the_stream_protocol_does_not(
    one_broker: NodeInfo, stocklog_on: Call, stream_name: str
) -> None:
    from stocklog.ledger.inspect import PrivateNode

    words = ["stream", "create", stream_name, "--max-age", "7D", "--segment-size", "10MB"]
    stocklog_on(*words)
    stocklog_on("produce", "-n", "1000", "-s", stream_name)
    found = PrivateNode(one_broker.dir).stream(stream_name)
    assert found is not None
    assert found.retention == {
        "max_length_bytes": None,
        "max_age": "7D",
        "segment_bytes": 10_000_000,
    }
    assert found.segments == 1
    assert found.size is not None
    assert found.size > 100_000
    assert PrivateNode(one_broker.dir).stream("nobody") is None


def test_the_demo_runs_on_a_broker_that_is_there_and_leaves_nothing(
    stocklog_on: Call, one_broker: NodeInfo, tmp_path: Path
) -> None:
    from stocklog.ledger.inspect import PrivateNode

    picture = tmp_path / "coffee.svg"
    done = stocklog_on("demo", "--plot", str(picture))
    assert done.status == 0, done.err
    steps = [line for line in done.out.splitlines() if line[:1].isdigit()]
    assert len(steps) == 8
    assert "exactly the last one" in done.out
    assert "nobody waited for it" in done.out
    assert "on hand now: 51, it was 53" in done.out
    assert "78 as the log knew it then, 72 as it knows now" in done.out
    assert "COFFEE-250@shop-12" in picture.read_text()
    assert max(map(len, done.out.splitlines())) <= 120
    left = [stream.name for stream in PrivateNode(one_broker.dir).streams()]
    assert not [name for name in left if name.startswith("stocklog_demo")]


def test_the_demo_refuses_a_picture_that_is_none_before_it_begins(stocklog_on: Call) -> None:
    done = stocklog_on("demo", "--plot", "coffee.txt")
    assert (done.status, done.out) == (2, "")
    assert "coffee.txt is no picture by its name" in done.err


def test_the_command_takes_as_many_connections_as_the_python_face() -> None:
    (option,) = (each for each in consume_command.params if each.name == "connections")
    assert option.default == CONNECTIONS

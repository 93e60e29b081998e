"""project, stock, why, diff, export, flags and verify on a real broker, as a user types them."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from shell import PATIENCE, Done

Call = Callable[..., Done]
Launch = Callable[..., subprocess.Popen[str]]

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "offline-till.csv"


def rows(done: Done) -> list[dict[str, Any]]:
    assert done.status == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


@pytest.fixture
def day(stocklog_on: Call, stream_name: str) -> str:
    """A stream with the day of the golden case, and its store."""
    for words in (["load", str(EXAMPLE)], ["project", "-e"]):
        done = stocklog_on(*words, "-s", stream_name)
        assert done.status == 0, done.err
    return stream_name


def default_store(on_broker: dict[str, str], stream: str) -> Path:
    return Path(on_broker["XDG_STATE_HOME"]) / "stocklog" / "stores" / f"{stream}.db"


def test_stock_is_right_now_and_then_and_as_it_was_known(stocklog_on: Call, day: str) -> None:
    def on_hand(*words: str) -> list[int]:
        done = stocklog_on("stock", "-s", day, "--format", "jsonl", *words)
        return [row["on_hand"] for row in rows(done)]

    assert on_hand() == [93]
    assert on_hand("--at", "2026-11-24T13:25Z") == [95]
    assert on_hand("--at", "2026-11-24T13:25Z", "--as-known-at", "2") == [97]
    assert on_hand("--sku", "COFFEE-250", "--location", "shop-12") == [93]
    assert on_hand("--sku", "TEA") == []


def test_project_sums_up_and_a_second_run_has_nothing_to_do(
    stocklog_on: Call, day: str, tmp_path: Path
) -> None:
    kept = tmp_path / "summary.json"
    done = stocklog_on("project", "-e", "-s", day, "--summary", str(kept))
    assert done.status == 0
    assert done.err.splitlines()[-1].startswith("stocklog: 0 updates applied")
    facts = json.loads(kept.read_text())
    assert (facts["updates"], facts["last_offset"], facts["gap"]) == (0, 4, False)


def test_why_shows_the_late_sale_between_the_lines_it_belongs_to(
    stocklog_on: Call, day: str
) -> None:
    done = stocklog_on("why", "COFFEE-250@shop-12", "-s", day)
    assert done.status == 0
    head, *lines = done.out.splitlines()
    assert head.split()[0] == "offset"
    assert [line.split()[0] for line in lines] == ["0", "1", "3", "2", "4"]
    assert "1 of them late" in done.err
    as_csv = stocklog_on("why", "COFFEE-250@shop-12", "-s", day, "--format", "csv").out
    assert pl.read_csv(as_csv.encode())["on_hand"].to_list() == [100, 97, 95, 95, 93]
    late = stocklog_on("why", "COFFEE-250@shop-12", "-s", day, "--from", "2026-11-24T13:35Z",
                       "--format", "jsonl")  # fmt: skip
    assert [row["occurred_at"] for row in rows(late)] == ["2026-11-24T13:40:00Z"]


@pytest.mark.parametrize(("ending", "head"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_why_draws_a_picture_too(
    ending: str, head: bytes, stocklog_on: Call, day: str, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"why.{ending}"
    done = stocklog_on("why", "COFFEE-250@shop-12", "-s", day, "--plot", str(path))
    assert done.status == 0, done.err
    assert path.read_bytes().startswith(head)
    if ending == "svg":
        assert all(word in path.read_text() for word in ("COFFEE-250@shop-12", "arrived late"))


def test_diff_and_export_and_flags(stocklog_on: Call, day: str, tmp_path: Path) -> None:
    times = ("2026-11-24T13:00Z", "2026-11-24T13:35Z")
    changed = rows(stocklog_on("diff", *times, "-s", day, "--format", "jsonl"))
    assert [row["on_hand_change"] for row in changed] == [-5]
    path = tmp_path / "stock.parquet"
    assert stocklog_on("export", "-s", day, "-o", str(path)).status == 0
    assert pl.read_parquet(path)["on_hand"].to_list() == [93]
    known = tmp_path / "known.txt"
    known.write_text("TEA\n")
    words = ["flags", "unknown_sku", "-s", day, "--known-skus", str(known), "--format", "jsonl"]
    assert [row["sku"] for row in rows(stocklog_on(*words))] == ["COFFEE-250"]
    assert rows(stocklog_on("flags", "-s", day, "--format", "jsonl")) == []


def test_verify_agrees_and_finds_what_was_changed_by_hand(
    stocklog_on: Call, on_broker: dict[str, str], day: str
) -> None:
    done = stocklog_on("verify", "-s", day)
    assert (done.status, done.out) == (0, "")
    assert "1 key compared at offset 4, 0 differ" in done.err
    done = stocklog_on("verify", "--quick", "-s", day)
    assert (done.status, done.out) == (0, "")
    assert "5 updates looked for in the history and 1 balances made again" in done.err
    with sqlite3.connect(default_store(on_broker, day)) as db:
        db.execute("UPDATE balances SET on_hand = 94")
    db.close()
    quick = stocklog_on("verify", "--quick", "-s", day, "--format", "jsonl")
    assert quick.status == 5
    assert json.loads(quick.out)["problem"] == "balance"
    done = stocklog_on("verify", "-s", day, "--format", "jsonl")
    assert done.status == 5
    found = json.loads(done.out)
    assert (found["on_hand_store"], found["on_hand_log"]) == (94, 93)


def test_a_count_is_reconciled_and_posted_once(stocklog_on: Call, day: str, tmp_path: Path) -> None:
    sheet, kept = tmp_path / "counts.csv", tmp_path / "bad.jsonl"
    sheet.write_text(
        "sku,location_id,quantity,occurred_at\n"
        "COFFEE-250,shop-12,96,2026-11-24T13:35:00Z\n"
        "TEA,shop-12,-4,2026-11-24T13:35:00Z\n"
    )
    words = ["reconcile", str(sheet), "-s", day, "--format", "jsonl", "--rejects", str(kept)]

    def lines(done: Done) -> list[dict[str, Any]]:
        assert done.status == 3, done.err
        return [json.loads(line) for line in done.out.splitlines()]

    [line] = lines(stocklog_on(*words))
    assert (line["status"], line["book"], line["counted"], line["moved"]) == (
        "variance",
        95,
        96,
        -2,
    )
    assert json.loads(kept.read_text())["line"] == 3
    done = stocklog_on(*words, "--post")
    assert len(lines(done)) == 1
    assert "1 counts posted" in done.err
    assert stocklog_on("project", "-e", "-s", day).status == 0
    done = stocklog_on(*words, "--post", "--all")
    assert [one["status"] for one in lines(done)] == ["match"]
    assert "0 counts posted" in done.err
    [stock] = rows(stocklog_on("stock", "-s", day, "--format", "jsonl"))
    assert stock["on_hand"] == 94


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["stock"], 1, "there is no store at"),
        (["why", "COFFEE-250"], 2, "names no key"),
        (["flags", "unknown_sku"], 2, "--known-skus"),
        (["export", "-o", "x.xlsx"], 2, "not known by its name"),
        (["why", "A@b", "--plot", "x.gif"], 2, ".svg"),
        (["stock", "--store", "x.db"], 2, "sqlite:///"),
        (["diff", "yesterday"], 1, "there is no store"),
    ],
)
def test_what_cannot_be_answered_says_what_to_do(
    words: list[str], status: int, said: str, stocklog_on: Call, stream_name: str
) -> None:
    done = stocklog_on(*words, "-s", stream_name)
    assert done.status == status
    assert said.lower() in done.err.lower()
    assert len(done.err.splitlines()) >= 2


def test_a_followed_store_is_current_and_ends_in_order(
    stocklog_on: Call, on_broker: dict[str, str], launch: Launch, stream_name: str
) -> None:
    assert stocklog_on("load", str(EXAMPLE), "-s", stream_name).status == 0
    process = launch(["project", "--follow", "-s", stream_name], on_broker)
    deadline = time.monotonic() + PATIENCE
    found: list[int] = []
    while found != [93]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
        done = stocklog_on("stock", "-s", stream_name, "--format", "jsonl")
        found = [json.loads(line)["on_hand"] for line in done.out.splitlines()]
    second = stocklog_on("project", "-e", "-s", stream_name)
    assert second.status == 1
    assert f"process {process.pid}" in second.err
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert stocklog_on("project", "-e", "-s", stream_name).status == 0

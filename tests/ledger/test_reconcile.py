"""A physical count against the book: what it finds, and that it is posted exactly once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import stock_reference
import stocklog
from stocklog.broker import NodeInfo
from stocklog.errors import StoreError, UsageError
from stocklog.inventory.feeds import FeedOptions
from stocklog.ledger.project import project as follow
from stocklog.ledger.questions import Ledger
from stocklog.ledger.reconcile import (
    COUNT_CONSTANTS,
    RECONCILE_SCHEMA,
    post,
    read_counts,
    reconcile,
    wait_until_current,
)
from stocklog.stores.sqlite import SqliteStore
from store_driver import moment, project

DAY = datetime(2026, 11, 24, 12, tzinfo=UTC)
START = int(DAY.timestamp()) * 1_000_000
MINUTE = 60 * 1_000_000
OPTIONS = FeedOptions(constants=COUNT_CONSTANTS)


def update(offset: int, sku: str, minute: int, quantity: int, **others: Any) -> dict[str, Any]:
    return {
        "offset": offset, "update_id": f"u{offset}", "type": "adjustment", "sku": sku,
        "location_id": "here", "quantity": quantity, "occurred_at": START + minute * MINUTE,
        "reason": "sale", "source": "till", **others,
    }  # fmt: skip


LOG = [
    update(0, "A", 0, 10),
    update(1, "B", 0, 5),
    update(2, "C", 0, 7),
    update(3, "D", 0, 1),
    update(4, "E", 0, 3, location_id="there"),
    update(5, "A", 20, -2),  # after the count
    update(6, "D", 1, -1),  # to nothing: need not be counted
]


def sheet(path: Path, *rows: tuple[str, int, int]) -> Path:
    lines = ["sku,location_id,quantity,occurred_at"]
    lines += [
        f"{sku},here,{found},{(DAY + timedelta(minutes=minute)).isoformat()}"
        for sku, found, minute in rows
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_each_line_is_held_against_the_moment_it_was_counted(tmp_path: Path) -> None:
    project(f"sqlite:///{tmp_path}/s.db", LOG)
    file = sheet(tmp_path / "c.csv", ("A", 10, 10), ("B", 4, 10), ("NEW", 2, 11), ("A", 9, 30))
    with Ledger(SqliteStore(tmp_path / "s.db")) as ledger:
        found = reconcile(ledger.store, read_counts(file, OPTIONS).updates)
    assert dict(found.lines.schema) == RECONCILE_SCHEMA
    columns = ["status", "sku", "book", "counted", "variance", "moved"]
    assert found.lines.select(columns).rows() == [
        ("match", "A", 10, 10, 0, -2),
        ("variance", "B", 5, 4, -1, 0),
        ("variance", "NEW", 0, 2, 2, 0),
        ("variance", "A", 8, 9, 1, 0),
        ("not_counted", "C", 7, None, None, None),
    ]
    assert found.updates["sku"].to_list() == ["B", "NEW", "A"]
    assert found.updates["expected_quantity"].to_list() == [5, 0, 8]


def test_a_frame_of_counts_is_answered_in_python(tmp_path: Path) -> None:
    project(f"sqlite:///{tmp_path}/s.db", LOG)
    counts = pl.DataFrame(
        {"sku": ["B"], "location_id": ["here"], "quantity": [5], "occurred_at": [DAY]}
    )
    with Ledger(SqliteStore(tmp_path / "s.db")) as ledger:
        assert ledger.reconcile(counts)["status"].to_list() == ["match", *["not_counted"] * 2]
        with pytest.raises(UsageError, match="no column quantity"):
            ledger.reconcile(counts.drop("quantity"))


def test_what_cannot_be_a_count_is_refused(tmp_path: Path) -> None:
    twice = sheet(tmp_path / "c.csv", ("A", 10, 10), ("A", 9, 10))
    with pytest.raises(UsageError, match="'A' at 'here' was counted twice"):
        read_counts(twice, OPTIONS)
    bad = sheet(tmp_path / "c.csv", ("A", 10, 10), ("B", -1, 10))
    counts = read_counts(bad, OPTIONS)
    assert counts.updates["sku"].to_list() == ["A"]
    assert [reject.line for reject in counts.rejects] == [3]
    SqliteStore(tmp_path / "empty.db", writing=True).close()
    empty = SqliteStore(tmp_path / "empty.db")
    with pytest.raises(StoreError, match="is empty"):
        reconcile(empty, counts.updates)
    empty.close()


def test_variances_are_posted_once_however_often_it_is_run(
    one_broker: NodeInfo, stream_name: str, tmp_path: Path
) -> None:
    path = tmp_path / "s.db"
    file = sheet(tmp_path / "c.csv", ("A", 10, 10), ("B", 4, 10), ("NEW", 2, 11))

    with stocklog.connect(one_broker.uri) as client:
        streams = client.stream_client

        def bring_up_to_date() -> None:
            store = SqliteStore(path, writing=True)
            follow(streams, stream_name, store, until_end=True)
            store.close()

        def run() -> int:
            with Ledger(SqliteStore(path)) as ledger:
                wait_until_current(streams, stream_name, ledger.store, patience=0.5)
                found = reconcile(ledger.store, read_counts(file, OPTIONS).updates)
            return post(streams, stream_name, found.updates)

        rows = [{**one, "occurred_at": moment(one["occurred_at"])} for one in LOG]
        for row in rows:
            del row["offset"]
        with client.producer(stream_name) as producer:
            producer.send(rows)
        bring_up_to_date()
        assert run() == 2
        # The log has them, the store not yet: it cannot tell, so nothing is posted.
        with pytest.raises(StoreError, match="cannot tell what was posted") as refused:
            run()
        assert "project" in refused.value.remedy
        bring_up_to_date()
        assert run() == 0
        # A late sale from before the count changes what the book had, and not what was found.
        late = {**rows[1], "update_id": "late", "quantity": -3}
        with client.producer(stream_name) as producer:
            producer.send([late])
        bring_up_to_date()
        assert run() == 0
        # A later line of the same moment makes a variance anew; the count is there already.
        same = {**late, "update_id": "same", "occurred_at": DAY + timedelta(minutes=10)}
        with client.producer(stream_name) as producer:
            producer.send([same])
        bring_up_to_date()
        assert run() == 0
        with Ledger(SqliteStore(path)) as ledger:
            found = reconcile(ledger.store, read_counts(file, OPTIONS).updates)
            stock = ledger.stock(sku="NEW")
    assert found.lines.filter(pl.col("posted"))["sku"].to_list() == ["B", "NEW"]
    assert stock["on_hand"].to_list() == [2]


def test_the_reference_agrees_on_what_the_book_had(tmp_path: Path) -> None:
    project(f"sqlite:///{tmp_path}/s.db", LOG, 2)
    at = START + 15 * MINUTE
    book = stock_reference.stock(LOG, at=at)
    counts = pl.DataFrame(
        {
            "sku": [sku for sku, place in book if place == "here"],
            "location_id": "here",
            "quantity": 0,
            "occurred_at": moment(at),
        }
    )
    with Ledger(SqliteStore(tmp_path / "s.db")) as ledger:
        found = ledger.reconcile(counts).filter(pl.col("status") != "not_counted")
    assert found["book"].to_list() == [held[0] for (_, place), held in book.items()
                                       if place == "here"]  # fmt: skip

"""The quick form of verify: agrees with a true store, and finds what is wrong with another."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from test_project import log_of, publish

import stocklog
from stocklog.broker import NodeInfo
from stocklog.errors import StoreError
from stocklog.ledger.project import project
from stocklog.ledger.sampling import SAMPLE_SCHEMA, Sample, sample
from stocklog.stores.sqlite import SqliteStore


def look(client: stocklog.Client, stream: str, path: Path) -> Sample:
    store = SqliteStore(path)
    try:
        return sample(client.stream_client, stream, store, keys=10_000, seed=1)
    finally:
        store.close()


@pytest.fixture
def stored(one_broker: NodeInfo, stream_name: str, tmp_path: Path) -> Path:
    """A log of 3,000 updates with late, doubled and moved ones, and its store."""
    with stocklog.connect(one_broker.uri) as client:
        publish(client, stream_name, log_of(3000))
        store = SqliteStore(tmp_path / "s.db", writing=True)
        project(client.stream_client, stream_name, store, until_end=True, commit_rows=700)
        store.close()
    return tmp_path / "s.db"


def test_a_store_that_follows_the_log_agrees(
    one_broker: NodeInfo, stream_name: str, stored: Path
) -> None:
    with stocklog.connect(one_broker.uri) as client:
        found = look(client, stream_name, stored)
    assert dict(found.differences.schema) == SAMPLE_SCHEMA
    assert found.differences.is_empty()
    assert (found.updates, found.last_offset) == (3000, 2999)
    assert found.keys > 100


def test_a_balance_that_does_not_follow_from_its_history_is_found(
    one_broker: NodeInfo, stream_name: str, stored: Path
) -> None:
    with sqlite3.connect(stored) as db:
        db.execute("UPDATE balances SET on_hand = on_hand + 1 WHERE key = 7")
    db.close()
    with stocklog.connect(one_broker.uri) as client:
        rows = look(client, stream_name, stored).differences.rows(named=True)
    assert [(row["problem"], row["offset"], row["store"] - row["log"]) for row in rows] == [
        ("balance", None, 1)
    ]


def test_updates_of_the_log_that_the_history_lacks_are_found(
    one_broker: NodeInfo, stream_name: str, stored: Path
) -> None:
    with sqlite3.connect(stored) as db:
        (lost,) = db.execute("SELECT max(segment) FROM blocks").fetchone()
        db.execute("DELETE FROM blocks WHERE segment = ?", (lost,))
        (first,) = db.execute("SELECT first_offset FROM segments WHERE id = ?", (lost,)).fetchone()
    db.close()
    with stocklog.connect(one_broker.uri) as client:
        differences = look(client, stream_name, stored).differences
    missing = differences.filter(differences["problem"] == "missing")["offset"].to_list()
    assert len(missing) > 100
    assert min(missing) >= first


def test_a_store_of_another_stream_is_refused(
    one_broker: NodeInfo, stream_name: str, stored: Path
) -> None:
    with stocklog.connect(one_broker.uri) as client:
        with client.producer(f"{stream_name}-b"):
            pass
        with pytest.raises(StoreError, match="is the store of the stream"):
            look(client, f"{stream_name}-b", stored)

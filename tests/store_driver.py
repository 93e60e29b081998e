"""Puts logs of dictionaries into a store, as the projector does with those of a broker."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from stocklog.inventory.update import to_frame
from stocklog.stores.projection import Batch, Mark, Projection
from stocklog.stores.segments import Clock
from stocklog.stores.uri import open_store, parse_store

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)


def batch_of(log: list[dict[str, Any]], recorded: int = 0) -> Batch:
    """A batch of updates with offsets; the broker is said to have written all of it at once."""
    rows = [
        {**{name: one[name] for name in one if name != "offset"},
         "occurred_at": moment(one["occurred_at"])}
        for one in log
    ]  # fmt: skip
    offsets = np.array([one["offset"] for one in log], np.int64)
    times = np.array([one.get("recorded_at", recorded) for one in log], np.int64)
    for row in rows:
        row.pop("recorded_at", None)
    mark = Mark(int(offsets[-1]), int(times[-1]), f"digest of {offsets[-1]}")
    return Batch(to_frame(rows), offsets, Clock.of(offsets, times), 0, mark)


def project(store: str, log: list[dict[str, Any]], size: int = 1 << 30) -> None:
    """Put a log into the store of a URI, a commit for each `size` messages, and close it."""
    opened = open_store(store, "s", writing=True)
    projection = Projection(opened, opened.claim("s"))
    try:
        for first in range(0, len(log), size):
            projection.take(batch_of(log[first : first + size]))
        projection.settle()
    finally:
        projection.close()
        opened.close()


def stock_of(store: str) -> dict[tuple[str, str], tuple[int, int]]:
    """Every balance, as other tools read it."""
    query = "SELECT sku, location_id, on_hand, reserved FROM stock"
    rows = _from_file(store, query) if store.startswith("sqlite") else _from_server(store, query)
    return {(sku, place): (on_hand, held) for sku, place, on_hand, held in rows}


def _from_file(store: str, query: str) -> list[Any]:
    db = sqlite3.connect(parse_store(store))
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def _from_server(store: str, query: str) -> list[Any]:
    import psycopg

    address, _, schema = store.partition("?schema=")
    with psycopg.connect(address, options=f"-c search_path={schema}") as db:
        return db.execute(query.encode()).fetchall()


@contextlib.contextmanager
def fresh_file() -> Iterator[str]:
    """The URI of a store in SQLite that is not there yet, in a folder that goes afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/s.db"

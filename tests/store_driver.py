"""Puts logs of dictionaries into a store, as the projector does with those of a broker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from stocklog.inventory.update import to_frame
from stocklog.stores.projection import Batch, Mark, Projection
from stocklog.stores.segments import Clock
from stocklog.stores.sqlite import SqliteStore

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


def project(path: Path, log: list[dict[str, Any]], size: int = 1 << 30) -> None:
    """Put a log into a store, a commit for each `size` messages, and close it."""
    store = SqliteStore(path, writing=True)
    projection = Projection(store, store.claim("s"))
    try:
        for first in range(0, len(log), size):
            projection.take(batch_of(log[first : first + size]))
        projection.settle()
    finally:
        projection.close()
        store.close()


def stock_of(path: Path) -> dict[tuple[str, str], tuple[int, int]]:
    """Every balance, as other tools read it."""
    import sqlite3

    db = sqlite3.connect(path)
    try:
        rows = db.execute("SELECT sku, location_id, on_hand, reserved FROM stock").fetchall()
    finally:
        db.close()
    return {(sku, place): (on_hand, held) for sku, place, on_hand, held in rows}

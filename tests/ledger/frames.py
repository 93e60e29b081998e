"""Batches made by hand, for the formats."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from stocklog.inventory.update import to_frame
from stocklog.ledger.batch import Batch, InvalidMessage

PLAIN: dict[str, Any] = {
    "update_id": "a/1",
    "type": "adjustment",
    "sku": "SKU-1",
    "location_id": "store-1",
    "quantity": 3,
    "occurred_at": datetime(2026, 11, 24, 14, 5, 9, 123456, tzinfo=UTC),
    "reason": "receipt",
    "source": "wms",
}
MOMENT = 1_764_000_000_123  # 2025-11-24T16:00:00.123Z


def batch(
    *rows: dict[str, Any], offsets: list[int] | None = None, odd: tuple[InvalidMessage, ...] = ()
) -> Batch:
    places = np.array(range(len(rows)) if offsets is None else offsets, np.int64)
    times = np.full(len(rows), MOMENT, np.int64).view("datetime64[ms]")
    frame = to_frame([{**PLAIN, **row} for row in rows])
    return Batch(places, times, frame, odd)


def odd(offset: int, body: bytes = b"hello", reason: str = "no JSON") -> InvalidMessage:
    return InvalidMessage(offset, MOMENT, reason, body)

"""Helpers to read a feed whole and to write one."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from stocklog.errors import StocklogError
from stocklog.inventory.feeds import FeedOptions, Reject, open_feed

HEADER = "update_id,type,sku,location_id,quantity,occurred_at,reason,source"


@dataclass
class Whole:
    """Everything that a feed gave."""

    updates: list[dict[str, object]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    error: Exception | None = None

    @property
    def reasons(self) -> dict[int, str]:
        return {reject.line: reject.reason for reject in self.rejects}

    def column(self, name: str) -> list[object]:
        return [update[name] for update in self.updates]


def drain(feed: Any, whole: Whole) -> Whole:
    for batch in feed:
        assert batch.rows_read == batch.updates.height + len(batch.rejects)
        assert len(batch.row_numbers) == batch.updates.height
        arrow = pl.from_arrow(batch.to_arrow())
        assert isinstance(arrow, pl.DataFrame)
        left_out = [pl.lit(None).alias(n) for n in batch.updates.columns if n not in arrow.columns]
        arrow = arrow.with_columns(left_out).select(batch.updates.columns)
        assert arrow.cast(dict(batch.updates.schema)).equals(batch.updates)
        whole.updates += batch.updates.to_dicts()
        whole.numbers += batch.row_numbers.tolist()
        whole.rejects += batch.rejects
    return whole


def read(data: bytes | str, *, block_size: int = 4 << 20, **options: Any) -> Whole:
    """Read bytes or text as standard input would give them."""
    raw = data.encode() if isinstance(data, str) else data
    options_ = FeedOptions(**options)
    with open_feed("-", options_, stream=io.BytesIO(raw), block_size=block_size) as feed:
        return drain(feed, Whole())


def read_file(path: Path, **options: Any) -> Whole:
    """Read a file; an error that ends the iteration is kept beside what came before."""
    whole = Whole()
    with open_feed(path, FeedOptions(**options)) as feed:
        try:
            return drain(feed, whole)
        except StocklogError as error:
            whole.error = error
    return whole


def row(number: int = 1, **changes: object) -> dict[str, object]:
    """One valid update as plain values."""
    values: dict[str, object] = {
        "update_id": f"till/{number}",
        "type": "adjustment",
        "sku": f"A{number}",
        "location_id": "S1",
        "quantity": -number,
        "occurred_at": "2026-11-24T14:05:00Z",
        "reason": "sale",
        "source": "till",
    }
    return values | changes


def csv_line(number: int = 1, **changes: object) -> str:
    """That update as a CSV line under `HEADER`, without quoting."""
    return ",".join(str(value) for value in row(number, **changes).values())


def csv_text(*lines: str, header: str = HEADER) -> str:
    return "\n".join((header, *lines)) + "\n"


def frame(count: int) -> pl.DataFrame:
    return pl.DataFrame([row(n) for n in range(1, count + 1)])

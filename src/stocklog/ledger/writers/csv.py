"""CSV: a header, then one line an update; `stocklog load` reads it again."""

from __future__ import annotations

from io import BytesIO
from typing import ClassVar

import polars as pl

from stocklog.inventory.update import UPDATE_SCHEMA
from stocklog.ledger.batch import Batch

__all__ = ["CsvFormat"]

_MILLISECONDS = "%Y-%m-%dT%H:%M:%S%.3fZ"
_MICROSECONDS = "%Y-%m-%dT%H:%M:%S%.6fZ"


class CsvFormat:
    """`offset`, `recorded_at` and the update's fields; what is no update is left out."""

    IN_ORDER: ClassVar[bool] = False

    def begin(self) -> bytes:
        """The header."""
        return ",".join(["offset", "recorded_at", *UPDATE_SCHEMA]).encode() + b"\n"

    def render(self, batch: Batch) -> memoryview:
        """The updates' lines; times are RFC 3339 in UTC, absent fields empty."""
        frame = batch.to_polars().with_columns(pl.col("recorded_at").dt.strftime(_MILLISECONDS))
        out = BytesIO()
        frame.write_csv(out, include_header=False, datetime_format=_MICROSECONDS)
        return out.getbuffer()

"""What a feed hands out: batches of valid updates, and the rows that are none."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from stocklog.inventory.feeds.coded import frame_of

__all__ = ["FeedBatch", "RawRows", "Reject", "long_line_text", "text_of"]

# How reasons show a value: quoted (long texts cut), or a number.
_VALUE = re.compile(r' is (?:"(?:[^"\\]|\\.)*"?…?(?: \(\d+ characters\))?|-?\d[\d.eE+-]*): ')

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Reject:
    """One row that is not an update, kept as it was.

    Attributes:
        file: the feed's name (the file's own name without its folder, or ``stdin``).
        line: CSV and JSON Lines: the line in the file where the row begins, counted from 1, header
            and blank lines included. Parquet: the row's number, counted from 1.
        reason: what is wrong, one text for each broken rule, joined by semicolons.
        row: the row's text without its line end; for Parquet a JSON object of the row. Base64 of
            the bytes where `base64` is set.
        base64: whether `row` is base64, because the bytes are not UTF-8.
    """

    file: str
    line: int
    reason: str
    row: str
    base64: bool = False

    @property
    def rule(self) -> str:
        """The reason without the row's own values, so that equal faults can be summed."""
        return _VALUE.sub(": ", self.reason)

    def to_dict(self) -> dict[str, str | int]:
        """Return the reject as one line of a reject file: `row`, or `row_base64` instead of it."""
        key = "row_base64" if self.base64 else "row"
        return {"file": self.file, "line": self.line, "reason": self.reason, key: self.row}


@dataclass(frozen=True, slots=True)
class FeedBatch:
    """A piece of a feed, in the feed's order.

    Attributes:
        rows: the valid rows, as what they were read as; see `updates`.
        row_numbers: int64[height], each row's number in the feed, from 1; bad rows count,
            headers and blank lines do not. The same however the feed was cut into blocks.
        rejects: the rows that are not updates, in the feed's order.
        rows_read: ``height + len(rejects)``.
        bytes_read: how far the feed was read, in bytes of the file as it is stored.
        total_bytes: the file's size, or None for a pipe.
        dictionaries: text columns of `updates` as Arrow dictionaries, those that the file itself
            keeps so. They say the same; a dictionary's texts are encoded once and not in each row.
    """

    rows: pl.DataFrame | pa.RecordBatch
    row_numbers: IntArray
    rejects: list[Reject]
    rows_read: int
    bytes_read: int
    total_bytes: int | None
    dictionaries: Mapping[str, Any] = field(default_factory=dict)

    @property
    def height(self) -> int:
        """How many updates there are."""
        return len(self.row_numbers)

    @property
    def updates(self) -> pl.DataFrame:
        """The valid rows, schema `UPDATE_SCHEMA`, every one passed `update.validate`.

        They are made of the file's dictionaries each time, where it has some: keep them.
        """
        return self.first(self.height)

    def first(self, count: int) -> pl.DataFrame:
        """The first of the updates."""
        rows = self.rows.slice(0, count)
        return rows if isinstance(rows, pl.DataFrame) else frame_of(rows)

    def to_arrow(self) -> pa.RecordBatch:
        """Return the updates in columns of `UPDATE_SCHEMA`, dictionaries among them.

        Columns of nothing but nulls may be missing.
        """
        if isinstance(self.rows, pa.RecordBatch):
            return self.rows
        columns = {
            name: self.dictionaries[name] if name in self.dictionaries else _arrow(self.rows[name])
            for name in self.rows.columns
        }
        return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


@dataclass(slots=True)
class RawRows:
    """Rows as a format's reader found them, before they become updates.

    Attributes:
        columns: the columns that the plan asked for, one row each for `lines`.
        lines: int64[n], what `Reject.line` shows.
        row_numbers: int64[n], what `FeedBatch.row_numbers` shows.
        row_text: gives the text of rows (positions in `lines`) as ``(text, is_base64)``.
        rejects: rows that could not even be split into columns.
        problems: position -> reason, for rows that the reader itself found wrong.
        bytes_read: see `FeedBatch`.
        known: rows that are valid updates beyond doubt: their numbers, int64[m], and the updates
            in the columns of `UPDATE_SCHEMA` (Arrow's only if there are no others). They are not
            among `lines`, and may stand before, between and behind those.
        dictionaries: columns of text that the file keeps as Arrow dictionaries, one row each for
            `lines`; `columns` has them as text.
        may_hold_nul: False if no text of `columns` can hold U+0000.
    """

    columns: pl.DataFrame
    lines: IntArray
    row_numbers: IntArray
    row_text: Callable[[IntArray], list[tuple[str, bool]]]
    rejects: list[Reject]
    problems: dict[int, str]
    bytes_read: int
    known: tuple[IntArray, pl.DataFrame | pa.RecordBatch] | None = None
    dictionaries: Mapping[str, Any] = field(default_factory=dict)
    may_hold_nul: bool = True


def _arrow(column: pl.Series) -> Any:
    return column.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())


def text_of(raw: bytes) -> tuple[str, bool]:
    """Return the text of `raw`, or its base64 and True if it is not UTF-8."""
    try:
        return raw.decode("utf-8"), False
    except UnicodeDecodeError:
        return base64.b64encode(raw).decode("ascii"), True


def long_line_text(start: bytes, length: int) -> str:
    """Return what is kept of a line that is too long: its start, and its length in bytes."""
    kept = start[: 4 << 10].decode("utf-8", "replace")
    return f"{kept} … ({length:,} bytes)"

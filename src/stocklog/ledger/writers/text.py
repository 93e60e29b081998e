"""Text for people: one aligned line an update."""

from __future__ import annotations

from io import BytesIO
from typing import ClassVar

import numpy as np
import polars as pl

from stocklog.ledger.batch import Batch, InvalidMessage

__all__ = ["TextFormat"]

_TIME = "%Y-%m-%dT%H:%M:%S%.3fZ"
_CONTROL = r"[\x00-\x1f\x7f-\x9f\u2028\u2029]"
_SHOWN = 60
"""Characters of a message that is no update: enough to recognise it."""


class TextFormat:
    """Offset, time, sku, location, quantity, type and reason in columns.

    The quantity of a count is shown as `=95`, that of a transfer as `3 -> TO`, every other
    with its sign. A column is as wide as its widest cell so far. Control characters are
    shown as `?`, so that a message cannot break the line or steer the terminal.
    """

    IN_ORDER: ClassVar[bool] = True

    def __init__(self) -> None:
        self._widths = {"offset": 9, "sku": 12, "location_id": 10, "quantity": 16, "type": 11}

    def begin(self) -> bytes:
        """Nothing: there is no heading, so that each line is an update."""
        return b""

    def render(self, batch: Batch) -> bytes:
        """The lines of a batch, in the order of the offsets."""
        cells = self._cells(batch)
        self._widen(cells)
        lines = cells.select(self._line())
        if batch.invalid:
            lines = self._interleave(batch, lines)
        out = BytesIO()
        lines.write_csv(out, include_header=False, quote_style="never")
        return out.getvalue()

    def _cells(self, batch: Batch) -> pl.DataFrame:
        updates = batch.updates
        return updates.select(
            pl.Series("offset", batch.offsets).cast(pl.String),
            pl.col("occurred_at").dt.strftime(_TIME),
            *(_clean(updates, name) for name in ("sku", "location_id", "type", "reason")),
            _quantity(updates),
        )

    def _widen(self, cells: pl.DataFrame) -> None:
        widest = cells.select(pl.col(name).str.len_chars().max() for name in self._widths)
        for name, width in widest.row(0, named=True).items():
            self._widths[name] = max(self._widths[name], width or 0)

    def _line(self) -> pl.Expr:
        width = self._widths
        return pl.concat_str(
            pl.col("offset").str.pad_start(width["offset"]),
            pl.col("occurred_at"),
            pl.col("sku").str.pad_end(width["sku"]),
            pl.col("location_id").str.pad_end(width["location_id"]),
            pl.col("quantity").str.pad_end(width["quantity"]),
            pl.col("type").str.pad_end(width["type"]),
            pl.col("reason"),
            separator="  ",
        ).alias("line")

    def _interleave(self, batch: Batch, lines: pl.DataFrame) -> pl.DataFrame:
        odd = pl.DataFrame({"line": [self._odd(message) for message in batch.invalid]})
        offsets = np.concatenate(
            [batch.offsets, np.array([m.offset for m in batch.invalid], np.int64)]
        )
        return pl.concat([lines, odd])[np.argsort(offsets, kind="stable")]

    def _odd(self, message: InvalidMessage) -> str:
        shown = message.body[: 4 * _SHOWN].decode("utf-8", "replace")[:_SHOWN]
        text = f"!! no update: {message.reason}: {shown}"
        safe = "".join(c if c.isprintable() else "?" for c in text)
        return f"{message.offset:>{self._widths['offset']}}  {message.moment}  {safe}"


def _clean(updates: pl.DataFrame, name: str) -> pl.Expr:
    column = pl.col(name).cast(pl.String)
    if updates[name].cast(pl.String).str.contains(_CONTROL).any():
        column = column.str.replace_all(_CONTROL, "?")
    return column.alias(name)


def _quantity(updates: pl.DataFrame) -> pl.Expr:
    number = pl.col("quantity").cast(pl.String)
    kind = pl.col("type").cast(pl.String)
    signed = pl.when(pl.col("quantity") > 0).then(pl.format("+{}", number)).otherwise(number)
    return (
        pl.when(kind == "count")
        .then(pl.format("={}", number))
        .when(kind == "transfer")
        .then(pl.format("{} -> {}", number, _clean(updates, "to_location_id")))
        .otherwise(signed)
        .alias("quantity")
    )

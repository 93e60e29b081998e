"""JSON bodies -> typed, validated columns, a whole block at a time.

Several ways with one result, each for what the one before it did not prove: the short way
(`canonical`) recognises the form that `encode` writes, or the one that another writer
keeps to; `any_order` takes flat objects apart whose fields come in any order; the general
way (`general`) reads anyone's JSON; and what none of them proves is read row by row
(`rows`), which is the judge of what is valid. A row that is out of the ordinary never
takes its block along. A block of a few rows is read row by row altogether: the steps over
columns cost more than that, however few rows there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import polars as pl

from stocklog.errors import UsageError
from stocklog.inventory.any_order import read_any_order
from stocklog.inventory.bodies import Bodies, gather
from stocklog.inventory.canonical import read_canonical
from stocklog.inventory.fields import UPDATE_SCHEMA
from stocklog.inventory.form import usual_form
from stocklog.inventory.general import read_general
from stocklog.inventory.proven import Proven
from stocklog.inventory.rows import read_row

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Decoded", "compact", "decode"]


_BLOCK_ROWS = 20_000
#: So few bodies are read sooner row by row: the steps over columns cost some 2.5 ms however
#: few the rows, a row about 25 µs. Live readers of a quiet stream get such blocks.
_FEW = 40
_BLOCK_BYTES = 1 << 28


@dataclass(frozen=True)
class Decoded:
    """The bodies of a block, read.

    Attributes:
        updates: the valid updates in the order of the bodies, columns of `UPDATE_SCHEMA`.
            Its longer texts may share memory with each other, see `compact`.
        valid: bool[n], which bodies are valid updates.
        reasons: for each other body (by its number from 0) why it is none.
    """

    updates: pl.DataFrame
    valid: NDArray[np.bool_]
    reasons: dict[int, str]


def decode(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    *,
    short_way: bool = True,
) -> Decoded:
    """Reads JSON bodies, whoever wrote them, and validates every field.

    Args:
        buffer: uint8, anything that holds the bodies; it is only read.
        starts: int64[n], where the bodies begin, in any order.
        lengths: int64[n], their bytes.
        short_way: False reads everything by the general way; the result is the same.

    Raises:
        UsageError: a body lies outside the buffer, or starts and lengths differ in number.
    """
    if starts.size != lengths.size:
        raise UsageError(
            f"{starts.size} starts but {lengths.size} lengths", "Give one length per start"
        )
    blocks = [
        _decode_block(gather(buffer, starts[rows], lengths[rows]), short_way=short_way)
        for rows in _blocks(lengths)
    ]
    if len(blocks) == 1:
        return blocks[0]
    firsts = np.cumsum([0, *(block.valid.size for block in blocks)]).tolist()
    return Decoded(
        pl.concat([block.updates for block in blocks]),
        np.concatenate([block.valid for block in blocks]),
        {
            first + row: reason
            for first, block in zip(firsts, blocks, strict=False)
            for row, reason in block.reasons.items()
        },
    )


def compact(updates: pl.DataFrame) -> pl.DataFrame:
    """Copies the texts of decoded updates into memory of their own.

    Texts of more than 12 bytes that `decode` returns are views into the block's bodies and
    keep all of them in memory. Use this for a frame that is kept, above all after a filter.
    """
    own = pl.from_arrow(updates.to_arrow(compat_level=pl.CompatLevel.oldest()))
    return cast("pl.DataFrame", own)


def _blocks(lengths: NDArray[np.int64]) -> list[slice]:
    """Rows cut into blocks that stay in the processor's cache and below an int32 of bytes."""
    if lengths.size <= _BLOCK_ROWS and int(lengths.sum()) <= _BLOCK_BYTES:
        return [slice(0, lengths.size)]
    blocks, first = [], 0
    ends = np.cumsum(lengths)
    while first < lengths.size:
        before = int(ends[first - 1]) if first else 0
        fitting = int(np.searchsorted(ends, before + _BLOCK_BYTES, side="right"))
        last = min(max(fitting, first + 1), first + _BLOCK_ROWS)
        blocks.append(slice(first, last))
        first = last
    return blocks


def _decode_block(bodies: Bodies, *, short_way: bool) -> Decoded:
    count = bodies.starts.size
    valid = np.zeros(count, np.bool_)
    found = []
    by_columns = count > _FEW
    if short_way and by_columns:
        found.append(read_canonical(bodies))
        valid[found[0].rows] = True
        rest = np.flatnonzero(~valid)
        form = usual_form(bodies, rest)
        if form is not None:
            proven = read_canonical(bodies.select(rest), form)
            found.append(Proven(rest[proven.rows], proven.updates))
            valid[found[-1].rows] = True
    ways = (read_any_order, read_general) if short_way else (read_general,)
    for way in ways if by_columns else ():
        rest = np.flatnonzero(~valid)
        if rest.size:
            proven = way(bodies.select(rest))
            found.append(Proven(rest[proven.rows], proven.updates))
            valid[found[-1].rows] = True
    odd = np.flatnonzero(~valid)
    reasons: dict[int, str] = {}
    if odd.size:
        judged, reasons = _read_rows(bodies, odd)
        found.append(judged)
        valid[judged.rows] = True
    return Decoded(_in_order(found), valid, reasons)


def _read_rows(bodies: Bodies, odd: NDArray[np.int64]) -> tuple[Proven, dict[int, str]]:
    columns: dict[str, list[Any]] = {name: [] for name in UPDATE_SCHEMA}
    good, reasons = [], {}
    for row in odd.tolist():
        values, wrong = read_row(bodies.body(row))
        if wrong:
            reasons[row] = "; ".join(wrong)
            continue
        good.append(row)
        for name, column in columns.items():
            column.append(values.get(name))
    moments = pl.Series("occurred_at", columns.pop("occurred_at"), dtype=pl.Int64)
    series = [
        moments.cast(dtype)
        if name == "occurred_at"
        else pl.Series(name, columns[name], dtype=dtype)
        for name, dtype in UPDATE_SCHEMA.items()
    ]
    return Proven(np.array(good, np.int64), pl.DataFrame(series)), reasons


def _in_order(found: list[Proven]) -> pl.DataFrame:
    found = [part for part in found if part.rows.size]
    if not found:
        return pl.DataFrame(schema=UPDATE_SCHEMA)
    if len(found) == 1:
        return found[0].updates
    order = np.argsort(np.concatenate([part.rows for part in found]), kind="stable")
    return pl.concat([part.updates for part in found])[order]

"""Why a key has what it has: its ledger, line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

from stocklog.inventory.balances import running
from stocklog.inventory.legs import COUNT, KINDS, Legs
from stocklog.inventory.update import REASONS
from stocklog.stores.asof import Limits, legs_of
from stocklog.stores.model import Store
from stocklog.stores.segments import SegmentInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["WHY_SCHEMA", "lines_of"]

WHY_SCHEMA = {
    "offset": pl.Int64(),
    "occurred_at": pl.Datetime("us", "UTC"),
    "kind": pl.String(),
    "quantity": pl.Int64(),
    "on_hand": pl.Int64(),
    "reserved": pl.Int64(),
    "corrected": pl.Int64(),
    "late_after": pl.Int64(),
    "reason": pl.String(),
    "source": pl.String(),
    "update_id": pl.String(),
}
"""Columns of an answer of `Ledger.why`; see there."""


def lines_of(
    store: Store, infos: list[SegmentInfo], key: int, limits: Limits, first: int
) -> pl.DataFrame:
    """The ledger of a key.

    Args:
        store: which is asked.
        infos: its segments.
        key: whose.
        limits: what counts.
        first: time of the first line, microseconds since 1970; what came before is in the
            balances all the same.
    """
    lines = running(legs_of(store, infos, key, limits, origins=True))
    legs = lines.legs
    shown = np.flatnonzero(legs.times >= first)
    is_count = legs.kinds == COUNT
    corrected = pl.Series(lines.on_hand - lines.before).set(pl.Series(~is_count), None)
    overtaken = _overtaken_by(legs)
    late = pl.Series(overtaken).set(pl.Series(overtaken < 0), None)
    columns = {
        "offset": legs.offsets,
        "occurred_at": pl.Series(legs.times).cast(WHY_SCHEMA["occurred_at"]),
        "kind": pl.Series(KINDS).gather(legs.kinds.astype(np.int64)),
        "quantity": legs.values,
        "on_hand": lines.on_hand,
        "reserved": lines.reserved,
        "corrected": corrected,
        "late_after": late,
        "reason": pl.Series(REASONS).gather(legs.reasons.astype(np.int64)),
        "source": store.sources().names.gather(legs.sources),
        "update_id": _ids(store, infos, legs),
    }
    return pl.DataFrame(columns, schema=WHY_SCHEMA)[shown]


def _overtaken_by(legs: Legs) -> I64:
    """For each line the highest offset below its own that happened later, -1 if none did."""
    offsets = legs.offsets
    overtaken = np.full(len(offsets), -1, np.int64)
    if not len(offsets):
        return overtaken
    # The lowest offset among the lines behind tells whether there is any; few have one.
    lowest = np.minimum.accumulate(offsets[::-1])[::-1]
    late = np.flatnonzero(lowest < offsets)
    for row in late.tolist():
        behind = offsets[row + 1 :]
        overtaken[row] = behind[behind < offsets[row]].max()
    return overtaken


def _ids(store: Store, infos: list[SegmentInfo], legs: Legs) -> pl.Series:
    """The ids of the updates of legs."""
    order = np.argsort(legs.offsets)
    wanted = legs.offsets[order]
    parts: list[pl.Series] = [pl.Series("id", [], pl.String)]
    for info in infos:
        low, high = np.searchsorted(wanted, [info.first_offset, info.last_offset + 1])
        if low < high:
            parts.append(store.ids_at(info.id, wanted[low:high]))
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return pl.concat(parts).gather(back)

"""Looking into the history of a store."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

from stocklog.inventory.legs import is_delta
from stocklog.stores.asof import read_ahead
from stocklog.stores.model import Store
from stocklog.stores.packing import least, unpack, unpack_many
from stocklog.stores.segments import Block, Ids, SegmentInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["deltas_after", "ids_of"]

_FOREVER = np.iinfo(np.int64).max


def deltas_after(
    store: Store, infos: list[SegmentInfo], key_count: int, keys: I64, times: I64
) -> I64:
    """Sums of the deltas that happened later than some moments, of all that is stored.

    Args:
        store: where to look.
        infos: its segments.
        key_count: how many keys there are.
        keys: int64[n], distinct.
        times: int64[n], a moment for each.

    Returns:
        int64[n].
    """
    since = np.full(key_count, _FOREVER, np.int64)
    since[keys] = times
    sums = np.zeros(key_count, np.int64)
    span = (int(keys.min()), int(keys.max()))
    earliest, latest = int(times.min()), int(times.max())
    later = [info for info in infos if info.holds_later_than(earliest)]
    blocks = (block for info in later for block in store.packed(info.id, span))
    for its_keys, its_times, effects in read_ahead(_after(block, latest) for block in blocks):
        kinds, values = unpack_many(effects)
        # Zeros are added sooner than the others are picked out.
        values *= is_delta(kinds)
        if its_times is not None:
            values *= its_times > since[its_keys]
        np.add.at(sums, its_keys, values)
    # Where all of a block is later, keys that nobody asked for have got sums too.
    return sums[keys]


def _after(block: Block, latest: int) -> tuple[I64, I64 | None, bytes]:
    """Keys, times and effects of a block; no times if all of it happened later than `latest`."""
    keys, times, _ = block.places_of()
    return unpack(keys), unpack(times) if least(times) <= latest else None, block.effects


def ids_of(store: Store, infos: list[SegmentInfo], numbers: I64) -> Ids:
    """The ids of updates by their number over the store.

    Args:
        store: where to look.
        infos: its segments.
        numbers: int64[n], rising, repetitions allowed.

    Returns:
        The same number of offsets, sources and ids.
    """
    with_ids = [info for info in infos if info.updates]
    starts = [info.first_update for info in with_ids]
    parts: list[Ids] = []
    at = 0
    while at < len(numbers):
        info = with_ids[bisect_right(starts, int(numbers[at])) - 1]
        end = int(np.searchsorted(numbers, info.first_update + info.updates))
        inside = numbers[at:end]
        parts += _of_segment(store, info, inside)
        at = end
    if not parts:
        nothing = np.zeros(0, np.int64)
        return Ids(nothing, nothing, pl.Series("id", [], pl.String))
    return Ids.joined(parts)


def _of_segment(store: Store, info: SegmentInfo, numbers: I64) -> list[Ids]:
    parts = []
    for first, block in store.ids(info.id, int(numbers[0]), int(numbers[-1])):
        low, high = np.searchsorted(numbers, [first, first + len(block)])
        if low < high:
            rows = numbers[low:high] - first
            parts.append(Ids(block.offsets[rows], block.sources[rows], block.ids.gather(rows)))
    return parts

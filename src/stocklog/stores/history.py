"""Looking into the history of a store."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

from stocklog.inventory.balances import NEVER
from stocklog.inventory.legs import is_delta
from stocklog.stores import segments
from stocklog.stores.asof import read_ahead
from stocklog.stores.model import Store
from stocklog.stores.packing import unpack, unpack_many
from stocklog.stores.segments import Block, Ids, SegmentInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["deltas_after", "ids_of"]

_FOREVER = np.iinfo(np.int64).max

_FEW_BLOCKS = 4.0
"""Blocks that are read as soon as the sums of all of a segment's keys."""


def deltas_after(
    store: Store, infos: list[SegmentInfo], key_count: int, keys: I64, times: I64
) -> I64:
    """Sums of the deltas that happened later than some moments, of all that is stored.

    A segment that was going on at the moment of a key is read block by block; of one that
    came after it the sums are enough (see `sums`), unless few keys are asked for.

    Args:
        store: where to look.
        infos: its segments.
        key_count: how many keys there are.
        keys: int64[n], distinct.
        times: int64[n], a moment for each.

    Returns:
        int64[n].
    """
    sums = np.zeros(key_count, np.int64)
    moments = _by_key(key_count, keys, times)
    earliest, latest = int(times.min()), int(times.max())
    later = [info for info in infos if info.holds_later_than(earliest)]
    summed = [info for info in later if _blocks(info, key_count, keys) > _FEW_BLOCKS]
    since = dict.fromkeys((info.id for info in later), NEVER)
    for number, found in read_ahead((info.id, store.sums(info.id)) for info in summed):
        found.add_after(moments, sums, latest)
        since[number] = found.since
    for info in later:
        left = times >= since[info.id]
        if left.any():
            mine = moments if left.all() else _by_key(key_count, keys[left], times[left])
            _add_blocks(store, info.id, keys[left], mine, sums)
    return sums[keys]


def _by_key(key_count: int, keys: I64, times: I64) -> I64:
    """int64[keys], the moment of each key; the largest there is for all others."""
    moments = np.full(key_count, _FOREVER, np.int64)
    moments[keys] = times
    return moments


def _blocks(info: SegmentInfo, key_count: int, keys: I64) -> float:
    """About how many blocks of a segment lie between the lowest and the highest key."""
    span = int(keys.max()) - int(keys.min()) + 1
    return info.legs / segments.BLOCK * span / key_count


def _add_blocks(store: Store, segment: int, keys: I64, moments: I64, sums: I64) -> None:
    """Add the deltas of a segment that happened later than the moment of their key."""
    span = (int(keys.min()), int(keys.max()))
    blocks = store.packed(segment, span)
    for its_keys, its_times, effects in read_ahead(_opened(block) for block in blocks):
        kinds, values = unpack_many(effects)
        # Zeros are added sooner than the others are picked out.
        values *= is_delta(kinds) & (its_times > moments[its_keys])
        np.add.at(sums, its_keys, values)


def _opened(block: Block) -> tuple[I64, I64, bytes]:
    """Keys, times and effects of a block, the effects still packed."""
    keys, times, _ = block.places_of()
    return unpack(keys), unpack(times), block.effects


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

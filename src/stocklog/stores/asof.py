"""Balances at any moment: as things happened, as the log knew them, or both.

Two passes over the history. The counts of a segment are kept apart, so the first finds the
last count of each key that lies within both limits; the second adds the deltas after it.
Segments that lie outside the limits are not read at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np

from stocklog.inventory.balances import NEVER, last_rows, running
from stocklog.inventory.legs import RESERVATION, Legs, is_delta
from stocklog.stores.model import Store
from stocklog.stores.packing import split, unpack, unpack_some
from stocklog.stores.segments import Block, SegmentInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["Limits", "balance_of", "balances_of_all", "legs_of", "read_ahead"]

_FOREVER = np.iinfo(np.int64).max

_SPARSE = 4
"""Legs of which one is wanted, from which on it pays to unpack that one alone."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts.

    Attributes:
        at: the last time of happening that counts, microseconds since 1970.
        known: the last offset that counts.
    """

    at: int = _FOREVER
    known: int = _FOREVER

    def reaches(self, info: SegmentInfo) -> bool:
        """Whether a segment holds any leg that may count."""
        return info.legs > 0 and info.oldest <= self.at and info.first_offset <= self.known

    def covers(self, info: SegmentInfo) -> bool:
        """Whether all of a segment counts."""
        return info.newest <= self.at and info.last_offset <= self.known

    def of(self, legs: Legs) -> NDArray[np.bool_]:
        """Which legs count."""
        inside: NDArray[np.bool_] = (legs.times <= self.at) & (legs.offsets <= self.known)
        return inside


def legs_of(
    store: Store, infos: list[SegmentInfo], key: int, limits: Limits, *, origins: bool = False
) -> Legs:
    """The legs of one key that count, in no order.

    Args:
        store: where to look.
        infos: its segments.
        key: whose legs.
        limits: what counts.
        origins: with reasons and sources, which else are 0.
    """
    segments = [info.id for info in infos if limits.reaches(info)]
    blocks = store.packed_of_key(segments, key, origins=origins)
    legs = Legs.joined([block.unpack_key(key) for block in blocks])
    return legs[limits.of(legs)]


def balance_of(
    store: Store, infos: list[SegmentInfo], key: int, limits: Limits
) -> tuple[int, int] | None:
    """On hand and reserved of one key; `None` if nothing of it counts."""
    lines = running(legs_of(store, infos, key, limits))
    if not len(lines.legs):
        return None
    return int(lines.on_hand[-1]), int(lines.reserved[-1])


def balances_of_all(
    store: Store, infos: list[SegmentInfo], keys: int, limits: Limits
) -> tuple[I64, I64, NDArray[np.bool_]]:
    """The balances of every key.

    Args:
        store: where to look.
        infos: its segments.
        keys: how many keys there are.
        limits: what counts.

    Returns:
        int64[keys] on hand, int64[keys] reserved, bool[keys] whether anything of the key
        counts.
    """
    infos = [info for info in infos if limits.reaches(info)]
    summing = _Summing(keys)
    for info in infos:
        counts, _ = store.counts(info.id)
        summing.add_counts(counts if limits.covers(info) else counts[limits.of(counts)])
    # Three at work: a database server that sends, a thread that unpacks, and this one that adds.
    sent = read_ahead(((info, list(store.packed(info.id))) for info in infos), at_once=1)
    blocks = (_Read.of(info, block, limits) for info, packed in sent for block in packed)
    for read in read_ahead(blocks):
        summing.add(read, None if limits.covers(read.info) else limits)
    return summing.on_hand, summing.reserved, summing.present


Item = TypeVar("Item")

_AT_ONCE = 4
"""Blocks, or sums of a segment, that go from thread to thread together."""


def read_ahead(items: Iterator[Item], at_once: int = _AT_ONCE) -> Iterator[Item]:
    """The same items, the next few of which are made in a second thread.

    Unpacking a block and working on one take about as long, and both let go of Python's lock.
    A few at once, since waking a thread takes about as long as a block too.

    Args:
        items: where they come from; iterated in that thread only.
        at_once: how many are made and handed over together.
    """
    with ThreadPoolExecutor(1, "stocklog-read") as pool:
        coming = pool.submit(_next_few, items, at_once)
        while few := coming.result():
            coming = pool.submit(_next_few, items, at_once)
            yield from few


def _next_few(items: Iterator[Item], count: int) -> list[Item]:
    return list(islice(items, count))


@dataclass(frozen=True, slots=True)
class _Read:
    """A block of which the reading thread has unpacked what is always needed.

    Attributes:
        info: of its segment.
        rows: int64[n], the legs that were unpacked; `None`: all of the block.
        keys: int64[n].
        times: int64[n].
        block: all of it.
    """

    info: SegmentInfo
    rows: I64 | None
    keys: I64
    times: I64
    block: Block

    @classmethod
    def of(cls, info: SegmentInfo, block: Block, limits: Limits) -> _Read:
        """Unpack it; of a block of which few legs happened in time, those alone.

        Hardly any segment is wholly later than a moment: a few of its updates were late by
        days. So a question about the past passes over all that came since.
        """
        packed_keys, packed_times, _ = block.places_of()
        times = unpack(packed_times)
        if info.newest > limits.at:
            rows = np.flatnonzero(times <= limits.at)
            if _SPARSE * len(rows) < len(times):
                return cls(info, rows, unpack_some(packed_keys, rows), times[rows], block)
        return cls(info, None, unpack(packed_keys), times, block)

    def offsets(self) -> I64:
        """The offsets, int64[n], which few questions need."""
        return self._column(self.block.places_of()[2])

    def effects(self) -> tuple[I64, I64]:
        """Kinds and values, int64[n] each."""
        kinds, values = split(self.block.effects)
        return self._column(kinds), self._column(values)

    def _column(self, blob: memoryview) -> I64:
        return unpack(blob) if self.rows is None else unpack_some(blob, self.rows)


class _Summing:
    """Sums over blocks in event order, which come in any order."""

    def __init__(self, keys: int) -> None:
        self.on_hand = np.zeros(keys, np.int64)
        self.reserved = np.zeros(keys, np.int64)
        self.present = np.zeros(keys, np.bool_)
        self._time = np.full(keys, NEVER, np.int64)
        self._offset = np.full(keys, -1, np.int64)

    def add_counts(self, counts: Legs) -> None:
        """Take in counts in event order; after all of them each key has its last one."""
        last = counts[last_rows(counts.keys)]
        there, then = self._time[last.keys], self._offset[last.keys]
        last = last[(last.times > there) | ((last.times == there) & (last.offsets > then))]
        self.on_hand[last.keys] = last.values
        self._time[last.keys] = last.times
        self._offset[last.keys] = last.offsets

    def add(self, read: _Read, limits: Limits | None) -> None:
        """Add the deltas after the last counts, and the reservations.

        Args:
            read: a block.
            limits: what of it counts; `None`: all.
        """
        keys, times = read.keys, read.times
        if not len(keys):
            return
        kinds, values = read.effects()
        inside = None if limits is None else self._inside(read, limits)
        counted = self._time[keys]
        deltas = is_delta(kinds)
        counts = (times > counted) & deltas
        ties = np.flatnonzero((times == counted) & deltas)
        if ties.size:
            counts[ties] = read.offsets()[ties] > self._offset[keys[ties]]
        if inside is not None:
            counts &= inside
        # Adding zeros too is several times faster than picking out rows or summing by key.
        np.add.at(self.on_hand, keys, values * counts)
        held = kinds == RESERVATION
        if inside is not None:
            held &= inside
        rows = np.flatnonzero(held)
        if rows.size:
            np.add.at(self.reserved, keys[rows], values[rows])
        self.present[keys if inside is None else keys[inside]] = True

    @staticmethod
    def _inside(read: _Read, limits: Limits) -> NDArray[np.bool_]:
        """Which legs lie within the limits."""
        inside: NDArray[np.bool_] = read.times <= limits.at
        if read.info.last_offset > limits.known:
            inside &= read.offsets() <= limits.known
        return inside

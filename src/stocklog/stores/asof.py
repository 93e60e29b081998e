"""Balances at any moment: as things happened, as the log knew them, or both.

Two passes over the history. The counts of a segment are kept apart, so the first finds the
last count of each key that lies within both limits; the second adds the deltas after it.
Segments that lie outside the limits are not read at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np

from stocklog.inventory.balances import NEVER, last_of_each, running
from stocklog.inventory.legs import RESERVATION, Legs, is_delta
from stocklog.stores.model import Store
from stocklog.stores.segments import SegmentInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["Limits", "balance_of", "balances_of_all", "legs_of", "read_ahead"]

_FOREVER = np.iinfo(np.int64).max


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


def legs_of(store: Store, infos: list[SegmentInfo], key: int, limits: Limits) -> Legs:
    """The legs of one key that count, with reasons and sources, in no order."""
    parts: list[Legs] = []
    for info in infos:
        if limits.reaches(info):
            blocks = store.blocks(info.id, (key, key), origins=True)
            parts += [legs[(legs.keys == key) & limits.of(legs)] for legs in blocks]
    return Legs.joined(parts)


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
    blocks = ((one, legs) for one in infos for legs in store.blocks(one.id))
    for info, legs in read_ahead(blocks):
        summing.add(legs, None if limits.covers(info) else limits.of(legs))
    return summing.on_hand, summing.reserved, summing.present


Item = TypeVar("Item")


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, the next one of which is made in a second thread.

    Unpacking a block and working on one take about as long, and both let go of Python's lock.
    """
    with ThreadPoolExecutor(1, "stocklog-read") as pool:
        coming: Future[Item | None] = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item


class _Summing:
    """Sums over blocks in event order, which come in any order."""

    def __init__(self, keys: int) -> None:
        self.on_hand = np.zeros(keys, np.int64)
        self.reserved = np.zeros(keys, np.int64)
        self.present = np.zeros(keys, np.bool_)
        self._time = np.full(keys, NEVER, np.int64)
        self._offset = np.full(keys, -1, np.int64)

    def add_counts(self, counts: Legs) -> None:
        """Take in counts; after all of them each key has its last one."""
        last = counts[last_of_each(counts)]
        there, then = self._time[last.keys], self._offset[last.keys]
        last = last[(last.times > there) | ((last.times == there) & (last.offsets > then))]
        self.on_hand[last.keys] = last.values
        self._time[last.keys] = last.times
        self._offset[last.keys] = last.offsets

    def add(self, legs: Legs, inside: NDArray[np.bool_] | None) -> None:
        """Add the deltas after the last counts, and the reservations."""
        if not len(legs):
            return
        keys = legs.keys
        counted = self._time[keys]
        counts = legs.times > counted
        ties = np.flatnonzero(legs.times == counted)
        if ties.size:
            counts[ties] = legs.offsets[ties] > self._offset[keys[ties]]
        counts &= is_delta(legs.kinds)
        if inside is not None:
            counts &= inside
        border = np.ones(len(keys), np.bool_)
        np.not_equal(keys[1:], keys[:-1], out=border[1:])
        starts = np.flatnonzero(border)
        theirs = keys[starts]
        self.on_hand[theirs] += np.add.reduceat(legs.values * counts, starts)
        held = legs.kinds == RESERVATION
        if held.any():
            if inside is not None:
                held &= inside
            self.reserved[theirs] += np.add.reduceat(legs.values * held, starts)
        if inside is None:
            self.present[theirs] = True
        else:
            self.present[theirs] |= np.logical_or.reduceat(inside, starts)

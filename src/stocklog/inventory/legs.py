"""Legs: what an update does to one key, as columns. A transfer has two, all others one.

A key is a (sku, location); here it is a number from 0 that somebody else gives out. The
order within a key is (time, offset), and a key has at most one leg an offset, since a
transfer's two legs are of different locations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]
    U8: TypeAlias = NDArray[np.uint8]

__all__ = [
    "ADJUSTMENT",
    "COUNT",
    "IN",
    "KINDS",
    "OUT",
    "RESERVATION",
    "Legs",
    "event_order",
    "is_delta",
]

ADJUSTMENT, COUNT, OUT, IN, RESERVATION = range(5)

KINDS = ("adjustment", "count", "transfer_out", "transfer_in", "reservation")
"""Names of the kinds of legs, by their numbers."""

_IS_DELTA = np.array([True, False, True, True, False])


def is_delta(kinds: U8 | I64) -> NDArray[np.bool_]:
    """Which legs add to what is on hand: all but counts and reservations.

    Args:
        kinds: uint8[n] or int64[n], numbers of `KINDS`.
    """
    found: NDArray[np.bool_] = _IS_DELTA[kinds]
    return found


@dataclass(frozen=True, slots=True)
class Legs:
    """n legs.

    Attributes:
        keys: int64[n], the key that it changes.
        times: int64[n], when it happened, microseconds since 1970, UTC.
        offsets: int64[n], the update's offset in the log.
        kinds: uint8[n], number of `KINDS`.
        values: int64[n], what it adds; of a count what was found.
        reasons: uint8[n], number of `stocklog.inventory.update.REASONS`.
        sources: int64[n], number of the source, given out like the keys.
    """

    keys: I64
    times: I64
    offsets: I64
    kinds: U8
    values: I64
    reasons: U8
    sources: I64

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, rows: I64 | NDArray[np.bool_] | slice) -> Legs:
        """Some of the legs, in the order of `rows`."""
        return Legs(*(getattr(self, name)[rows] for name in self.__slots__))

    @classmethod
    def joined(cls, parts: list[Legs]) -> Legs:
        """Several, one behind the other."""
        if not parts:
            return cls.none()
        if len(parts) == 1:
            return parts[0]
        names = cls.__slots__
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    @classmethod
    def none(cls) -> Legs:
        """No legs."""
        longs, bytes_ = np.zeros(0, np.int64), np.zeros(0, np.uint8)
        return cls(longs, longs, longs, bytes_, longs, bytes_, longs)

    @property
    def in_event_order(self) -> Legs:
        """The same, by key, then time, then offset."""
        return self[event_order(self.keys, self.times, self.offsets)]


def event_order(keys: I64, times: I64, offsets: I64) -> I64:
    """Rows by key, then time, then offset.

    Where the numbers are small enough, which they usually are, two sorts of packed words
    do it at a fraction of the price of a sort by several columns. Rows that are in order are
    not sorted at all.

    Args:
        keys: int64[n], not negative.
        times: int64[n].
        offsets: int64[n].

    Returns:
        int64[n], numbers of rows.
    """
    count = len(keys)
    if _are_in_event_order(keys, times, offsets):
        return np.arange(count, dtype=np.int64)
    row_bits = int(count - 1).bit_length()
    room = 63 - row_bits
    first, start = int(times.min()), int(offsets.min())
    spans = int(times.max()) - first, int(offsets.max()) - start, int(keys.max())
    if any(span >> room for span in spans):
        return np.lexsort((offsets, times, keys)).astype(np.int64, copy=False)
    mask = (1 << row_bits) - 1
    rows = np.arange(count, dtype=np.int64)
    by_time = rows
    if not (offsets[1:] >= offsets[:-1]).all():
        by_time = np.sort(((offsets - start) << row_bits) | rows) & mask
    if not (times[1:] >= times[:-1]).all() or by_time is not rows:
        by_time = by_time[np.sort(((times[by_time] - first) << row_bits) | rows) & mask]
    by_key = np.sort((keys[by_time] << row_bits) | rows) & mask
    order: I64 = by_time[by_key]
    return order


def _are_in_event_order(keys: I64, times: I64, offsets: I64) -> bool:
    """Whether each row is behind the one before it, or its equal."""
    if (keys[1:] < keys[:-1]).any():
        return False
    ties = np.flatnonzero(keys[1:] == keys[:-1])
    earlier, later = times[ties], times[ties + 1]
    if (later < earlier).any():
        return False
    ties = ties[earlier == later]
    return not (offsets[ties + 1] < offsets[ties]).any()

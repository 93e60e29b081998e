"""The rule: from legs to what is on hand and reserved, a whole batch at a time.

On hand at a moment is the last count at or before it, by (time, offset), plus all deltas
after that count up to the moment; before any count it starts at 0. Reserved is the plain
sum of the reservations. Batches come in the order of the log, whose times may be in any
order, so a key keeps where its last count lies. A delta before it changes history and not
the stock; a count that is newer takes its place and keeps the deltas after it.

Only a count that comes later than deltas which happened after it needs the past: the sum
of those deltas, of its key alone. Nothing is ever replayed.

Numbers are int64 and sums are modulo 2**64: right whenever the true sum fits int64, even
if a partial sum does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from stocklog.inventory.legs import COUNT, RESERVATION, Legs, event_order, is_delta

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["NEVER", "Balances", "DeltasAfter", "Running", "last_of_each", "last_rows", "running"]

NEVER = np.iinfo(np.int64).min
"""The time of a count or delta that there has not been."""

DeltasAfter: TypeAlias = "Callable[[I64, I64], I64]"
"""For distinct keys, each with a time: the sum of its deltas that happened later than that.

Of all earlier batches, and of nothing else.
"""


class Balances:
    """What is on hand and reserved of each key, and what is needed to go on.

    Args:
        keys: how many keys there are now; `grow` adds more.

    Attributes:
        on_hand: int64[keys].
        reserved: int64[keys].
        count_time: int64[keys], time of the last count, `NEVER` if there is none.
        count_offset: int64[keys], its offset, -1 if there is none.
        delta_time: int64[keys], time of the newest delta, `NEVER` if there is none.
    """

    COLUMNS = ("on_hand", "reserved", "count_time", "count_offset", "delta_time")
    _EMPTY = (0, 0, NEVER, -1, NEVER)

    def __init__(self, keys: int = 0) -> None:
        self._room = 0
        self._keys = 0
        self.on_hand = self.reserved = np.zeros(0, np.int64)
        self.count_time = self.count_offset = self.delta_time = np.zeros(0, np.int64)
        self.grow(keys)

    def __len__(self) -> int:
        return self._keys

    def grow(self, keys: int) -> None:
        """Make room for keys; new ones have nothing on hand and no history.

        Args:
            keys: how many there are now, never fewer than before.
        """
        self._keys = max(self._keys, keys)
        if self._keys <= self._room:
            return
        self._room = max(self._keys, self._room * 3 // 2, 1024)
        for name, empty in zip(self.COLUMNS, self._EMPTY, strict=True):
            old = getattr(self, name)
            new = np.full(self._room, empty, np.int64)
            new[: len(old)] = old
            setattr(self, name, new)

    def apply(self, legs: Legs, deltas_after: DeltasAfter) -> I64:
        """Take in the legs of the next batch of the log.

        Args:
            legs: of whole updates, each offset behind all of earlier batches; each key
                below `len(self)`.
            deltas_after: looks into the earlier batches.

        Returns:
            int64, the keys that may have changed, rising.
        """
        reservations = np.flatnonzero(legs.kinds == RESERVATION)
        if reservations.size:
            np.add.at(self.reserved, legs.keys[reservations], legs.values[reservations])
        counts = np.flatnonzero(legs.kinds == COUNT)
        if counts.size:
            self._apply_counts(legs, counts, deltas_after)
        if counts.size + reservations.size < len(legs):
            self._apply_deltas(legs)
        touched = np.zeros(self._keys, np.bool_)
        touched[legs.keys] = True
        return np.flatnonzero(touched)

    def _apply_counts(self, legs: Legs, counts: I64, deltas_after: DeltasAfter) -> None:
        keys, times, offsets = legs.keys[counts], legs.times[counts], legs.offsets[counts]
        newest = last_of_each(keys, times, offsets)
        keys, times, offsets = keys[newest], times[newest], offsets[newest]
        there = self.count_time[keys]
        newer = (times > there) | ((times == there) & (offsets > self.count_offset[keys]))
        if not newer.all():
            newest, keys, times, offsets = newest[newer], keys[newer], times[newer], offsets[newer]
        self.on_hand[keys] = legs.values[counts[newest]]
        self.count_time[keys] = times
        self.count_offset[keys] = offsets
        # An earlier batch has smaller offsets, so a delta of the same time lies before it.
        late = self.delta_time[keys] > times
        if late.any():
            keys = keys[late]
            self.on_hand[keys] += deltas_after(keys, times[late])

    def _apply_deltas(self, legs: Legs) -> None:
        deltas = is_delta(legs.kinds)
        keys, times = legs.keys, legs.times
        if not deltas.all():
            rows = np.flatnonzero(deltas)
            keys, times = keys[rows], times[rows]
            values, offsets = legs.values[rows], legs.offsets[rows]
        else:
            values, offsets = legs.values, legs.offsets
        counted = self.count_time[keys]
        after = times > counted
        ties = np.flatnonzero(times == counted)
        after[ties] = offsets[ties] > self.count_offset[keys[ties]]
        if after.all():
            np.add.at(self.on_hand, keys, values)
        else:
            np.add.at(self.on_hand, keys[after], values[after])
        np.maximum.at(self.delta_time, keys, times)


def last_of_each(keys: I64, times: I64, offsets: I64) -> I64:
    """The row of the last leg of each key by (time, offset); rows by key.

    Args:
        keys: int64[n], not negative.
        times: int64[n].
        offsets: int64[n].
    """
    order = event_order(keys, times, offsets)
    chosen: I64 = order[last_rows(keys[order])]
    return chosen


def last_rows(keys: I64) -> NDArray[np.bool_]:
    """Which legs are the last of their key.

    Args:
        keys: int64[n], the keys of legs in event order.
    """
    last = np.ones(len(keys), np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=last[:-1])
    return last


class Running:
    """What was on hand and reserved after each leg, and before each count. See `running`.

    Attributes:
        legs: the legs in event order: by key, time and offset.
        on_hand: int64[n], on hand after the leg.
        reserved: int64[n], reserved after the leg.
        before: int64[n], on hand before the leg.
    """

    def __init__(self, legs: Legs, on_hand: I64, reserved: I64, before: I64) -> None:
        self.legs = legs
        self.on_hand = on_hand
        self.reserved = reserved
        self.before = before


def running(legs: Legs) -> Running:
    """The balances of keys after each of their legs.

    Args:
        legs: all legs of the keys that are wanted, from the first on.

    Returns:
        The same legs in event order, with the balances.
    """
    legs = legs.in_event_order
    count = len(legs)
    if not count:
        nothing = np.zeros(0, np.int64)
        return Running(legs, nothing, nothing, nothing)
    first = np.ones(count, np.bool_)
    first[1:] = legs.keys[1:] != legs.keys[:-1]
    counts = legs.kinds == COUNT
    deltas = np.where(is_delta(legs.kinds), legs.values, 0)
    # A sum starts again at each key and at each count: take off what it was there.
    total = np.cumsum(deltas)
    starts = np.flatnonzero(first | counts)
    base = np.where(counts[starts], legs.values[starts], 0)
    # A count adds nothing itself; a first leg that is a delta counts from before it.
    base -= total[starts] - deltas[starts]
    section = np.cumsum(first | counts) - 1
    on_hand = total + base[section]
    before = np.zeros(count, np.int64)
    before[1:] = on_hand[:-1]
    before[first] = 0
    held = np.cumsum(np.where(legs.kinds == RESERVATION, legs.values, 0))
    key_starts = np.flatnonzero(first)
    own = np.where(legs.kinds[key_starts] == RESERVATION, legs.values[key_starts], 0)
    reserved = held - (held[key_starts] - own)[np.cumsum(first) - 1]
    return Running(legs, on_hand, reserved, before)

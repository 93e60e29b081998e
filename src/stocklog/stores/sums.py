"""What the deltas of a segment come to, key by key, for those who need no more than that.

A count that comes late needs the sum of all that happened after it. Of a segment which is
wholly later that is one number a key, a fraction of its legs. Hardly any segment is: some of
its updates were late themselves, by minutes or by days. So its earliest deltas are kept
once more, one by one, and those before the moment in question are taken off again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from stocklog.inventory.legs import Legs, is_delta
from stocklog.stores import packing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["Sums"]

_EARLY = 64
"""One of so many deltas is kept once more."""

_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums of the deltas of a segment; modulo 2**64, as all sums are.

    Attributes:
        since: every delta that happened before this is among the early ones, microseconds
            since 1970; the largest there is if there are no deltas.
        keys: int64[n], the keys that have deltas, rising.
        totals: int64[n], the sum of all deltas of each.
        early_keys: int64[m], keys of the deltas that happened before `since`.
        early_times: int64[m], when they happened.
        early_values: int64[m], what they added.
    """

    since: int
    keys: I64
    totals: I64
    early_keys: I64
    early_times: I64
    early_values: I64

    @classmethod
    def of(cls, legs: Legs) -> Sums:
        """Sum the deltas.

        Args:
            legs: in event order, counts and reservations too.
        """
        rows = np.flatnonzero(is_delta(legs.kinds))
        keys, times, values = legs.keys[rows], legs.times[rows], legs.values[rows]
        if not rows.size:
            return cls(_NEVER, keys, values, keys, times, values)
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        since = int(np.partition(times, len(times) // _EARLY)[len(times) // _EARLY])
        early = np.flatnonzero(times < since)
        return cls(
            since,
            keys[starts],
            np.add.reduceat(values, starts),
            keys[early],
            times[early],
            values[early],
        )

    def add_after(self, moments: I64, sums: I64, latest: int = _NEVER) -> None:
        """Add what happened later than a moment of each key, for the moments before `since`.

        Args:
            moments: int64[keys], by key; the largest there is for keys that are not wanted.
            sums: int64[keys], by key; changed, also for keys that are not wanted.
            latest: no moment of a key that is wanted is later.
        """
        if latest < self.since:
            # What is added to keys that nobody wants costs less than picking out the others.
            sums[self.keys] += self.totals
        else:
            wanted = moments[self.keys] < self.since
            keys = self.keys[wanted]
            sums[keys] += self.totals[wanted]
        its = moments[self.early_keys]
        off = (self.early_times <= its) & (its < self.since)
        np.subtract.at(sums, self.early_keys[off], self.early_values[off])

    def pack(self) -> tuple[bytes, bytes]:
        """Blobs of the totals and of the early deltas; `since` is a number of its own."""
        return (
            packing.pack_many([self.keys, self.totals]),
            packing.pack_many([self.early_keys, self.early_times, self.early_values]),
        )

    @classmethod
    def unpack(cls, since: int, totals: bytes, early: bytes) -> Sums:
        """The sums of `pack`.

        Raises:
            StoreError: a blob is damaged.
        """
        keys, sums = packing.unpack_many(totals)
        early_keys, early_times, early_values = packing.unpack_many(early)
        return cls(since, keys, sums, early_keys, early_times, early_values)

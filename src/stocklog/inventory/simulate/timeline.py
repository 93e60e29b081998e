"""Simulated time: which moment belongs to the n-th update.

Time goes on minute by minute, and each minute holds its own number of updates:
the day's curve, times bursts (the 99th percentile of a minute is about 8 times
the mean, the maximum about 40 times), times 3.5 on the rare event day. The
numbers come from an integer mix of seed, day and minute, so the moment of any
update is found without simulating those before it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from stocklog.inventory.simulate.tables import Int64s, quantile_table

__all__ = ["Timeline", "mix64"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTES = 1440
_MINUTE_US = 60_000_000
_DAY_US = _MINUTES * _MINUTE_US

_EVENT_DAY_IN = 45
"""One day in so many is an event day with 7/2 of the usual number of updates."""

_BURST_UNIT = 1_000
_BURSTS = quantile_table(
    (
        (0, 150),
        (1024, 300),
        (2048, 420),
        (3072, 620),
        (3686, 1_100),
        (3891, 1_900),
        (4010, 2_700),
        (4055, 4_300),
        (4080, 6_700),
        (4091, 9_400),
        (4095, 12_500),
    )
)
"""A minute's load against the day's curve, in thousandths: quantiles."""


def mix64(words: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> Int64s:
    """Scramble 64-bit words (the finalizer of SplitMix64); the top bit is cleared.

    Args:
        words: uint64[n].

    Returns:
        int64[n], between 0 and 2**63 - 1.
    """
    words = words * np.uint64(0x9E3779B97F4A7C15)
    words ^= words >> np.uint64(30)
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(27)
    words *= np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)
    return (words >> np.uint64(1)).astype(np.int64)


class Timeline:
    """Moments of updates, in order.

    Args:
        start: when the first update happens.
        per_minute: mean number of updates a minute on a normal day.
        day_curve: relative load at each of the 24 full hours, UTC.
        key: what the bursts are drawn from.
    """

    def __init__(
        self, start: datetime, per_minute: int, day_curve: tuple[int, ...], key: int
    ) -> None:
        start_us = (start - _EPOCH) // timedelta(microseconds=1)
        self._key = np.uint64(key & ((1 << 63) - 1))
        self._curve = _by_minute(day_curve)
        self._scale = int(self._curve.sum()) * int(_BURSTS.sum())
        self._per_minute = per_minute
        self._first_day = start_us // _DAY_US
        # Updates before each day of the run, counted from the midnight before its start.
        self._day_starts = [0]
        self._minutes = np.zeros(1, np.int64)
        self._gaps = np.zeros(1, np.int64)
        self._day = -1
        self._origin = self._position(start_us)

    def moments(self, numbers: Int64s, jitter: Int64s) -> Int64s:
        """Return when updates happen.

        Args:
            numbers: int64[n], the updates' places in the run from 0, rising.
            jitter: int64[n], 16 random bits each, which move a moment within its own gap.

        Returns:
            int64[n], microseconds since 1970 in UTC, never falling.
        """
        places = numbers + self._origin
        out = np.empty(len(places), np.int64)
        done = 0
        while done < len(places):
            day = self._find_day(int(places[done]))
            end = done + int(np.searchsorted(places[done:], self._day_starts[day + 1]))
            out[done:end] = self._within(day, places[done:end], jitter[done:end])
            done = end
        return out

    def _within(self, day: int, places: Int64s, jitter: Int64s) -> Int64s:
        starts = self._load(day)
        places = places - self._day_starts[day]
        minute = np.searchsorted(starts, places, side="right") - 1
        gap: Int64s = self._gaps.take(minute)
        within: Int64s = (places - starts.take(minute)) * gap
        within += (jitter * gap) >> 16
        within += minute * _MINUTE_US
        within += (self._first_day + day) * _DAY_US
        return within

    def _find_day(self, place: int) -> int:
        """Return the day (from the run's first) that holds this place."""
        while self._day_starts[-1] <= place:
            starts = self._load(len(self._day_starts) - 1)
            self._day_starts.append(self._day_starts[-1] + int(starts[-1]))
        return int(np.searchsorted(self._day_starts, place, side="right")) - 1

    def _load(self, day: int) -> Int64s:
        """Return int64[1441]: how many updates of that day lie before each minute."""
        if day != self._day:
            date = self._first_day + day
            counters = np.arange(_MINUTES + 1, dtype=np.uint64)
            # Days before 1970 are negative: wrapped, as every machine does it.
            counters += np.uint64(date * (_MINUTES + 1) & ((1 << 64) - 1))
            draws = mix64(counters ^ self._key)
            load = self._curve * _BURSTS.take(draws[:_MINUTES] & (len(_BURSTS) - 1))
            event = int(draws[_MINUTES]) % _EVENT_DAY_IN == 0
            rate = self._per_minute * _MINUTES * len(_BURSTS) * (7 if event else 2)
            # Python's integers: the products do not fit 64 bits.
            loads = load.tolist()
            counts = np.array([max(1, n * rate // (2 * self._scale)) for n in loads], np.int64)
            self._minutes = np.concatenate([[0], np.cumsum(counts)])
            self._gaps = _MINUTE_US // counts
            self._day = day
        return self._minutes

    def _position(self, start_us: int) -> int:
        """Return how many updates lie between the midnight before the start and the start."""
        minute, within = divmod(start_us - self._first_day * _DAY_US, _MINUTE_US)
        starts = self._load(0)
        count = int(starts[minute + 1] - starts[minute])
        gap = _MINUTE_US // count
        return int(starts[minute]) + min(count, -(-within // gap))


def _by_minute(day_curve: tuple[int, ...]) -> Int64s:
    """Return the load of each minute of a day, in sixtieths of the curve's unit."""
    hours = np.array([*day_curve, day_curve[0]], np.int64)
    minute = np.arange(60, dtype=np.int64)
    return (hours[:-1, None] * (60 - minute) + hours[1:, None] * minute).ravel()

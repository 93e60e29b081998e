"""Dirt on request: what real sources do to a log.

1 % of the documents arrive late by minutes and 0.05 % by hours, 0.5 % of the
deliveries are repetitions of earlier ones, 0.1 % of the updates name a SKU that
is in no list, and whole locations are counted in sweeps: the count sheet of an
hour's work is handed in at once. Every such update is still a valid one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stocklog.inventory.simulate.tables import Int64s

__all__ = [
    "REPEATED",
    "REPEAT_WORDS",
    "SWEEP_US",
    "UNLISTED",
    "Schedule",
    "arrival_order",
    "delays",
    "unlisted_rows",
]

UNLISTED = 1_000
"""SKUs that no list has."""

REPEAT_WORDS = 20
"""Random words that `arrival_order` needs."""

_RUN = 5
REPEATED = REPEAT_WORDS * _RUN
"""Repeated deliveries in a block."""

SWEEP_US = 50 * 60 * 1_000_000
"""How long the counting of one location takes."""

_MINUTE_US = 60_000_000
_LATE_BY_HOURS = 33  # of 65,536 documents: 0.05 %
_LATE_BY_MINUTES = 655  # of 65,536: 1 %
_UNLISTED_OF_20_BITS = 1_049  # of 1,048,576: 0.1 %

_FIRST_SWEEP = 1
_SWEEP_SHARE = 50


@dataclass(frozen=True)
class Schedule:
    """Which blocks are count sweeps: one in 50, those of one location one behind the other.

    Attributes:
        sweep_blocks: blocks that the counting of one location fills; 0 for no sweeps at all.
    """

    sweep_blocks: int

    def sweep_of(self, block: int) -> tuple[int, int] | None:
        """Return (number of the sweep, part of it) for a sweep's block, else None."""
        if not self.sweep_blocks:
            return None
        sweep, phase = divmod(block, self.sweep_blocks * _SWEEP_SHARE)
        part = phase - _FIRST_SWEEP
        return (sweep, part) if 0 <= part < self.sweep_blocks else None

    def sweep_blocks_before(self, block: int) -> int:
        """Return how many blocks before this one are sweeps."""
        if not self.sweep_blocks:
            return 0
        sweep, phase = divmod(block, self.sweep_blocks * _SWEEP_SHARE)
        part = min(max(phase - _FIRST_SWEEP, 0), self.sweep_blocks)
        return sweep * self.sweep_blocks + part


def delays(words: Int64s) -> Int64s:
    """Return how late each document is: 1 to 45 minutes, 1 to 30 hours, mostly not at all.

    Args:
        words: int64[d], random; bits 28 to 59 are looked at.

    Returns:
        int64[d], microseconds.
    """
    chance = (words >> 44) & 0xFFFF
    amount = (words >> 28) & 0xFFFF
    by_hours = 60 * _MINUTE_US + amount * (29 * 60 * _MINUTE_US >> 16)
    by_minutes = _MINUTE_US + amount * (44 * _MINUTE_US >> 16)
    late = np.where(chance < _LATE_BY_HOURS + _LATE_BY_MINUTES, by_minutes, 0)
    return np.where(chance < _LATE_BY_HOURS, by_hours, late)


def unlisted_rows(words: Int64s) -> Int64s:
    """Return the rows whose SKU is in no list.

    Args:
        words: int64[n], random; bits 44 to 63 are looked at.
    """
    return np.flatnonzero(((words >> 44) & 0xFFFFF) < _UNLISTED_OF_20_BITS)


def arrival_order(rows: int, words: Int64s) -> Int64s:
    """Put repeated deliveries between the rows of a block: twenty times the last five again.

    Args:
        rows: rows of the block without repetitions, more than 5.
        words: int64[20], random.

    Returns:
        int64[rows + 100], the row that arrives at each place; a repetition comes after its
        first delivery, at most 2,000 rows later.
    """
    first = (words & 0xFFFFFFFF) % (rows - _RUN)
    after = np.minimum(first + _RUN + (words >> 32 & 0xFFFF) % 2_000, rows)
    again = (first[:, None] + np.arange(_RUN)).ravel()
    return np.insert(np.arange(rows, dtype=np.int64), np.repeat(after, _RUN), again)

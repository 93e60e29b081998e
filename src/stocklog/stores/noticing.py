"""What is noticed about updates as they come, in the order of the log.

Late: it happened more than 24 hours before the newest update of its source that came
earlier. Gap: its `source_seq` is more than one above the highest of its source before.
Reordered: it is not above the highest. Each depends on the log alone, and so comes out
the same however the log is cut into batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

from stocklog.inventory.balances import NEVER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["DUPLICATE", "FLAG_KINDS", "GAP", "LATE", "LATE_AFTER", "REORDERED", "SourceWatch"]

LATE, DUPLICATE, GAP, REORDERED = range(4)

FLAG_KINDS = ("late", "duplicate", "gap", "reordered")
"""Names of the flags that are kept, by their numbers.

Details: late: by how many microseconds; duplicate: offset of the first delivery; gap: how
many numbers are missing; reordered: how far below the highest.
"""

LATE_AFTER = 24 * 3600 * 1_000_000
"""Microseconds after which an update is flagged as late."""


class SourceWatch:
    """What was last seen of each source.

    Args:
        newest: int64[n], newest time of each source, `NEVER` if there is none.
        sequence: int64[n], highest `source_seq`, `NEVER` if there is none.
    """

    def __init__(self, newest: I64, sequence: I64) -> None:
        self.newest = newest
        self.sequence = sequence

    def grow(self, sources: int) -> None:
        """Make room for new sources."""
        more = np.full(max(0, sources - len(self.newest)), NEVER, np.int64)
        self.newest = np.concatenate([self.newest, more])
        self.sequence = np.concatenate([self.sequence, more])

    def late(self, sources: I64, times: I64) -> tuple[I64, I64]:
        """The late ones of the next updates.

        Args:
            sources: int64[n], codes.
            times: int64[n], when they happened.

        Returns:
            int64[m] rows and int64[m] by how many microseconds.
        """
        if not len(times):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        newest = max(int(self.newest.max()), int(times.max()))
        if newest - int(times.min()) <= LATE_AFTER:
            np.maximum.at(self.newest, sources, times)
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        before = _highest_before(sources, times, self.newest)
        rows = np.flatnonzero((before != NEVER) & (before - LATE_AFTER > times))
        np.maximum.at(self.newest, sources, times)
        return rows, before[rows] - times[rows]

    def out_of_sequence(self, sources: I64, numbers: I64) -> tuple[I64, I64, I64]:
        """Gaps and reorderings of the next updates that have a `source_seq`.

        Args:
            sources: int64[n], codes.
            numbers: int64[n], the `source_seq`.

        Returns:
            int64[m] rows, int64[m] kinds, int64[m] details.
        """
        before = _highest_before(sources, numbers, self.sequence)
        known = before != NEVER
        # Far apart numbers would overflow: then it is certainly one or the other.
        back = known & (numbers <= before)
        gap = known & (numbers > before) & (numbers - 1 > before)
        np.maximum.at(self.sequence, sources, numbers)
        rows = np.flatnonzero(back | gap)
        kinds = np.where(back[rows], REORDERED, GAP)
        details = np.where(
            back[rows], before[rows] - numbers[rows], numbers[rows] - before[rows] - 1
        )
        return rows, kinds, details


def _highest_before(sources: I64, values: I64, known: I64) -> I64:
    """For each row the highest value of its source before it."""
    frame = pl.DataFrame({"source": sources, "value": values})
    shifted = pl.col("value").cum_max().shift(1, fill_value=int(NEVER)).over("source")
    before = frame.select(shifted).to_series().to_numpy()
    highest: I64 = np.maximum(before, known[sources])
    return highest

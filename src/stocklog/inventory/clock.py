"""Pieces of canonical times: `YYYY-MM-DDTHH:MM:` `SS.mmm` `uuu` without formatting a row.

The last two come from tables that are rendered once. The first is rendered once for
each minute that a batch touches; where a batch is spread over too many minutes, for
each day, with the minute of the day from a third table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stocklog.inventory.pieces import Pool

__all__ = ["Clock"]

_MINUTE = 60_000_000


class Clock:
    """Adds the parts of times to a pool.

    Args:
        pool: where the tables go, for as long as the pool lives.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        two, three = _numbers(60, 2), _numbers(1000, 3)
        seconds = np.full((60, 1000, 6), ord("."), np.uint8)
        seconds[:, :, :2] = two[:, None]
        seconds[:, :, 3:] = three
        self._seconds = pool.add_fixed(seconds.reshape(60_000, 6))
        self._thousandths = pool.add_fixed(three)
        minutes = np.full((24, 60, 6), ord(":"), np.uint8)
        minutes[:, :, :2] = two[:24, None]
        minutes[:, :, 3:5] = two
        self._minutes = pool.add_fixed(minutes.reshape(1440, 6))

    def parts(self, micros: NDArray[np.int64], before: bytes) -> list[NDArray[np.int32]]:
        """Piece numbers for the times of a batch, up to the sixth digit of the fraction.

        Args:
            micros: int64[n] microseconds since 1970, years 0001 to 9999; n >= 1.
            before: constant text in front of each time.

        Returns:
            int32[n] arrays, one for each piece of a time.
        """
        minute = micros // _MINUTE
        rest = (micros - minute * _MINUTE).astype(np.uint32)
        milli = rest // np.uint32(1000)
        micro = (rest - milli * np.uint32(1000)).astype(np.int32)
        last = [milli.astype(np.int32) + self._seconds, micro + self._thousandths]
        few, place = _distinct(minute)
        if few.size <= 64 + micros.size // 16:
            return [self._render(few, "M8[m]", b":", before, place), *last]
        day = minute // 1440
        days, place = _distinct(day)
        of_day = (minute - day * 1440).astype(np.int32) + self._minutes
        return [self._render(days, "M8[D]", b"T", before, place), of_day, *last]

    def _render(
        self,
        moments: NDArray[np.int64],
        unit: str,
        after: bytes,
        before: bytes,
        place: NDArray[np.int32],
    ) -> NDArray[np.int32]:
        # NumPy makes room for any date; ours are of one width.
        text = np.datetime_as_string(moments.astype(unit)).astype("S16" if after == b":" else "S10")
        # Not `np.char`, whose import alone takes longer than all of this.
        end = len(before) + text.dtype.itemsize
        whole = np.empty((moments.size, end + len(after)), np.uint8)
        whole[:, : len(before)] = np.frombuffer(before, np.uint8)
        whole[:, len(before) : end] = text.view(np.uint8).reshape(moments.size, -1)
        whole[:, end:] = np.frombuffer(after, np.uint8)
        first = self._pool.add_fixed(whole)
        return place + np.int32(first)


def _numbers(count: int, width: int) -> NDArray[np.uint8]:
    """The numbers below `count` in ASCII digits, uint8[count, width]."""
    powers = 10 ** np.arange(width)[::-1]
    return (np.arange(count)[:, None] // powers % 10 + ord("0")).astype(np.uint8)


def _distinct(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The distinct values, sorted, and for each value its place among them."""
    low = int(values.min())
    span = int(values.max()) - low + 1
    if span > 4 * values.size + 4096:
        few, place = np.unique(values, return_inverse=True)
        return few, place.astype(np.int32)
    shifted = values - low
    seen = np.zeros(span, np.bool_)
    seen[shifted] = True
    table = np.cumsum(seen, dtype=np.int32) - 1
    return np.flatnonzero(seen) + low, table[shifted]

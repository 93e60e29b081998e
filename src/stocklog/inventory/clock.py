"""Pieces of canonical times: `YYYY-MM-DDTHH:MM:` `SS.mmm` `uuu` without formatting a row.

The last two come from tables that are rendered once. The first is rendered once for
each minute that a batch touches; where a batch is spread over too many minutes, for
each day, with the minute of the day from a third table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
        second, thousandth = np.divmod(np.arange(60_000), 1000)
        table = [*_digits(second, 2), np.full(60_000, ord(".")), *_digits(thousandth, 3)]
        self._seconds = pool.add_fixed(np.stack(table, axis=1).astype(np.uint8))
        self._thousandths = pool.add_fixed(np.stack(_digits(np.arange(1000), 3), axis=1))
        hour, minute = np.divmod(np.arange(1440), 60)
        colon = np.full(1440, ord(":"), np.uint8)
        table = [*_digits(hour, 2), colon, *_digits(minute, 2), colon]
        self._minutes = pool.add_fixed(np.stack(table, axis=1).astype(np.uint8))

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
        whole = np.char.add(np.char.add(before, text), after)
        width = len(before) + text.dtype.itemsize + len(after)
        first = self._pool.add_fixed(whole.view(np.uint8).reshape(moments.size, width))
        return place + np.int32(first)


def _digits(numbers: NDArray[Any], width: int) -> list[NDArray[np.uint8]]:
    """ASCII digits of whole numbers, one array a place, the highest first."""
    powers = (10**place for place in reversed(range(width)))
    return [(numbers // power % 10 + ord("0")).astype(np.uint8) for power in powers]


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

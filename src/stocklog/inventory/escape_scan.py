"""Backslash escapes in JSON bodies, found for all bodies at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stocklog.inventory.scan import places

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stocklog.inventory.bodies import Bodies

__all__ = ["Escapes", "code_of", "escape_starts", "scan_escapes"]


_DIGITS = np.full(256, 0xFF, np.uint8)
_DIGITS[list(b"0123456789abcdef")] = range(16)
_DIGITS[list(b"ABCDEF")] = range(10, 16)


@dataclass(frozen=True)
class Escapes:
    r"""What a body's escapes stand for, as far as it matters for proving a row.

    Attributes:
        present: bool[n], there is an escape.
        quotes: int64[n], escaped quotes that stand in the bytes (`\\"`).
        colons: int64[n], colons written as `\\u003a`, which do not stand in the bytes.
        odd: bool[n], an escape names half of a surrogate pair alone.
    """

    present: NDArray[np.bool_]
    quotes: NDArray[np.int64]
    colons: NDArray[np.int64]
    odd: NDArray[np.bool_]


def scan_escapes(bodies: Bodies) -> Escapes:
    """Looks at every backslash of some bodies."""
    data, count = bodies.data, bodies.starts.size
    begin = escape_starts(places(bodies.lines, ord("\\")))
    row = np.searchsorted(bodies.starts, begin, side="right") - 1
    present = np.bincount(row, minlength=count) > 0
    after = data[begin + 1]
    quotes = np.bincount(row[after == ord('"')], minlength=count)
    unicode = after == ord("u")
    colons = np.zeros(count, np.int64)
    odd = np.zeros(count, np.bool_)
    if unicode.any():
        place, row = begin[unicode], row[unicode]
        code, _ = code_of(data, place + 2)
        colons = np.bincount(row[code == ord(":")], minlength=count)
        high, low = (code & 0xFC00) == 0xD800, (code & 0xFC00) == 0xDC00
        adjacent = place[1:] == place[:-1] + 6
        paired = np.zeros(place.size + 1, np.bool_)  # [i]: escapes i - 1 and i are one pair
        paired[1:-1] = adjacent & high[:-1] & low[1:]
        alone = (high & ~paired[1:]) | (low & ~paired[:-1])
        odd[row[alone]] = True
    return Escapes(present, quotes.astype(np.int64), colons.astype(np.int64), odd)


def escape_starts(backslashes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those backslashes that begin an escape: every second one of a run, from its first."""
    new_run = np.ones(backslashes.size, np.bool_)
    new_run[1:] = backslashes[1:] != backslashes[:-1] + 1
    if new_run.all():
        return backslashes
    number = np.arange(backslashes.size)
    first = np.maximum.accumulate(np.where(new_run, number, 0))
    starts: NDArray[np.int64] = backslashes[(number - first) % 2 == 0]
    return starts


def code_of(
    data: NDArray[np.uint8], place: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The numbers that four hexadecimal digits stand for, and whether they are such digits.

    Args:
        data: uint8, with three bytes behind each of the places.
        place: int64[n], where the first digits are.

    Returns:
        int64[n], senseless for other bytes, and bool[n].
    """
    four = np.ndarray((data.size - 3,), "<u4", buffer=data, strides=(1,))[place]
    digits = _DIGITS[four.view(np.uint8)].view("<u4")
    code = (digits & 0xF) << 12 | (digits & 0xF00) | (digits >> 12 & 0xF0) | (digits >> 24 & 0xF)
    return code.astype(np.int64), (digits & 0xF0F0F0F0) == 0

"""`"name":null` in a piece of JSON Lines: found by columns, each told apart by its name.

Most writers leave nothing out: what is absent they write as null. The quick reader's sums take
such a member for an unknown one, unless it is known how many there are, in which lines, and that
no line has one whose field it also gives a value.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stocklog.inventory.feeds.model import IntArray

__all__ = ["count_nulls"]

# Before the piece, so that 8 bytes can be looked at in front of every quote.
_ROOM = 32
_QUOTE, _COLON, _SPACE, _N = (np.uint8(ord(char)) for char in '": n')


def count_nulls(
    piece: bytes, frame: pl.DataFrame, starts: IntArray, absent: Sequence[str]
) -> int | None:
    """Count the members of a piece that are null.

    Args:
        piece: lines that Polars has read, so valid JSON, without a backslash or an array.
        frame: what it read, a row a line.
        starts: where each line begins in the piece.
        absent: names of columns with nulls.

    Returns:
        How many `"name":null` there are (one blank before null at most), or None if one has
        a name that is none of `absent`, stands twice in a line, or beside a value.
    """
    data = np.frombuffer(b" " * _ROOM + piece + b" " * 2, np.uint8)
    colons = np.flatnonzero(data == _COLON)
    after = data[colons + 1]
    null = after == _N
    null |= (after == _SPACE) & (data[colons + 2] == _N)
    null &= data[colons - 1] == _QUOTE
    quotes = colons[null] - 1
    if not len(quotes):
        return 0
    # A colon that begins a text is also behind a quote; no name ends in front of that one.
    rows = np.searchsorted(starts, quotes - _ROOM, side="right") - 1
    names = _names(data, quotes, absent)
    if names is None:
        return None
    seen = np.zeros((len(absent), len(starts)), bool)
    seen[names, rows] = True
    if np.count_nonzero(seen) != len(quotes):
        return None
    for name, lines in zip(absent, seen, strict=True):
        if (lines & frame[name].is_not_null().to_numpy()).any():
            return None
    return len(quotes)


def _names(
    data: NDArray[np.uint8], quotes: IntArray, names: Sequence[str]
) -> NDArray[np.intp] | None:
    """Which name stands in front of each closing quote; None if one has another."""
    words = np.ndarray((len(data) - 7,), np.uint64, data, strides=(1,))
    found = np.full(len(quotes), -1, np.intp)
    for number, name in enumerate(names):
        text = f'"{name}'.encode()
        here = np.ones(len(quotes), bool)
        # Eight bytes a time from the end; the last look overlaps the one before.
        for end in range(len(text), 0, -8):
            begin = max(0, end - 8)
            word, mask = _word(text[begin:end])
            here &= (words[quotes - (len(text) - end) - 8] & mask) == word
        found[here] = number
    return None if (found < 0).any() else found


def _word(text: bytes) -> tuple[np.uint64, np.uint64]:
    """Up to 8 bytes as the last ones of a word, and the mask that looks at no others."""
    padded = text.rjust(8, b"\0")
    mask = (b"\xff" * len(text)).rjust(8, b"\0")
    return np.frombuffer(padded, np.uint64)[0], np.frombuffer(mask, np.uint64)[0]

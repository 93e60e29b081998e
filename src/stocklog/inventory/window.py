"""Eight and sixteen bytes at once, numbers, times and texts at any places of a buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stocklog.inventory import timestamps, words

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LONGEST_TEXT", "TIME_LENGTH", "Window", "inline_view"]

#: Longest text in bytes that is taken; longer ones may be valid, the general way decides.
LONGEST_TEXT = 64

#: Characters of a time as `encode` writes it, `2026-01-05T08:00:05.599775Z`.
TIME_LENGTH = 27

_U = np.uint64
_LOW_HALF = _U(0xFFFFFFFF)
_NULL = _U(int.from_bytes(b"null", "little"))

# Which bytes of a short text stand in the two halves of its string view, by its length.
_VIEW_LOW = np.array(
    [((1 << 8 * min(n, 4)) - 1) << 32 for n in range(LONGEST_TEXT + 9)], dtype=np.uint64
)
_VIEW_HIGH = np.array(
    [(1 << 8 * min(max(n - 4, 0), 8)) - 1 for n in range(LONGEST_TEXT + 9)], dtype=np.uint64
)


def inline_view(
    low: NDArray[np.uint64],
    high: NDArray[np.uint64],
    start: NDArray[np.int64],
    length: NDArray[np.int64],
) -> NDArray[np.uint64]:
    """Arrow string views of texts.

    Args:
        low: uint64[n], in the upper half the text's first four bytes.
        high: uint64[n], the next eight bytes.
        start: int64[n], where the text begins in the views' one buffer.
        length: int64[n], its bytes, at most `LONGEST_TEXT` + 8.

    Returns:
        uint64[n, 2]: length and four bytes; then eight bytes, or buffer 0 and the start.
    """
    views = np.empty((start.size, 2), np.uint64)
    np.bitwise_or(low & _VIEW_LOW[length], length.view(np.uint64), out=views[:, 0])
    short = high & _VIEW_HIGH[length]
    views[:, 1] = np.where(length <= 12, short, start.view(np.uint64) << _U(32))
    return views


class Window:
    """Looks into a buffer.

    Args:
        data: uint8, with `words.PAD` bytes behind the last one of interest.
    """

    def __init__(self, data: NDArray[np.uint8]) -> None:
        self.data = data
        self._word = words.view64(data)
        self._pair = np.ndarray((data.size - 15,), "c16", buffer=data, strides=(1,))

    def pair(self, place: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Sixteen bytes from each place as two words, uint64[n, 2]."""
        return self._pair[place].view(np.uint64).reshape(place.size, 2)

    def word_at(self, place: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Eight bytes from each place."""
        return self._word[place]

    def null_at(self, place: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether `null` stands at each place."""
        null: NDArray[np.bool_] = (self.word_at(place) & _LOW_HALF) == _NULL
        return null

    def moment(self, start: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Times of `TIME_LENGTH` characters: microseconds since 1970, and bool[n]: it is one."""
        date, clock = self.pair(start), self.pair(start + 11)
        fraction = clock[:, 1]
        good: NDArray[np.bool_]
        good = (fraction & _U(0xFF000000000000FF)) == _U(0x5A0000000000002E)  # .……Z
        digits = ((fraction << _U(8)) & ~_U(0xFFFF)) | _U(0x3030)
        good &= words.all_digits(digits)
        seconds, fine = _seconds(date[:, 0], date[:, 1], clock[:, 0])
        good &= fine
        return seconds * 1_000_000 + words.eight_digits(digits), good

    def number(
        self, start: NDArray[np.int64], word: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Integers in canonical form of up to 15 characters, ended by a comma or a brace.

        Args:
            start: int64[n], where they begin.
            word: uint64[n], the eight bytes there.

        Returns:
            int64[n] values, int64[n] lengths, bool[n]: such an integer stands there.
        """
        length = _number_end(word)
        value, good = _short_number(word, length)
        long = np.flatnonzero(length == 8)
        if long.size:
            second = self.word_at(start[long] + 8)
            length[long] += _number_end(second)
            value[long], good[long] = _long_number(word[long], second, length[long])
        return value, length, good

    def number_of(
        self, start: NDArray[np.int64], length: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """As `number`, where their lengths are known.

        Args:
            start: int64[n], where they begin.
            length: int64[n], their characters, any number.

        Returns:
            int64[n] values, bool[n]: such an integer of that length stands there.
        """
        word = self.word_at(start)
        value, good = _short_number(word, length)
        long = np.flatnonzero((length >= 8) & (length < 16))
        if long.size:
            second = self.word_at(start[long] + 8)
            value[long], good[long] = _long_number(word[long], second, length[long])
        return value, good

    def scan(self, start: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bytes up to the first quote, 0 if there is none within `LONGEST_TEXT`."""
        length = words.first_byte(self.word_at(start), ord('"'))
        for done in range(8, LONGEST_TEXT + 1, 8):
            open_ = np.flatnonzero(length == done)
            if not open_.size:
                return length
            length[open_] += words.first_byte(self.word_at(start[open_] + done), ord('"'))
        length[length > LONGEST_TEXT] = 0
        return length

    def same_text(self, one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which pairs of string views into the bodies hold the same text."""
        same: NDArray[np.bool_] = one[:, 0] == other[:, 0]
        length = (one[:, 0] & _LOW_HALF).astype(np.int64)
        short = length <= 12
        same &= (one[:, 1] == other[:, 1]) | ~short
        rows = np.flatnonzero(same & ~short)
        here, there = ((views[rows, 1] >> _U(32)).astype(np.int64) for views in (one, other))
        for done in range(0, LONGEST_TEXT, 8):
            left = np.clip(length[rows] - done, 0, 8)
            differ = self.word_at(here + done) ^ self.word_at(there + done)
            same[rows] &= words.keep_bytes(differ, left) == 0
        return same


def _number_end(word: NDArray[np.uint64]) -> NDArray[np.int64]:
    return np.minimum(words.first_byte(word, ord(",")), words.first_byte(word, ord("}")))


def _short_number(
    word: NDArray[np.uint64], length: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Integers of up to 7 characters by the eight bytes where they begin; others are not good."""
    negative = (word & _U(0xFF)) == _U(ord("-"))
    width = length - negative
    tail = np.clip(length, 1, 8)
    digits = words.right_digits(np.where(negative, word ^ _U(0x2D ^ 0x30), word), tail)
    good = words.all_digits(digits) & (width >= 1) & (length < 8)
    first = np.where(negative, word >> _U(8), word) & _U(0xFF)
    good &= (first != _U(ord("0"))) | ((width == 1) & ~negative)
    value = words.eight_digits(digits)
    return np.where(negative, -value, value), good


def _long_number(
    word: NDArray[np.uint64], second: NDArray[np.uint64], length: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Integers of 8 to 15 characters by their first eight bytes and the next."""
    more = length - 8
    negative = (word & _U(0xFF)) == _U(ord("-"))
    upper = np.where(negative, word ^ _U(0x2D ^ 0x30), word)
    lower = words.right_digits(second, np.clip(more, 1, 8))
    lower = np.where(more == 0, words.word(b"00000000"), lower)
    first = np.where(negative, word >> _U(8), word) & _U(0xFF)
    good = words.all_digits(upper) & words.all_digits(lower)
    good &= (more < 8) & (first != _U(ord("0")))
    power = 10 ** np.minimum(more, 7)
    value = words.eight_digits(upper) * power + words.eight_digits(lower)
    return np.where(negative, -value, value), good


def _seconds(
    head: NDArray[np.uint64], middle: NDArray[np.uint64], clock: NDArray[np.uint64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Seconds since 1970, parsed only where they differ from the row before.

    Args:
        head: characters 0-7 of the times.
        middle: characters 8-15.
        clock: characters 11-18, `HH:MM:SS`.
    """
    changed = np.ones(head.size, np.bool_)
    changed[1:] = (clock[1:] != clock[:-1]) | (middle[1:] != middle[:-1]) | (head[1:] != head[:-1])
    rows = np.flatnonzero(changed)
    some = rows.size < head.size // 2
    if some:
        head, middle, clock = head[rows], middle[rows], clock[rows]
    seconds, good = timestamps.parse_prefix(head, middle, clock >> _U(40))
    good &= (middle & _U(0xFF0000)) == _U(0x540000)  # a capital T
    if some:
        place = np.cumsum(changed) - 1
        return seconds[place], good[place]
    return seconds, good

"""A cursor for each row that steps from value to value through JSON of a known form.

All rows take each step together. A row whose bytes are not what the step expects is
marked as not good and keeps stepping without meaning; every step moves at most some
eighty bytes, so that no cursor leaves the room behind the bodies (`words.PAD`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stocklog.inventory import timestamps, words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stocklog.inventory.bodies import Bodies
    from stocklog.inventory.vocabulary import Vocabulary

__all__ = ["LONGEST_TEXT", "Reader", "inline_view"]

#: Longest text in bytes that is taken; longer ones may be valid, the general way decides.
LONGEST_TEXT = 64

_U = np.uint64
_LOW_HALF = _U(0xFFFFFFFF)
_SAMPLE = 32
_GUESSES = 3

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


class Reader:
    """Steps through bodies.

    Args:
        bodies: the bodies; only those that begin with `head` are looked at.
        head: the first bytes of the form, up to the first value; 8 to 20.

    Attributes:
        rows: int64[m], numbers of the bodies that are looked at.
        at: int64[m], where each cursor stands: at the beginning of a value.
        good: bool[m], whether everything so far was as expected.
        views: by field, the texts read so far as uint64[m, 2] string views.
    """

    def __init__(self, bodies: Bodies, head: bytes) -> None:
        data = self.data = bodies.data
        self._word = words.view64(data)
        self._pair = np.ndarray((data.size - 15,), "c16", buffer=data, strides=(1,))
        first = self.pair(bodies.starts)
        likely = (first[:, 0] == words.word(head[:8])) & (
            (first[:, 1] & _mask(len(head) - 8)) == words.word(head[8:16].ljust(8, b"\0"))
        )
        self.rows = np.flatnonzero(likely)
        starts = bodies.starts[self.rows]
        self.ends = starts + bodies.lengths[self.rows]
        self.at = starts + len(head)
        self.good = np.ones(self.rows.size, np.bool_)
        self.views: dict[str, NDArray[np.uint64]] = {}
        # The separator before the cursor: its last four bytes are checked with the value.
        self._before = head

    def pair(self, place: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Sixteen bytes from each place as two words, uint64[n, 2]."""
        return self._pair[place].view(np.uint64).reshape(place.size, 2)

    def word_at(self, place: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Eight bytes from each place."""
        return self._word[place]

    def text(self, name: str, after: bytes) -> None:
        """Reads a text and the separator `after` behind it, which begins with its quote."""
        low, high = self._value()
        length = self._length(self.at, words.word(after[:8]), self.good)
        self._keep(name, low, high, length)
        self._step(length, after, checked=8)

    def last_text(self, name: str, ending: bytes) -> None:
        """Reads a text and leaves the cursor behind its quote.

        Args:
            name: the field.
            ending: what most rows end with, from that quote on.
        """
        low, high = self._value()
        start, good = self.at, self.good
        length = np.zeros(start.size, np.int64)
        rest = self.ends - start - len(ending)
        for guess in self._guesses(start):
            # Where the row ends right there, `ending` must be its end; quotes are counted later.
            length[rest == guess] = guess
        closing = self.word_at(self.ends - len(ending)) & _mask(min(len(ending), 8))
        length[closing != words.word(ending[:8].ljust(8, b"\0"))] = 0
        miss = np.flatnonzero((length == 0) & good)
        if miss.size:
            length[miss] = self.scan(start[miss])
        self._keep(name, low, high, length)
        self.at = start + length + 1

    def word(self, name: str, vocabulary: Vocabulary, after: bytes) -> NDArray[np.int64]:
        """Reads one of a few known words and `after`; returns the codes.

        Without `after` the cursor is left behind the quote.
        """
        low, high = self._value()
        code, found = vocabulary.find(low, high)
        self.good &= found
        self.views[name] = vocabulary.views[code].view(np.uint64).reshape(code.size, 2)
        if after:
            self._step(vocabulary.lengths[code], after, checked=0)
        else:  # `find` has seen the quote
            self.at = self.at + vocabulary.lengths[code] + 1
        return code

    def integer(self, after: bytes) -> NDArray[np.int64]:
        """Reads an integer and `after`, which has at most 20 bytes and begins with a comma.

        Without `after` the cursor is left behind the number.
        """
        pair = self.pair(self.at - 8)
        self.good &= pair[:, 0] == words.word(self._before[-8:])
        value, length, good = self.number(self.at, pair[:, 1].copy())
        self.good &= good
        end = self.at + length
        if after:
            behind = self.pair(end)
            text = after[:16].ljust(16, b"\0")
            self.good &= behind[:, 0] == words.word(text[:8])
            self.good &= (behind[:, 1] & _mask(len(after) - 8)) == words.word(text[8:])
        self.at = end + len(after)
        self._before = after
        return value

    def time(self, after: bytes) -> NDArray[np.int64]:
        """Reads a time of 27 characters and `after`; returns microseconds since 1970.

        Without `after` the cursor is left behind the quote.
        """
        start = self.at
        date, clock = self.pair(start), self.pair(start + 11)
        head, middle = date[:, 0], date[:, 1]
        second, fraction = clock[:, 0], clock[:, 1]
        self.good &= (fraction & _U(0xFF000000000000FF)) == _U(0x5A0000000000002E)  # .……Z
        digits = ((fraction << _U(8)) & ~_U(0xFFFF)) | _U(0x3030)
        self.good &= words.all_digits(digits)
        seconds, good = _seconds(head, middle, second)
        self.good &= good
        if self._before[:1] == b'"' or len(self._before) > 16:  # `integer` has checked 16
            before = self.word_at(start - 4) & _LOW_HALF
            self.good &= before == _U(int.from_bytes(self._before[-4:], "little"))
        if after:
            self._step(np.full(start.size, 27), after, checked=0)
        else:
            self.at = start + 28
            self.good &= self.data[start + 27] == ord('"')
        return seconds * 1_000_000 + words.eight_digits(digits)

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
        negative = (word & _U(0xFF)) == _U(ord("-"))
        width = length - negative
        tail = np.clip(length, 1, 8)
        digits = words.right_digits(np.where(negative, word ^ _U(0x2D ^ 0x30), word), tail)
        good = words.all_digits(digits) & (width >= 1) & (length < 8)
        first = np.where(negative, word >> _U(8), word) & _U(0xFF)
        good &= (first != _U(ord("0"))) | ((width == 1) & ~negative)
        value = words.eight_digits(digits)
        value = np.where(negative, -value, value)
        long = np.flatnonzero(length == 8)
        if long.size:
            value[long], length[long], good[long] = self._long_number(start[long], word[long])
        return value, length, good

    def _long_number(
        self, start: NDArray[np.int64], word: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """As `number`, for those of 8 to 15 characters."""
        second = self.word_at(start + 8)
        more = _number_end(second)
        negative = (word & _U(0xFF)) == _U(ord("-"))
        upper = np.where(negative, word ^ _U(0x2D ^ 0x30), word)
        lower = words.right_digits(second, np.clip(more, 1, 8))
        lower = np.where(more == 0, words.word(b"00000000"), lower)
        first = np.where(negative, word >> _U(8), word) & _U(0xFF)
        good = words.all_digits(upper) & words.all_digits(lower)
        good &= (more < 8) & (first != _U(ord("0")))
        power = 10 ** np.minimum(more, 7)
        value = words.eight_digits(upper) * power + words.eight_digits(lower)
        return np.where(negative, -value, value), 8 + more, good

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

    def _value(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """The bytes around the cursor; checks the last four of the separator before it."""
        pair = self.pair(self.at - 4)
        low, high = pair[:, 0], pair[:, 1]
        self.good &= (low & _LOW_HALF) == _U(int.from_bytes(self._before[-4:], "little"))
        return low, high

    def _keep(
        self,
        name: str,
        low: NDArray[np.uint64],
        high: NDArray[np.uint64],
        length: NDArray[np.int64],
    ) -> None:
        self.good &= (length > 0) & (length <= LONGEST_TEXT)
        self.views[name] = inline_view(low, high, self.at, length)

    def _step(self, length: NDArray[np.int64], after: bytes, *, checked: int) -> None:
        """Moves behind `after`, checking all of it but the last four bytes (`_value` does)."""
        end = self.at + length
        if not checked:
            self.good &= self.word_at(end) == words.word(after[:8])
        if len(after) > 12:
            self.good &= self.word_at(end + (len(after) - 12)) == words.word(after[-12:-4])
        self.at = end + len(after)
        self._before = after

    def _length(
        self, start: NDArray[np.int64], after: np.uint64, good: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Lengths of texts that end where `after` stands, 0 where none was found."""
        length = np.zeros(start.size, np.int64)
        miss = np.arange(0)
        for turn, guess in enumerate(self._guesses(start)):
            if turn == 0:
                hit = self.word_at(start + guess) == after
                length[hit] = guess
                miss = np.flatnonzero(~hit & good)
            elif miss.size:
                hit = self.word_at(start[miss] + guess) == after
                length[miss[hit]] = guess
                miss = miss[~hit]
        if miss.size:
            found = self.scan(start[miss])
            found[self.word_at(start[miss] + found) != after] = 0
            length[miss] = found
        return length

    def _guesses(self, start: NDArray[np.int64]) -> list[int]:
        """The commonest lengths of the texts in the first rows."""
        counts = np.bincount(self.scan(start[:_SAMPLE]))
        return [int(n) for n in np.argsort(-counts, kind="stable")[:_GUESSES] if counts[n]]


def _mask(count: int) -> np.uint64:
    """The first `count` bytes of a word; all eight if there are more."""
    return _U((1 << 8 * min(count, 8)) - 1)


def _number_end(word: NDArray[np.uint64]) -> NDArray[np.int64]:
    return np.minimum(words.first_byte(word, ord(",")), words.first_byte(word, ord("}")))


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

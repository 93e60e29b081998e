"""A cursor for each row that steps from value to value through JSON of a known form.

All rows take each step together. A row whose bytes are not what the step expects is
marked as not good and keeps stepping without meaning; every step moves at most some
eighty bytes, so that no cursor leaves the room behind the bodies (`words.PAD`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stocklog.inventory import words
from stocklog.inventory.window import LONGEST_TEXT, TIME_LENGTH, Window, inline_view

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stocklog.inventory.bodies import Bodies
    from stocklog.inventory.vocabulary import Vocabulary

__all__ = ["Reader"]

_U = np.uint64
_LOW_HALF = _U(0xFFFFFFFF)
_SAMPLE = 32
_GUESSES = 3


class Reader(Window):
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
        super().__init__(bodies.data)
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
        micros, good = self.moment(start)
        self.good &= good
        if self._before[:1] == b'"' or len(self._before) > 16:  # `integer` has checked 16
            before = self.word_at(start - 4) & _LOW_HALF
            self.good &= before == _U(int.from_bytes(self._before[-4:], "little"))
        if after:
            self._step(np.full(start.size, TIME_LENGTH), after, checked=0)
        else:
            self.at = start + TIME_LENGTH + 1
            self.good &= self.data[start + TIME_LENGTH] == ord('"')
        return micros

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

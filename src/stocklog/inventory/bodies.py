"""Bodies from anywhere in a buffer, gathered one behind the other.

All ways of decoding read the gathered form: nothing stands between the bodies but
blanks, so that a byte can be looked for in all of them at once, and there is room
behind the last, so that eight bytes can be read from any position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stocklog.errors import UsageError
from stocklog.inventory.pieces import taken
from stocklog.inventory.words import PAD, places_of, view64

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Bodies", "gather"]

_WORD = 8
_BLANKS = np.uint64(0x2020202020202020)


@dataclass(frozen=True)
class Bodies:
    """n bodies, each with a blank behind it, or a few.

    Attributes:
        data: uint8; `PAD` zero bytes follow the last blank.
        starts: int64[n], where each body begins in `data`; rising.
        lengths: int64[n], bytes of each body without its blank.
    """

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @property
    def lines(self) -> NDArray[np.uint8]:
        """The bodies and their blanks, without the room behind."""
        return self.data[: self.data.size - PAD]

    def body(self, row: int) -> bytes:
        """One body."""
        start = int(self.starts[row])
        return self.data[start : start + int(self.lengths[row])].tobytes()

    def select(self, rows: NDArray[np.int64]) -> Bodies:
        """The bodies of some rows, in the order given, gathered anew."""
        if rows.size == self.starts.size:
            return self
        return gather(self.data, self.starts[rows], self.lengths[rows])

    def count(self, byte: int) -> NDArray[np.int64]:
        """How often a byte other than the blank stands in each body, int64[n]."""
        return self.sum(self.data == byte)

    def sum(self, marks: NDArray[np.bool_]) -> NDArray[np.int64]:
        """How many bytes of each body are marked, int64[n].

        Args:
            marks: bool, as long as `lines` or `data`; False between the bodies.
        """
        marks = marks[: self.data.size - PAD]
        if np.count_nonzero(marks) > 4 * self.starts.size:
            return np.add.reduceat(marks.view(np.uint8), self.starts, dtype=np.int64)
        found = places_of(marks)
        line = np.searchsorted(self.starts, found, side="right") - 1
        return np.bincount(line, minlength=self.starts.size).astype(np.int64)

    def utf8(self) -> NDArray[np.bool_]:
        """Which bodies are UTF-8, bool[n]."""
        good = np.ones(self.starts.size, np.bool_)
        try:
            str(self.lines.data, "utf-8")
        except UnicodeDecodeError:
            for row in np.flatnonzero(self.sum(self.data >= 0x80)).tolist():
                try:
                    self.body(row).decode()
                except UnicodeDecodeError:
                    good[row] = False
        return good


def gather(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> Bodies:
    """Copies bodies out of a buffer.

    Args:
        buffer: uint8; only read.
        starts: int64[n], where the bodies begin, in any order; they may overlap.
        lengths: int64[n], their bytes.

    Raises:
        UsageError: the arrays differ in length, or a body lies outside the buffer.
    """
    count = starts.size
    if lengths.size != count:
        raise UsageError(f"{count} starts but {lengths.size} lengths", "Give one length per start")
    if not count:
        return Bodies(np.zeros(PAD, np.uint8), np.zeros(0, np.int64), np.zeros(0, np.int64))
    ends = starts + lengths
    low, high = int(starts.min()), int(ends.max())
    if low < 0 or high > buffer.size or int(lengths.min()) < 0:
        raise UsageError(
            f"a body lies outside the buffer of {buffer.size} bytes",
            "Check starts and lengths",
        )
    gaps = starts[1:] - ends[:-1]
    if count > 1 and int(gaps.min()) >= _WORD and int(gaps.max()) <= 2 * _WORD:
        return _neighbours(buffer[low:high], starts - low, lengths.astype(np.int64))
    if buffer.size <= PAD or int(ends[:-1].max(initial=0)) == buffer.size:
        buffer = np.concatenate([buffer, np.zeros(PAD + 1, np.uint8)])
    # Every second piece is a body and the byte behind it, which becomes its blank. Behind the last
    # one there may be none: its blank is, like the room behind, a copy of any bytes.
    borders = np.empty(2 * count + 3, np.int64)
    borders[0 : 2 * count : 2] = starts
    np.add(ends, 1, out=borders[1 : 2 * count : 2])
    borders[2 * count - 1 :] = ends[-1], 0, PAD + 1, 0
    index = np.arange(0, 2 * count + 1, 2, dtype=np.int32)
    data, offsets = taken(buffer, borders, index, int(lengths.sum()) + count + PAD)
    places = offsets[:count].copy()
    data[places + lengths] = ord(" ")
    data[data.size - PAD :] = 0
    return Bodies(data, places, lengths.astype(np.int64))


def _neighbours(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> Bodies:
    """Copies bodies that lie behind each other with one or two words of bytes between them.

    As messages of a chunk do that consist of a body. What lies between becomes blanks: a word
    behind each body, and a word before the next.
    """
    data = np.empty(buffer.size + 1 + PAD, np.uint8)
    data[: buffer.size] = buffer
    data[buffer.size] = ord(" ")
    data[buffer.size + 1 :] = 0
    words = view64(data)
    words[(starts + lengths)[:-1]] = _BLANKS
    words[starts[1:] - _WORD] = _BLANKS
    return Bodies(data, starts, lengths)

"""A few known words, recognised in a column of bytes by one multiplication a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Vocabulary"]

_BITS = 6  # places in the table: 64


class Vocabulary:
    """Up to 16 words of 4 to 11 ASCII characters that differ in their first four.

    Args:
        members: the words; their codes are their places.

    Attributes:
        views: complex128[k] whose 16 bytes are each word as an Arrow string view.
        lengths: int64[k], bytes of each word.
    """

    def __init__(self, members: tuple[str, ...]) -> None:
        texts = [word.encode() for word in members]
        self._members = members
        self.lengths = np.array([len(text) for text in texts], np.int64)
        heads = np.array([int.from_bytes(text[:4], "little") for text in texts], np.uint64)
        self._factor = _perfect_factor(heads)
        self._code = np.zeros(1 << _BITS, np.int64)
        self._code[self._hash(heads)] = np.arange(len(texts))
        # The word and its closing quote: the four first bytes in the upper half of `low`.
        closed = [(text + b'"') for text in texts]
        self._low = np.array([int.from_bytes(text[:4], "little") << 32 for text in closed], "u8")
        self._high = np.array([int.from_bytes(text[4:12], "little") for text in closed], "u8")
        self._mask = np.array([(1 << 8 * len(text[4:12])) - 1 for text in closed], "u8")
        views = b"".join(len(text).to_bytes(4, "little") + text.ljust(12, b"\0") for text in texts)
        self.views = np.frombuffer(views, np.complex128)

    def code(self, word: str) -> int:
        """The code of a word."""
        return self._members.index(word)

    def find(
        self, low: NDArray[np.uint64], high: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Recognises words with a quote behind them.

        Args:
            low: uint64[n], in the upper half the first four bytes of each text.
            high: uint64[n], the eight bytes after them.

        Returns:
            int64[n] codes, and bool[n]: it is that word; the code is senseless elsewhere.
        """
        head = low >> np.uint64(32)
        code = self._code[self._hash(head)]
        found = (low & np.uint64(0xFFFFFFFF00000000)) == self._low[code]
        found &= (high & self._mask[code]) == self._high[code]
        return code, found

    def _hash(self, heads: NDArray[np.uint64]) -> NDArray[np.int64]:
        mixed = (heads * self._factor) & np.uint64(0xFFFFFFFF)
        return (mixed >> np.uint64(32 - _BITS)).astype(np.int64)


def _perfect_factor(heads: NDArray[np.uint64]) -> np.uint64:
    """An odd factor under which no two heads fall on one place of the table."""
    for factor in range(0x9E3779B1, 0x9E3779B1 + 200_000, 2):
        mixed = (heads * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
        if np.unique(mixed >> np.uint64(32 - _BITS)).size == heads.size:
            return np.uint64(factor)
    raise AssertionError("no factor separates the words")

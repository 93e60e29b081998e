"""A Bloom filter for sorted hashes: one that says "certainly not" at little cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]
    U64: TypeAlias = NDArray[np.uint64]

__all__ = ["HASH_BITS", "Filter"]

HASH_BITS = 40
"""Bits of a hash."""

_LARGEST = 36
# 2**64 / golden ratio: neighbours among the hashes get bits that have nothing to do with
# each other.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_SIX, _TWELVE_BITS = np.uint64(63), np.uint64(4095)
_NUMBERS = np.arange(4096, dtype=np.uint64)
_TWO_BITS = (np.uint64(1) << (_NUMBERS & _SIX)) | (np.uint64(1) << (_NUMBERS >> np.uint64(6)))


class Filter:
    """A Bloom filter whose bits of one hash lie in one 64-bit word; words go by the hash.

    Args:
        capacity: how many hashes it is made for, at 16 to 32 bits each.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._count = 0
        bits = min(_LARGEST, max(10, (capacity // 4 - 1).bit_length()))
        self._shift = np.uint64(HASH_BITS - bits)
        self._words = np.zeros(1 << bits, np.uint64)

    @property
    def is_full(self) -> bool:
        """Whether more would make it dull."""
        return self._count >= self.capacity

    def add(self, hashes: U64) -> None:
        """Take in hashes.

        Args:
            hashes: uint64[n] of `HASH_BITS`, rising, at least one.
        """
        self._count += len(hashes)
        places = self._places(hashes)
        starts = np.flatnonzero(np.diff(places, prepend=-1))
        # Each word once: numbers of equal places lie side by side.
        self._words[places[starts]] |= np.bitwise_or.reduceat(_masks(hashes), starts)

    def contains(self, hashes: U64) -> NDArray[np.bool_]:
        """Which hashes may be in it; those that are not are certainly not.

        Args:
            hashes: uint64[n] of `HASH_BITS`; fastest if they rise.
        """
        masks = _masks(hashes)
        found: NDArray[np.bool_] = (self._words[self._places(hashes)] & masks) == masks
        return found

    def _places(self, hashes: U64) -> I64:
        return (hashes >> self._shift).view(np.int64)


def _masks(hashes: U64) -> U64:
    """Six bits of 64 for each."""
    mixed = hashes * _GOLDEN
    masks: U64 = _TWO_BITS[mixed >> np.uint64(52)]
    masks |= _TWO_BITS[(mixed >> np.uint64(40)) & _TWELVE_BITS]
    masks |= _TWO_BITS[(mixed >> np.uint64(28)) & _TWELVE_BITS]
    return masks

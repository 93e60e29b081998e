"""Arithmetic on eight bytes at a time: how text is read without a loop over rows.

A "word" is eight consecutive bytes of a buffer as one little-endian uint64, so
that the first byte is the lowest. All functions work on whole arrays of words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

__all__ = [
    "PAD",
    "all_digits",
    "eight_digits",
    "first_byte",
    "keep_bytes",
    "left_digits",
    "places_of",
    "right_digits",
    "text_bytes",
    "view64",
    "word",
]

#: Bytes that must be readable after the last byte of interest.
PAD = 1024

_U = np.uint64
_ZEROS = _U(0x3030303030303030)
_ONES = _U(0x0101010101010101)
_HIGHS = _U(0x8080808080808080)
_NIBBLES = _U(0xF0F0F0F0F0F0F0F0)
_SIXES = _U(0x0606060606060606)
_NUMBERS = _U(0x0001020304050607)
_BITS = np.array([_U((1 << 8 * n) - 1) for n in range(9)], dtype=np.uint64)


def places_of(marks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """As `np.flatnonzero`, sooner where few are marked.

    Args:
        marks: bool[m], contiguous.
    """
    whole = marks.size & ~7
    eights = marks[:whole].view(np.uint64)
    at = np.flatnonzero(eights != 0)
    found = eights[at]
    at <<= 3
    places: NDArray[np.int64] = at
    if np.count_nonzero(found.view(np.bool_)) == at.size:
        # One in each word: a product moves its number to the word's last byte.
        places += ((found * _NUMBERS) >> _U(56)).view(np.int64)
    else:
        inner = np.flatnonzero(found.view(np.bool_))
        places = at[inner >> 3] + (inner & 7)
    if whole < marks.size:
        places = np.concatenate([places, whole + np.flatnonzero(marks[whole:])])
    return places


def view64(data: NDArray[np.uint8]) -> Words:
    """Every word of a buffer: element i is the word that begins at byte i.

    Args:
        data: uint8[m], contiguous, m >= 8. The view shares its memory.

    Returns:
        uint64[m - 7] with a stride of one byte.
    """
    return np.ndarray((data.size - 7,), np.dtype("<u8"), buffer=data, strides=(1,))


def word(text: bytes) -> np.uint64:
    """The word of exactly eight bytes, as a constant to compare with."""
    return _U(int.from_bytes(text, "little"))


def first_byte(words: Words, byte: int) -> NDArray[np.int64]:
    """Position (0-7) of the first occurrence of a byte in each word, 8 where absent."""
    differs = words ^ (_U(byte) * _ONES)
    # The classic zero-byte test: exact for the lowest match, which is all we ask.
    match = (differs - _ONES) & ~differs & _HIGHS
    below = np.bitwise_count(~match & (match - _U(1)))
    return (below >> 3).astype(np.int64)


def keep_bytes(words: Words, count: NDArray[np.int64]) -> Words:
    """The first `count` (0-8) bytes of each word, zeros after them."""
    return words & _BITS[count]


def all_digits(words: Words) -> NDArray[np.bool_]:
    """Which words are eight ASCII digits."""
    good: NDArray[np.bool_] = (words & _NIBBLES) == _ZEROS
    good &= ((words + _SIXES) & _NIBBLES) == _ZEROS
    return good


def eight_digits(words: Words) -> NDArray[np.int64]:
    """The numbers that eight ASCII digits stand for (garbage for other words)."""
    value = words - _ZEROS
    value = value * _U(10) + (value >> _U(8))
    low = (value & _U(0x000000FF000000FF)) * _U(0x000F424000000064)
    high = ((value >> _U(16)) & _U(0x000000FF000000FF)) * _U(0x0000271000000001)
    return ((low + high) >> _U(32)).astype(np.int64)


def left_digits(words: Words, count: NDArray[np.int64]) -> Words:
    """The first `count` (0-8) bytes followed by ASCII zeros: digits after a point."""
    mask = _BITS[count]
    return (words & mask) | (_ZEROS & ~mask)


def right_digits(words: Words, count: NDArray[np.int64]) -> Words:
    """The first `count` (1-8) bytes behind ASCII zeros: digits of a whole number."""
    shift = ((8 - count) * 8).astype(np.uint64)
    return (words << shift) | (_ZEROS & _BITS[8 - count])


def text_bytes(
    texts: Any,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Bytes of a Polars String series.

    Args:
        texts: a Polars String series of n texts; nulls have length 0.

    Returns:
        uint8 data with at least `PAD` readable bytes after the last text, int64[n]
        starts, int64[n] lengths in bytes.
    """
    import polars as pl

    plain = texts.fill_null("").rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    offsets = np.frombuffer(plain.buffers()[1], np.int64)[: len(plain) + 1 + plain.offset]
    offsets = offsets[plain.offset :]
    source = plain.buffers()[2]
    size = int(offsets[-1]) if offsets.size else 0
    data = np.zeros(size + PAD, np.uint8)
    if size:
        data[:size] = np.frombuffer(source, np.uint8)[:size]
    return data, offsets[:-1].copy(), np.diff(offsets)

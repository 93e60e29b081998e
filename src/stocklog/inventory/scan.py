"""Looks for bytes in all bodies of a block, a tile at a time.

A block is larger than a processor's cache, and a look for one byte takes several steps, each of
which would fetch all of it again. A tile stays in the cache from the first step to the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from stocklog.inventory.words import places_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    U8 = NDArray[np.uint8]
    I64 = NDArray[np.int64]

__all__ = ["name_ends", "occurrences", "places"]

_TILE = 1 << 18


def occurrences(lines: U8, byte: int) -> int:
    """How often a byte stands in some bytes.

    Args:
        lines: uint8.
        byte: which.
    """
    return sum(int(np.count_nonzero(tile == byte)) for _, tile in _tiles(lines))


def places(lines: U8, byte: int) -> I64:
    """Where a byte stands in some bytes, int64, rising.

    Args:
        lines: uint8.
        byte: which.
    """
    return _joined([places_of(tile == byte) + first for first, tile in _tiles(lines)])


def name_ends(lines: U8) -> tuple[I64, int]:
    """Where quotes stand with a colon behind them, and how many quotes there are.

    Args:
        lines: uint8; the last one is no quote.

    Returns:
        int64, rising; the number of all quotes.
    """
    found, quotes = [], 0
    for first, tile in _tiles(lines, overlap=1):
        marks = tile[:-1] == ord('"')
        quotes += int(np.count_nonzero(marks))
        marks &= tile[1:] == ord(":")
        found.append(places_of(marks) + first)
    return _joined(found), quotes


def _tiles(lines: U8, overlap: int = 0) -> Iterator[tuple[int, U8]]:
    """Each tile with its place; `overlap` bytes of it are the next one's first."""
    for first in range(0, lines.size - overlap, _TILE):
        yield first, lines[first : first + _TILE + overlap]


def _joined(found: list[I64]) -> I64:
    return np.concatenate(found) if found else np.zeros(0, np.int64)

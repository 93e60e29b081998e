r"""Escapes in the bodies of flat JSON objects, resolved: the same objects without them.

Escapes that stand for a quote, a backslash or a control character, and halves of surrogate
pairs, are left as they are, and so are those that would mean something outside of a text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stocklog.inventory.bodies import Bodies
from stocklog.inventory.escape_scan import code_of, escape_starts
from stocklog.inventory.pieces import taken

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64 = NDArray[np.int64]
    Truths = NDArray[np.bool_]

__all__ = ["unescaped"]

_BACKSLASH = ord("\\")
_HEX = np.zeros(256, np.bool_)
_HEX[list(b"0123456789abcdefABCDEF")] = True
# Characters that may take an escape's place wherever it stands: outside of a text and of a name
# no JSON is valid that has them, and these need not be told from those inside.
_SAFE = np.ones(1 << 16, np.bool_)
_SAFE[: ord(" ")] = False
_SAFE[list(b'"\\ {}:,-0123456789nul')] = False
_SAFE[0xD800:0xE000] = False
_WIDTH = np.ones(1 << 16, np.int64)
_WIDTH[0x80:] = 2
_WIDTH[0x800:] = 3


def unescaped(bodies: Bodies) -> tuple[Bodies, Truths]:
    """Resolve the escapes of some bodies.

    Returns:
        The bodies without the escapes that can be resolved here, and bool[n]: without any. The
        others are changed too far to be of use.
    """
    places = escape_starts(np.flatnonzero(bodies.lines == _BACKSLASH))
    if not places.size:
        return bodies, np.ones(bodies.starts.size, np.bool_)
    codes, sizes, fine = _read(bodies.data, places)
    row = np.searchsorted(bodies.starts, places, side="right") - 1
    good = np.bincount(row, ~fine, bodies.starts.size) == 0
    if not fine.all():
        places, codes, sizes, row = places[fine], codes[fine], sizes[fine], row[fine]
    return _without(bodies, places, codes, sizes, row), good


def _read(data: NDArray[np.uint8], places: I64) -> tuple[I64, I64, Truths]:
    """The characters that some escapes stand for, the escapes' bytes, and which are resolved."""
    after = data[places + 1]
    codes = after.astype(np.int64)
    sizes = np.full(places.size, 2, np.int64)
    fine: Truths = after == ord("/")
    long = np.flatnonzero(after == ord("u"))
    if long.size:
        begin = places[long] + 2
        codes[long] = code = code_of(data, begin) & 0xFFFF
        sizes[long] = 6
        good = _SAFE[code]
        for digit in range(4):
            good &= _HEX[data[begin + digit]]
        fine[long] = good
    return codes, sizes, fine


def _without(bodies: Bodies, places: I64, codes: I64, sizes: I64, row: I64) -> Bodies:
    """The bodies with characters instead of escapes."""
    # Twice the room: see `taken`.
    size = bodies.data.size
    data = np.empty(2 * size, np.uint8)
    data[:size] = bodies.data
    width = _WIDTH[codes]
    # Each character stands at the end of its escape; what is left before it is cut out.
    _put(data, places + sizes - 1, codes, width)
    borders = np.empty(2 * places.size + 3, np.int64)
    borders[0], borders[-2] = 0, size
    borders[1:-2:2] = places
    borders[2:-2:2] = places + sizes - width
    index = np.arange(0, 2 * places.size + 1, 2, dtype=np.int32)
    kept, _ = taken(data, borders, index, size)
    cut = np.bincount(row, sizes - width, bodies.starts.size).astype(np.int64)
    return Bodies(kept, bodies.starts - (np.cumsum(cut) - cut), bodies.lengths - cut)


def _put(data: NDArray[np.uint8], last: I64, codes: I64, width: I64) -> None:
    """Write characters as UTF-8 that ends at some places."""
    data[last] = np.where(width == 1, codes, 0x80 | (codes & 0x3F))
    for before, lead in ((1, 0xC0), (2, 0xE0)):
        rows = np.flatnonzero(width > before)
        part = codes[rows] >> 6 * before
        is_first = width[rows] == before + 1
        data[last[rows] - before] = np.where(is_first, lead | part, 0x80 | (part & 0x3F))

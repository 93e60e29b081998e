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
from stocklog.inventory.scan import places

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64 = NDArray[np.int64]
    Truths = NDArray[np.bool_]

__all__ = ["unescaped"]

_BACKSLASH = ord("\\")
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
    good = np.ones(bodies.starts.size, np.bool_)
    begin = escape_starts(places(bodies.lines, _BACKSLASH))
    codes, sizes, fine = _read(bodies.data, begin)
    if not fine.all():
        good[np.searchsorted(bodies.starts, begin[~fine], side="right") - 1] = False
        begin, codes, sizes = begin[fine], codes[fine], sizes[fine]
    return _without(bodies, begin, codes, sizes) if begin.size else bodies, good


def _read(data: NDArray[np.uint8], begin: I64) -> tuple[I64, I64, Truths]:
    """The characters that some escapes stand for, the escapes' bytes, and which are resolved."""
    after = data[begin + 1]
    codes = after.astype(np.int64)
    sizes = np.full(begin.size, 2, np.int64)
    fine: Truths = after == ord("/")
    long = np.flatnonzero(after == ord("u"))
    if long.size:
        code, good = code_of(data, begin[long] + 2)
        code &= 0xFFFF
        codes[long] = code
        sizes[long] = 6
        fine[long] = good & _SAFE[code]
    return codes, sizes, fine


def _without(bodies: Bodies, begin: I64, codes: I64, sizes: I64) -> Bodies:
    """The bodies with characters instead of escapes."""
    data, widths = bodies.data, _WIDTH[codes]
    # An escape's first bytes stay, as many as its character has, and are written over.
    borders = np.empty(2 * begin.size + 3, np.int64)
    borders[0], borders[-2] = 0, data.size
    np.add(begin, widths, out=borders[1:-2:2])
    np.add(begin, sizes, out=borders[2:-2:2])
    index = np.arange(0, 2 * begin.size + 1, 2, dtype=np.int32)
    kept, _ = taken(data, borders, index, data.size)
    cut = np.zeros(begin.size + 1, np.int64)
    np.cumsum(sizes - widths, out=cut[1:])
    _put(kept, begin - cut[:-1], codes, widths)
    before = cut[np.searchsorted(begin, bodies.starts)]
    inside = np.diff(before, append=cut[-1])
    return Bodies(kept, bodies.starts - before, bodies.lengths - inside)


def _put(data: NDArray[np.uint8], first: I64, codes: I64, widths: I64) -> None:
    """Write characters as UTF-8 that begins at some places."""
    data[first] = codes
    long = np.flatnonzero(widths > 1)
    if not long.size:
        return
    first, codes, widths = first[long], codes[long], widths[long]
    data[first] = np.where(widths == 2, 0xC0 | codes >> 6, 0xE0 | codes >> 12)
    data[first + widths - 1] = 0x80 | (codes & 0x3F)
    longest = np.flatnonzero(widths == 3)
    data[first[longest] + 1] = 0x80 | (codes[longest] >> 6 & 0x3F)

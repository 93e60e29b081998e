r"""Escapes in the texts of flat JSON objects, resolved without rewriting the objects.

Only texts that have escapes are copied, to the end of the bytes. Escapes that stand for a quote,
a backslash or a control character, and halves of surrogate pairs, are left to the general way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stocklog.inventory.escape_scan import code_of, escape_starts
from stocklog.inventory.words import PAD

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stocklog.inventory.bodies import Bodies
    from stocklog.inventory.members import Members

    I64 = NDArray[np.int64]
    Truths = NDArray[np.bool_]

__all__ = ["Escaped", "find_escapes"]

_HEX = np.zeros(256, np.bool_)
_HEX[list(b"0123456789abcdefABCDEF")] = True


@dataclass(frozen=True, slots=True)
class Escaped:
    """Escapes that stand for one character that may stand in a text as it is.

    Attributes:
        plain: bool[n], which bodies have no other escapes.
        places: int64[k], their backslashes.
        codes: int64[k], the characters.
        sizes: int64[k], bytes of each escape, 2 or 6.
    """

    plain: Truths
    places: I64
    codes: I64
    sizes: I64

    def resolve(self, bodies: Bodies, members: Members) -> tuple[NDArray[np.uint8], Truths]:
        """Copy the texts that have escapes, and move their members' places to the copies.

        Args:
            bodies: the bodies.
            members: of those that are `plain`; starts and lengths are changed.

        Returns:
            The bytes with the copies behind them, and bool[m]: all escapes of the body lie in
            the texts of its members.
        """
        row = np.searchsorted(bodies.starts[members.rows], self.places, side="right") - 1
        # In a good body a text ends at its quote, which no escape reaches over.
        its = np.flatnonzero((row >= 0) & members.good[row])
        number = members.member_at(self.places[its])
        outside = np.bincount(row[its], number < 0, members.rows.size) > 0
        its = its[number >= 0]
        number = number[number >= 0]
        return self._copied(bodies.data, members, its, number), ~outside

    def _copied(
        self, data: NDArray[np.uint8], members: Members, its: I64, number: I64
    ) -> NDArray[np.uint8]:
        # They come in the order of the bodies, so those of one text lie side by side.
        is_new = np.diff(number, prepend=-1) != 0
        texts, which = number[is_new], np.cumsum(is_new) - 1
        starts, lengths = members.starts[texts], members.lengths[texts]
        begins = np.cumsum(lengths) - lengths
        total = int(lengths.sum())
        copies = data[np.repeat(starts - begins, lengths) + np.arange(total)]
        stays = np.ones(total, np.bool_)
        at = self.places[its] - starts[which] + begins[which]
        _put(copies, stays, at, self.codes[its], self.sizes[its])
        left = np.add.reduceat(stays, begins, dtype=np.int64) if total else lengths
        end = data.size - PAD
        members.starts[texts] = end + np.cumsum(left) - left
        members.lengths[texts] = left
        return np.concatenate([data[:end], copies[stays], np.zeros(PAD, np.uint8)])


def find_escapes(bodies: Bodies) -> Escaped:
    """Look at every backslash of some bodies, one of which has one at least."""
    data, count = bodies.data, bodies.starts.size
    places = escape_starts(np.flatnonzero(bodies.lines == ord("\\")))
    after = data[places + 1]
    codes = after.astype(np.int64)
    unicode = after == ord("u")
    plain = (after == ord("/")) | unicode
    begin = places[unicode] + 2
    if begin.size:
        codes[unicode] = code = code_of(data, begin)
        fine = (code >= ord(" ")) & (code != ord('"')) & (code != ord("\\"))
        fine &= (code & 0xF800) != 0xD800
        for digit in range(4):
            fine &= _HEX[data[begin + digit]]
        plain[unicode] = fine
    row = np.searchsorted(bodies.starts, places, side="right") - 1
    good = np.bincount(row, ~plain, count) == 0
    its = good[row]
    return Escaped(good, places[its], codes[its], np.where(unicode, 6, 2)[its])


def _put(copies: NDArray[np.uint8], stays: Truths, at: I64, codes: I64, sizes: I64) -> None:
    """Write characters as UTF-8 over their escapes, and mark what of these is too much."""
    width = 1 + (codes >= 0x80) + (codes >= 0x800)
    lead = np.array([0, 0, 0xC0, 0xE0])[width]
    for place in range(3):
        rows = np.flatnonzero(width > place)
        shift = 6 * (width[rows] - 1 - place)
        part = codes[rows] >> shift
        bits = lead[rows] | part if place == 0 else 0x80 | (part & 0x3F)
        copies[at[rows] + place] = bits
    for place in range(1, 6):
        stays[at[(width <= place) & (sizes > place)] + place] = False

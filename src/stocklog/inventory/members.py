"""Flat JSON objects taken apart: where the members of each body lie, whatever their order.

A quote with a colon behind it ends a name; the bytes before it say which. From there everything
else follows, and every byte is accounted for: an object is its members with a comma, and a blank
or none, between them; a member is a name, a colon, a blank or none, and a value up to the comma
or the last brace. Two things are left to who reads the values: that what is no text is a number,
and that no text holds a quote (`Members.quotes` says how many there must be).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stocklog.inventory.fields import FIELDS
from stocklog.inventory.scan import name_ends
from stocklog.inventory.window import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stocklog.inventory.bodies import Bodies

    I64 = NDArray[np.int64]
    Words = NDArray[np.uint64]
    Truths = NDArray[np.bool_]

__all__ = ["Members", "take_apart"]

_U = np.uint64
_QUOTE, _BLANK = ord('"'), ord(" ")
_LENGTHS = np.array([len(name) for name in FIELDS], np.int64)
#: A name and its opening quote, as far as they stand in the sixteen bytes before its end.
_OPENED = [f'"{name}'.encode()[-16:] for name in FIELDS]
_WORDS = np.array(
    [[int.from_bytes(t.rjust(16)[n : n + 8], "little") for n in (0, 8)] for t in _OPENED], "u8"
)
_MASKS = np.array(
    [
        [int.from_bytes((b"\xff" * len(t)).rjust(16, b"\0")[n : n + 8], "little") for n in (0, 8)]
        for t in _OPENED
    ],
    "u8",
)
_WORDS &= _MASKS
#: The only name of which not all stands in sixteen bytes, and two that are the end of another one.
_LONGEST = FIELDS.index("expected_quantity")
_ENDINGS = {FIELDS.index("location_id"): FIELDS.index("to_location_id")}
_ENDINGS[FIELDS.index("quantity")] = _LONGEST
_PLACE_BITS = 6
_UPPER_HALF = _U(0xFFFFFFFF00000000)


def _place(last: Words, factor: int) -> I64:
    """A name's place in a table by its last four bytes, the upper half of a word."""
    mixed = (last & _UPPER_HALF) * _U(factor)
    return (mixed >> _U(64 - _PLACE_BITS)).view(np.int64)


_SHORT = np.array([code for code in range(len(FIELDS)) if code not in _ENDINGS.values()])


def _separating_factor() -> int:
    """An odd factor by which every ending has a place of its own."""
    factor = 0x9E3779B1
    while np.unique(_place(_WORDS[_SHORT, 1], factor)).size < _SHORT.size:
        factor = (factor * 0x19660D + 0x3C6EF35E) % (1 << 32)
    return factor


_FACTOR = _separating_factor()
_CODES = np.zeros(1 << _PLACE_BITS, np.int64)
_CODES[_place(_WORDS[_SHORT, 1], _FACTOR)] = _SHORT


@dataclass(slots=True)
class Members:
    """The members of some bodies.

    Attributes:
        rows: int64[m], numbers of the bodies that were looked at.
        good: bool[m], whether every byte is accounted for, each name is a field's, and none
            comes twice.
        where: int64[fields, m], the number of each field's member, -1 if it has none.
        starts: int64[k], where each value begins, behind its quote if it is a text.
        lengths: int64[k], its bytes.
        is_text: bool[k].
        counts: int64[m], members of each body.
        all_quotes: how many quotes stand in all bodies, also in those that were not looked at.
    """

    rows: I64
    good: Truths
    where: I64
    starts: I64
    lengths: I64
    is_text: Truths
    counts: I64
    all_quotes: int

    @property
    def quotes(self) -> I64:
        """How many quotes each body holds if no text holds one, int64[m]."""
        firsts = np.cumsum(self.counts) - self.counts
        # Small numbers do: a body with more members than there are fields is not good.
        texts = np.add.reduceat(self.is_text.view(np.uint8), firsts, dtype=np.uint8)
        quotes: I64 = 2 * (self.counts + texts)
        return quotes


def take_apart(bodies: Bodies, likely: Truths) -> Members | None:
    """Find the members of those bodies that are flat objects of the record's fields.

    Args:
        bodies: the bodies.
        likely: bool[n], which of them to look at: no escaped quote, no control character.

    Returns:
        None if no body has any.
    """
    data = bodies.data
    closes, quotes = name_ends(bodies.lines)
    counts = np.diff(np.searchsorted(closes, bodies.starts), append=closes.size)
    rows = np.flatnonzero(likely & (counts > 0))
    if rows.size < likely.size:
        closes = closes[np.repeat(likely, counts)]
        counts = counts[rows]
    if not rows.size:
        return None
    code, fine = _fields(Window(data), closes)
    opens = closes - _LENGTHS[code] - 1
    last = np.cumsum(counts) - 1
    starts, ends, is_text = _values(data, opens, closes, last, bodies, rows)
    mark = np.full(ends.size, ord(","), np.uint8)
    mark[last] = ord("}")
    # A text's closing quote stands right before the comma, or the brace.
    fine &= (data[ends] == mark) & (~is_text | (data[ends - 1] == _QUOTE))
    row = np.repeat(np.arange(rows.size), counts)
    where = np.full((len(FIELDS), rows.size), -1, np.int64)
    where.reshape(-1)[code * rows.size + row] = np.arange(row.size)
    first = bodies.starts[rows]
    good: Truths = (opens[last - counts + 1] == first + 1) & (data[first] == ord("{"))
    if not fine.all():
        good[row[~fine]] = False
    # As many fields as names: none comes twice.
    good &= np.add.reduce(where >= 0, axis=0, dtype=np.int8) == counts
    return Members(rows, good, where, starts, ends - is_text - starts, is_text, counts, quotes)


def _values(
    data: NDArray[np.uint8], opens: I64, closes: I64, last: I64, bodies: Bodies, rows: I64
) -> tuple[I64, I64, Truths]:
    """Where the values lie.

    Args:
        data: of the bodies.
        opens: int64[k], the quotes before the names.
        closes: int64[k], those behind them.
        last: int64[m], the number of each body's last name.
        bodies: the bodies.
        rows: int64[m], which of them.

    Returns:
        int64[k] starts, int64[k] where what stands behind them should be a comma or a brace,
        bool[k] texts, whose starts are behind their quotes.
    """
    value = closes + 2
    value += data[value] == _BLANK
    ends = np.empty_like(value)
    np.subtract(opens[1:], 1, out=ends[:-1])
    ends[:-1] -= data[ends[:-1]] == _BLANK
    ends[last] = (bodies.starts + bodies.lengths)[rows] - 1
    is_text = data[value] == _QUOTE
    return value + is_text, ends, is_text


def _fields(window: Window, closes: I64) -> tuple[I64, Truths]:
    """The field whose name ends at each quote, by its place in `FIELDS`, and whether it is that.

    The first names of a buffer have fewer than sixteen bytes before them: what is read there
    instead is masked, or shows that it is no such name.
    """
    before = closes - 16
    early = int(np.searchsorted(closes, 16))
    before[:early] = 0
    there = window.pair(before)
    for place in range(early):
        beginning = window.data[: closes[place]].tobytes().rjust(16)
        there[place] = np.frombuffer(beginning, "<u8")
    code = _CODES[_place(there[:, 1], _FACTOR)]
    known = _matches(there, code)
    unknown = np.flatnonzero(~known)
    for shorter, longer in _ENDINGS.items():
        other = unknown[code[unknown] == shorter]
        if other.size:
            code[other] = longer
            known[other] = _matches(there[other], code[other])
    longest = np.flatnonzero(known & (code == _LONGEST))
    if longest.size:
        front = int.from_bytes(b'"expecte', "little")
        known[longest] = window.word_at(np.maximum(closes[longest] - 18, 0)) == _U(front)
    return code, known


def _matches(there: Words, code: I64) -> Truths:
    """Whether the sixteen bytes before a quote are what they are where a name ends there."""
    same = (there & _pairs_of(_MASKS, code)) == _pairs_of(_WORDS, code)
    matches: Truths = same[:, 0] & same[:, 1]
    return matches


def _pairs_of(table: Words, code: I64) -> Words:
    """Rows of a table of two words, which NumPy takes sooner as one number of sixteen bytes."""
    return table.view(np.complex128)[:, 0][code].view(np.uint64).reshape(code.size, 2)

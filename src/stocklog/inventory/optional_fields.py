"""The tail of a body of known form: its optional fields, in their order, some of them null."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stocklog.inventory import words
from stocklog.inventory.columns import Optionals
from stocklog.inventory.fields import INTEGERS
from stocklog.inventory.reader import Reader
from stocklog.inventory.window import LONGEST_TEXT, inline_view

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stocklog.inventory.form import Form

__all__ = ["Tail", "read_tail"]

_U = np.uint64


@dataclass(kw_only=True)
class Tail(Optionals):
    """The optional fields of m rows, and how the rows end.

    Attributes:
        good: bool[m], whether the row ends as it must.
        quotes: int64[m], quotes that stand in the tail.
    """

    good: NDArray[np.bool_]
    quotes: NDArray[np.int64]


def read_tail(reader: Reader, form: Form) -> Tail:
    """Reads from behind the last required value to the end of each body."""
    count = reader.at.size
    at = reader.at
    ended = _ended(reader, at, np.arange(count))
    tail = Tail(good=ended, quotes=np.zeros(count, np.int64))
    if form.nulls:
        usual = np.flatnonzero(reader.good & (at + len(form.tail) == reader.ends))
        usual = usual[_begins_with(reader, at[usual], form.tail)]
        tail.good[usual] = True
        tail.quotes[usual] = 2 * form.nulls
    rest = np.flatnonzero(reader.good & ~tail.good)
    at = at.copy()
    for name in form.optional:
        if not rest.size:
            break
        opening = form.opening(name)
        has = _begins_with(reader, at[rest], opening)
        rows = rest[has]
        if not rows.size:
            continue
        at[rows] += len(opening)
        fine = _read(reader, tail, name, rows, at)
        tail.good[rows] = fine & _ended(reader, at, rows)
        goes_on = np.ones(rest.size, np.bool_)
        goes_on[has] = fine & ~tail.good[rows]
        rest = rest[goes_on]
    return tail


def _read(
    reader: Reader, tail: Tail, name: str, rows: NDArray[np.int64], at: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Reads one field of some rows and moves their cursors in `at` behind its value.

    Returns:
        bool[k], whether null or a value of canonical form stands there.
    """
    null = reader.null_at(at[rows])
    fine: NDArray[np.bool_] = null.copy()
    tail.quotes[rows] += 2
    at[rows[null]] += 4
    if null.all():
        return fine
    given = ~null
    read = _read_integers if name in INTEGERS else _read_texts
    fine[given] = read(reader, tail, name, rows[given], at)
    return fine


def _read_integers(
    reader: Reader, tail: Tail, name: str, rows: NDArray[np.int64], at: NDArray[np.int64]
) -> NDArray[np.bool_]:
    start = at[rows]
    value, length, fine = reader.number(start, reader.word_at(start))
    tail.put(name, at.size, rows, value)
    at[rows] = start + length
    return fine


def _read_texts(
    reader: Reader, tail: Tail, name: str, rows: NDArray[np.int64], at: NDArray[np.int64]
) -> NDArray[np.bool_]:
    start = at[rows] + 1
    length = reader.scan(start)
    pair = reader.pair(start - 4)
    quoted = (pair[:, 0] & _U(0xFF000000)) == _U(ord('"') << 24)
    tail.put(name, at.size, rows, inline_view(pair[:, 0], pair[:, 1], start, length))
    tail.quotes[rows] += 2
    at[rows] = start + length + 1
    fine: NDArray[np.bool_] = quoted & (length > 0) & (length <= LONGEST_TEXT)
    return fine


def _ended(reader: Reader, at: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the closing brace stands at the cursor and is the body's last byte."""
    place = at[rows]
    ended: NDArray[np.bool_] = (place + 1 == reader.ends[rows]) & (reader.data[place] == ord("}"))
    return ended


def _begins_with(reader: Reader, place: NDArray[np.int64], text: bytes) -> NDArray[np.bool_]:
    good = np.ones(place.size, np.bool_)
    for begin in range(0, len(text), 8):
        part = text[begin : begin + 8]
        mask = _U((1 << 8 * len(part)) - 1)
        good &= (reader.word_at(place + begin) & mask) == words.word(part.ljust(8, b"\0"))
    return good

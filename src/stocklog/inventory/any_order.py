"""Flat JSON objects with their members in any order, each body in its own, proven by NumPy.

What is not as `members` and `unescape` have it, or has a text of more than 64 bytes, is left to
the general way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stocklog.inventory import timestamps
from stocklog.inventory.columns import (
    KINDS,
    REASON_WORDS,
    Found,
    Optionals,
    no_hidden_quotes,
    readable_rows,
)
from stocklog.inventory.fields import FIELDS, INTEGERS, OPTIONAL, REQUIRED
from stocklog.inventory.members import Members, take_apart
from stocklog.inventory.proven import Proven
from stocklog.inventory.unescape import unescaped
from stocklog.inventory.vocabulary import Vocabulary
from stocklog.inventory.window import LONGEST_TEXT, TIME_LENGTH, Window, inline_view

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stocklog.inventory.bodies import Bodies

    I64 = NDArray[np.int64]

__all__ = ["read_any_order"]


def read_any_order(bodies: Bodies) -> Proven:
    """Reads the bodies that are valid flat objects of the record's fields; skips all others."""
    bodies, likely = unescaped(bodies)
    likely &= readable_rows(bodies)
    members = take_apart(bodies, likely)
    if members is None:
        return Proven.none()
    members.good &= (members.where[: len(REQUIRED)] >= 0).all(axis=0)
    reading = _Reading(Window(bodies.data), members)
    found = reading.found()
    good = reading.good & found.keep_rules()
    good &= no_hidden_quotes(bodies, members.all_quotes, members.rows, good, members.quotes)
    return Proven.of(members.rows, found.frame(), good)


class _Reading:
    """Reads field by field.

    Args:
        window: the bytes.
        members: where the values lie.

    Attributes:
        good: bool[m], whether everything so far was as it must be.
    """

    def __init__(self, window: Window, members: Members) -> None:
        self.good = members.good.copy()
        self._window, self._members = window, members

    def found(self) -> Found:
        """All fields."""
        views: dict[str, NDArray[np.uint64]] = {}
        for name in REQUIRED:
            if name == "type":
                kinds = self._word(name, KINDS, views)
            elif name == "reason":
                self._word(name, REASON_WORDS, views)
            elif name == "quantity":
                quantity = self._quantity()
            elif name == "occurred_at":
                micros = self._moments()
            else:
                member = self._texts_of(name)
                views[name] = self._views(member, self.good)
        return Found(self._window, views, kinds, quantity, micros, self._optionals())

    def _texts_of(self, name: str) -> I64:
        """The members of a required field, which must be texts."""
        member: I64 = self._members.where[FIELDS.index(name)]
        self.good &= self._members.is_text[member]
        return member

    def _views(self, member: I64, good: NDArray[np.bool_]) -> NDArray[np.uint64]:
        """String views of some texts; marks in `good` those that are empty or too long."""
        start, length = self._members.starts[member], self._members.lengths[member]
        fits = (length > 0) & (length <= LONGEST_TEXT)
        if not fits.all():
            good &= fits
            length = np.where(fits, length, 0)
        pair = self._window.pair(start - 4)
        return inline_view(pair[:, 0], pair[:, 1], start, length)

    def _word(self, name: str, vocabulary: Vocabulary, views: dict[str, NDArray[np.uint64]]) -> I64:
        member = self._texts_of(name)
        pair = self._window.pair(self._members.starts[member] - 4)
        code, known = vocabulary.find(pair[:, 0], pair[:, 1])
        self.good &= known
        views[name] = vocabulary.views[code].view(np.uint64).reshape(code.size, 2)
        return code

    def _quantity(self) -> I64:
        member: I64 = self._members.where[FIELDS.index("quantity")]
        value, good = self._integers(member)
        self.good &= good
        return value

    def _integers(self, member: I64) -> tuple[I64, NDArray[np.bool_]]:
        start, length = self._members.starts[member], self._members.lengths[member]
        value, good = self._window.number_of(start, length)
        return value, good & ~self._members.is_text[member]

    def _moments(self) -> I64:
        member = self._texts_of("occurred_at")
        start, length = self._members.starts[member], self._members.lengths[member]
        micros, good = self._window.moment(start)
        other = np.flatnonzero((length != TIME_LENGTH) | ~good)
        if other.size:
            micros[other], good[other] = timestamps.parse_places(
                self._window.data, start[other], length[other]
            )
        self.good &= good
        return micros

    def _optionals(self) -> Optionals:
        optionals = Optionals()
        for name in OPTIONAL:
            member = self._members.where[FIELDS.index(name)]
            rows = np.flatnonzero(member >= 0)
            rows = rows[~self._is_null(member[rows])]
            if not rows.size:
                continue
            values: NDArray[Any]
            if name in INTEGERS:
                values, good = self._integers(member[rows])
            else:
                good = self._members.is_text[member[rows]]
                values = self._views(member[rows], good)
            optionals.put(name, member.size, rows, values)
            self.good[rows] &= good
        return optionals

    def _is_null(self, member: I64) -> NDArray[np.bool_]:
        members = self._members
        null: NDArray[np.bool_] = members.lengths[member] == len("null")
        null &= self._window.null_at(members.starts[member]) & ~members.is_text[member]
        return null

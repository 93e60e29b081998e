"""The form in which one writer writes its JSON bodies: an order of fields, and its blanks.

A program writes all of its updates alike. So the first body tells how the others look, and the
short way in (`canonical`) can look for just that. A form that was guessed wrong costs time only:
each row is proven by its own bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from stocklog.inventory.fields import INTEGERS, OPTIONAL, REQUIRED

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stocklog.inventory.bodies import Bodies

__all__ = ["CANONICAL", "Form", "learn_form", "usual_form"]

_MEMBER = re.compile(
    rb'"([a-z_]{1,32})"(: ?)("[^"\\\x00-\x1f]*"|-?[0-9]{1,19}|null)(?:(, ?)(?=")|\}\Z)'
)
# Bodies whose beginnings are compared before all are tried in the form of one of them.
_SAMPLE = 16
_MOST_MEMBERS = len(REQUIRED) + len(OPTIONAL)


@dataclass(frozen=True)
class Form:
    """How bodies are written.

    Attributes:
        order: the required fields in their order.
        optional: the optional fields, which follow them, in their order; each may be left out
            or null.
        comma: what stands between two members.
        colon: what stands between a name and its value.
        nulls: how many optional fields `tail` names.
        tail: how bodies with no optional value end behind the last required one: with a
            brace, or with optional fields that are null before it.
    """

    order: tuple[str, ...]
    optional: tuple[str, ...]
    comma: bytes
    colon: bytes
    nulls: int = 0
    tail: bytes = b"}"

    @cached_property
    def head(self) -> bytes:
        """The first bytes, up to the first value."""
        return b"{" + self._named(self.order[0])

    @cached_property
    def steps(self) -> tuple[tuple[str, bytes], ...]:
        """Each required field and the separator behind its value; none behind the last."""
        pairs = zip(self.order, (*self.order[1:], ""), strict=True)
        return tuple((name, self._between(name, after) if after else b"") for name, after in pairs)

    def opening(self, name: str) -> bytes:
        """What stands before an optional value; the quote of a text is part of the value."""
        return self.comma + b'"' + name.encode() + b'"' + self.colon

    def _between(self, name: str, after: str) -> bytes:
        return _quote(name) + self.comma + self._named(after)

    def _named(self, name: str) -> bytes:
        return b'"' + name.encode() + b'"' + self.colon + _quote(name)


def _quote(name: str) -> bytes:
    return b"" if name in INTEGERS else b'"'


CANONICAL = Form(REQUIRED, OPTIONAL, b",", b":")
"""The form that `encode` writes."""


def learn_form(body: bytes) -> Form | None:
    """The form of a body, or None if it has none that could be followed.

    Args:
        body: one JSON body: the required fields in any order, then optional ones, with one
            blank or none behind every comma and every colon.
    """
    names: list[str] = []
    values: list[bytes] = []
    colons, commas = set[bytes](), set[bytes]()
    at, behind = 1, 0
    while at < len(body) and len(names) < _MOST_MEMBERS:
        found = _MEMBER.match(body, at)
        if found is None:
            return None
        names.append(found[1].decode())
        colons.add(found[2])
        values.append(found[3])
        commas |= {found[4]} if found[4] else set()
        at = found.end()
        if len(names) == len(REQUIRED):
            behind = found.end(3)
    order, given = tuple(names[: len(REQUIRED)]), tuple(names[len(REQUIRED) :])
    in_order = given == tuple(name for name in OPTIONAL if name in given)
    others = tuple(name for name in OPTIONAL if name not in given)
    optional = OPTIONAL if in_order else given + others
    if sorted(order) != sorted(REQUIRED) or sorted(optional) != sorted(OPTIONAL):
        return None
    if body[:1] != b"{" or at != len(body) or len(colons) != 1 or len(commas) != 1:
        return None
    form = Form(order, optional, commas.pop(), colons.pop())
    nulls = values[len(REQUIRED) :]
    if all(value == b"null" for value in nulls):
        form = replace(form, nulls=len(nulls), tail=body[behind:])
    return form


def usual_form(bodies: Bodies, rows: NDArray[np.int64]) -> Form | None:
    """The form that some bodies seem to have in common, None if they seem to have none.

    Args:
        bodies: the bodies.
        rows: int64[m], which of them to look at.
    """
    if not rows.size:
        return None
    form = learn_form(bodies.body(int(rows[0])))
    if form is None or form == CANONICAL:
        return None
    sample = rows[:: max(1, rows.size // _SAMPLE)]
    alike = sum(bodies.body(row).startswith(form.head) for row in sample.tolist())
    return form if 2 * alike > sample.size else None

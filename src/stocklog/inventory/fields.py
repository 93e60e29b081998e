"""The fields of an inventory update: names, types, limits, and the rule of each.

This is the one place where the rules are written in words and as plain Python;
`validation` states the same rules for whole columns. Everything here works on
one update at a time and gives the texts that people read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import polars as pl

from stocklog.inventory.timestamps import MAX_MICROS, MIN_MICROS

__all__ = [
    "FIELDS",
    "INTEGERS",
    "MAX_INT64",
    "MIN_INT64",
    "OPTIONAL",
    "REASONS",
    "REQUIRED",
    "TEXTS",
    "TEXT_LIMITS",
    "TYPES",
    "UOM_FORM",
    "UPDATE_SCHEMA",
    "check_extra",
    "plainly_valid",
    "problems",
    "shown",
]

_TIME = pl.Datetime("us", "UTC")

#: Columns of updates, in the order of the canonical JSON form.
UPDATE_SCHEMA: dict[str, pl.DataType] = {
    "update_id": pl.String(),
    "type": pl.String(),
    "sku": pl.String(),
    "location_id": pl.String(),
    "quantity": pl.Int64(),
    "occurred_at": _TIME,
    "reason": pl.String(),
    "source": pl.String(),
    "to_location_id": pl.String(),
    "expected_quantity": pl.Int64(),
    "reference": pl.String(),
    "uom": pl.String(),
    "source_seq": pl.Int64(),
    "extra": pl.String(),
}

FIELDS = tuple(name for name in UPDATE_SCHEMA if name != "extra")
"""The fields that a JSON body may name; `extra` is a column, never a field of the body."""
REQUIRED = FIELDS[:8]
OPTIONAL = FIELDS[8:]
INTEGERS = ("quantity", "expected_quantity", "source_seq")
TYPES = ("adjustment", "count", "transfer", "reservation")
REASONS = (
    "sale",
    "receipt",
    "return",
    "restock",
    "damage",
    "shrinkage",
    "found",
    "correction",
    "promotion",
    "cycle_count",
    "opening",
    "transfer",
    "reserve",
    "release",
    "other",
)

#: Longest text of a field, in characters. The shortest is 1.
TEXT_LIMITS = {
    "update_id": 64,
    "sku": 64,
    "location_id": 64,
    "source": 64,
    "to_location_id": 64,
    # An order or count-sheet number: generous, yet bounded, so that one field cannot
    # carry a document through a stream of small updates.
    "reference": 256,
}
TEXTS = tuple(name for name in FIELDS if UPDATE_SCHEMA[name] == pl.String)

#: UN/ECE Recommendation 20 common codes: up to three capital letters and digits.
UOM_FORM = "^[A-Z0-9]{1,3}$"
_UOM = re.compile(r"[A-Z0-9]{1,3}")

MIN_INT64, MAX_INT64 = -(2**63), 2**63 - 1

_SHOWN = 40


def shown(value: object) -> str:
    """A value as an error text shows it: quoted, and cut when it is long."""
    text = repr(value) if not isinstance(value, str) else ascii_safe(value)
    if len(text) <= _SHOWN + 2:
        return text
    length = f" ({len(value)} characters)" if isinstance(value, str) else ""
    return f"{text[:_SHOWN]}…{length}"


def ascii_safe(text: str) -> str:
    """A text in double quotes, with what a terminal could not show escaped."""
    plain = "".join(c if c.isprintable() and c not in '"\\' else _escape(c) for c in text[:64])
    return f'"{plain}' + ('"' if len(text) <= 64 else "")


def _escape(char: str) -> str:
    return f"\\{char}" if char in '"\\' else char.encode("unicode_escape", "surrogatepass").decode()


def problems(values: Mapping[str, Any], *, naming_values: bool = True) -> list[str]:
    """Every rule that one update breaks.

    Args:
        values: the update's fields by name. A field that is missing or None is absent.
            `occurred_at` is given in microseconds since 1970, or as a `ValueError` that
            says why it could not be read.
        naming_values: False where the update itself stands beside the text, and texts are
            summed: one rule broken by a thousand values is then one text.

    Returns:
        One text a broken rule, each naming the field, the value and the rule, in the
        order of the fields. Empty if the update is valid.
    """
    found = [
        f"{name} is missing: every update needs it" for name in REQUIRED if values.get(name) is None
    ]
    for name in (*FIELDS, "extra"):
        value = values.get(name)
        if value is not None:
            rule = _RULES[name](value)
            if rule:
                said = f"{name} is {shown(value)}" if naming_values else name
                found.append(f"{said}: {rule}" if rule[0] != "!" else rule[1:])
    found.extend(_relations(values, naming_values=naming_values))
    return found


def _relations(values: Mapping[str, Any], *, naming_values: bool) -> Iterator[str]:
    """Rules between fields; only looked at where the single fields make sense."""

    def said(name: str) -> str:
        return f"{name} is {shown(values[name])}" if naming_values else name

    kind, quantity = values.get("type"), values.get("quantity")
    if type(quantity) is int:
        rule = _SIGNS.get(kind) if isinstance(kind, str) else None
        if rule and not rule[0](quantity):
            amount = quantity if naming_values or not quantity else "negative"
            yield f"quantity is {amount}: {rule[1]}"
    target = values.get("to_location_id")
    if kind == "transfer":
        if target is None:
            yield "to_location_id is missing: a transfer needs the location it goes to"
        elif target == values.get("location_id"):
            value = f"{shown(target)}, " if naming_values else ""
            yield (
                f"to_location_id is {value}the same as location_id: "
                "a transfer goes from one location to another"
            )
    elif target is not None and kind in TYPES:
        yield f"{said('to_location_id')}: only a transfer may name one, this is a {kind}"
    if values.get("expected_quantity") is not None and kind in TYPES and kind != "count":
        yield f"{said('expected_quantity')}: only a count may name one, this is a {kind}"


def _not_zero(quantity: int) -> bool:
    return quantity != 0


_SIGNS: dict[str, tuple[Callable[[int], bool], str]] = {
    "adjustment": (_not_zero, "an adjustment changes the stock, so it cannot be 0"),
    "reservation": (_not_zero, "a reservation changes what is reserved, so it cannot be 0"),
    "count": (lambda quantity: quantity >= 0, "a count is what was found, 0 or more"),
    "transfer": (lambda quantity: quantity > 0, "a transfer moves 1 or more; swap the locations"),
}


def _check_text(value: object, limit: int) -> str:
    if not isinstance(value, str):
        return f"it must be text of 1 to {limit} characters"
    if not 1 <= len(value) <= limit:
        return f"it must be text of 1 to {limit} characters"
    if "\0" in value:
        # PostgreSQL's text and every C string end there; nothing else is forbidden.
        return "it must not hold the character NUL (U+0000)"
    if not _is_unicode(value):
        return "it holds half of a surrogate pair, which UTF-8 cannot write"
    return ""


def _is_unicode(value: str) -> bool:
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _limit(limit: int) -> Callable[[object], str]:
    return lambda value: _check_text(value, limit)


def _member(allowed: tuple[str, ...]) -> Callable[[object], str]:
    members, listed = frozenset(allowed), ", ".join(allowed)
    return lambda value: (
        "" if isinstance(value, str) and value in members else f"it must be one of {listed}"
    )


def _check_integer(value: object) -> str:
    if type(value) is not int:
        return "it must be an exact integer, written without quotes, point or exponent"
    if not MIN_INT64 <= value <= MAX_INT64:
        return "it must fit a signed 64-bit integer"
    return ""


def _check_time(value: object) -> str:
    if isinstance(value, ValueError):
        return f"!{value}"
    if not isinstance(value, int) or not MIN_MICROS <= value <= MAX_MICROS:
        return "it must lie in the years 0001 to 9999 (microseconds since 1970)"
    return ""


def _check_uom(value: object) -> str:
    if isinstance(value, str) and _UOM.fullmatch(value):
        return ""
    return "it must be a UN/ECE Rec 20 code, 1 to 3 capital letters and digits, such as EA or KGM"


def check_extra(value: object) -> str:
    """What is wrong with an `extra` text, or an empty string.

    Args:
        value: what stands in the column; right is the text of one JSON object with at
            least one member, none of them named like a field of the record.
    """
    if not isinstance(value, str):
        return "it must be the text of one JSON object"
    try:
        members = msgspec.json.decode(value.encode(), type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):  # msgspec's and the codecs' errors are ValueErrors
        return "it must be the text of one JSON object"
    clash = [name for name in FIELDS if name in members]
    if clash:
        return f"its member {clash[0]!r} is a field of the record: give it as that column"
    if not members:
        return "an empty object says nothing: leave it absent"
    return ""


_RULES: dict[str, Callable[[Any], str]] = {
    **{name: _limit(limit) for name, limit in TEXT_LIMITS.items()},
    **dict.fromkeys(INTEGERS, _check_integer),
    "type": _member(TYPES),
    "reason": _member(REASONS),
    "occurred_at": _check_time,
    "uom": _check_uom,
    "extra": check_extra,
}


def plainly_valid(update: Any, micros: object) -> bool:
    """Whether a usual update is valid; False means that the rules are to be asked one by one.

    Most rows that are met one at a time pass here, at a tenth of the cost of `problems`.

    Args:
        update: anything with the fields of the record as attributes, `extra` apart.
        micros: its time, as for `problems`.
    """
    quantity, reason = update.quantity, update.reason
    return (
        type(micros) is int
        and MIN_MICROS <= micros <= MAX_MICROS
        and type(quantity) is int
        and -_PLAIN_LIMIT < quantity < _PLAIN_LIMIT
        and type(reason) is str
        and reason in _REASON_SET
        and _are_plain(update.update_id, update.sku, update.location_id, update.source)
        and _plainly_fits(update, quantity)
        and update.uom is None
        and (update.reference is None or _is_plain(update.reference))
        and (update.source_seq is None or _is_plain_integer(update.source_seq))
    )


_PLAIN_LIMIT = 1 << 60
_REASON_SET = frozenset(REASONS)


def _plainly_fits(update: Any, quantity: int) -> bool:
    """Whether the type goes with the quantity and with the fields that only one type has."""
    kind, target, expected = update.type, update.to_location_id, update.expected_quantity
    if kind == "transfer":
        fits = quantity > 0 and _is_plain(target) and target != update.location_id
        return fits and expected is None
    if target is not None:
        return False
    if kind == "count":
        return quantity >= 0 and (expected is None or _is_plain_integer(expected))
    return (kind == "adjustment" or kind == "reservation") and quantity != 0 and expected is None


def _is_plain_integer(value: object) -> bool:
    return type(value) is int and -_PLAIN_LIMIT < value < _PLAIN_LIMIT


def _is_plain(text: object) -> bool:
    return type(text) is str and 0 < len(text) <= 64 and text.isascii() and "\0" not in text


def _are_plain(a: object, b: object, c: object, d: object) -> bool:
    """The same for four texts, whose characters are looked at together."""
    if not (type(a) is str and type(b) is str and type(c) is str and type(d) is str):
        return False
    if not (0 < len(a) <= 64 and 0 < len(b) <= 64 and 0 < len(c) <= 64 and 0 < len(d) <= 64):
        return False
    joined = f"{a}{b}{c}{d}"
    return joined.isascii() and "\0" not in joined

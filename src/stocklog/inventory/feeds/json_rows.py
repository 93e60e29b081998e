"""One line of JSON, read strictly: the general way for whatever the quick one does not prove."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

import msgspec

from stocklog.inventory.feeds.plan import NOT_KEPT
from stocklog.inventory.fields import FIELDS, INTEGERS, MAX_INT64, MIN_INT64, problems

__all__ = ["JsonRow", "read_row"]

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_VALUE = msgspec.json.Decoder()
_KNOWN = frozenset(FIELDS)


@dataclass(slots=True)
class JsonRow:
    """What a line holds.

    Attributes:
        values: column -> str or int; `extra` is the JSON text of the unknown members.
        problem: why the line is no update, or empty.
    """

    values: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def read_row(
    line: bytes, taken: AbstractSet[str], others: AbstractSet[str], as_text: AbstractSet[str]
) -> JsonRow:
    """Read one line.

    Args:
        line: its bytes, valid UTF-8, without the line end.
        taken: fields whose members must have the field's JSON type.
        others: further members that expressions read, each as text.
        as_text: those of `taken` that expressions read too, given as text as well.
    """
    try:
        members = _OBJECT.decode(line)
    except msgspec.ValidationError:
        return JsonRow(problem="not a JSON object")
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        # The position differs from row to row: without it equal faults can be summed.
        return JsonRow(problem=f"not valid JSON: {str(error).partition(' (byte')[0]}")
    try:
        return _row(members, taken, others, as_text)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        return JsonRow(problem=f"not valid JSON: {str(error).partition(' (byte')[0]}")


def _row(
    members: dict[str, msgspec.Raw],
    taken: AbstractSet[str],
    others: AbstractSet[str],
    as_text: AbstractSet[str],
) -> JsonRow:
    row = JsonRow()
    unknown: list[bytes] = []
    wrong: dict[str, Any] = {}
    for name, raw in members.items():
        if name not in _KNOWN:
            if name not in NOT_KEPT:
                unknown.append(msgspec.json.encode(name) + b":" + bytes(raw))
            if name not in others:
                continue
        value = _VALUE.decode(raw)
        if value is None:
            continue
        if name in taken:
            if not _fits(name, value):
                wrong[name] = value
                continue
            row.values[name] = _text(value, raw) if name in as_text else value
        elif name in others:
            row.values[name] = _text(value, raw)
    if unknown:
        row.values["extra"] = (b"{" + b",".join(unknown) + b"}").decode()
    row.problem = _problem(wrong)
    return row


def _fits(name: str, value: object) -> bool:
    """Whether a value has its field's JSON type; its rules are judged with all other rows'."""
    if name in INTEGERS:
        return type(value) is int and MIN_INT64 <= value <= MAX_INT64
    return isinstance(value, str)


def _text(value: object, raw: msgspec.Raw) -> str:
    return value if isinstance(value, str) else bytes(raw).decode()


def _problem(wrong: dict[str, Any]) -> str:
    """Word the members of the wrong type as the record's own rules do."""
    if "occurred_at" in wrong:
        wrong["occurred_at"] = ValueError("occurred_at is not text: it must be RFC 3339 in quotes")
    starts = (*(f"{name}: " for name in wrong), "occurred_at is not")
    return "; ".join(p for p in problems(wrong, naming_values=False) if p.startswith(starts))

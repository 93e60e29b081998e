"""The record as plain Python: `json`, dicts and the rules, one update at a time.

This is what the codec is compared with, so it imports nothing of ours and does
nothing cleverly. It answers whether a body is a valid update and what it says.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone

REQUIRED = [
    *("update_id", "type", "sku", "location_id"),
    *("quantity", "occurred_at", "reason", "source"),
]
OPTIONAL = ["to_location_id", "expected_quantity", "reference", "uom", "source_seq"]
FIELDS = REQUIRED + OPTIONAL
INTEGERS = {"quantity", "expected_quantity", "source_seq"}
TYPES = {"adjustment", "count", "transfer", "reservation"}
REASONS = {
    *("sale", "receipt", "return", "restock", "damage", "shrinkage", "found", "correction"),
    *("promotion", "cycle_count", "opening", "transfer", "reserve", "release", "other"),
}
LIMITS = dict.fromkeys(["update_id", "sku", "location_id", "source", "to_location_id"], 64)
LIMITS["reference"] = 256

TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


class Exact(str):
    """The text of a number that is not an integer literal, kept as it was written."""


def parse_time(text: object) -> datetime | None:
    """An RFC 3339 time in UTC, or None."""
    found = TIME.fullmatch(text) if isinstance(text, str) else None
    if not found:
        return None
    *parts, fraction, zone = found.groups()
    fraction = (fraction or "").ljust(9, "0")
    if fraction[6:] != "000":
        return None
    offset = timedelta(0)
    if zone not in "Zz":
        hours, minutes = int(zone[1:3]), int(zone[4:6])
        if hours > 23 or minutes > 59:
            return None
        offset = timedelta(hours=hours, minutes=minutes) * (-1 if zone[0] == "-" else 1)
    try:
        moment = datetime(*map(int, parts), int(fraction[:6]), tzinfo=timezone(offset))
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def load(body: bytes) -> dict | None:
    """The JSON object of a body with integers exact and other numbers verbatim, or None."""

    def no_constant(text: str) -> object:
        raise ValueError(text)

    def members(pairs: list[tuple[str, object]]) -> dict:
        json.dumps(pairs, ensure_ascii=False).encode()  # fails at half of a surrogate pair
        return dict(pairs)

    try:
        text = body.decode("utf-8")
        if text[:1] == "\ufeff":
            return None
        value = json.loads(
            text,
            parse_float=Exact,
            parse_constant=no_constant,
            parse_int=parse_integer,
            object_pairs_hook=members,
        )
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def parse_integer(text: str) -> int | Exact:
    return int(text) if len(text) <= 20 else Exact(text)


def is_text(value: object, limit: int) -> bool:
    if not isinstance(value, str) or isinstance(value, Exact) or not 1 <= len(value) <= limit:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def is_integer(value: object) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def decode(body: bytes) -> dict | None:
    """The update of a body as a dict of its present fields, or None if it is invalid.

    Unknown members are under `extra` as a dict.
    """
    members = load(body)
    if members is None:
        return None
    update = {name: members[name] for name in FIELDS if members.get(name) is not None}
    if any(name not in update for name in REQUIRED):
        return None
    update["occurred_at"] = parse_time(update["occurred_at"])
    extra = {name: value for name, value in members.items() if name not in FIELDS}
    if extra:
        update["extra"] = extra
    return update if fields_are_right(update) and relations_are_right(update) else None


def fields_are_right(update: dict) -> bool:
    return (
        all(is_text(update[name], limit) for name, limit in LIMITS.items() if name in update)
        and all(is_integer(update[name]) for name in INTEGERS if name in update)
        and isinstance(update["type"], str)
        and update["type"] in TYPES
        and isinstance(update["reason"], str)
        and update["reason"] in REASONS
        and update["occurred_at"] is not None
        and ("uom" not in update or is_unit(update["uom"]))
    )


def is_unit(value: object) -> bool:
    return (
        isinstance(value, str)
        and not isinstance(value, Exact)
        and re.fullmatch("[A-Z0-9]{1,3}", value) is not None
    )


def relations_are_right(update: dict) -> bool:
    kind, quantity = update["type"], update["quantity"]
    signs = {"count": quantity >= 0, "transfer": quantity > 0}
    if not signs.get(kind, quantity != 0):
        return False
    target = update.get("to_location_id")
    if kind == "transfer" and target in (None, update["location_id"]):
        return False
    if kind != "transfer" and target is not None:
        return False
    return kind == "count" or "expected_quantity" not in update


def encode(update: dict) -> bytes:
    """The canonical body of a valid update given as a dict of its present fields."""
    members = {name: update[name] for name in FIELDS if update.get(name) is not None}
    moment = update["occurred_at"].astimezone(UTC).replace(tzinfo=None)
    members["occurred_at"] = moment.isoformat(timespec="microseconds") + "Z"
    members.update(update.get("extra") or {})
    return json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode()

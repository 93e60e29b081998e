"""One update <-> its JSON body; also what decides over bodies that are out of the ordinary.

The batch ways of `codec` hand every body here that they cannot prove, so what this
module accepts and how it words a refusal is what the codec does.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from stocklog.inventory import timestamps
from stocklog.inventory.fields import FIELDS, INTEGERS, plainly_valid, problems, shown
from stocklog.inventory.record import Update, invalid

__all__ = ["decode_row", "encode_row", "read_row"]


class _Wire(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """The fields of a body in their JSON types, in the canonical order."""

    update_id: str
    type: str
    sku: str
    location_id: str
    quantity: int
    occurred_at: str
    reason: str
    source: str
    to_location_id: str | None = None
    expected_quantity: int | None = None
    reference: str | None = None
    uom: str | None = None
    source_seq: int | None = None


_encode = msgspec.json.Encoder().encode
_decode_wire = msgspec.json.Decoder(_Wire).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

_INTEGER = re.compile(rb"-?(0|[1-9][0-9]{0,38})")


def encode_row(update: Update) -> bytes:
    """The canonical JSON body of one update, the same bytes as `encode` gives."""
    if update.extra is None and update.occurred_at.microsecond:
        # Its fields in their order, absent ones left out; but for a time without a fraction,
        # which msgspec would write without one.
        return _encode(update)
    body = _encode(
        _Wire(
            update.update_id,
            update.type,
            update.sku,
            update.location_id,
            update.quantity,
            timestamps.render_datetime(update.occurred_at),
            update.reason,
            update.source,
            update.to_location_id,
            update.expected_quantity,
            update.reference,
            update.uom,
            update.source_seq,
        )
    )
    if update.extra is None:
        return body
    return body[:-1] + b"," + update.extra.strip()[1:-1].encode() + b"}"


def decode_row(body: bytes) -> Update:
    """Reads one body, whoever wrote it.

    Raises:
        InvalidUpdateError: it is no JSON object or breaks a rule of the record.
    """
    values, reasons = read_row(body)
    if reasons:
        raise invalid(reasons)
    values["occurred_at"] = timestamps.to_datetime(values["occurred_at"])
    return Update(**values)


def read_row(body: bytes) -> tuple[dict[str, Any], list[str]]:
    """Reads one body into plain values.

    The body is a JSON object in UTF-8: fields in any order, blanks and escapes as JSON
    has them, null for an absent field, unknown members kept in `extra` as they were
    written. Of a name that comes twice the last counts, as in Python's `json`.

    Returns:
        The values by field name (`occurred_at` in microseconds; `extra`), and the reasons
        why it is not valid, empty if it is.
    """
    try:
        wire = _decode_wire(body)
    except (ValueError, RecursionError):
        # Anything the strict form does not take: read member by member, for its
        # unknown fields or for a reason that says which field is wrong.
        values = _members(body)
        if isinstance(values, str):
            return {}, [values]
    else:
        values = msgspec.structs.asdict(wire)
        values["occurred_at"] = micros = _micros(wire.occurred_at)
        if plainly_valid(wire, micros):
            return values, []
        return values, problems(values)
    moment = values.get("occurred_at")
    if moment is not None:
        values["occurred_at"] = _micros(moment)
    return values, problems(values)


def _micros(moment: object) -> int | ValueError:
    if not isinstance(moment, str):
        return ValueError(f"occurred_at is {shown(moment)}: it must be RFC 3339 text with a zone")
    try:
        return timestamps.parse(moment)
    except ValueError as error:
        return ValueError(f"occurred_at is {shown(moment)}: {error}")


class _Verbatim:
    """A JSON value that is neither text nor a sensible integer, shown as it was written."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def __repr__(self) -> str:
        return self._raw.decode(errors="replace")


def _members(body: bytes) -> dict[str, Any] | str:
    """The members of a JSON object, unknown ones joined in `extra`; or why it is none."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return f"the body is not UTF-8: byte {error.start} is 0x{body[error.start]:02x}"
    try:
        members = _decode_members(body)
    except msgspec.ValidationError:
        return f"the body is not a JSON object: {shown(body[:64].decode(errors='replace'))}"
    except RecursionError:
        return "the body is nested too deeply"
    except ValueError as error:
        return f"the body is not JSON: {error}"
    values: dict[str, Any] = {}
    unknown = []
    for name, raw in members.items():
        if name in _FIELD_SET:
            values[name] = _value(name, bytes(raw))
        else:
            unknown.append(_encode(name) + b":" + _compact(bytes(raw)))
    if unknown:
        values["extra"] = (b"{" + b",".join(unknown) + b"}").decode()
    return values


_FIELD_SET = frozenset(FIELDS)


def _value(name: str, raw: bytes) -> Any:
    if raw == b"null":
        return None
    if name in INTEGERS:
        return int(raw) if _INTEGER.fullmatch(raw) else _Verbatim(raw)
    if raw[:1] == b'"':
        try:
            return msgspec.json.decode(raw, type=str)
        except ValueError:
            pass  # half of a surrogate pair: no text that UTF-8 could carry
    return _Verbatim(raw)


def _compact(raw: bytes) -> bytes:
    """A JSON value without blanks between its tokens, otherwise as it was written."""
    if raw[:1] in b"{[" and any(blank in raw for blank in (b" ", b"\n", b"\t", b"\r")):
        return msgspec.json.format(raw, indent=-1)
    return raw

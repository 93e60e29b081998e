"""One AMQP 1.0 message at a time: its sections, decoded or made.

This is the face for single messages and for the odd rows of a block; columns of
messages are the business of `amqp`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from reprlib import repr as short
from typing import Any

from stocklog.errors import ProtocolError, UsageError
from stocklog.protocol.amqp_types import Symbol, View, read_value, skip_value

__all__ = [
    "AMQP_SEQUENCE",
    "AMQP_VALUE",
    "DATA",
    "Header",
    "Message",
    "Properties",
    "encode_message",
    "find_body",
    "parse_message",
]

HEADER, DELIVERY_ANNOTATIONS, MESSAGE_ANNOTATIONS, PROPERTIES = 0x70, 0x71, 0x72, 0x73
APPLICATION_PROPERTIES, DATA, AMQP_SEQUENCE, AMQP_VALUE, FOOTER = 0x74, 0x75, 0x76, 0x77, 0x78

_LISTS = (0x45, 0xC0, 0xD0)
_MAPS = (0xC1, 0xD1)
_BINARY = (0xA0, 0xB0)
_FORMS = {
    HEADER: _LISTS,
    DELIVERY_ANNOTATIONS: _MAPS,
    MESSAGE_ANNOTATIONS: _MAPS,
    PROPERTIES: _LISTS,
    APPLICATION_PROPERTIES: _MAPS,
    DATA: _BINARY,
    AMQP_SEQUENCE: _LISTS,
    FOOTER: _MAPS,
}
_NAMES = {
    HEADER: "header",
    DELIVERY_ANNOTATIONS: "delivery-annotations",
    MESSAGE_ANNOTATIONS: "message-annotations",
    PROPERTIES: "properties",
    APPLICATION_PROPERTIES: "application-properties",
    DATA: "data",
    AMQP_SEQUENCE: "amqp-sequence",
    AMQP_VALUE: "amqp-value",
    FOOTER: "footer",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Header:
    """The header section; RabbitMQ 3.13 and later write it for messages from AMQP 0-9-1.

    Attributes:
        durable: whether it should outlive a restart.
        priority: 0 to 255, null meaning 4.
        ttl: milliseconds it is valid, or None.
        first_acquirer: whether nobody else got it before.
        delivery_count: failed deliveries before this one.
    """

    durable: bool | None = None
    priority: int | None = None
    ttl: int | None = None
    first_acquirer: bool | None = None
    delivery_count: int | None = None


@dataclass(frozen=True, slots=True)
class Properties:
    """The properties section, every one optional.

    Attributes:
        message_id: str (from others also int, bytes or UUID).
        user_id: bytes.
        to: address.
        subject: subject.
        reply_to: address for answers.
        correlation_id: as `message_id`.
        content_type: MIME type.
        content_encoding: MIME content encoding.
        absolute_expiry_time: moment in UTC.
        creation_time: moment in UTC.
        group_id: its group; RabbitMQ 4 puts AMQP 0-9-1's app_id here.
        group_sequence: place in the group, 32 bits unsigned.
        reply_to_group_id: group for answers.
    """

    message_id: Any = None
    user_id: bytes | None = None
    to: str | None = None
    subject: str | None = None
    reply_to: str | None = None
    correlation_id: Any = None
    content_type: str | None = None
    content_encoding: str | None = None
    absolute_expiry_time: datetime | None = None
    creation_time: datetime | None = None
    group_id: str | None = None
    group_sequence: int | None = None
    reply_to_group_id: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A decoded message.

    Attributes:
        body: the bytes of its data sections, or of an amqp-value that is a string or binary;
            for raw bytes without any section these themselves.
        header: its header, if it has one.
        annotations: message annotations, such as `x-exchange` and `x-routing-key`.
        properties: its properties, if it has that section.
        application_properties: what its producer added.
    """

    body: bytes
    header: Header | None = None
    annotations: dict[str, Any] = field(default_factory=dict)
    properties: Properties | None = None
    application_properties: dict[str, Any] = field(default_factory=dict)


def find_body(message: View) -> list[tuple[int, int]]:
    """Find the body of one message, by any encoding that AMQP 1.0 allows.

    What other sections hold is stepped over, not decoded.

    Args:
        message: the whole message.

    Returns:
        Start and length of each piece: one for each data section, or one for an
        amqp-value that is a string or binary, or all of it if it has no sections.

    Raises:
        ProtocolError: it is broken, or it has no body that is bytes.
    """
    if len(message) and message[0] != 0:
        return [(0, len(message))]
    pieces: list[tuple[int, int]] = []
    body: int | None = None
    for code, at, end in _sections(message):
        if code not in (DATA, AMQP_VALUE, AMQP_SEQUENCE):
            continue
        if code == AMQP_SEQUENCE:
            raise ProtocolError("its body is an amqp-sequence, a list of values")
        if body is not None and (code, body) != (DATA, DATA):
            raise ProtocolError(f"it has a section {_NAMES[code]} behind its {_NAMES[body]}")
        body = code
        form = message[at]
        if form not in (0xA0, 0xA1, 0xB0, 0xB1):
            raise ProtocolError(f"its body is an amqp-value of type {form:#04x}, not bytes or text")
        start = at + (2 if form < 0xB0 else 5)
        pieces.append((start, end - start))
    if body is None:
        raise ProtocolError("it has no body" if len(message) else "it is empty")
    return pieces


def parse_message(message: View) -> Message:
    """Decode a message with all its properties.

    Args:
        message: the whole message.

    Returns:
        The message; delivery annotations and footer are left out.

    Raises:
        ProtocolError: it is broken, or it has no body that is bytes.
    """
    body = b"".join(bytes(message[start : start + size]) for start, size in find_body(message))
    if message[0] != 0:
        return Message(body)
    values: dict[int, Any] = {}
    for code, at, end in _sections(message):
        if code in (HEADER, MESSAGE_ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES):
            values[code], _ = read_value(message, at, end)
    return Message(
        body,
        _fill(Header, values[HEADER]) if HEADER in values else None,
        values.get(MESSAGE_ANNOTATIONS, {}),
        _fill(Properties, values[PROPERTIES]) if PROPERTIES in values else None,
        values.get(APPLICATION_PROPERTIES, {}),
    )


def _fill(kind: Any, values: list[Any]) -> Any:
    if len(values) > len(fields(kind)):
        raise ProtocolError(f"its {kind.__name__.lower()} section has {len(values)} fields")
    return kind(*values)


def _sections(message: View) -> Iterator[tuple[int, int, int]]:
    """Code, start and end of the value of each section."""
    at, end = 0, len(message)
    while at < end:
        code, at = _section_code(message, at, end)
        start = at
        at = skip_value(message, at, end)
        forms = _FORMS.get(code)
        if forms and message[start] not in forms:
            raise ProtocolError(
                f"its section {_NAMES[code]} cannot have the type {message[start]:#04x}"
            )
        yield code, start, at


def _section_code(message: View, at: int, end: int) -> tuple[int, int]:
    if message[at] != 0 or at + 2 >= end:
        raise ProtocolError(f"byte {at} is not the beginning of a section")
    descriptor, behind = read_value(message, at + 1, end, 1)
    code = _SYMBOLS.get(descriptor) if isinstance(descriptor, Symbol) else descriptor
    if type(code) is not int or code not in _NAMES:
        raise ProtocolError(f"byte {at} begins a section of the unknown kind {short(descriptor)}")
    return code, behind


_SYMBOLS = {
    **{f"amqp:{name}:list": code for code, name in _NAMES.items() if code in (0x70, 0x73, 0x76)},
    **{
        f"amqp:{name}:map": code
        for code, name in _NAMES.items()
        if code in (0x71, 0x72, 0x74, 0x78)
    },
    "amqp:data:binary": DATA,
    "amqp:amqp-sequence:list": AMQP_SEQUENCE,
    "amqp:amqp-value:*": AMQP_VALUE,
}


def encode_message(
    body: bytes,
    properties: Properties | None = None,
    application_properties: Mapping[str, Any] | None = None,
) -> bytes:
    """Make a message that every reader can take, AMQP 0-9-1 on RabbitMQ 3.10 included.

    That reader's channel dies of an empty body and of some types, so those are refused
    here: ids are text, values are str, bool, int (64 bits signed), float, bytes, datetime
    (with a time zone) or None.

    Args:
        body: at least one byte.
        properties: left out if None or all None.
        application_properties: left out if None or empty; keys are str.

    Returns:
        The message's bytes: properties, application properties, one data section.

    Raises:
        UsageError: the body is empty, or a key or value is not among those above.
    """
    if not body:
        raise UsageError("a message has an empty body", "Old readers break on it; send a byte")
    parts = []
    if properties is not None:
        values = [_encode_property(f.name, getattr(properties, f.name)) for f in fields(Properties)]
        while values and values[-1] == b"\x40":
            values.pop()
        if values:
            parts.append(b"\x00\x53\x73" + _compound(0xC0, values))
    if application_properties:
        pairs = []
        for key, value in application_properties.items():
            if not isinstance(key, str):
                raise UsageError(f"the name of application property {short(key)} is not text")
            pairs += [_sized(0xA1, _utf8(key, key)), _encode_value(key, value)]
        parts.append(b"\x00\x53\x74" + _compound(0xC1, pairs))
    parts.append(b"\x00\x53\x75" + _sized(0xA0, bytes(body)))
    return b"".join(parts)


_TEXTS = (
    "message_id",
    "to",
    "subject",
    "reply_to",
    "correlation_id",
    "group_id",
    "reply_to_group_id",
)


def _encode_property(name: str, value: Any) -> bytes:
    if value is None:
        return b"\x40"
    if name in _TEXTS and isinstance(value, str):
        return _sized(0xA1, _utf8(name, value))
    if name in ("content_type", "content_encoding") and isinstance(value, str) and value.isascii():
        return _sized(0xA3, value.encode())
    if name == "user_id" and isinstance(value, bytes):
        return _sized(0xA0, value)
    if name in ("absolute_expiry_time", "creation_time") and isinstance(value, datetime):
        return _encode_value(name, value)
    if name == "group_sequence" and type(value) is int and 0 <= value < 1 << 32:
        return b"\x70" + value.to_bytes(4)
    raise UsageError(f"the property {name} cannot be {short(value)}")


def _encode_value(name: str, value: Any) -> bytes:
    if value is None:
        return b"\x40"
    if isinstance(value, bool):
        return b"\x41" if value else b"\x42"
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
        return b"\x81" + int(value).to_bytes(8, signed=True)
    if isinstance(value, float):
        return b"\x82" + struct.pack(">d", value)
    if isinstance(value, str) and not isinstance(value, Symbol):
        return _sized(0xA1, _utf8(name, value))
    if isinstance(value, (bytes, bytearray)):
        return _sized(0xA0, bytes(value))
    if isinstance(value, datetime) and value.tzinfo is not None:
        return b"\x83" + ((value - _EPOCH) // timedelta(milliseconds=1)).to_bytes(8, signed=True)
    raise UsageError(
        f"the property {name} cannot be {short(value)}",
        "Values are str, bool, int of 64 bits, float, bytes, datetime with a time zone, or None",
    )


def _utf8(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"the property {name!r} is not text that UTF-8 can hold: {error}"
        ) from error


def _sized(code: int, data: bytes) -> bytes:
    """A variable-width value: its short constructor, or the long one if it must be."""
    if len(data) < 256:
        return bytes((code, len(data))) + data
    return bytes((code | 0x10,)) + len(data).to_bytes(4) + data


def _compound(code: int, values: list[bytes]) -> bytes:
    data = b"".join(values)
    if len(data) < 255 and len(values) < 256:
        return bytes((code, len(data) + 1, len(values))) + data
    return bytes((code | 0x10,)) + (len(data) + 4).to_bytes(4) + len(values).to_bytes(4) + data

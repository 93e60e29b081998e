"""Every command's layout as one table, and frames to and from bytes.

A frame is `size:u32 | key:u16 | version:u16 | ...`; a request and its answer
carry a correlation id, an answer has bit 15 of the key set and (but for
Metadata) a response code. Layouts are those of RabbitMQ 3.9 to 4.3
(`rabbit_stream_core.erl`, `PROTOCOL.adoc`).

The two frames of the hot path are not in the table: Publish is assembled by
`publish_header` and `sub_batch_header` around slices that are already bytes,
and Deliver and PublishConfirm are taken apart by `split_deliver` and
`confirmed_ids` without a Python object per entry.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stocklog.errors import ProtocolError
from stocklog.protocol.wire import (
    BYTES,
    I16,
    I64,
    STRING,
    STRING_MAP,
    STRINGS,
    U8,
    U16,
    U32,
    U64,
    Cursor,
    WireType,
    array,
    record,
)

__all__ = [
    "LAYOUTS",
    "Frame",
    "Key",
    "Layout",
    "Offset",
    "confirmed_ids",
    "decode",
    "encode",
    "publish_header",
    "refused_ids",
    "split_deliver",
    "sub_batch_header",
]


class Key(IntEnum):
    """Command keys."""

    DECLARE_PUBLISHER = 0x01
    PUBLISH = 0x02
    PUBLISH_CONFIRM = 0x03
    PUBLISH_ERROR = 0x04
    QUERY_PUBLISHER_SEQUENCE = 0x05
    DELETE_PUBLISHER = 0x06
    SUBSCRIBE = 0x07
    DELIVER = 0x08
    CREDIT = 0x09
    STORE_OFFSET = 0x0A
    QUERY_OFFSET = 0x0B
    UNSUBSCRIBE = 0x0C
    CREATE = 0x0D
    DELETE = 0x0E
    METADATA = 0x0F
    METADATA_UPDATE = 0x10
    PEER_PROPERTIES = 0x11
    SASL_HANDSHAKE = 0x12
    SASL_AUTHENTICATE = 0x13
    TUNE = 0x14
    OPEN = 0x15
    CLOSE = 0x16
    HEARTBEAT = 0x17
    ROUTE = 0x18
    PARTITIONS = 0x19
    CONSUMER_UPDATE = 0x1A
    EXCHANGE_COMMAND_VERSIONS = 0x1B
    STREAM_STATS = 0x1C
    CREATE_SUPER_STREAM = 0x1D
    DELETE_SUPER_STREAM = 0x1E
    RESOLVE_OFFSET_SPEC = 0x1F


class Offset(NamedTuple):
    """Where a subscription begins, as Subscribe carries it.

    Attributes:
        kind: 0 none, 1 first, 2 last, 3 next, 4 offset, 5 timestamp.
        value: the offset, or milliseconds since 1970 for a timestamp; None for the others.
    """

    kind: int
    value: int | None = None


def _write_offset(out: bytearray, offset: Offset) -> None:
    U16.write(out, offset.kind)
    if offset.kind in (4, 5):
        (U64 if offset.kind == 4 else I64).write(out, offset.value)


def _read_offset(cursor: Cursor) -> Offset:
    kind = U16.read(cursor)
    if kind in (4, 5):
        return Offset(kind, (U64 if kind == 4 else I64).read(cursor))
    return Offset(kind)


OFFSET = WireType(_write_offset, _read_offset)
_BROKER = record(U16, STRING, U32)
_STREAM = record(STRING, U16, U16, array(U16, 2))
_VERSION_RANGE = array(record(U16, U16, U16), 6)


class Layout(NamedTuple):
    """One command's fields.

    Attributes:
        request: fields behind the correlation id (or behind the version, if one-way).
        answer: fields behind the response code; None for a command without answer.
        one_way: whether the command carries no correlation id.
        has_code: whether the answer has a response code (Metadata's has none).
    """

    request: tuple[tuple[str, WireType], ...] = ()
    answer: tuple[tuple[str, WireType], ...] | None = ()
    one_way: bool = False
    has_code: bool = True


def _one_way(*fields: tuple[str, WireType]) -> Layout:
    return Layout(fields, None, one_way=True)


LAYOUTS: dict[Key, Layout] = {
    Key.DECLARE_PUBLISHER: Layout(
        (("publisher_id", U8), ("reference", STRING), ("stream", STRING))
    ),
    Key.QUERY_PUBLISHER_SEQUENCE: Layout(
        (("reference", STRING), ("stream", STRING)), (("sequence", U64),)
    ),
    Key.DELETE_PUBLISHER: Layout((("publisher_id", U8),)),
    Key.SUBSCRIBE: Layout(
        (
            ("subscription_id", U8),
            ("stream", STRING),
            ("offset", OFFSET),
            ("credit", U16),
            ("properties", STRING_MAP),
        )
    ),
    Key.CREDIT: _one_way(("subscription_id", U8), ("credit", I16)),
    Key.STORE_OFFSET: _one_way(("reference", STRING), ("stream", STRING), ("offset", U64)),
    Key.QUERY_OFFSET: Layout((("reference", STRING), ("stream", STRING)), (("offset", U64),)),
    Key.UNSUBSCRIBE: Layout((("subscription_id", U8),)),
    Key.CREATE: Layout((("stream", STRING), ("arguments", STRING_MAP))),
    Key.DELETE: Layout((("stream", STRING),)),
    Key.METADATA: Layout(
        (("streams", STRINGS),),
        (("brokers", array(_BROKER, 8)), ("streams", array(_STREAM, 10))),
        has_code=False,
    ),
    Key.METADATA_UPDATE: _one_way(("code", U16), ("stream", STRING)),
    Key.PEER_PROPERTIES: Layout((("properties", STRING_MAP),), (("properties", STRING_MAP),)),
    Key.SASL_HANDSHAKE: Layout((), (("mechanisms", STRINGS),)),
    Key.SASL_AUTHENTICATE: Layout((("mechanism", STRING), ("data", BYTES)), ()),
    Key.TUNE: _one_way(("frame_max", U32), ("heartbeat", U32)),
    Key.OPEN: Layout((("vhost", STRING),), (("properties", STRING_MAP),)),
    Key.CLOSE: Layout((("code", U16), ("reason", STRING))),
    Key.HEARTBEAT: _one_way(),
    Key.ROUTE: Layout((("routing_key", STRING), ("super_stream", STRING)), (("streams", STRINGS),)),
    Key.PARTITIONS: Layout((("super_stream", STRING),), (("streams", STRINGS),)),
    Key.EXCHANGE_COMMAND_VERSIONS: Layout(
        (("commands", _VERSION_RANGE),), (("commands", _VERSION_RANGE),)
    ),
    Key.STREAM_STATS: Layout((("stream", STRING),), (("stats", array(record(STRING, I64), 10)),)),
}

_ANSWER_BIT = 0x8000
_CREDIT_ERROR = _ANSWER_BIT | Key.CREDIT
_HEAD = struct.Struct(">HH")
_PUBLISH = struct.Struct(">IHHBI")
_SUB_BATCH = struct.Struct(">QBHII")
PUBLISH_HEADER_SIZE = _PUBLISH.size
SUB_BATCH_HEADER_SIZE = _SUB_BATCH.size


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of the table, decoded.

    Attributes:
        key: the command.
        is_answer: whether it answers a request of ours (False also for what the
            broker sends on its own).
        correlation_id: of the request or answer; None for one-way commands.
        code: the response code of an answer; 1 where the layout has none.
        values: the fields by name; empty when the code says that it failed.
    """

    key: Key
    is_answer: bool
    correlation_id: int | None
    code: int
    values: dict[str, Any]


def encode(
    key: Key, correlation_id: int | None = None, *, answer: int | None = None, **values: Any
) -> bytes:
    """Write one frame of the table, its size included.

    Args:
        key: the command.
        correlation_id: required unless the command is one-way.
        answer: a response code, if this frame answers the broker (Close).
        values: every field of the layout by name.

    Raises:
        ProtocolError: a value does not fit its wire type.
    """
    layout = LAYOUTS[key]
    out = bytearray(4)
    out += _HEAD.pack(key if answer is None else key | _ANSWER_BIT, 1)
    if not layout.one_way:
        U32.write(out, correlation_id)
    fields = layout.request
    if answer is not None:
        U16.write(out, answer)
        fields = layout.answer or ()
    for name, kind in fields:
        kind.write(out, values[name])
    struct.pack_into(">I", out, 0, len(out) - 4)
    return bytes(out)


def decode(frame: bytes | memoryview) -> Frame:
    """Read one frame of the table (its size left off).

    Answers of Route and Partitions lack the answer bit on 3.10 and 3.11.0, so a
    frame of a command that only we ask is taken for an answer all the same.

    Bytes behind the last known field are passed over: a later broker may add one.

    Raises:
        ProtocolError: an unknown command or a broken layout.
    """
    cursor = Cursor(frame)
    raw, version = U16.read(cursor), U16.read(cursor)
    try:
        key = Key(raw & ~_ANSWER_BIT)
        layout = LAYOUTS[key]
    except (ValueError, KeyError):
        raise ProtocolError(f"The broker sent an unknown command 0x{raw:04x}") from None
    if version != 1:
        raise ProtocolError(f"The broker sent {key.name} in version {version}, known is 1")
    if raw == _CREDIT_ERROR:
        return Frame(key, True, None, U16.read(cursor), {"subscription_id": U8.read(cursor)})
    if layout.one_way:
        return Frame(key, False, None, 1, _read_fields(cursor, layout.request))
    correlation_id = U32.read(cursor)
    if not raw & _ANSWER_BIT and key not in (Key.ROUTE, Key.PARTITIONS):
        return Frame(key, False, correlation_id, 1, _read_fields(cursor, layout.request))
    code = U16.read(cursor) if layout.has_code else 1
    values = _read_fields(cursor, layout.answer or ()) if code == 1 else {}
    return Frame(key, True, correlation_id, code, values)


def _read_fields(cursor: Cursor, fields: tuple[tuple[str, WireType], ...]) -> dict[str, Any]:
    return {name: kind.read(cursor) for name, kind in fields}


def publish_header(publisher_id: int, count: int, entries_size: int) -> bytes:
    """Write the head of a Publish frame.

    Args:
        publisher_id: the publisher's id on this connection.
        count: how many entries follow.
        entries_size: bytes of the entries, their publishing ids included.
    """
    return _PUBLISH.pack(
        PUBLISH_HEADER_SIZE - 4 + entries_size, Key.PUBLISH, 1, publisher_id, count
    )


def sub_batch_header(
    publishing_id: int, codec_id: int, records: int, uncompressed: int, size: int
) -> bytes:
    """Write the head of a sub-batch entry, its publishing id in front.

    Args:
        publishing_id: the number of the sub-batch's last message.
        codec_id: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
        records: messages in it, 1 to 65,535 (an empty one stops all later confirms).
        uncompressed: bytes of the simple entries before compression.
        size: bytes that follow.
    """
    return _SUB_BATCH.pack(publishing_id, 0x80 | codec_id << 4, records, uncompressed, size)


def split_deliver(frame: memoryview) -> tuple[int, memoryview]:
    """Take a Deliver frame apart.

    Args:
        frame: the frame without its size, version 1 or 2 (2 carries the id of
            the last committed chunk, which may be one that is never delivered).

    Returns:
        The subscription's id and the chunk.
    """
    if len(frame) > 4 and frame[3] == 1 and frame[2] == 0:  # as nearly all are
        return frame[4], frame[5:]
    version = int.from_bytes(frame[2:4], "big")
    if version not in (1, 2):
        raise ProtocolError(f"The broker sent a Deliver frame of version {version}, known: 1, 2")
    start = 5 if version == 1 else 13
    if len(frame) < start:
        raise ProtocolError(f"A Deliver frame of {len(frame)} bytes is cut short")
    return frame[4], frame[start:]


def confirmed_ids(frame: memoryview) -> tuple[int, npt.NDArray[np.uint64]]:
    """Take a PublishConfirm frame apart.

    Returns:
        The publisher's id, and the publishing ids in the order of the log (uint64).
    """
    publisher_id, count = _counted(frame, 8)
    return publisher_id, np.frombuffer(frame, ">u8", count, 9).astype(np.uint64)


_REFUSED = np.dtype([("id", ">u8"), ("code", ">u2")])


def refused_ids(frame: memoryview) -> tuple[int, npt.NDArray[np.uint64], npt.NDArray[np.uint16]]:
    """Take a PublishError frame apart: publisher's id, publishing ids, response codes."""
    publisher_id, count = _counted(frame, _REFUSED.itemsize)
    items = np.frombuffer(frame, _REFUSED, count, 9)
    return publisher_id, items["id"].astype(np.uint64), items["code"].astype(np.uint16)


def _counted(frame: memoryview, item: int) -> tuple[int, int]:
    if len(frame) < 9:
        raise ProtocolError(f"A confirm or an error of {len(frame)} bytes is cut short")
    count = int.from_bytes(frame[5:9], "big")
    if len(frame) != 9 + count * item:
        raise ProtocolError(
            f"A confirm or an error claims {count} publishing ids in {len(frame)} bytes"
        )
    return frame[4], count

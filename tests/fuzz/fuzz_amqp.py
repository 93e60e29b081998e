"""AMQP messages: found by the column where the row reader finds them, and nothing else raises."""

from __future__ import annotations

import numpy as np

from stocklog.errors import ProtocolError
from stocklog.protocol import amqp
from stocklog.protocol.chunk import MessageBlock
from stocklog.protocol.message import Properties, encode_message, find_body, parse_message

SEPARATOR = b"\xf5\xf6"
"""Stands between two messages; not UTF-8, so that no text holds it."""


def seeds() -> list[bytes]:
    """Messages in the encodings that brokers and clients write."""
    short, long = b"\0\x53\x75\xa0\x02{}", b"\0\x53\x75\xb0\0\0\0\x02{}"
    text = b"\0\x53\x77\xa1\x02{}"
    header = b"\0\x53\x70\xc0\x04\x02\x41\x50\x04"
    annotations = b"\0\x53\x72\xc1\x0b\x02\xa3\x03x-k\xa1\x03v-1"
    symbolic = b"\0\xa3\x10amqp:data:binary\xa0\x02{}"
    nested = b"\0\x53\x74\xd1\0\0\0\x14\0\0\0\x02\xa1\x01k\xf0\0\0\0\x07\0\0\0\x02\x54\x01\x02"
    properties = Properties(message_id="m", user_id=b"u")
    full = encode_message(b"{}", properties, application_properties={"a": "b"})
    alone = [short, long, text, symbolic, full, b"{}", b"", header + short, annotations + long]
    return [*alone, short + short, nested + short, SEPARATOR.join(alone)]


def check(data: bytes) -> None:
    """Messages between separators, as one block."""
    messages = data.split(SEPARATOR)
    lengths = np.array([len(message) for message in messages], np.int64)
    starts = np.cumsum(lengths + len(SEPARATOR)) - lengths - len(SEPARATOR)
    nothing = np.zeros(len(messages), np.int64)
    block = MessageBlock(np.frombuffer(data, np.uint8), starts, lengths, nothing, nothing)
    bodies = amqp.locate_bodies(block)
    for row, message in enumerate(messages):
        start, length = int(bodies.starts[row]), int(bodies.lengths[row])
        found = bodies.buffer[start : start + length].tobytes()
        expected = plain_body(message)
        assert (row in bodies.problems) == (expected is None)
        assert found == (message if expected is None else expected)
        parse(message, expected)


def plain_body(message: bytes) -> bytes | None:
    """The body as the row reader finds it; None if there is none."""
    try:
        return b"".join(message[at : at + size] for at, size in find_body(message))
    except ProtocolError as error:
        assert str(error)
        return None


def parse(message: bytes, body: bytes | None) -> None:
    """The reader of everything agrees on the body, or refuses one of the other sections."""
    try:
        assert parse_message(message).body == body
    except ProtocolError as error:
        assert str(error)

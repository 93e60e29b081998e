"""Messages between rstream's own AMQP encoder and ours, both ways; no broker."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stocklog.errors import ProtocolError
from stocklog.protocol import amqp
from stocklog.protocol.message import Message, Properties, encode_message, parse_message

rstream = pytest.importorskip("rstream")

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("size", [1, 255, 256, 70_000])
def test_bodies_that_rstream_writes_are_read(size):
    theirs = bytes(rstream.AMQPMessage(body=b"b" * size))
    assert parse_message(theirs) == Message(b"b" * size)


def test_properties_that_rstream_writes_are_read():
    theirs = bytes(
        rstream.AMQPMessage(
            body=b"body",
            properties=rstream.Properties(
                message_id="m-1", subject="s", content_type="application/json", group_id="g"
            ),
            application_properties={"text": "ñ", "number": -5, "yes": True, "half": 0.5},
            message_annotations={"x-key": "v"},
        )
    )
    found = parse_message(theirs)
    assert found.body == b"body"
    assert found.properties == Properties(
        message_id="m-1", subject="s", content_type="application/json", group_id="g"
    )
    assert found.application_properties == {
        "text": "ñ",
        "number": -5,
        "yes": True,
        "half": 0.5,
    }
    assert found.annotations == {"x-key": "v"}


def test_a_string_value_that_rstream_writes_is_a_body():
    assert parse_message(bytes(rstream.AMQPMessage(value="text"))).body == b"text"


@pytest.mark.parametrize("value", [5, [1], {"a": 1}])
def test_other_values_that_rstream_writes_are_no_body(value):
    with pytest.raises(ProtocolError, match="its body is an amqp-value"):
        parse_message(bytes(rstream.AMQPMessage(value=value)))


def test_rstream_reads_what_we_write():
    at = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    ours = encode_message(
        b"x" * 300,
        Properties(message_id="m", user_id=b"u", content_type="a/b", creation_time=at),
        {"n": -7, "t": "ñ", "b": b"\0", "f": 0.25, "y": True, "z": None},
    )
    theirs = rstream.amqp_decoder(ours)
    assert bytes(theirs.body[0] if isinstance(theirs.body, list) else theirs.body) == b"x" * 300
    assert theirs.properties.message_id == b"m"
    assert theirs.properties.creation_time == at.timestamp() * 1000
    assert theirs.application_properties == {
        b"n": -7,
        b"t": "ñ".encode(),
        b"b": b"\0",
        b"f": 0.25,
        b"y": True,
        b"z": None,
    }


def test_rstream_reads_the_rows_that_are_framed_for_the_wire():
    bodies = [b"a", b"b" * 300]
    data, starts = amqp.frame_bodies(bodies)
    for start, end, body in zip(starts[:-1], starts[1:], bodies, strict=True):
        theirs = rstream.amqp_decoder(data[start + 4 : end].tobytes())
        assert bytes(theirs.body) == body

"""Where bodies lie: usual sections by the column, odd ones by the row, broken ones named."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from stocklog.errors import ProtocolError
from stocklog.protocol import amqp
from stocklog.protocol.chunk import MessageBlock


def block_of(messages: list[bytes], before: bytes = b"") -> MessageBlock:
    """Messages with something between them, as entries have their sizes there."""
    parts = [before]
    for message in messages:
        parts += [b"\0\0\0\0", message]
    lengths = np.array([len(message) for message in messages], np.int64)
    starts = np.cumsum(lengths + 4) - lengths + len(before)
    zeros = np.zeros(len(messages), np.int64)
    return MessageBlock(np.frombuffer(b"".join(parts), np.uint8), starts, lengths, zeros, zeros)


def located(messages: list[bytes]) -> tuple[list[bytes], dict[int, str]]:
    bodies = amqp.locate_bodies(block_of(messages))
    found = [
        bodies.buffer[start : start + length].tobytes()
        for start, length in zip(bodies.starts.tolist(), bodies.lengths.tolist(), strict=True)
    ]
    return found, bodies.problems


def sized(code: int, data: bytes, long: bool = False) -> bytes:
    if long or len(data) > 255:
        return bytes((code | 0x10,)) + len(data).to_bytes(4) + data
    return bytes((code, len(data))) + data


def compound(code: int, *values: bytes, long: bool = False) -> bytes:
    data = b"".join(values)
    if long or len(data) > 254:
        return struct.pack(">BII", code | 0x10, len(data) + 4, len(values)) + data
    return bytes((code, len(data) + 1, len(values))) + data


def section(code: int, value: bytes, long: bool = False) -> bytes:
    descriptor = b"\x80" + bytes(7) + bytes((code,)) if long else b"\x53" + bytes((code,))
    return b"\0" + descriptor + value


def data_section(body: bytes, long: bool = False) -> bytes:
    return section(0x75, sized(0xA0, body, long))


HEADER = section(0x70, compound(0xC0, b"\x41", b"\x50\x04"))
EMPTY_HEADER = section(0x70, b"\x45")
DELIVERY = section(0x71, compound(0xC1))
ANNOTATIONS = section(0x72, compound(0xC1, sized(0xA3, b"x-exchange"), sized(0xA1, b"amq.direct")))
PROPERTIES = section(0x73, compound(0xC0, sized(0xA1, b"id"), b"\x40", b"\x83" + bytes(8)))
APPLICATION = section(0x74, compound(0xC1, sized(0xA1, b"key"), b"\x55\x07", long=True))
FOOTER = section(0x78, compound(0xC1))

READABLE = {
    "a short data section": data_section(b"body"),
    "a long data section": data_section(b"body", long=True),
    "RabbitMQ 3.10 from AMQP 0-9-1": ANNOTATIONS + PROPERTIES + APPLICATION + data_section(b"body"),
    "RabbitMQ 4 from AMQP 0-9-1": HEADER + ANNOTATIONS + PROPERTIES + data_section(b"body"),
    "all sections": HEADER
    + DELIVERY
    + ANNOTATIONS
    + PROPERTIES
    + APPLICATION
    + data_section(b"body")
    + FOOTER,
    "an empty list as header": EMPTY_HEADER + data_section(b"body"),
    "a string as value": section(0x77, sized(0xA1, b"body")),
    "a long string as value": section(0x77, sized(0xA1, b"body", long=True)),
    "binary as value": section(0x77, sized(0xA0, b"body")),
    "several data sections": data_section(b"bo")
    + data_section(b"", long=True)
    + data_section(b"dy"),
    "several and a footer": data_section(b"bo") + data_section(b"dy") + FOOTER,
    "descriptors of eight bytes": section(0x73, b"\x45", long=True)
    + section(0x75, sized(0xA0, b"body"), long=True),
    "symbolic descriptors": b"\0"
    + sized(0xA3, b"amqp:message-annotations:map")
    + compound(0xC1)
    + b"\0"
    + sized(0xA3, b"amqp:data:binary")
    + sized(0xA0, b"body"),
    "no section at all": b"body",
}


@pytest.mark.parametrize("shape", READABLE)
def test_the_body_is_found(shape):
    assert located([READABLE[shape]]) == ([b"body"], {})
    assert located([READABLE[shape]] * 50) == ([b"body"] * 50, {})


def test_all_shapes_are_found_side_by_side():
    messages = list(READABLE.values()) * 20
    random.Random(3).shuffle(messages)
    assert located(messages) == ([b"body"] * len(messages), {})


UNREADABLE = {
    "empty": (b"", "empty"),
    "no body": (HEADER + PROPERTIES, "no body"),
    "a sequence": (section(0x76, compound(0xC0, b"\x41")), "amqp-sequence"),
    "a number as value": (section(0x77, b"\x55\x05"), "type 0x55, not bytes"),
    "a map as value": (section(0x77, compound(0xC1)), "not bytes"),
    "null as value": (section(0x77, b"\x40"), "not bytes"),
    "data and value": (data_section(b"a") + section(0x77, sized(0xA1, b"b")), "amqp-value behind"),
    "value and data": (section(0x77, sized(0xA1, b"b")) + data_section(b"a"), "data behind"),
    "two values": (section(0x77, sized(0xA1, b"b")) * 2, "behind its amqp-value"),
    "a string in a data section": (section(0x75, sized(0xA1, b"a")), "cannot have the type 0xa1"),
    "a list as annotations": (section(0x72, compound(0xC0)) + data_section(b"a"), "cannot have"),
    "an unknown section": (section(0x79, b"\x40"), "unknown kind 121"),
    "a huge descriptor": (b"\0\x80" + b"\xff" * 8 + b"\x40", "unknown kind"),
    "a fraction as descriptor": (
        b"\0\x82" + struct.pack(">d", 0x75) + sized(0xA0, b"a"),
        "unknown kind 117.0",
    ),
    "a text as descriptor": (b"\0" + sized(0xA1, b"amqp:data:binary") + b"\x40", "unknown kind"),
    "a list as descriptor": (b"\0" + compound(0xC0) + b"\x40", "unknown kind"),
    "a body that is cut": (data_section(b"body")[:-1], "says it has 4 bytes, but 3"),
    "a size that is cut": (b"\0\x53\x75\xb0\0\0", "cut in its size"),
    "a size of 4 GiB": (b"\0\x53\x75\xb0\xff\xff\xff\xff", "says it has 4294967295"),
    "annotations of 4 GiB": (b"\0\x53\x72\xd1\xff\xff\xff\xff" + data_section(b"x"), "says it has"),
    "a byte behind": (data_section(b"body") + b"x", "not the beginning of a section"),
    "a zero behind": (data_section(b"body") + b"\0", "not the beginning of a section"),
    "a type without a meaning": (section(0x77, b"\x10"), "no meaning"),
    "zeros": (bytes(40), "nested deeper"),
    "descriptors without end": (b"\0" * 100_000, "nested deeper"),
    "described values without end": (b"\0\x53\x77" + b"\0\x40" * 50_000, "nested deeper"),
}


@pytest.mark.parametrize("shape", UNREADABLE)
def test_an_unreadable_row_has_a_text_and_is_given_whole(shape):
    message, text = UNREADABLE[shape]
    found, problems = located([data_section(b"before"), message, data_section(b"behind")])
    assert found == [b"before", message, b"behind"]
    assert list(problems) == [1]
    assert text in problems[1]


def test_no_rows_are_no_bodies():
    assert located([]) == ([], {})


def test_bodies_of_usual_messages_stay_in_the_blocks_buffer():
    block = block_of([READABLE["all sections"], data_section(b"x"), b"raw"])
    assert amqp.locate_bodies(block).buffer is block.buffer


def test_large_bodies_and_empty_bodies_are_found():
    bodies = [b"x" * 255, b"y" * 256, b"z" * 70_000, b"", b"\0" * 500]
    messages = [PROPERTIES + data_section(body) for body in bodies]
    assert located(messages) == (bodies, {})


@pytest.mark.parametrize("sizes", [(0, 3, 255), (0, 256), (300, 400), (255, 256, 70_000, 1)])
def test_messages_of_one_data_section_are_found_at_once(sizes, monkeypatch):
    monkeypatch.setattr(amqp, "_step_sections", None)  # not needed
    bodies = [b"x" * size for size in sizes]
    assert located([data_section(body) for body in bodies]) == (bodies, {})


@pytest.mark.parametrize(
    "wrong",
    [
        data_section(b"abc")[:-1],
        data_section(b"a" * 300)[:-1],
        data_section(b"abc") + b"!",
        b"\0Su\xb0\0",
        b"\0Su\xa0",
    ],
)
def test_a_data_section_with_a_wrong_size_is_given_whole(wrong):
    found, problems = located([data_section(b"before"), wrong, data_section(b"b" * 300)])
    assert found == [b"before", wrong, b"b" * 300]
    assert list(problems) == [1]


def sections_one_by_one(message: bytes) -> bytes | None:
    """The row way, for holding the column way against it."""
    try:
        pieces = amqp.find_body(message)
    except ProtocolError:
        return None
    return b"".join(message[start : start + size] for start, size in pieces)


shapes = st.sampled_from([*READABLE.values(), *(message for message, _ in UNREADABLE.values())])
short_shapes = shapes.filter(lambda message: len(message) < 500)


@given(st.lists(short_shapes, max_size=12), st.data())
@settings(max_examples=examples(300), deadline=None)
def test_columns_and_single_rows_agree_on_changed_messages(messages, data):
    changed = []
    for message in messages:
        raw = bytearray(message)
        for _ in range(data.draw(st.integers(0, 2)) if raw else 0):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        changed.append(bytes(raw[: data.draw(st.integers(0, len(raw) + 3))]))
    found, problems = located(changed)
    for row, message in enumerate(changed):
        expected = sections_one_by_one(message)
        assert (row in problems) == (expected is None)
        assert found[row] == (message if expected is None else expected)


@given(st.lists(st.one_of(st.binary(max_size=60), st.binary(max_size=40).map(b"\0\x53".__add__))))
@settings(max_examples=examples(300), deadline=None)
def test_columns_and_single_rows_agree_on_noise(messages):
    found, problems = located(messages)
    for row, message in enumerate(messages):
        expected = sections_one_by_one(message)
        assert (row in problems) == (expected is None)
        assert found[row] == (message if expected is None else expected)

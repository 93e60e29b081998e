"""Frames: every layout byte by byte, answers that break the rule, and hostile bytes."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stocklog.errors import ProtocolError
from stocklog.protocol import frames
from stocklog.protocol.frames import LAYOUTS, Key, Offset
from stocklog.protocol.reader import FrameReader

# Each request as the specification has it, written by hand: fields in hex after
# size, key, version and (unless one-way) the correlation id 00000007.
REQUESTS: dict[Key, tuple[dict[str, Any], str]] = {
    Key.DECLARE_PUBLISHER: (
        {"publisher_id": 3, "reference": "", "stream": "st"},
        "03 0000 0002 7374",
    ),
    Key.QUERY_PUBLISHER_SEQUENCE: (
        {"reference": "p", "stream": "st"},
        "0001 70 0002 7374",
    ),
    Key.DELETE_PUBLISHER: ({"publisher_id": 255}, "ff"),
    Key.SUBSCRIBE: (
        {
            "subscription_id": 1,
            "stream": "st",
            "offset": Offset(4, 5),
            "credit": 0xFFFF,
            "properties": {"a": "b"},
        },
        "01 0002 7374 0004 0000000000000005 ffff 00000001 0001 61 0001 62",
    ),
    Key.CREDIT: ({"subscription_id": 3, "credit": 5}, "03 0005"),
    Key.STORE_OFFSET: (
        {"reference": "r", "stream": "st", "offset": 256},
        "0001 72 0002 7374 0000000000000100",
    ),
    Key.QUERY_OFFSET: ({"reference": "r", "stream": "st"}, "0001 72 0002 7374"),
    Key.UNSUBSCRIBE: ({"subscription_id": 9}, "09"),
    Key.CREATE: (
        {"stream": "st", "arguments": {"max-age": "7D"}},
        "0002 7374 00000001 0007 6d61782d616765 0002 3744",
    ),
    Key.DELETE: ({"stream": "st"}, "0002 7374"),
    Key.METADATA: ({"streams": ["a", "b"]}, "00000002 0001 61 0001 62"),
    Key.METADATA_UPDATE: ({"code": 6, "stream": "st"}, "0006 0002 7374"),
    Key.PEER_PROPERTIES: ({"properties": {}}, "00000000"),
    Key.SASL_HANDSHAKE: ({}, ""),
    Key.SASL_AUTHENTICATE: (
        {"mechanism": "PLAIN", "data": b"\0u\0p"},
        "0005 504c41494e 00000004 00750070",
    ),
    Key.TUNE: ({"frame_max": 1 << 20, "heartbeat": 60}, "00100000 0000003c"),
    Key.OPEN: ({"vhost": "/"}, "0001 2f"),
    Key.CLOSE: ({"code": 1, "reason": "OK"}, "0001 0002 4f4b"),
    Key.HEARTBEAT: ({}, ""),
    Key.ROUTE: ({"routing_key": "k", "super_stream": "s"}, "0001 6b 0001 73"),
    Key.PARTITIONS: ({"super_stream": "s"}, "0001 73"),
    Key.EXCHANGE_COMMAND_VERSIONS: ({"commands": [(8, 1, 2)]}, "00000001 0008 0001 0002"),
    Key.STREAM_STATS: ({"stream": "st"}, "0002 7374"),
}

# The same for answers: fields after the code 0001 (Metadata has no code).
ANSWERS: dict[Key, tuple[dict[str, Any], str]] = {
    Key.DECLARE_PUBLISHER: ({}, ""),
    Key.QUERY_PUBLISHER_SEQUENCE: ({"sequence": (1 << 64) - 1}, "ffffffffffffffff"),
    Key.DELETE_PUBLISHER: ({}, ""),
    Key.SUBSCRIBE: ({}, ""),
    Key.QUERY_OFFSET: ({"offset": 2}, "0000000000000002"),
    Key.UNSUBSCRIBE: ({}, ""),
    Key.CREATE: ({}, ""),
    Key.DELETE: ({}, ""),
    Key.METADATA: (
        {
            "brokers": [(0, "h", 5552)],
            "streams": [("st", 1, 0, [0]), ("no", 2, 0xFFFF, [])],
        },
        "00000001 0000 0001 68 000015b0"
        "00000002 0002 7374 0001 0000 00000001 0000 0002 6e6f 0002 ffff 00000000",
    ),
    Key.PEER_PROPERTIES: (
        {"properties": {"version": "3.10.8"}},
        "00000001 0007 76657273696f6e 0006 332e31302e38",
    ),
    Key.SASL_HANDSHAKE: ({"mechanisms": ["PLAIN"]}, "00000001 0005 504c41494e"),
    Key.SASL_AUTHENTICATE: ({}, ""),
    Key.OPEN: ({"properties": {}}, "00000000"),
    Key.CLOSE: ({}, ""),
    Key.ROUTE: ({"streams": ["s-1"]}, "00000001 0003 732d31"),
    Key.PARTITIONS: ({"streams": []}, "00000000"),
    Key.EXCHANGE_COMMAND_VERSIONS: ({"commands": [(2, 1, 2)]}, "00000001 0002 0001 0002"),
    Key.STREAM_STATS: ({"stats": [("x", -1)]}, "00000001 0001 78 ffffffffffffffff"),
}


def frame_bytes(key: int, body: str) -> bytes:
    """A frame by hand: size, key, version 1, body in hex."""
    content = struct.pack(">HH", key, 1) + bytes.fromhex(body)
    return struct.pack(">I", len(content)) + content


def request_bytes(key: Key) -> bytes:
    return frame_bytes(key, ("" if LAYOUTS[key].one_way else "00000007") + REQUESTS[key][1])


def answer_bytes(key: Key, *, bit: int = 0x8000) -> bytes:
    code = "0001" if LAYOUTS[key].has_code else ""
    return frame_bytes(key | bit, "00000007" + code + ANSWERS[key][1])


def test_every_layout_is_in_the_tables_of_this_test() -> None:
    assert set(REQUESTS) == set(LAYOUTS)
    assert set(ANSWERS) == {key for key, layout in LAYOUTS.items() if layout.answer is not None}


@pytest.mark.parametrize("key", LAYOUTS, ids=lambda key: key.name)
def test_a_request_is_written_byte_by_byte_as_specified(key: Key) -> None:
    correlation = None if LAYOUTS[key].one_way else 7
    assert frames.encode(key, correlation, **REQUESTS[key][0]) == request_bytes(key)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (frames.encode(Key.HEARTBEAT), "00000004 0017 0001"),
        (frames.encode(Key.CREDIT, subscription_id=3, credit=5), "00000007 0009 0001 03 0005"),
        (frames.encode(Key.OPEN, 4, vhost="/"), "0000000B 0015 0001 00000004 0001 2F"),
        (frames.encode(Key.CLOSE, 1, answer=1), "0000000A 8016 0001 00000001 0001"),
    ],
)
def test_whole_frames_of_the_specification(frame: bytes, expected: str) -> None:
    assert frame == bytes.fromhex(expected)


# A command that only we ask is never a request of the broker's (Route and Partitions).
@pytest.mark.parametrize("key", sorted(set(LAYOUTS) - {Key.ROUTE, Key.PARTITIONS}))
@pytest.mark.parametrize("trailing", [b"", b"\0", b"new field"])
def test_a_request_is_read_whole_and_with_trailing_bytes(key: Key, trailing: bytes) -> None:
    layout, values = LAYOUTS[key], REQUESTS[key][0]
    frame = frames.decode(request_bytes(key)[4:] + trailing)
    assert frame == frames.Frame(key, False, None if layout.one_way else 7, 1, values)


@pytest.mark.parametrize("key", ANSWERS, ids=lambda key: key.name)
@pytest.mark.parametrize("trailing", [b"", b"\0", b"new field"])
def test_an_answer_is_read_whole_and_with_trailing_bytes(key: Key, trailing: bytes) -> None:
    frame = frames.decode(answer_bytes(key)[4:] + trailing)
    assert frame == frames.Frame(key, True, 7, 1, ANSWERS[key][0])


@pytest.mark.parametrize("key", ANSWERS, ids=lambda key: key.name)
def test_an_answer_that_is_cut_anywhere_is_refused_or_lacks_only_an_optional_map(key: Key) -> None:
    whole = answer_bytes(key)[4:]
    for cut in range(len(whole)):
        try:
            frame = frames.decode(whole[:cut])
        except ProtocolError:
            continue
        assert key in (Key.OPEN, Key.PEER_PROPERTIES)
        assert (cut, frame.values) == (10, {"properties": {}})


@pytest.mark.parametrize("key", ANSWERS, ids=lambda key: key.name)
def test_frames_are_read_from_a_stream_one_byte_at_a_time(key: Key) -> None:
    reader, got = FrameReader(), []
    for byte in answer_bytes(key) + answer_bytes(key):
        reader.buffer()[0] = byte
        got += reader.received(1)
    assert [frames.decode(frame).values for frame in got] == [ANSWERS[key][0]] * 2


@pytest.mark.parametrize("key", [Key.ROUTE, Key.PARTITIONS])
def test_route_and_partitions_are_answers_also_without_the_answer_bit(key: Key) -> None:
    frame = frames.decode(answer_bytes(key, bit=0)[4:])
    assert frame.is_answer
    assert (frame.correlation_id, frame.values) == (7, ANSWERS[key][0])


@pytest.mark.parametrize("bit", [0, 0x8000])
def test_tune_carries_no_correlation_id_with_either_key(bit: int) -> None:
    frame = frames.decode(frame_bytes(Key.TUNE | bit, REQUESTS[Key.TUNE][1])[4:])
    assert frame.correlation_id is None
    assert frame.values == {"frame_max": 1 << 20, "heartbeat": 60}


def test_a_credit_error_has_a_code_and_no_correlation_id() -> None:
    frame = frames.decode(frame_bytes(0x8009, "0004 2a")[4:])
    assert frame == frames.Frame(Key.CREDIT, True, None, 4, {"subscription_id": 42})


def test_metadata_has_no_response_code() -> None:
    frame = frames.decode(answer_bytes(Key.METADATA)[4:])
    assert frame.code == 1
    assert frame.values["streams"][1] == ("no", 2, 0xFFFF, [])


@pytest.mark.parametrize("key", [key for key in ANSWERS if LAYOUTS[key].has_code])
def test_an_answer_that_failed_ends_with_its_code(key: Key) -> None:
    frame = frames.decode(frame_bytes(key | 0x8000, "00000007 0010")[4:])
    assert (frame.is_answer, frame.code, frame.values) == (True, 16, {})


@pytest.mark.parametrize("body", ["7fff 0001", "0000 0001", "801f 0001 00000001 0001", "0002 0001"])
def test_an_unknown_command_is_refused(body: str) -> None:
    with pytest.raises(ProtocolError, match="unknown command"):
        frames.decode(bytes.fromhex(body))


def test_a_later_version_of_a_command_is_refused() -> None:
    with pytest.raises(ProtocolError, match="version 2"):
        frames.decode(bytes.fromhex("8011 0002 00000001 0001"))


def test_a_name_that_is_no_text_is_refused_when_written() -> None:
    with pytest.raises(ProtocolError):
        frames.encode(Key.DELETE, 1, stream="\udcff")
    with pytest.raises(ProtocolError):
        frames.encode(Key.DELETE, None, stream="x")


# -- the hot frames -----------------------------------------------------------------------


def test_heads_of_publish_and_sub_batch_are_as_specified() -> None:
    head = frames.publish_header(7, 2, 100)
    assert head == bytes.fromhex("0000006d 0002 0001 07 00000002")
    assert len(head) == frames.PUBLISH_HEADER_SIZE
    batch = frames.sub_batch_header(9, 4, 500, 70_000, 12_345)
    assert batch == bytes.fromhex("0000000000000009 c0 01f4 00011170 00003039")
    assert len(batch) == frames.SUB_BATCH_HEADER_SIZE


def test_deliver_is_taken_apart_in_both_versions() -> None:
    one = bytes.fromhex("0008 0001 05") + b"chunk"
    two = bytes.fromhex("0008 0002 05 0000000000000063") + b"chunk"
    for frame in (one, two):
        subscription, chunk = frames.split_deliver(memoryview(frame))
        assert (subscription, bytes(chunk)) == (5, b"chunk")


@pytest.mark.parametrize(
    "frame", ["0008 0003 05", "0008 0101 05 00", "0008 0001", "0008 0002 05 00000000", "0008", ""]
)
def test_a_broken_deliver_is_refused(frame: str) -> None:
    with pytest.raises(ProtocolError):
        frames.split_deliver(memoryview(bytes.fromhex(frame)))


def confirm(ids: list[int]) -> bytes:
    return struct.pack(f">HHBI{len(ids)}Q", Key.PUBLISH_CONFIRM, 1, 4, len(ids), *ids)


@given(st.lists(st.integers(0, (1 << 64) - 1), max_size=50))
def test_confirms_give_ids_in_their_order(ids: list[int]) -> None:
    publisher, got = frames.confirmed_ids(memoryview(confirm(ids)))
    assert publisher == 4
    assert got.dtype == np.uint64
    assert got.tolist() == ids


@given(st.lists(st.tuples(st.integers(0, (1 << 64) - 1), st.integers(0, 65535)), max_size=30))
def test_refusals_give_ids_and_codes(items: list[tuple[int, int]]) -> None:
    frame = struct.pack(">HHBI", Key.PUBLISH_ERROR, 1, 4, len(items))
    frame += b"".join(struct.pack(">QH", *item) for item in items)
    publisher, ids, reasons = frames.refused_ids(memoryview(frame))
    assert publisher == 4
    assert list(zip(ids.tolist(), reasons.tolist(), strict=True)) == items


@pytest.mark.parametrize("read", [frames.confirmed_ids, frames.refused_ids])
@pytest.mark.parametrize("count", [1, 2, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_a_lying_count_of_confirms_is_refused(read: Any, count: int) -> None:
    frame = struct.pack(">HHBI", Key.PUBLISH_CONFIRM, 1, 4, count) + bytes(7)
    with pytest.raises(ProtocolError):
        read(memoryview(frame))


# -- hostile bytes ------------------------------------------------------------------------

_READERS = (frames.decode, frames.split_deliver, frames.confirmed_ids, frames.refused_ids)


def reads_or_refuses(data: bytes) -> None:
    for read in _READERS:
        with contextlib.suppress(ProtocolError):
            read(memoryview(data))


@given(st.binary(max_size=200))
@example(b"")
@example(b"\0\x08")
def test_any_bytes_give_a_value_or_the_protocol_error(data: bytes) -> None:
    reads_or_refuses(data)


@given(
    st.sampled_from([answer_bytes(key)[4:] for key in ANSWERS] + [confirm([1, 2, 3])]),
    st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=5),
    st.integers(0, 90),
)
def test_mutated_frames_give_a_value_or_the_protocol_error(
    whole: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(whole)
    for place, value in changes:
        if place < len(data):
            data[place] = value
    reads_or_refuses(bytes(data[:cut]))

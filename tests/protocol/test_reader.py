"""The frame reader: the same frames whatever the cuts, and no memory for a lie."""

from __future__ import annotations

import random
import struct
import tracemalloc

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stocklog.errors import ProtocolError
from stocklog.protocol.frames import Key
from stocklog.protocol.reader import FrameReader


def framed(body: bytes, key: int = Key.DELIVER) -> bytes:
    content = struct.pack(">HH", key, 1) + body
    return struct.pack(">I", len(content)) + content


def fed(reader: FrameReader, data: bytes, sizes: list[int]) -> list[memoryview]:
    """Hands `data` over in pieces of these sizes (the last one again and again)."""
    frames: list[memoryview] = []
    position, turn = 0, 0
    while position < len(data):
        size = sizes[min(turn, len(sizes) - 1)]
        turn += 1
        room = reader.buffer()
        assert len(room) > 0
        piece = data[position : position + min(size, len(room))]
        room[: len(piece)] = piece
        frames += reader.received(len(piece))
        position += len(piece)
    return frames


SMALL = st.lists(st.binary(max_size=300), max_size=20)
CUTS = st.lists(st.integers(1, 500), min_size=1, max_size=30)


@given(SMALL, CUTS)
def test_small_frames_come_out_whole_whatever_the_cuts(
    bodies: list[bytes], cuts: list[int]
) -> None:
    wire = b"".join(map(framed, bodies))
    assert [bytes(frame[4:]) for frame in fed(FrameReader(), wire, cuts)] == bodies


@given(
    st.lists(st.sampled_from([0, 1, 65_527, 65_528, 65_529, 65_536, 200_000, 262_144, 600_000])),
    st.lists(st.sampled_from([1, 3, 7, 8, 9, 4096, 65_536, 262_144, 1 << 20]), min_size=1),
    st.sampled_from([8191, 65_536, 262_144]),
)
def test_large_and_small_frames_mix_whatever_the_cuts(
    sizes: list[int], cuts: list[int], rest: int
) -> None:
    bodies = [random.Random(size).randbytes(size) for size in sizes]
    wire = b"".join(map(framed, bodies))
    got = fed(FrameReader(), wire, [*cuts, rest])
    assert [bytes(frame[4:]) for frame in got] == bodies


def test_frames_stay_valid_while_later_ones_arrive() -> None:
    reader = FrameReader()
    bodies = [bytes([number]) * size for number, size in enumerate([10, 70_000, 300, 200_000] * 20)]
    held = fed(reader, b"".join(map(framed, bodies)), [50_000])
    assert [bytes(frame[4:]) for frame in held] == bodies


def test_a_large_frame_is_read_into_memory_of_its_own_without_a_copy() -> None:
    reader = FrameReader()
    fed(reader, framed(bytes(1_000_000))[:1000], [1000])
    assert reader.wants_all()
    room = reader.buffer()
    assert len(room) == 1_000_008 - 1000
    room[:] = b"\7" * len(room)
    (frame,) = reader.received(len(room))
    assert not reader.wants_all()
    assert np.shares_memory(np.frombuffer(frame, np.uint8), np.frombuffer(room, np.uint8))


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_a_frame_too_small_for_a_header_is_refused(size: int) -> None:
    with pytest.raises(ProtocolError, match="header"):
        fed(FrameReader(), struct.pack(">I", size) + bytes(8), [1])


def test_each_command_has_its_limit_and_the_error_doubts_the_port() -> None:
    limits = {"max_frame": 1000, "max_chunk": 2000}
    assert len(fed(FrameReader(**limits), framed(bytes(996), Key.METADATA), [64])) == 1
    assert len(fed(FrameReader(**limits), framed(bytes(1996)), [64])) == 1
    for data in (framed(bytes(997), Key.METADATA), framed(bytes(1997))):
        with pytest.raises(ProtocolError, match="stream listener"):
            fed(FrameReader(**limits), data, [64])


def test_another_protocol_is_recognised_by_its_absurd_size() -> None:
    with pytest.raises(ProtocolError, match="limit"):
        fed(FrameReader(), b"HTTP/1.1 400 Bad Request\r\n\r\n", [100])


@pytest.mark.parametrize("count", [4, 5, 6, 7])
def test_four_bytes_are_enough_to_see_an_absurd_size(count: int) -> None:
    # Seen before the fix: the 7 bytes of a TLS alert were awaited until the time was over.
    with pytest.raises(ProtocolError, match="limit"):
        fed(FrameReader(1 << 16, 1 << 16), b"\x15\x03\x01\x00\x02\x02\x46"[:count], [count])


def test_a_lying_size_costs_no_memory() -> None:
    reader, process = FrameReader(), psutil.Process()
    before = process.memory_info().rss
    fed(reader, struct.pack(">IHH", 1 << 30, Key.DELIVER, 1) + bytes(500), [100])
    assert reader.wants_all()
    assert process.memory_info().rss - before < 32 << 20


def test_many_small_frames_hold_no_more_memory_than_their_bytes() -> None:
    reader = FrameReader()
    tracemalloc.start()
    try:
        held = fed(reader, framed(bytes(992)) * 5000, [3000])
        assert len(held) == 5000
        # 5 MB of bytes, and about 300 bytes for each view and its place.
        assert tracemalloc.get_traced_memory()[0] < 8_000_000
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=2000), CUTS)
def test_any_bytes_give_frames_or_the_protocol_error(data: bytes, cuts: list[int]) -> None:
    reader = FrameReader(max_frame=1 << 16, max_chunk=1 << 16)
    try:
        frames = fed(reader, data, cuts)
    except ProtocolError:
        return
    assert (
        b"".join(struct.pack(">I", len(frame)) + frame for frame in frames)
        == data[: sum(len(frame) + 4 for frame in frames)]
    )

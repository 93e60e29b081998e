"""Packing: borders that depend on the number alone, frames that fit, nothing lost on the way."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from stocklog.errors import MessageTooLargeError
from stocklog.protocol import amqp, compression
from stocklog.stream.inflight import SentFrame
from stocklog.stream.options import PublisherOptions
from stocklog.stream.packing import Packer

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


class Entry(NamedTuple):
    """One entry as a broker would read it from the wire."""

    id: int
    codec: int | None  # None: a plain entry
    bodies: list[bytes]


def numbered(first: int, count: int, padding: int = 0) -> list[bytes]:
    return [b"%d" % number + b"." * padding for number in range(first, first + count)]


def rows(bodies: list[bytes], options: PublisherOptions) -> tuple[np.ndarray, np.ndarray]:
    lead = amqp.lead(options.plain)
    starts = np.concatenate([[0], np.cumsum([len(lead) + len(body) for body in bodies])])
    return (
        np.frombuffer(bytearray(b"".join(lead + body for body in bodies)), np.uint8),
        starts.astype(np.int64),
    )


def packed(packer: Packer, options: PublisherOptions, pieces: Iterable[list[bytes]]):
    sent: list[SentFrame] = []
    for piece in pieces:
        sent += packer.add(*rows(piece, options))
    return sent + list(packer.flush())


def body_of(message: bytes) -> bytes:
    assert message[:4] == b"\x00\x53\x75\xb0"
    assert struct.unpack(">I", message[4:8])[0] == len(message) - 8
    return message[8:]


def simple(data: bytes) -> list[bytes]:
    bodies, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        bodies.append(body_of(data[at + 4 : at + 4 + size]))
        at += 4 + size
    assert at == len(data)
    return bodies


def entries_of(frame: SentFrame) -> list[Entry]:
    """Reads a frame as the broker would, and holds the bookkeeping against it."""
    wire = b"".join(bytes(piece) for piece in frame.pieces)
    size, key, version, publisher, count = struct.unpack_from(">IHHBI", wire)
    assert (size, key, version, publisher) == (len(wire) - 4, 2, 1, 0)
    assert frame.size == len(wire)
    entries, at = [], 13
    while at < len(wire):
        number, first = struct.unpack_from(">QB", wire, at)
        if first & 0x80:
            _, _, records, plain, length = struct.unpack_from(">QBHII", wire, at)
            payload = wire[at + 19 : at + 19 + length]
            unpacked = bytes(compression.decompress(first >> 4 & 7, memoryview(payload), plain))
            bodies = simple(unpacked)
            assert (len(bodies), len(unpacked)) == (records, plain)
            assert 1 <= records <= 65_535
            entries.append(Entry(number, first >> 4 & 7, bodies))
            at += 19 + length
        else:
            (length,) = struct.unpack_from(">I", wire, at + 8)
            entries.append(Entry(number, None, simple(wire[at + 8 : at + 12 + length])))
            at += 12 + length
    assert at == len(wire)
    assert len(entries) == count
    assert frame.ids.tolist() == [entry.id for entry in entries]
    assert frame.messages.tolist() == [len(entry.bodies) for entry in entries]
    return entries


def all_entries(frames: list[SentFrame]) -> list[Entry]:
    return [entry for frame in frames for entry in entries_of(frame)]


def cut(bodies: list[bytes], cuts: list[int]) -> list[list[bytes]]:
    edges = [0, *sorted(edge % (len(bodies) + 1) for edge in cuts), len(bodies)]
    return [bodies[begin:end] for begin, end in itertools.pairwise(edges)]


@given(
    st.integers(0, 400),
    st.lists(st.integers(0, 400), max_size=12),
    st.integers(0, 2000),
    st.sampled_from([1, 2, 7, 50, 333]),
    st.sampled_from([200, 1000, 1 << 20]),
)
def test_borders_depend_on_the_number_alone_whatever_the_pieces(
    count: int, cuts: list[int], resume: int, sub_batch: int, frame_max: int
) -> None:
    options = PublisherOptions(sub_batch=sub_batch)
    bodies = numbered(resume + 1, count)
    whole = packed(Packer(options, frame_max, resume), options, [bodies])
    pieces = packed(Packer(options, frame_max, resume), options, cut(bodies, cuts))
    assert all_entries(pieces) == all_entries(whole)
    entries = all_entries(whole)
    assert [body for entry in entries for body in entry.bodies] == bodies
    # The id is the number of the entry's last message, and bodies are numbers.
    assert [entry.id for entry in entries] == [int(entry.bodies[-1]) for entry in entries]
    for frame in whole + pieces:
        assert frame.size - 4 <= frame_max


@given(st.integers(0, 3000), st.integers(1, 400), st.sampled_from([2, 7, 50]))
def test_after_any_number_sub_batches_end_at_multiples_of_their_size(
    resume: int, count: int, sub_batch: int
) -> None:
    options = PublisherOptions(sub_batch=sub_batch)
    entries = all_entries(
        packed(Packer(options, 1 << 20, resume), options, [numbered(resume + 1, count)])
    )
    assert all(entry.id % sub_batch == 0 for entry in entries[:-1])
    assert entries[-1].id == resume + count


def test_a_flush_makes_one_shorter_sub_batch_and_the_borders_go_on_as_before() -> None:
    options = PublisherOptions(sub_batch=10)
    packer = Packer(options, 1 << 20, 0)
    first = packed(packer, options, [numbered(1, 13)])
    second = packed(packer, options, [numbered(14, 20)])
    assert [entry.id for entry in all_entries(first)] == [10, 13]
    assert [entry.id for entry in all_entries(second)] == [20, 30, 33]
    assert list(packer.flush()) == []


@pytest.mark.parametrize("codec", CODECS)
def test_the_codec_does_not_move_the_borders(codec: str) -> None:
    bodies = numbered(1, 999, padding=60)
    plain, other = (PublisherOptions(codec=name, sub_batch=100) for name in ("none", codec))
    borders = [
        [(entry.id, entry.bodies) for entry in all_entries(packed(packer, options, [bodies]))]
        for options in (plain, other)
        for packer in [Packer(options, 5000, 0)]
    ]
    assert borders[0] == borders[1]


def test_a_block_that_does_not_fit_a_frame_is_halved_until_it_does() -> None:
    options = PublisherOptions(sub_batch=8)
    # 8 messages of 12 + 100 bytes: a frame of 500 holds 4 of them, of 300 only 2.
    for frame_max, expected in [(1000, [8]), (500, [4, 8]), (300, [2, 4, 6, 8])]:
        frames = packed(Packer(options, frame_max, 0), options, [numbered(1, 8, padding=99)])
        assert [entry.id for entry in all_entries(frames)] == expected
        assert all(frame.size - 4 <= frame_max for frame in frames)


@pytest.mark.parametrize("codec", CODECS)
def test_bytes_that_do_not_compress_still_fit(codec: str) -> None:
    options = PublisherOptions(codec=codec, sub_batch=4)
    noise = np.random.default_rng(5).integers(0, 256, 40_000, np.uint8).tobytes()
    # Exactly as large as a frame can hold when uncompressed: any codec makes it larger.
    size = (10_000 - 9 - 19) // 4 - 12
    bodies = [noise[begin : begin + size] for begin in range(0, 4 * size, size)]
    frames = packed(Packer(options, 10_000, 0), options, [bodies])
    (entry,) = all_entries(frames)
    assert entry == Entry(4, 0, bodies)
    assert frames[0].size - 4 <= 10_000


@pytest.mark.parametrize("codec", CODECS)
def test_a_sub_batch_names_the_codec_it_was_packed_with(codec: str) -> None:
    options = PublisherOptions(codec=codec, sub_batch=50)
    (entry,) = all_entries(packed(Packer(options, 1 << 20, 0), options, [numbered(1, 50, 30)]))
    assert entry.codec == CODECS.index(codec)


@pytest.mark.parametrize(("sub_batch", "overhead"), [(1, 9 + 20), (5, 9 + 19 + 12)])
def test_the_largest_message_fits_a_frame_exactly_and_one_byte_more_is_refused(
    sub_batch: int, overhead: int
) -> None:
    options, frame_max = PublisherOptions(sub_batch=sub_batch), 1 << 20
    packer = Packer(options, frame_max, 0)
    (frame,) = packed(packer, options, [[b"x" * (frame_max - overhead)]])
    assert frame.size - 4 == frame_max
    assert entries_of(frame)[0].bodies == [b"x" * (frame_max - overhead)]
    with pytest.raises(
        MessageTooLargeError, match=f"Message 2 of 3 has {frame_max - overhead + 1}"
    ):
        packer.add(*rows([b"a", b"x" * (frame_max - overhead + 1), b"b"], options))


@pytest.mark.parametrize("sub_batch", [1, 3])
def test_a_message_too_large_leaves_no_trace(sub_batch: int) -> None:
    options = PublisherOptions(sub_batch=sub_batch)
    packer = Packer(options, 1000, 0)
    before = list(packer.add(*rows(numbered(1, 4), options)))
    data, starts = rows([b"5", b"x" * 1000], options)
    untouched = data.copy()
    with pytest.raises(MessageTooLargeError):
        packer.add(data, starts)
    assert (data == untouched).all()
    assert packer.number == 4
    after = packed(packer, options, [numbered(5, 2)])
    assert [body for entry in all_entries(before + after) for body in entry.bodies] == numbered(
        1, 6
    )


@pytest.mark.parametrize("sub_batch", [1, 2])
def test_a_frame_never_holds_more_than_may_be_unconfirmed(sub_batch: int) -> None:
    # Seen before the fix: one frame of 20,000 sub-batches where 100 were allowed.
    few = PublisherOptions(sub_batch=sub_batch, max_unconfirmed_entries=100)
    frames = packed(Packer(few, 1 << 20, 0), few, [numbered(1, 1000)])
    assert max(len(frame.ids) for frame in frames) == 100
    small = PublisherOptions(sub_batch=sub_batch, max_unconfirmed_bytes=2000)
    frames = packed(Packer(small, 1 << 20, 0), small, [numbered(1, 1000)])
    assert 1000 < max(frame.size for frame in frames) <= 2000
    # What is larger than the bound by itself goes alone.
    frames = packed(Packer(small, 1 << 20, 0), small, [[b"1", b"x" * 3000, b"3"]])
    assert [body for entry in all_entries(frames) for body in entry.bodies][1] == b"x" * 3000


def test_no_messages_give_no_frame() -> None:
    options = PublisherOptions()
    packer = Packer(options, 1 << 20, 0)
    assert list(packer.add(np.zeros(0, np.uint8), np.zeros(1, np.int64))) == []
    assert list(packer.add(np.zeros(0, np.uint8), np.zeros(0, np.int64))) == []
    assert list(packer.flush()) == []
    assert packer.number == 0


@settings(max_examples=examples(30))
@given(
    st.lists(st.binary(max_size=700), max_size=60),
    st.lists(st.integers(0, 60), max_size=5),
    st.sampled_from([1, 2, 5, 64]),
    st.sampled_from(CODECS),
    st.sampled_from([800, 4000, 0]),
)
def test_any_bodies_arrive_in_order_and_every_frame_fits(
    bodies: list[bytes], cuts: list[int], sub_batch: int, codec: str, frame_max: int
) -> None:
    options = PublisherOptions(sub_batch=sub_batch, codec=codec if sub_batch > 1 else "none")
    frames = packed(Packer(options, frame_max, 41), options, cut(bodies, cuts))
    entries = all_entries(frames)
    assert [body for entry in entries for body in entry.bodies] == bodies
    assert all(frame.size - 4 <= (frame_max or 1 << 20) for frame in frames)
    ends = 41 + np.cumsum([len(entry.bodies) for entry in entries], dtype=np.int64)
    assert [entry.id for entry in entries] == ends.tolist()

"""Whole chunks of every shape: what is written in comes out, in order, with its offset."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest
from chunk_reference import Batch, encode_chunk, messages_of, payload_of

from stocklog.errors import ProtocolError
from stocklog.protocol import chunk as chunks
from stocklog.protocol.compression import CODECS, compress


def section(body: bytes) -> bytes:
    """A message of one data section."""
    if len(body) < 256:
        return b"\0\x53\x75\xa0" + bytes((len(body),)) + body
    return b"\0\x53\x75\xb0" + len(body).to_bytes(4) + body


def split(chunk: bytes):
    return chunks.parse_header(chunk), memoryview(chunk)[chunks.HEADER_SIZE :]


def batch(messages, codec: str = "none") -> Batch:
    messages = tuple(messages)
    return Batch(messages, CODECS[codec].id, bytes(compress(codec, payload_of(messages))))


def listed(block: chunks.MessageBlock) -> list[bytes]:
    return [block.message(row) for row in range(len(block))]


def rows(n: int, size: int = 190) -> list[bytes]:
    return [section(b'{"n":%d,"pad":"%s"}' % (i, b"x" * (size - i % 40))) for i in range(n)]


SHAPES = {
    "one message": lambda: [section(b"one")],
    "8,192 plain messages": lambda: rows(8192),
    "bodies on both sides of 255 bytes": lambda: rows(500, 260),
    "bodies on both sides of 64 KiB": lambda: rows(50, 65_550),
    "megabytes": lambda: [section(bytes(1 << 20)), section(b"a"), section(b"b" * (1 << 20))],
    "empty messages": lambda: [b""] * 1000,
    "messages without sections": lambda: [b'{"n":%d}' % i + b"y" * (i % 99) for i in range(3000)],
    "messages that say they begin with zeros": lambda: [bytes(i % 50) for i in range(2000)],
    "sections and raw bodies by turns": lambda: [
        row if i % 2 else row[8:] for i, row in enumerate(rows(4000))
    ],
    "an odd one in each hundred": lambda: [
        b"\x01odd" if i % 100 == 50 else row for i, row in enumerate(rows(3000))
    ],
    "messages inside of messages": lambda: [section(payload_of(rows(10))) for _ in range(300)],
    "the bytes of sub-batches inside of messages": lambda: [
        section(batch(rows(3)).encode()) for _ in range(300)
    ],
    "20 sub-batches of 500": lambda: [batch(rows(500)) for _ in range(20)],
    "sub-batches of one": lambda: [batch([row]) for row in rows(700)],
    "a sub-batch without records": lambda: [section(b"a"), batch([]), section(b"b"), batch([])],
    "nothing but a sub-batch without records": lambda: [batch([])],
    "the most records a sub-batch can have": lambda: [batch([b"\x01"] * 65_535)],
    "plain messages around a sub-batch": lambda: [*rows(100), batch(rows(50)), *rows(100)],
    "sub-batches of large messages": lambda: [batch(rows(3, 70_000)) for _ in range(5)],
    "Cyrillic bodies full of the byte B0": lambda: [
        section(("а" * (130 + i % 20)).encode()) for i in range(1000)
    ],
    **{
        f"20 sub-batches of 100, {codec}": lambda codec=codec: [
            batch(rows(100), codec) for _ in range(20)
        ]
        for codec in CODECS
    },
    **{
        f"no records, {codec}": lambda codec=codec: [batch([], codec), batch([b"x"], codec)]
        for codec in CODECS
    },
    "all codecs and plain messages": lambda: [
        entry
        for i in range(5)
        for codec in CODECS
        for entry in (batch([b"%d" % i, *rows(i * 20)], codec), section(codec.encode()))
    ],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_message_comes_out_in_order_with_offset_and_time(shape):
    entries = SHAPES[shape]()
    expected = messages_of(entries)
    block = chunks.decode([split(encode_chunk(entries, 900, 1_700_000_000_123))])
    assert listed(block) == expected
    assert block.offsets.tolist() == list(range(900, 900 + len(expected)))
    assert block.timestamps.tolist() == [1_700_000_000_123] * len(expected)
    assert block.buffer.dtype == np.uint8
    assert {column.dtype for column in (block.starts, block.lengths, block.offsets)} == {
        np.dtype(np.int64)
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_the_last_message_alone_is_the_last_of_all(shape):
    entries = SHAPES[shape]()
    expected = messages_of(entries)
    header, data = split(encode_chunk(entries, 900))
    if not expected:
        with pytest.raises(ProtocolError, match="no message"):
            chunks.last_message(header, data)
        return
    block = chunks.last_message(header, data)
    assert listed(block) == expected[-1:]
    assert block.offsets.tolist() == [900 + len(expected) - 1]
    assert block.timestamps.tolist() == [header.timestamp]


def test_all_shapes_joined_in_one_call_come_out_one_behind_the_other():
    pairs, expected, offsets, times = [], [], [], []
    for number, shape in enumerate(SHAPES.values()):
        entries = shape()
        # Gaps between chunks are where the broker keeps its tracking.
        pairs.append(split(encode_chunk(entries, number * 1_000_000, number)))
        expected += messages_of(entries)
        offsets += range(number * 1_000_000, number * 1_000_000 + len(messages_of(entries)))
        times += [number] * len(messages_of(entries))
    block = chunks.decode(pairs)
    assert listed(block) == expected
    assert block.offsets.tolist() == offsets
    assert block.timestamps.tolist() == times


def test_ten_thousand_chunks_of_one_message_are_one_block():
    messages = rows(10_000)
    pairs = [split(encode_chunk([row], 5 + 2 * i, i)) for i, row in enumerate(messages)]
    block = chunks.decode(pairs)
    assert listed(block) == messages
    assert block.offsets.tolist() == list(range(5, 20_005, 2))
    assert block.timestamps.tolist() == list(range(10_000))


def test_no_chunks_are_no_messages():
    assert len(chunks.decode([])) == 0


def test_a_chunk_of_nothing_is_no_messages():
    assert len(chunks.decode([split(encode_chunk([]))])) == 0
    block = chunks.decode([split(encode_chunk(e)) for e in ([], [b"x"], [], [b"y"], [])])
    assert listed(block) == [b"x", b"y"]


@pytest.mark.parametrize("kind", [1, 2])
def test_the_brokers_tracking_gives_no_messages(kind):
    tracking = encode_chunk([b"any"], 7, kind=kind, data=b"\1\4name" + bytes(8))
    pairs = [split(encode_chunk([b"a"], 6)), split(tracking), split(encode_chunk([b"b"], 8))]
    block = chunks.decode(pairs)
    assert listed(block) == [b"a", b"b"]
    assert block.offsets.tolist() == [6, 8]
    with pytest.raises(ProtocolError, match="no message"):
        chunks.last_message(*split(tracking))


@pytest.mark.parametrize("entries", [rows(100), [batch(rows(100))]])
def test_data_without_compressed_sub_batches_is_not_copied(entries):
    header, data = split(encode_chunk(entries))
    block = chunks.decode([(header, data)])
    assert np.shares_memory(block.buffer, np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_taken(kind):
    header, data = split(encode_chunk([*rows(10), batch(rows(10), "lz4")]))
    assert len(chunks.decode([(header, kind(data))])) == 20


def test_only_the_last_entry_is_unpacked_for_the_last_message():
    good = batch(rows(10), "gzip")
    bad = Batch(good.messages, good.codec, b"\xff" * 50)
    header, data = split(encode_chunk([bad, bad, good], 40))
    assert listed(chunks.last_message(header, data)) == [good.messages[-1]]
    with pytest.raises(ProtocolError, match="offset 40"):
        chunks.decode([(header, data)])


def test_the_last_message_is_found_before_empty_sub_batches():
    for codec in CODECS:
        header, data = split(encode_chunk([batch([b"a", b"b"], codec), batch([], codec)]))
        assert listed(chunks.last_message(header, data)) == [b"b"]


def test_rows_can_be_cut_from_a_block():
    block = chunks.decode([split(encode_chunk(rows(10), 100))])
    part = block[3:5]
    assert listed(part) == rows(10)[3:5]
    assert part.offsets.tolist() == [103, 104]
    assert part.buffer is block.buffer


def test_a_header_says_what_is_in_its_48_bytes():
    chunk = encode_chunk([batch(rows(3)), b"x"], 2**40, -5, epoch=9)
    header = chunks.parse_header(chunk)
    assert header == (0, 2, 4, -5, 9, 2**40, header.crc, len(chunk) - 48)
    chunks.check_crc(header, chunk[48:])


@pytest.mark.parametrize("size", range(48))
def test_a_cut_header_is_refused(size):
    with pytest.raises(ProtocolError, match=f"cut after {size} of 48"):
        chunks.parse_header(encode_chunk([b"x"])[:size])


@pytest.mark.parametrize("magic", [0x00, 0x51, 0x40, 0xFF])
def test_another_format_or_version_is_refused(magic):
    with pytest.raises(ProtocolError, match=f"{magic:#04x}"):
        chunks.parse_header(bytes((magic,)) + encode_chunk([b"x"])[1:])


@pytest.mark.parametrize("chunk_id", [2**63 - 1, 2**63, 2**64 - 1])
def test_offsets_beyond_63_bits_are_refused(chunk_id):
    chunk = bytearray(encode_chunk([b"x"]))
    struct.pack_into(">Q", chunk, 24, chunk_id)
    with pytest.raises(ProtocolError, match=r"beyond 2\^63"):
        chunks.parse_header(chunk)


def test_a_changed_byte_fails_the_checksum():
    chunk = bytearray(encode_chunk(rows(10), 77))
    chunk[48 + random.Random(1).randrange(1000)] ^= 1
    header, data = split(chunk)
    with pytest.raises(ProtocolError, match="offset 77 is damaged"):
        chunks.check_crc(header, data)

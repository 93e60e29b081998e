"""Chunks: whatever the bytes are, the same messages as the plain decoder finds, or both refuse."""

from __future__ import annotations

import struct
import zlib

from chunk_reference import Batch, BrokenError, decode_data, encode_data, messages_of, payload_of

from stocklog.errors import ProtocolError
from stocklog.protocol import chunk as chunks
from stocklog.protocol.compression import compress, decompress

MAX_BATCH = 4 << 20
_COUNTS = struct.Struct(">BHI")


def seeds() -> list[bytes]:
    """Chunks of plain entries, of sub-batches in each codec, and of both."""
    message = b"\0\x53\x75\xa0\x05hello"
    kinds: list[list[bytes | Batch]] = [[message] * n for n in (0, 1, 2, 40)]
    kinds += [[Batch((message,) * 3)], [b"", Batch(()), message]]
    for codec in range(1, 5):
        packed = bytes(compress(codec, payload_of([message] * 5)))
        kinds.append([message, Batch((message,) * 5, codec, packed), message])
    return [
        _COUNTS.pack(how, len(kind), len(messages_of(kind))) + encode_data(kind)
        for how in (0, 1, 2)
        for kind in kinds
    ]


def check(data: bytes) -> None:
    """Seven bytes say how to read and what the header claims; the rest is the chunk's data."""
    if len(data) < _COUNTS.size:
        read_header(data)
        return
    how, entries, records = _COUNTS.unpack_from(data)
    content = data[_COUNTS.size :]
    if how & 3 == 3:
        read_header(content)
        return
    if how & 3 == 2:  # the counts are right, so that a lie further in is reached
        entries, records = true_counts(content, entries, records)
    read_chunk(content, entries, records % (1 << 20), twice=bool(how & 3 == 1))


def read_header(content: bytes) -> None:
    """A header of any bytes, with the data that it says."""
    try:
        header = chunks.parse_header(content)
        rest = content[chunks.HEADER_SIZE :]
        chunks.check_crc(header, rest)
        chunks.decode([(header, rest)], max_batch=MAX_BATCH)
    except ProtocolError as error:
        assert str(error)


def true_counts(content: bytes, entries: int, records: int) -> tuple[int, int]:
    """What a walk over the top level counts; the claim where the walk ends early."""
    at = seen = inside = 0
    while at < len(content):
        if content[at] & 0x80:
            if at + 11 > len(content):
                return entries, records
            inside += int.from_bytes(content[at + 1 : at + 3], "big")
            at += 11 + int.from_bytes(content[at + 7 : at + 11], "big")
        else:
            inside += 1
            at += 4 + int.from_bytes(content[at : at + 4], "big")
        seen += 1
    return seen & 0xFFFF, inside


def unpack(codec: int, packed: bytes, size: int) -> bytes:
    """A sub-batch's payload, within the same bound."""
    try:
        return bytes(decompress(codec, packed, size, limit=MAX_BATCH))
    except ProtocolError as error:
        raise BrokenError(str(error)) from error


def read_chunk(content: bytes, entries: int, records: int, *, twice: bool) -> None:
    """Hold both decoders against each other, and the reader of the last message as well."""
    crc, size = zlib.crc32(content), len(content)
    header = chunks.ChunkHeader(0, entries, records, 1, 1, 7, crc, size)
    pair = (header, content)
    try:
        expected = decode_data(content, entries, records, unpack)
    except BrokenError:
        expected = None
    try:
        block = chunks.decode([pair, pair] if twice else [pair], max_batch=MAX_BATCH)
    except ProtocolError as error:
        assert "offset 7" in str(error)
        assert expected is None, "refused, and the plain decoder reads it"
    else:
        assert expected is not None, "read, and the plain decoder refuses it"
        assert [block.message(row) for row in range(len(block))] == expected * (1 + twice)
    read_last(header, content, expected)


def read_last(header: chunks.ChunkHeader, content: bytes, expected: list[bytes] | None) -> None:
    """It looks at less, so it may read a chunk that is broken elsewhere; never differently."""
    try:
        block = chunks.last_message(header, content, max_batch=MAX_BATCH)
    except ProtocolError:
        assert not expected
        return
    assert block.offsets.tolist() == [header.chunk_id + header.records - 1]
    if expected is not None:
        assert block.message(0) == expected[-1]

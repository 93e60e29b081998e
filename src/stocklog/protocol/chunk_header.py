"""The header of a chunk, and its checksum: what can be told before a chunk is decoded."""

from __future__ import annotations

import struct
from typing import NamedTuple

from zlib_ng import zlib_ng

from stocklog.errors import ProtocolError
from stocklog.protocol.compression import BytesLike, as_view

__all__ = [
    "HEADER_SIZE",
    "USER",
    "ChunkHeader",
    "check_crc",
    "count_records",
    "end_of",
    "parse_header",
]

HEADER_SIZE = 48
"""Bytes of a chunk's header as delivered; trailer and bloom filter are never sent."""

USER = 0
"""The kind of chunk that holds messages; 1 and 2 are the broker's own tracking."""

_HEADER = struct.Struct(">BBHIqQQIIIBxxx")
_MAGIC = 0x50
_MAX_OFFSET = (1 << 63) - 1


class ChunkHeader(NamedTuple):
    """The header of a chunk.

    Attributes:
        kind: 0 user messages, 1 tracking delta, 2 tracking snapshot.
        entries: entries at top level, sub-batches counted as one.
        records: messages, those in sub-batches counted each.
        timestamp: when the leader wrote it, milliseconds since 1970 (UTC).
        epoch: the leader's term.
        chunk_id: offset of the first record.
        crc: CRC-32 of the data.
        data_length: bytes of the data behind the header.
    """

    kind: int
    entries: int
    records: int
    timestamp: int
    epoch: int
    chunk_id: int
    crc: int
    data_length: int


def parse_header(view: BytesLike) -> ChunkHeader:
    """Read a chunk's header.

    Args:
        view: at least 48 bytes from the chunk's first on.

    Returns:
        The header.

    Raises:
        ProtocolError: it is cut, or it is not a chunk of the known version.
    """
    if len(view) < HEADER_SIZE:
        raise ProtocolError(f"a chunk's header is cut after {len(view)} of {HEADER_SIZE} bytes")
    magic, kind, entries, records, timestamp, epoch, chunk_id, crc, length, _, _ = (
        _HEADER.unpack_from(as_view(view))
    )
    if magic != _MAGIC:
        raise ProtocolError(
            f"a chunk begins with the byte {magic:#04x} instead of {_MAGIC:#04x}",
            "The connection is out of step, or the broker writes a newer chunk format",
        )
    if chunk_id + records > _MAX_OFFSET:
        raise ProtocolError(f"a chunk says it begins at offset {chunk_id}, which is beyond 2^63")
    return ChunkHeader(kind, entries, records, timestamp, epoch, chunk_id, crc, length)


def count_records(view: BytesLike) -> int:
    """How many messages a chunk says it holds; nothing about it is checked yet.

    Args:
        view: the chunk from its first byte on.
    """
    return int.from_bytes(view[4:8], "big")


def end_of(view: BytesLike) -> int:
    """The offset behind a chunk's last as it says itself; nothing about it is checked yet.

    Args:
        view: the chunk from its first byte on.
    """
    return int.from_bytes(view[24:32], "big") + count_records(view)


def check_crc(header: ChunkHeader, data: BytesLike) -> None:
    """Compare a chunk's data with the checksum in its header.

    Args:
        header: the chunk's header.
        data: the bytes behind it, `header.data_length` of them.

    Raises:
        ProtocolError: they differ.
    """
    crc = zlib_ng.crc32(data)
    if crc != header.crc:
        raise ProtocolError(
            f"the chunk at offset {header.chunk_id} is damaged: "
            f"its checksum is {crc:#010x}, the header says {header.crc:#010x}",
            "Read it again; if it stays so, the broker's file or a link on the way is broken",
        )

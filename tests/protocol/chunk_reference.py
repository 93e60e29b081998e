"""The chunk layout told a second time, in plain Python: what the real one is held against.

Nothing of stocklog is imported, and the codecs are the standard library's or another
package than stocklog uses where there is one.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Batch:
    """A sub-batch: its messages, and its payload as it stands (packed, if codec is not 0)."""

    messages: tuple[bytes, ...]
    codec: int = 0
    packed: bytes | None = None

    def encode(self) -> bytes:
        plain = payload_of(self.messages)
        packed = plain if self.packed is None else self.packed
        first = 0x80 | self.codec << 4
        return struct.pack(">BHII", first, len(self.messages), len(plain), len(packed)) + packed


Entry = bytes | Batch


def payload_of(messages: tuple[bytes, ...] | list[bytes]) -> bytes:
    return b"".join(struct.pack(">I", len(message)) + message for message in messages)


def encode_data(entries: list[Entry]) -> bytes:
    return b"".join(
        entry.encode() if isinstance(entry, Batch) else payload_of((entry,)) for entry in entries
    )


def messages_of(entries: list[Entry]) -> list[bytes]:
    found: list[bytes] = []
    for entry in entries:
        found += entry.messages if isinstance(entry, Batch) else (entry,)
    return found


def encode_chunk(
    entries: list[Entry],
    chunk_id: int = 0,
    timestamp: int = 1_700_000_000_000,
    *,
    epoch: int = 1,
    kind: int = 0,
    data: bytes | None = None,
    records: int | None = None,
) -> bytes:
    data = encode_data(entries) if data is None else data
    records = len(messages_of(entries)) if records is None else records
    return (
        struct.pack(
            ">BBHIqQQIIIBxxx",
            0x50,
            kind,
            len(entries),
            records,
            timestamp,
            epoch,
            chunk_id,
            zlib.crc32(data),
            len(data),
            17,  # Length of a trailer that is not sent, and size of a filter likewise.
            16,
        )
        + data
    )


class BrokenError(Exception):
    pass


def decode_simple(data: bytes, unpack) -> list[bytes]:
    """The records of a payload."""
    found = []
    at = 0
    while at < len(data):
        if len(data) - at < 4:
            raise BrokenError("cut size")
        size = struct.unpack_from(">I", data, at)[0]
        if size >> 31:
            raise BrokenError("not simple")
        if at + 4 + size > len(data):
            raise BrokenError("cut message")
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def decode_data(data: bytes, entries: int, records: int, unpack) -> list[bytes]:
    """All messages of a chunk's data, step by step; `unpack(codec, packed, size)`."""
    found: list[bytes] = []
    at = count = 0
    while at < len(data):
        count += 1
        if not data[at] & 0x80:
            if len(data) - at < 4:
                raise BrokenError("cut size")
            size = struct.unpack_from(">I", data, at)[0]
            if at + 4 + size > len(data):
                raise BrokenError("cut message")
            found.append(data[at + 4 : at + 4 + size])
            at += 4 + size
            continue
        if len(data) - at < 11:
            raise BrokenError("cut batch header")
        first, number, size, length = struct.unpack_from(">BHII", data, at)
        if first & 0x0F:
            raise BrokenError("reserved bits")
        at += 11
        if at + length > len(data):
            raise BrokenError("cut batch")
        payload = unpack(first >> 4 & 7, data[at : at + length], size)
        if len(payload) != size:
            raise BrokenError("wrong size")
        inner = decode_simple(payload, unpack)
        if len(inner) != number:
            raise BrokenError("wrong number")
        found += inner
        at += length
    if count != entries or len(found) != records:
        raise BrokenError("wrong counts")
    return found

"""Chunks: what a broker delivers, turned into a block of messages.

A chunk is a header of 48 bytes (see `chunk_header`) and entries (see `entries`). Record
i of a chunk has the offset `chunk_id + i`, counting every record inside sub-batches.
`decode` takes one chunk or thousands and gives one `MessageBlock`: the bytes, and columns
that say where each message lies. No Python object is made per message.

Every number in a chunk is somebody's word: it is proven before it is used. The entries
tile the data, each chunk has the entries and records its header says, each sub-batch
its records and its size; else a `ProtocolError` says which chunk breaks which rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from stocklog.errors import ProtocolError
from stocklog.protocol.chunk_header import (
    HEADER_SIZE,
    USER,
    ChunkHeader,
    check_crc,
    parse_header,
)
from stocklog.protocol.compression import MAX_UNCOMPRESSED, BytesLike, as_view, decompress
from stocklog.protocol.entries import (
    BATCH_HEADER,
    I64,
    U8,
    Items,
    find_items,
    read_u16,
    read_u32,
)

__all__ = [
    "HEADER_SIZE",
    "MAX_CHUNK_UNCOMPRESSED",
    "USER",
    "ChunkHeader",
    "MessageBlock",
    "check_crc",
    "decode",
    "last_message",
    "parse_header",
]

MAX_CHUNK_UNCOMPRESSED = 1 << 30
"""Bytes that all sub-batches of one chunk may unpack to unless the caller says otherwise."""

# What the columns of a MessageBlock take per message, on top of its bytes.
_ROW_BYTES = 32


@dataclass(frozen=True, slots=True)
class MessageBlock:
    """Messages in the order of their offsets.

    Attributes:
        buffer: uint8, bytes that hold all messages and what lies between them. May be
            a view of the bytes given to `decode` (which it then keeps alive), read-only.
        starts: int64[n], where each AMQP 1.0 message begins in the buffer.
        lengths: int64[n], its bytes.
        offsets: int64[n], its offset in the stream.
        timestamps: int64[n], when the leader wrote it, milliseconds since 1970 (UTC).
    """

    buffer: U8
    starts: I64
    lengths: I64
    offsets: I64
    timestamps: I64

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, rows: slice) -> MessageBlock:
        """Some of the rows, over the same buffer."""
        return MessageBlock(
            self.buffer,
            self.starts[rows],
            self.lengths[rows],
            self.offsets[rows],
            self.timestamps[rows],
        )

    def narrowed(self) -> MessageBlock:
        """The same messages over no more of the buffer than they need."""
        if not len(self):
            return self
        begin, end = int(self.starts.min()), int((self.starts + self.lengths).max())
        return MessageBlock(
            self.buffer[begin:end],
            self.starts - begin,
            self.lengths,
            self.offsets,
            self.timestamps,
        )

    def message(self, row: int) -> bytes:
        """The bytes of one message, for looking at single rows."""
        start = int(self.starts[row])
        return self.buffer[start : start + int(self.lengths[row])].tobytes()


def decode(
    chunks: Sequence[tuple[ChunkHeader, BytesLike]],
    *,
    max_uncompressed: int = MAX_CHUNK_UNCOMPRESSED,
    max_batch: int = MAX_UNCOMPRESSED,
) -> MessageBlock:
    """Find every message of one or many chunks.

    The data of one chunk without compressed sub-batches is not copied: the block's
    buffer is a view of it. Chunks that hold the broker's tracking give no messages.

    Args:
        chunks: pairs of a header and the data behind it, in the order wanted.
        max_uncompressed: bytes that each chunk may take when unpacked, 32 for each
            message's place in the columns included.
        max_batch: bytes that each sub-batch may unpack to.

    Returns:
        The messages of all chunks, one chunk behind the other.

    Raises:
        ProtocolError: a chunk breaks the layout, a sub-batch cannot be unpacked, or a
            chunk would unpack to more than allowed.
    """
    chunks = [chunk for chunk in chunks if chunk[0].kind == USER]
    headers = [header for header, _ in chunks]
    for header, data in chunks:
        if len(data) != header.data_length:
            raise _broken(header, f"{len(data)} bytes of data came, {header.data_length} are said")
    try:
        buffer = _joined([data for _, data in chunks])
        return _decode(headers, buffer, max_uncompressed, max_batch)
    except ProtocolError as error:
        if len(chunks) == 1:
            raise _broken(headers[0], error.what, error.remedy) from error
        # Which of them: each alone, as the join gave no fault a name.
        for one in chunks:
            decode([one], max_uncompressed=max_uncompressed, max_batch=max_batch)
        raise


def last_message(
    header: ChunkHeader,
    data: BytesLike,
    *,
    max_uncompressed: int = MAX_CHUNK_UNCOMPRESSED,
    max_batch: int = MAX_UNCOMPRESSED,
) -> MessageBlock:
    """Find the last message of a chunk, unpacking no entry but the last.

    Args:
        header: the chunk's header.
        data: the bytes behind it.
        max_uncompressed: as in `decode`; what the chunk says of itself must keep to it.
        max_batch: as in `decode`.

    Returns:
        A block of exactly one message.

    Raises:
        ProtocolError: as `decode`, or the chunk holds no message.
    """
    if header.kind != USER or not header.records:
        raise _broken(header, "it holds no message")
    if len(data) != header.data_length:
        raise _broken(header, f"{len(data)} bytes of data came, {header.data_length} are said")
    buffer = _joined([data])
    try:
        layout = _lay_out([header], buffer, max_uncompressed)
        filled = np.flatnonzero(layout.batch_records)
        number = int(filled[-1]) if len(filled) else -1
        entries = layout.items.entries
        if number < 0 or (len(entries) and entries[-1] > layout.items.batches[number]):
            start = int(entries[-1]) + 4
            message = buffer[start : start + int(layout.entry_sizes[-1])]
        else:
            payload, places = _unpack(buffer, layout, np.array([number], np.int64), max_batch)
            start = int(places[-1]) + 4
            message = payload[start:]
    except ProtocolError as error:
        raise _broken(header, error.what, error.remedy) from error
    return MessageBlock(
        message,
        np.zeros(1, np.int64),
        np.array([len(message)], np.int64),
        np.array([header.chunk_id + header.records - 1], np.int64),
        np.array([header.timestamp], np.int64),
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """Entries and sub-batches of the joined chunks, proven against their headers.

    Attributes:
        items: starts of simple entries and of sub-batches.
        entry_sizes: int64, message bytes of each simple entry.
        batch_codecs, batch_records, batch_uncompressed, batch_lengths: int64, the fields
            of each sub-batch.
    """

    items: Items
    entry_sizes: I64
    batch_codecs: I64
    batch_records: I64
    batch_uncompressed: I64
    batch_lengths: I64


def _decode(
    headers: list[ChunkHeader], buffer: U8, max_uncompressed: int, max_batch: int
) -> MessageBlock:
    layout = _lay_out(headers, buffer, max_uncompressed)
    starts = layout.items.entries + 4
    lengths = layout.entry_sizes
    compressed = np.flatnonzero(layout.batch_codecs)
    if len(compressed):
        payload, places = _unpack(buffer, layout, compressed, max_batch)
        sizes = read_u32(payload, places)
        if len(starts):
            before = np.concatenate(
                (
                    layout.items.entries,
                    np.repeat(layout.items.batches[compressed], layout.batch_records[compressed]),
                )
            )
            order = np.argsort(before, kind="stable")
            starts = np.concatenate((starts, places + (4 + len(buffer))))[order]
            lengths = np.concatenate((lengths, sizes))[order]
            buffer = np.concatenate((buffer, payload))
        else:
            buffer, starts, lengths = payload, places + 4, sizes
    offsets, timestamps = _positions(headers, len(starts))
    return MessageBlock(buffer, starts, lengths, offsets, timestamps)


def _lay_out(headers: list[ChunkHeader], buffer: U8, max_uncompressed: int) -> _Layout:
    expected = sum(header.records for header in headers)
    items = find_items(buffer, expected)
    batches = items.batches
    first = buffer[batches].astype(np.int64)
    layout = _Layout(
        items,
        read_u32(buffer, items.entries),
        first >> 4 & 7,
        read_u16(buffer, batches + 1),
        read_u32(buffer, batches + 3),
        read_u32(buffer, batches + 7),
    )
    inside = _check_open_batches(layout)
    _check_counts(headers, layout, inside, max_uncompressed)
    return layout


def _check_open_batches(layout: _Layout) -> int | I64:
    """Prove the uncompressed sub-batches.

    Returns:
        For each simple entry whether it lies inside one; 0 when there is none.
    """
    is_open = layout.batch_codecs == 0
    batches = layout.items.batches[is_open]
    if not len(batches):
        return 0
    records = layout.batch_records[is_open]
    lengths = layout.batch_lengths[is_open]
    entries = layout.items.entries
    if (lengths != layout.batch_uncompressed[is_open]).any():
        raise ProtocolError("an uncompressed sub-batch gives two different sizes")
    ends = batches + BATCH_HEADER + lengths
    following = np.searchsorted(layout.items.batches, batches) + 1
    following = np.append(layout.items.batches, ends[-1])[following]
    if (following < ends).any():
        raise ProtocolError("a sub-batch holds another, or is longer than its records")
    low = np.searchsorted(entries, batches)
    high = low + records
    # Where the last record ends; without any, where the payload would begin.
    reached = batches + BATCH_HEADER
    filled = np.flatnonzero((records > 0) & (high <= len(entries)))
    final = high[filled] - 1
    reached[filled] = entries[final] + 4 + layout.entry_sizes[final]
    if (high > len(entries)).any() or (reached != ends).any():
        raise ProtocolError("a sub-batch does not hold the records it says")
    edges = np.zeros(len(entries) + 1, np.int64)
    np.add.at(edges, low, 1)
    np.add.at(edges, high, -1)
    return np.cumsum(edges[:-1])


def _check_counts(
    headers: list[ChunkHeader], layout: _Layout, inside: int | I64, max_uncompressed: int
) -> None:
    bounds = np.zeros(len(headers) + 1, np.int64)
    np.cumsum(_column(headers, "data_length"), out=bounds[1:])
    entries = layout.items.entries
    if not isinstance(inside, int):
        entries = entries[inside == 0]
    batches = layout.items.batches
    entry_bounds = np.searchsorted(entries, bounds)
    batch_bounds = np.searchsorted(batches, bounds)
    # A border must be where an entry begins, else an entry reaches into the next chunk.
    begins = np.append(entries, -1)[entry_bounds] == bounds
    begins |= np.append(batches, -1)[batch_bounds] == bounds
    begins |= bounds == bounds[-1]
    if not begins.all():
        raise ProtocolError("an entry reaches beyond its end")
    simple, packed = np.diff(entry_bounds), np.diff(batch_bounds)
    if (simple + packed != _column(headers, "entries")).any():
        raise ProtocolError("it does not hold the entries its header says")
    records = simple + _sums(layout.batch_records, batch_bounds)
    if (records != _column(headers, "records")).any():
        raise ProtocolError("it does not hold the records its header says")
    closed = np.where(layout.batch_codecs == 0, 0, layout.batch_uncompressed)
    needed = _sums(closed, batch_bounds) + records * _ROW_BYTES
    if len(needed) and needed.max() > max_uncompressed:
        raise ProtocolError(
            f"its {records[needed.argmax()]} messages take {needed.max()} bytes when unpacked, "
            f"more than the {max_uncompressed} allowed",
            "If its producers really make such batches, raise the limit",
        )


def _unpack(buffer: U8, layout: _Layout, numbers: I64, max_batch: int) -> tuple[U8, I64]:
    """Unpack some sub-batches, one behind the other, and find their records."""
    parts = []
    for number in numbers.tolist():
        start = int(layout.items.batches[number]) + BATCH_HEADER
        packed = buffer[start : start + int(layout.batch_lengths[number])]
        size = int(layout.batch_uncompressed[number])
        codec = int(layout.batch_codecs[number])
        parts.append(decompress(codec, packed, size, limit=max_batch))
    payload = _joined(parts)
    records = layout.batch_records[numbers]
    inner = find_items(payload, int(records.sum()))
    if len(inner.batches):
        raise ProtocolError("a sub-batch holds another")
    bounds = np.zeros(len(parts) + 1, np.int64)
    np.cumsum(layout.batch_uncompressed[numbers], out=bounds[1:])
    at = np.searchsorted(inner.entries, bounds)
    begins = np.append(inner.entries, len(payload))[at] == bounds
    if not begins.all() or (np.diff(at) != records).any():
        raise ProtocolError("a sub-batch does not hold the records it says")
    return payload, inner.entries


def _positions(headers: list[ChunkHeader], n: int) -> tuple[I64, I64]:
    """Offset and timestamp of every message."""
    if len(headers) == 1:
        first = headers[0].chunk_id
        offsets = np.arange(first, first + n, dtype=np.int64)
        return offsets, np.full(n, headers[0].timestamp, np.int64)
    records = _column(headers, "records")
    begins = np.cumsum(records) - records
    offsets = np.repeat(_column(headers, "chunk_id") - begins, records) + np.arange(n)
    return offsets, np.repeat(_column(headers, "timestamp"), records)


def _column(headers: list[ChunkHeader], field: str) -> I64:
    return np.fromiter((getattr(header, field) for header in headers), np.int64, len(headers))


def _sums(values: I64, bounds: I64) -> I64:
    """Sum between each two neighbouring bounds."""
    running = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=running[1:])
    return np.diff(running[bounds])


def _joined(parts: Sequence[BytesLike]) -> U8:
    if len(parts) == 1:
        return np.frombuffer(as_view(parts[0]), np.uint8)
    return np.frombuffer(b"".join(cast("Sequence[bytes]", parts)), np.uint8)


def _broken(header: ChunkHeader, what: str, remedy: str = "") -> ProtocolError:
    return ProtocolError(f"the chunk at offset {header.chunk_id} is broken: {what}", remedy)

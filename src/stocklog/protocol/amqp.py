"""AMQP 1.0 for columns of messages: framing bodies out, locating bodies in.

Out, every message is one data section in its long form, so that what stands before a
body has one fixed size and bodies can be rendered with the room already there:

    LEAD        u32 entry size | 00 53 75 B0 | u32 body length
    PLAIN_LEAD  u64 publishing id | LEAD            (an entry of its own in a Publish frame)

In, a message may be anything that AMQP 1.0 allows. Sections in the usual encodings are
stepped over for all rows at once; a row that is otherwise is parsed alone, and a row
that is broken gets a text and stops nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stocklog.errors import MessageTooLargeError, ProtocolError, UsageError
from stocklog.protocol.chunk import MessageBlock
from stocklog.protocol.entries import I64, U8, read_u32
from stocklog.protocol.message import (
    Header,
    Message,
    Properties,
    encode_message,
    find_body,
    parse_message,
)

__all__ = [
    "LEAD",
    "PLAIN_LEAD",
    "Bodies",
    "Header",
    "Message",
    "Properties",
    "encode_message",
    "find_body",
    "frame_bodies",
    "lead",
    "locate_bodies",
    "parse_message",
    "write_lengths",
    "write_publishing_ids",
]

LEAD = 12
"""Bytes before a body in a sub-batch."""

PLAIN_LEAD = 20
"""Bytes before a body that is an entry of its own."""

_DATA_LONG = b"\x00\x53\x75\xb0"
_DATA_SHORT = b"\x00\x53\x75\xa0"
_SECTION = len(_DATA_LONG) + 4
_SHORT_SECTION = len(_DATA_SHORT) + 1
_MAX_BODY = (1 << 31) - 1 - _SECTION


def lead(plain: bool) -> bytes:
    """The bytes to put before every body, with room for what `write_lengths` writes.

    Args:
        plain: whether messages go as entries of their own, with publishing ids.

    Returns:
        12 or, if plain, 20 bytes.
    """
    return bytes(PLAIN_LEAD - LEAD if plain else 0) + bytes(4) + _DATA_LONG + bytes(4)


def write_lengths(data: U8, starts: I64, plain: bool = False) -> None:
    """Write entry sizes and body lengths into rows that begin with `lead(plain)`.

    Args:
        data: uint8, contiguous and writable, changed in place.
        starts: int64[n + 1], where each row begins; the last is where the last row ends.
        plain: as given to `lead`.

    Raises:
        UsageError: a row is shorter than its lead.
        MessageTooLargeError: a body is larger than an entry can say (2 GiB).
    """
    room = PLAIN_LEAD if plain else LEAD
    begins = starts[:-1] + (room - LEAD)
    bodies = np.diff(starts) - room
    if not len(bodies):
        return
    if bodies.min() < 0:
        raise UsageError(f"row {int(bodies.argmin())} is shorter than the {room} bytes of its lead")
    if bodies.max() > _MAX_BODY:
        raise MessageTooLargeError(
            f"the body of row {int(bodies.argmax())} has {int(bodies.max())} bytes", "Split it"
        )
    numbers = np.ndarray((len(data) - 3,), ">u4", data.data, strides=(1,))
    numbers[begins] = bodies + _SECTION
    numbers[begins + 8] = bodies


def write_publishing_ids(data: U8, starts: I64, first_id: int) -> None:
    """Number the rows of a plain run.

    Args:
        data: uint8, contiguous and writable, changed in place.
        starts: int64[n + 1], as in `write_lengths`.
        first_id: publishing id of the first row; each next row has the next one.
    """
    if len(starts) < 2:
        return
    numbers = np.ndarray((len(data) - 7,), ">u8", data.data, strides=(1,))
    numbers[starts[:-1]] = np.arange(first_id, first_id + len(starts) - 1, dtype=np.uint64)


def frame_bodies(bodies: Any, plain: bool = False) -> tuple[U8, I64]:
    """Frame any column of bodies: one copy, lengths written.

    Args:
        bodies: an Arrow array or chunked array of binary or string type (large, view,
            fixed-size or dictionary too), or a sequence of bytes; no nulls.
        plain: whether to leave room for publishing ids.

    Returns:
        The rows one behind the other (uint8, writable) and where each begins (int64[n + 1]).

    Raises:
        UsageError: it is no column of bytes, or it has a null.
        MessageTooLargeError: a body is too large for an entry.
    """
    column = _large_binary(bodies)
    joined = pc.binary_join_element_wise(
        pa.scalar(lead(plain), pa.large_binary()), column, pa.scalar(b"", pa.large_binary())
    )
    _, offsets, content = joined.buffers()
    starts = np.frombuffer(offsets, np.int64)[joined.offset : joined.offset + len(joined) + 1]
    data = np.zeros(0, np.uint8) if content is None else np.frombuffer(content, np.uint8)
    data = data[: int(starts[-1])] if len(starts) else data
    if not data.flags.writeable:
        data = data.copy()
    write_lengths(data, starts, plain)
    return data, starts


def _large_binary(bodies: Any) -> pa.LargeBinaryArray:
    try:
        if not isinstance(bodies, (pa.Array, pa.ChunkedArray)):
            bodies = pa.array(bodies, pa.large_binary())
        if isinstance(bodies, pa.ChunkedArray):
            bodies = bodies.combine_chunks()
        if pa.types.is_dictionary(bodies.type):
            bodies = bodies.dictionary_decode()
        column = bodies.cast(pa.large_binary())
    except (pa.ArrowException, TypeError) as error:
        raise UsageError(f"bodies are not a column of bytes or text: {error}") from error
    if column.null_count:
        row = pc.index(column.is_null(), True).as_py()
        raise UsageError(f"the body of row {row} is null", "A message needs a body")
    return column


@dataclass(frozen=True, slots=True)
class Bodies:
    """Where the body of each message lies.

    Attributes:
        buffer: uint8, what starts and lengths point into: the block's own buffer, or, if a
            message has its body in several pieces, a copy with the joined bodies at its end.
        starts: int64[n].
        lengths: int64[n].
        problems: row to text, for rows that have no readable body. Their start and length
            are those of the whole message.
    """

    buffer: U8
    starts: I64
    lengths: I64
    problems: dict[int, str]


def locate_bodies(block: MessageBlock) -> Bodies:
    """Find the body of every message in a block.

    Data sections count as body (several are joined), and so do an amqp-value that is
    a string or binary and a message without sections, whose first byte is not 0.

    Args:
        block: as `chunk.decode` gives it.

    Returns:
        The bodies. Nothing that is in a message raises.
    """
    plain = _plain_bodies(block)
    if plain is not None:
        return plain
    body_starts, body_lengths, found = _step_sections(block)
    odd = np.flatnonzero(~found)
    bodies = Bodies(block.buffer, body_starts, body_lengths, {})
    return _parse_rows(block, bodies, odd.tolist()) if len(odd) else bodies


def _plain_bodies(block: MessageBlock) -> Bodies | None:
    """The bodies where each message is one data section and nothing else, else None."""
    starts, lengths = block.starts, block.lengths
    if not len(starts) or lengths.min() < _SHORT_SECTION:
        return None
    words = _words(block.buffer)[starts]
    is_long = words == _LONG_WORD
    if is_long.all():
        if lengths.min() < _SECTION:
            return None
        sizes = read_u32(block.buffer, starts + 4)
        head = np.full(1, _SECTION, np.int64)
    elif (is_long | (words == _SHORT_WORD)).all():
        rows = np.flatnonzero(is_long)
        if lengths[rows].min(initial=_SECTION) < _SECTION:
            return None
        head = np.where(is_long, _SECTION, _SHORT_SECTION)
        sizes = block.buffer[starts + 4].astype(np.int64)
        sizes[rows] = read_u32(block.buffer, starts[rows] + 4)
    else:
        return None
    if (sizes + head != lengths).any():
        return None
    return Bodies(block.buffer, starts + head, sizes, {})


# How a section in a usual encoding goes on behind `00 53 code constructor`, by the last two.
_SKIP_NONE, _SKIP_SHORT, _SKIP_LONG, _BODY_SHORT, _BODY_LONG = 1, 2, 3, 4, 5
_HEAD = np.array([0, 4, 5, 8, 5, 8], np.int64)
_MOST_SECTIONS = 9
_LONG_WORD = int.from_bytes(_DATA_LONG, "little")
_SHORT_WORD = int.from_bytes(_DATA_SHORT, "little")


def _make_table() -> U8:
    table = np.zeros((256, 256), np.uint8)
    for form, kind in ((0x45, _SKIP_NONE), (0xC0, _SKIP_SHORT), (0xD0, _SKIP_LONG)):
        table[form, [0x70, 0x73]] = kind
    for form, kind in ((0xC1, _SKIP_SHORT), (0xD1, _SKIP_LONG)):
        table[form, [0x71, 0x72, 0x74, 0x78]] = kind
    for form, kind in ((0xA0, _BODY_SHORT), (0xB0, _BODY_LONG)):
        table[form, [0x75, 0x77]] = kind
        table[form + 1, 0x77] = kind
    return table.reshape(-1)


_TABLE = _make_table()


def _step_sections(block: MessageBlock) -> tuple[I64, I64, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Step over the sections of all rows at once.

    Returns:
        Start and length of each body (of the whole message where none was found), and
        whether one was found: exactly one, all sections usual, and the last one ends
        the message.
    """
    buffer, begins, lengths = block.buffer, block.starts, block.lengths
    body_starts, body_lengths = begins.copy(), lengths.copy()
    filled = lengths > 0
    raw = filled.copy()
    raw[filled] = buffer[begins[filled]] != 0
    found = raw.copy()
    seen = np.zeros(len(begins), np.bool_)
    rows = np.flatnonzero(~raw & (lengths >= 4))
    at, end = begins[rows], begins[rows] + lengths[rows]
    words = _words(buffer)
    for _ in range(_MOST_SECTIONS):
        if not len(rows):
            break
        word = words[at]
        kind = _TABLE[word >> 16]
        kind[(word & 0xFFFF) != 0x5300] = 0
        start = at + _HEAD[kind]
        size = _section_sizes(buffer, at, np.where(start <= end, kind, 0))
        is_body = kind >= _BODY_SHORT
        good = (kind > 0) & (start + size <= end) & ~(is_body & seen[rows])
        rows, start, size, end, is_body = (
            column[good] for column in (rows, start, size, end, is_body)
        )
        at = start + size
        holders = rows[is_body]
        body_starts[holders], body_lengths[holders] = start[is_body], size[is_body]
        seen[holders] = True
        found[rows[(at == end) & seen[rows]]] = True
        more = at + 4 <= end
        rows, at, end = rows[more], at[more], end[more]
    lost = ~found
    body_starts[lost], body_lengths[lost] = begins[lost], lengths[lost]
    return body_starts, body_lengths, found


def _section_sizes(buffer: U8, at: I64, kind: U8) -> I64:
    size = np.zeros(len(at), np.int64)
    short = (kind == _SKIP_SHORT) | (kind == _BODY_SHORT)
    size[short] = buffer[at[short] + 4]
    long = (kind == _SKIP_LONG) | (kind == _BODY_LONG)
    size[long] = read_u32(buffer, at[long] + 4)
    return size


def _words(buffer: U8) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """Four bytes from every position on, the first of them lowest."""
    return np.ndarray((max(len(buffer) - 3, 0),), "<u4", buffer.data, strides=(1,))


def _parse_rows(block: MessageBlock, bodies: Bodies, rows: list[int]) -> Bodies:
    """Parse odd rows one by one."""
    joined: list[bytes] = []
    at = len(block.buffer)
    for row in rows:
        message = block.message(row)
        try:
            pieces = find_body(message)
        except ProtocolError as error:
            bodies.problems[row] = f"not a readable AMQP 1.0 message: {error.what}"
            continue
        if len(pieces) == 1:
            bodies.starts[row] = block.starts[row] + pieces[0][0]
            bodies.lengths[row] = pieces[0][1]
            continue
        body = b"".join(message[start : start + size] for start, size in pieces)
        bodies.starts[row], bodies.lengths[row] = at, len(body)
        joined.append(body)
        at += len(body)
    if not joined:
        return bodies
    buffer = np.concatenate((block.buffer, np.frombuffer(b"".join(joined), np.uint8)))
    return Bodies(buffer, bodies.starts, bodies.lengths, bodies.problems)

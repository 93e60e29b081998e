"""The primitive types of the stream protocol, read and written.

Big endian throughout. A string is an int16 length and UTF-8, a byte string an
int32 length and the bytes; length -1 stands for null in both. An array is an
int32 count and its items (RabbitMQ `PROTOCOL.adoc`, "Types").
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from stocklog.errors import ProtocolError

__all__ = [
    "BYTES",
    "I16",
    "I64",
    "STRING",
    "STRINGS",
    "STRING_MAP",
    "U8",
    "U16",
    "U32",
    "U64",
    "Cursor",
    "WireType",
    "array",
    "record",
]

MAX_STRING_BYTES = 0x7FFF


class Cursor:
    """Reads primitive values one behind the other from one frame.

    Args:
        data: the frame's bytes.
        position: where to begin.

    Every read past the end raises `ProtocolError`; nothing is allocated from a
    length that the frame does not hold.
    """

    __slots__ = ("data", "position")

    def __init__(self, data: bytes | memoryview, position: int = 0) -> None:
        self.data = memoryview(data)
        self.position = position

    def take(self, size: int) -> memoryview:
        """Return the next `size` bytes as a view."""
        end = self.position + size
        if size < 0 or end > len(self.data):
            raise ProtocolError(
                f"The frame ends early: {size} bytes wanted at byte {self.position} "
                f"of {len(self.data)}"
            )
        view = self.data[self.position : end]
        self.position = end
        return view

    def remaining(self) -> int:
        """How many bytes are left."""
        return len(self.data) - self.position


class WireType(NamedTuple):
    """How one kind of value is written and read."""

    write: Callable[[bytearray, Any], None]
    read: Callable[[Cursor], Any]


def _number(code: str) -> WireType:
    packer = struct.Struct(">" + code)

    def write(out: bytearray, value: int) -> None:
        try:
            out += packer.pack(value)
        except struct.error:
            raise ProtocolError(f"{value!r} does not fit the wire type {code!r}") from None

    def read(cursor: Cursor) -> int:
        value: int = packer.unpack(cursor.take(packer.size))[0]
        return value

    return WireType(write, read)


U8, U16, U32, U64 = _number("B"), _number("H"), _number("I"), _number("Q")
I16, I32, I64 = _number("h"), _number("i"), _number("q")


def _write_string(out: bytearray, value: str | None) -> None:
    if value is None:
        I16.write(out, -1)
        return
    try:
        data = value.encode()
    except UnicodeEncodeError:  # half a surrogate pair, as Python reads odd file names
        raise ProtocolError(f"The text {value!r} cannot be written as UTF-8") from None
    if len(data) > MAX_STRING_BYTES:
        raise ProtocolError(f"A string of {len(data)} bytes is longer than {MAX_STRING_BYTES}")
    I16.write(out, len(data))
    out += data


def _read_string(cursor: Cursor) -> str | None:
    size = I16.read(cursor)
    if size == -1:
        return None
    try:
        return str(cursor.take(size), "utf-8")
    except UnicodeDecodeError:
        raise ProtocolError(f"A string before byte {cursor.position} is not UTF-8") from None


def _write_bytes(out: bytearray, value: bytes | None) -> None:
    if value is None:
        I32.write(out, -1)
        return
    I32.write(out, len(value))
    out += value


def _read_bytes(cursor: Cursor) -> bytes | None:
    size = I32.read(cursor)
    return None if size == -1 else bytes(cursor.take(size))


STRING = WireType(_write_string, _read_string)
BYTES = WireType(_write_bytes, _read_bytes)


def array(item: WireType, smallest: int) -> WireType:
    """An array of `item`.

    Args:
        item: the type of each item.
        smallest: the fewest bytes that one item can take; a count that the rest
            of the frame cannot hold is refused before anything is built.
    """

    def write(out: bytearray, values: Any) -> None:
        U32.write(out, len(values))
        for value in values:
            item.write(out, value)

    def read(cursor: Cursor) -> list[Any]:
        count = U32.read(cursor)
        if count * smallest > cursor.remaining():
            raise ProtocolError(
                f"An array claims {count} items, but only {cursor.remaining()} bytes are left"
            )
        return [item.read(cursor) for _ in range(count)]

    return WireType(write, read)


def record(*types: WireType) -> WireType:
    """Values of different types one behind the other, as a tuple."""

    def write(out: bytearray, values: Any) -> None:
        for kind, value in zip(types, values, strict=True):
            kind.write(out, value)

    def read(cursor: Cursor) -> tuple[Any, ...]:
        return tuple(kind.read(cursor) for kind in types)

    return WireType(write, read)


STRINGS = array(STRING, 2)
_PAIRS = array(record(STRING, STRING), 4)


def _write_map(out: bytearray, values: dict[str, str]) -> None:
    _PAIRS.write(out, list(values.items()))


def _read_map(cursor: Cursor) -> dict[str, str]:
    # Some answers leave an empty map out altogether, count and all (Open before 4.2.7).
    return dict(_PAIRS.read(cursor)) if cursor.remaining() else {}


STRING_MAP = WireType(_write_map, _read_map)

"""The type system of AMQP 1.0: skipping, reading and writing single values.

A value is a constructor byte and data. The constructor's high nibble tells how long
the data is (4 none, 5 one byte, 6 two, 7 four, 8 eight, 9 sixteen, A/B a length and
bytes, C/D a size and items, E/F a size and an array), so a value can be stepped over
without knowing its type. A constructor 0x00 opens a described value: a descriptor
value, then the value.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from stocklog.errors import ProtocolError

__all__ = ["Described", "Symbol", "Undecoded", "View", "read_value", "skip_value"]

View: TypeAlias = "bytes | memoryview"

_MAX_DEPTH = 32
# Items without data cost no bytes but memory: this many are no more than a list would cost.
_MAX_EMPTY_ITEMS = 64
_U32 = struct.Struct(">I")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WIDTHS = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}


class Symbol(str):
    """A string of the type symbol: a name from a limited set, in ASCII."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Described:
    """A value with a descriptor that says what it means.

    Attributes:
        descriptor: usually an int or a `Symbol`.
        value: the value itself.
    """

    descriptor: Any
    value: Any


@dataclass(frozen=True, slots=True)
class Undecoded:
    """A value that Python has no fitting type for: a decimal, or a time beyond year 9999.

    Attributes:
        code: its constructor.
        data: its bytes.
    """

    code: int
    data: bytes


def skip_value(view: View, at: int, end: int, depth: int = 0) -> int:
    """Step over one value without decoding it.

    Args:
        view: the bytes.
        at: where its constructor is.
        end: where the bytes end that it may take.
        depth: how many descriptors it is inside of.

    Returns:
        The position behind it.

    Raises:
        ProtocolError: it is cut, nested too deep, or its constructor has no meaning.
    """
    code, at = _constructor(view, at, end, depth)
    if code == 0:
        return skip_value(view, skip_value(view, at, end, depth + 1), end, depth + 1)
    return sum(_extent(view, code, at, end))


def read_value(view: View, at: int, end: int, depth: int = 0) -> tuple[Any, int]:
    """Decode one value.

    Args:
        view: the bytes.
        at: where its constructor is.
        end: where the bytes end that it may take.
        depth: how many values it is inside of.

    Returns:
        The value and the position behind it. null is None; integers are int; timestamp is
        a datetime in UTC; char and string are str; symbol is `Symbol`; list and array are
        list; map is dict; a described value is `Described`; a decimal `Undecoded`.

    Raises:
        ProtocolError: it is cut, nested too deep, or it breaks its type's rules.
    """
    code, at = _constructor(view, at, end, depth)
    if code == 0:
        descriptor, at = read_value(view, at, end, depth + 1)
        value, at = read_value(view, at, end, depth + 1)
        return Described(descriptor, value), at
    return _read_data(view, code, at, end, depth)


def _constructor(view: View, at: int, end: int, depth: int) -> tuple[int, int]:
    if depth > _MAX_DEPTH:
        raise ProtocolError(f"a value is nested deeper than {_MAX_DEPTH} levels")
    if at >= end:
        raise ProtocolError("a value is missing its constructor: the bytes end before it")
    return view[at], at + 1


def _extent(view: View, code: int, at: int, end: int) -> tuple[int, int]:
    """Start and length of the data behind a constructor."""
    kind = code >> 4
    width = _WIDTHS.get(kind)
    if width is None:
        if kind < 0xA:
            raise ProtocolError(f"a value has the constructor {code:#04x}, which has no meaning")
        wide = 4 if kind & 1 else 1
        if at + wide > end:
            raise ProtocolError(f"a value of type {code:#04x} is cut in its size")
        width = _U32.unpack_from(view, at)[0] if wide == 4 else view[at]
        at += wide
    if at + width > end:
        raise ProtocolError(
            f"a value of type {code:#04x} says it has {width} bytes, but {end - at} are there"
        )
    return at, width


def _read_data(view: View, code: int, at: int, end: int, depth: int) -> tuple[Any, int]:
    start, length = _extent(view, code, at, end)
    stop = start + length
    kind = code >> 4
    if code == 0x45:
        return [], stop
    if kind < 0xC:
        decode = _SCALARS.get(code)
        if decode is None:
            raise ProtocolError(f"a value has the constructor {code:#04x}, which has no meaning")
        return decode(bytes(view[start:stop])), stop
    wide = 4 if kind & 1 else 1
    if length < wide:
        raise ProtocolError(f"a value of type {code:#04x} is cut in its count")
    count = _U32.unpack_from(view, start)[0] if wide == 4 else view[start]
    items = start + wide
    if code in (0xC0, 0xD0):
        return _read_items(view, items, stop, count, depth), stop
    if code in (0xC1, 0xD1):
        return _read_map(view, items, stop, count, depth), stop
    if code in (0xE0, 0xF0):
        return _read_array(view, items, stop, count, depth), stop
    raise ProtocolError(f"a value has the constructor {code:#04x}, which has no meaning")


def _read_items(view: View, at: int, stop: int, count: int, depth: int) -> list[Any]:
    if count > stop - at:
        raise ProtocolError(f"a list says it has {count} items in {stop - at} bytes")
    values = []
    for _ in range(count):
        value, at = read_value(view, at, stop, depth + 1)
        values.append(value)
    _expect_end(at, stop)
    return values


def _read_map(view: View, at: int, stop: int, count: int, depth: int) -> dict[Any, Any]:
    values = _read_items(view, at, stop, count, depth)
    if count % 2:
        raise ProtocolError(f"a map has {count} keys and values, an odd number")
    try:
        return dict(zip(values[::2], values[1::2], strict=True))
    except TypeError as error:
        raise ProtocolError("a map has a key that is a list or a map") from error


def _read_array(view: View, at: int, stop: int, count: int, depth: int) -> list[Any]:
    code, at = _constructor(view, at, stop, depth)
    descriptor = None
    described = code == 0
    if described:
        descriptor, at = read_value(view, at, stop, depth + 1)
        code, at = _constructor(view, at, stop, depth + 1)
        if code == 0:
            raise ProtocolError("an array's items are described twice")
    if count > (_MAX_EMPTY_ITEMS if code >> 4 == 4 else stop - at):
        raise ProtocolError(f"an array says it has {count} items in {stop - at} bytes")
    values = []
    for _ in range(count):
        value, at = _read_data(view, code, at, stop, depth + 1)
        values.append(Described(descriptor, value) if described else value)
    _expect_end(at, stop)
    return values


def _expect_end(at: int, stop: int) -> None:
    if at != stop:
        raise ProtocolError(f"a list, map or array has {stop - at} bytes more than its items")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(f"a string is not UTF-8: {error}") from error


def _symbol(data: bytes) -> Symbol:
    try:
        return Symbol(data.decode("ascii"))
    except UnicodeDecodeError as error:
        raise ProtocolError(f"a symbol is not ASCII: {error}") from error


def _char(data: bytes) -> str:
    try:
        return chr(int.from_bytes(data))
    except (ValueError, OverflowError) as error:
        raise ProtocolError(f"a char is no Unicode code point: {data.hex()}") from error


def _timestamp(data: bytes) -> datetime | Undecoded:
    try:
        return _EPOCH + timedelta(milliseconds=int.from_bytes(data, signed=True))
    except OverflowError:
        return Undecoded(0x83, data)


def _boolean(data: bytes) -> bool:
    if data not in (b"\0", b"\1"):
        raise ProtocolError(f"a boolean is the byte {data.hex()}, neither 0 nor 1")
    return data == b"\1"


def _unsigned(data: bytes) -> int:
    return int.from_bytes(data)


def _signed(data: bytes) -> int:
    return int.from_bytes(data, signed=True)


def _opaque(code: int) -> Callable[[bytes], Undecoded]:
    return lambda data: Undecoded(code, data)


_SCALARS: dict[int, Callable[[bytes], Any]] = {
    0x40: lambda _: None,
    0x41: lambda _: True,
    0x42: lambda _: False,
    0x43: lambda _: 0,
    0x44: lambda _: 0,
    0x56: _boolean,
    **dict.fromkeys((0x50, 0x52, 0x53, 0x60, 0x70, 0x80), _unsigned),
    **dict.fromkeys((0x51, 0x54, 0x55, 0x61, 0x71, 0x81), _signed),
    0x72: lambda data: struct.unpack(">f", data)[0],
    0x82: lambda data: struct.unpack(">d", data)[0],
    0x73: _char,
    0x83: _timestamp,
    0x98: lambda data: UUID(bytes=data),
    **dict.fromkeys((0xA0, 0xB0), bytes),
    **dict.fromkeys((0xA1, 0xB1), _text),
    **dict.fromkeys((0xA3, 0xB3), _symbol),
    **{code: _opaque(code) for code in (0x74, 0x84, 0x94)},
}

"""Primitive types: what is written is read again, and what is broken is refused cheaply."""

from __future__ import annotations

import contextlib
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stocklog.errors import ProtocolError
from stocklog.protocol import wire
from stocklog.protocol.wire import Cursor, WireType

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
KINDS: dict[str, tuple[WireType, st.SearchStrategy[Any]]] = {
    "u8": (wire.U8, st.integers(0, 0xFF)),
    "u16": (wire.U16, st.integers(0, 0xFFFF)),
    "u32": (wire.U32, st.integers(0, 0xFFFF_FFFF)),
    "u64": (wire.U64, st.integers(0, (1 << 64) - 1)),
    "i16": (wire.I16, st.integers(-(1 << 15), (1 << 15) - 1)),
    "i64": (wire.I64, st.integers(-(1 << 63), (1 << 63) - 1)),
    "string": (wire.STRING, st.none() | TEXTS),
    "bytes": (wire.BYTES, st.none() | st.binary(max_size=60)),
    "strings": (wire.STRINGS, st.lists(st.none() | TEXTS, max_size=6)),
    "map": (wire.STRING_MAP, st.dictionaries(TEXTS, TEXTS, max_size=6)),
    "record": (wire.record(wire.U16, wire.STRING), st.tuples(st.integers(0, 65535), TEXTS)),
}


def written(kind: WireType, value: Any) -> bytes:
    out = bytearray()
    kind.write(out, value)
    return bytes(out)


@pytest.mark.parametrize("name", KINDS)
@given(st.data())
def test_a_value_is_read_as_it_was_written_and_no_byte_more(name: str, data: st.DataObject) -> None:
    kind, values = KINDS[name]
    value = data.draw(values)
    cursor = Cursor(written(kind, value) + b"behind")
    assert kind.read(cursor) == value
    assert bytes(cursor.take(cursor.remaining())) == b"behind"


@pytest.mark.parametrize("name", KINDS)
@given(st.data())
def test_a_value_that_is_cut_anywhere_is_refused(name: str, data: st.DataObject) -> None:
    kind, values = KINDS[name]
    whole = written(kind, data.draw(values))
    cut = data.draw(st.integers(0, len(whole) - 1))
    if name == "map" and not cut:
        return  # a map may be left out altogether, see below
    with pytest.raises(ProtocolError):
        kind.read(Cursor(whole[:cut]))


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (wire.STRING, "é", "0002c3a9"),
        (wire.STRING, "", "0000"),
        (wire.STRING, None, "ffff"),
        (wire.BYTES, b"\0a", "000000020061"),
        (wire.BYTES, None, "ffffffff"),
        (wire.STRINGS, ["a", None], "00000002000161ffff"),
        (wire.STRING_MAP, {"k": "v"}, "0000000100016b000176"),
        (wire.I16, -2, "fffe"),
        (wire.U64, 1 << 63, "8000000000000000"),
    ],
)
def test_the_bytes_are_those_of_the_specification(
    kind: WireType, value: Any, expected: str
) -> None:
    assert written(kind, value).hex() == expected


def test_a_map_that_is_left_out_is_empty() -> None:
    assert wire.STRING_MAP.read(Cursor(b"")) == {}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (wire.U8, 256),
        (wire.U8, -1),
        (wire.U32, 1 << 32),
        (wire.U32, None),
        (wire.I16, 1 << 15),
        (wire.STRING, "x" * 32768),
        (wire.STRING, "\ud800"),
    ],
)
def test_a_value_that_does_not_fit_its_type_is_refused(kind: WireType, value: Any) -> None:
    with pytest.raises(ProtocolError):
        written(kind, value)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (wire.STRING, "fffe6161"),  # length -2
        (wire.BYTES, "fffffffe6161"),
        (wire.STRING, "0002ff61"),  # no UTF-8
        (wire.STRINGS, "ffffffff00016100016100016100016100"),
        (wire.STRING_MAP, "7fffffff" + "00" * 64),
    ],
)
def test_a_lying_length_or_count_is_refused(kind: WireType, data: str) -> None:
    with pytest.raises(ProtocolError):
        kind.read(Cursor(bytes.fromhex(data)))


def test_a_lying_count_costs_no_memory() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            wire.STRINGS.read(Cursor(b"\xff\xff\xff\xff" + bytes(1000)))
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=80), st.sampled_from(sorted(KINDS)))
def test_any_bytes_give_a_value_or_the_protocol_error(data: bytes, name: str) -> None:
    with contextlib.suppress(ProtocolError):
        KINDS[name][0].read(Cursor(data))

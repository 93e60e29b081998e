"""Framing bodies for the wire: leads, lengths, publishing ids, any column."""

from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stocklog.errors import UsageError
from stocklog.protocol import amqp

BODIES = [b"first", b"", b"x" * 255, b"y" * 256, b"z" * 70_000, "ñandú".encode()]


def framed(bodies: list[bytes], plain: bool, first_id: int = 0) -> bytes:
    """What must come out, said in plain Python."""
    rows = []
    for number, body in enumerate(bodies):
        identity = struct.pack(">Q", first_id + number) if plain else b""
        size = struct.pack(">I", len(body) + 8)
        rows.append(identity + size + b"\0\x53\x75\xb0" + struct.pack(">I", len(body)) + body)
    return b"".join(rows)


@pytest.mark.parametrize(("plain", "size"), [(False, amqp.LEAD), (True, amqp.PLAIN_LEAD)])
def test_a_lead_has_its_one_size_and_the_data_section_in_it(plain, size):
    assert len(amqp.lead(plain)) == size == (20 if plain else 12)
    assert amqp.lead(plain)[-8:-4] == b"\0\x53\x75\xb0"


@pytest.mark.parametrize("plain", [False, True])
def test_lengths_and_ids_are_written_into_rows_rendered_behind_leads(plain):
    rows = [amqp.lead(plain) + body for body in BODIES]
    data = np.frombuffer(bytearray(b"".join(rows)), np.uint8)
    starts = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    amqp.write_lengths(data, starts, plain)
    if plain:
        amqp.write_publishing_ids(data, starts, 2**40)
    assert data.tobytes() == framed(BODIES, plain, 2**40)


@pytest.mark.parametrize("plain", [False, True])
@given(bodies=st.lists(st.binary(max_size=400), max_size=30), first=st.integers(0, 2**63))
@settings(deadline=None)
def test_any_bodies_are_framed_as_told_in_plain_python(plain, bodies, first):
    data, starts = amqp.frame_bodies(bodies, plain)
    if plain:
        amqp.write_publishing_ids(data, starts, first)
    assert data.tobytes() == framed(bodies, plain, first)
    assert starts.dtype == np.int64
    assert starts.tolist() == [0, *np.cumsum([len(b) + len(amqp.lead(plain)) for b in bodies])]


COLUMNS = {
    "binary": pa.array(BODIES, pa.binary()),
    "large binary": pa.array(BODIES, pa.large_binary()),
    "binary view": pa.array(BODIES, pa.binary_view()),
    "string": pa.array([body.decode() for body in BODIES]),
    "large string": pa.array([body.decode() for body in BODIES], pa.large_string()),
    "string view": pa.array([body.decode() for body in BODIES], pa.string_view()),
    "dictionary": pa.array(BODIES, pa.binary()).dictionary_encode(),
    "chunks": pa.chunked_array([pa.array(BODIES[:2]), pa.array(BODIES[2:])]),
    "a slice": pa.array([b"no", *BODIES, b"no"], pa.large_binary())[1:-1],
    "a list": BODIES,
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_every_kind_of_column_is_framed_alike(kind):
    data, starts = amqp.frame_bodies(COLUMNS[kind])
    assert data.tobytes() == framed(BODIES, plain=False)
    assert len(starts) == len(BODIES) + 1
    assert data.flags.writeable
    assert data.flags.c_contiguous


def test_a_column_of_fixed_size_is_framed():
    data, _ = amqp.frame_bodies(pa.array([b"abc", b"def"], pa.binary(3)))
    assert data.tobytes() == framed([b"abc", b"def"], plain=False)


@pytest.mark.parametrize("plain", [False, True])
def test_an_empty_column_is_no_rows(plain):
    data, starts = amqp.frame_bodies(pa.array([], pa.large_binary()), plain)
    amqp.write_publishing_ids(data, starts, 1)
    assert len(data) == 0
    assert starts.tolist() == [0]


def test_a_null_is_refused_with_its_row():
    with pytest.raises(UsageError, match="row 1 is null"):
        amqp.frame_bodies(pa.array([b"a", None], pa.binary()))


@pytest.mark.parametrize("bodies", [pa.array([1, 2]), [1, 2], 5, pa.array([[b"a"]])])
def test_what_is_no_bytes_is_refused(bodies):
    with pytest.raises(UsageError, match="not a column of bytes"):
        amqp.frame_bodies(bodies)


def test_a_row_shorter_than_its_lead_is_refused():
    with pytest.raises(UsageError, match="row 1 is shorter than the 12 bytes"):
        amqp.write_lengths(np.zeros(30, np.uint8), np.array([0, 20, 30]))

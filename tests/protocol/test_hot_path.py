"""No step per message: the usual shapes go by the column, and only odd rows by the row."""

from __future__ import annotations

import numpy as np
import pytest
from chunk_reference import Batch, encode_chunk, encode_data, payload_of

from stocklog.protocol import amqp, entries
from stocklog.protocol import chunk as chunks
from stocklog.protocol.compression import CODECS, compress

N = 4000


def section(body: bytes, long: bool = False) -> bytes:
    if len(body) < 256 and not long:
        return b"\0\x53\x75\xa0" + bytes((len(body),)) + body
    return b"\0\x53\x75\xb0" + len(body).to_bytes(4) + body


def body(i: int, size: int = 150) -> bytes:
    return b'{"n":%d,"pad":"%s"}' % (i, b"x" * (size + i % 60))


def from_amqp_091(i: int) -> bytes:
    """As RabbitMQ 4 stores it; ids differ from message to message in value and length."""
    number = b"%d" % i
    fields = b"\xa1" + bytes((len(number),)) + number
    return (
        b"\0\x53\x70\xc0\x04\x02\x41\x50\x04"
        b"\0\x53\x72\xc1\x10\x02\xa3\x0ax-exchange\xa1\x01e"
        + b"\0\x53\x73\xc0"
        + bytes((len(fields) + 1, 1))
        + fields
        + section(body(i))
    )


def batches(size: int, codec: str) -> list[Batch]:
    rows = [section(body(i), long=True) for i in range(N)]
    parts = [tuple(rows[i : i + size]) for i in range(0, N, size)]
    return [
        Batch(part, CODECS[codec].id, bytes(compress(codec, payload_of(part)))) for part in parts
    ]


SHAPES = {
    "our own form": lambda: [section(body(i), long=True) for i in range(N)],
    "short and long sections": lambda: [section(body(i, 210)) for i in range(N)],
    "from AMQP 0-9-1": lambda: [from_amqp_091(i) for i in range(N)],
    "bodies without sections": lambda: [body(i) for i in range(N)],
    "with and without sections by turns": lambda: [
        section(body(i), long=True) if i % 2 else body(i) for i in range(N)
    ],
    "sub-batches of 500": lambda: batches(500, "none"),
    "sub-batches of 2": lambda: batches(2, "none"),
    "sub-batches of 500, lz4": lambda: batches(500, "lz4"),
}


@pytest.fixture
def steps(monkeypatch):
    """Counts the single steps of the walk."""
    counted = []
    for name in ("_step_simple", "_step_batch"):
        step = getattr(entries._Walk, name)

        def count(self, at, size, step=step):
            counted.append(at)
            return step(self, at, size)

        monkeypatch.setattr(entries._Walk, name, count)
    return counted


@pytest.mark.parametrize("shape", SHAPES)
def test_a_usual_chunk_takes_a_step_for_hundreds_of_messages(shape, steps):
    chunk = encode_chunk(SHAPES[shape]())
    block = chunks.decode([(chunks.parse_header(chunk), chunk[48:])])
    assert len(block) == N
    assert len(steps) <= N // 200


def test_thousands_of_joined_chunks_take_no_step_a_chunk(steps):
    pairs = []
    for i in range(N):
        chunk = encode_chunk([section(body(i))], i)
        pairs.append((chunks.parse_header(chunk), chunk[48:]))
    assert len(chunks.decode(pairs)) == N
    assert len(steps) <= N // 200


def test_odd_messages_cost_a_step_each_and_no_more(steps):
    rows = [section(bytes(70_000)) if i % 500 == 7 else section(body(i)) for i in range(N)]
    data = encode_data(rows)
    header = chunks.ChunkHeader(0, N, N, 0, 0, 0, 0, len(data))
    assert len(chunks.decode([(header, data)])) == N
    assert len(steps) <= 3 * N // 500


@pytest.mark.parametrize("shape", SHAPES)
def test_bodies_of_usual_messages_are_found_without_parsing_any(shape, monkeypatch):
    def never(message):
        raise AssertionError("a row was parsed by itself")

    monkeypatch.setattr(amqp, "find_body", never)
    chunk = encode_chunk(SHAPES[shape]())
    bodies = amqp.locate_bodies(chunks.decode([(chunks.parse_header(chunk), chunk[48:])]))
    assert bodies.problems == {}
    assert np.array_equal(bodies.buffer[bodies.starts], np.full(N, ord("{")))
    assert np.array_equal(bodies.buffer[bodies.starts + bodies.lengths - 1], np.full(N, ord("}")))

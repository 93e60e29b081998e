"""Random and hostile chunks, held against the plain reference decoder."""

from __future__ import annotations

import struct
import time
import tracemalloc
import zlib

import pytest
from chunk_reference import (
    Batch,
    BrokenError,
    decode_data,
    encode_chunk,
    encode_data,
    messages_of,
    payload_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from stocklog.errors import ProtocolError
from stocklog.protocol import chunk as chunks
from stocklog.protocol.compression import CODECS, compress, decompress


def listed(block: chunks.MessageBlock) -> list[bytes]:
    return [block.message(row) for row in range(len(block))]


def header_of(data: bytes, entries: int, records: int, chunk_id: int = 7) -> chunks.ChunkHeader:
    return chunks.ChunkHeader(0, entries, records, 1, 1, chunk_id, zlib.crc32(data), len(data))


def make_batch(messages: list[bytes], codec: int) -> Batch:
    return Batch(tuple(messages), codec, bytes(compress(codec, payload_of(messages))))


section = st.builds(
    lambda body, long: (
        b"\0\x53\x75\xb0" + len(body).to_bytes(4) + body
        if long
        else b"\0\x53\x75\xa0" + bytes((len(body),)) + body
    ),
    st.binary(max_size=40),
    st.booleans(),
)
# Bytes that look like borders are what a shortcut would stumble over.
tricky = st.lists(
    st.sampled_from(
        [b"\0", b"\0\0", b"\0\x53", b"\0\x53\x75\xb0", b"\0\0\0\x01", b"\x80", b"\x80\0\x01", b"{}"]
    ),
    max_size=12,
).map(b"".join)
message = st.one_of(section, section, tricky, st.binary(max_size=30), st.just(b""))
run = st.builds(lambda one, n: [one] * n, message, st.integers(1, 60))
batch = st.builds(make_batch, st.lists(message, max_size=8), st.integers(0, 4))
entries = st.lists(st.one_of(message, run, batch), min_size=1, max_size=12).map(
    lambda parts: [
        entry for part in parts for entry in (part if isinstance(part, list) else [part])
    ]
)


def reference_unpack(codec: int, packed: bytes, size: int) -> bytes:
    try:
        return bytes(decompress(codec, packed, size))
    except ProtocolError as error:
        raise BrokenError(str(error)) from error


@given(st.lists(entries, min_size=1, max_size=5))
@settings(max_examples=examples(120), deadline=None)
def test_any_mix_of_entries_in_any_number_of_chunks_comes_out_whole(all_entries):
    pairs = []
    for number, one in enumerate(all_entries):
        chunk = encode_chunk(one, number * 10_000, number)
        pairs.append((chunks.parse_header(chunk), memoryview(chunk)[48:]))
    block = chunks.decode(pairs)
    assert listed(block) == [message for one in all_entries for message in messages_of(one)]
    assert block.offsets.tolist() == [
        number * 10_000 + i
        for number, one in enumerate(all_entries)
        for i in range(len(messages_of(one)))
    ]
    header, data = pairs[-1]
    if header.records:
        assert listed(chunks.last_message(header, data)) == messages_of(all_entries[-1])[-1:]


def decode_like_reference(data: bytes, n: int, records: int) -> None:
    """Both ways agree: the same messages, or both refuse."""
    header = header_of(data, n, records)
    try:
        expected = decode_data(data, n, records, reference_unpack)
    except BrokenError:
        with pytest.raises(ProtocolError, match="offset 7"):
            chunks.decode([(header, data)])
        return
    assert listed(chunks.decode([(header, data)])) == expected


@given(entries, st.data())
@settings(max_examples=examples(200), deadline=None)
def test_changed_bytes_are_judged_as_the_reference_judges_them(one, data):
    raw = bytearray(encode_data(one))
    for _ in range(data.draw(st.integers(1, 3)) if raw else 0):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    decode_like_reference(bytes(raw), len(one), len(messages_of(one)))


@given(entries, st.data())
@settings(max_examples=examples(120), deadline=None)
def test_cut_and_lengthened_data_are_judged_as_the_reference_judges_them(one, data):
    raw = encode_data(one)
    raw = raw[: data.draw(st.integers(0, len(raw)))] + data.draw(st.binary(max_size=12))
    decode_like_reference(raw, len(one), len(messages_of(one)))


@given(st.binary(max_size=200), st.integers(0, 20), st.integers(0, 40))
@settings(max_examples=examples(200), deadline=None)
def test_noise_is_judged_as_the_reference_judges_it(noise, n, records):
    decode_like_reference(noise, n, records)


@given(entries, st.integers(-2, 2), st.integers(-2, 2))
@settings(deadline=None)
def test_counts_other_than_the_headers_are_refused(one, more_entries, more_records):
    decode_like_reference(
        encode_data(one),
        max(len(one) + more_entries, 0),
        max(len(messages_of(one)) + more_records, 0),
    )


@given(st.lists(entries, min_size=2, max_size=4), st.data())
@settings(max_examples=examples(200), deadline=None)
def test_one_broken_chunk_among_good_ones_is_named(all_entries, data):
    which = data.draw(st.integers(0, len(all_entries) - 1))
    pairs = []
    for number, one in enumerate(all_entries):
        raw = encode_data(one) + (b"\0" if number == which else b"")
        pairs.append((header_of(raw, len(one), len(messages_of(one)), 1000 + number), raw))
    with pytest.raises(ProtocolError, match=f"offset {1000 + which} is broken"):
        chunks.decode(pairs)


def test_entries_that_only_fit_when_chunks_are_joined_are_refused():
    whole = encode_data([b"a" * 50, b"b" * 50])
    for cut in range(1, len(whole)):
        first, second = whole[:cut], whole[cut:]
        pairs = [(header_of(first, 1, 1, 1), first), (header_of(second, 1, 1, 2), second)]
        if cut == 54:
            assert len(chunks.decode(pairs)) == 2
            continue
        with pytest.raises(ProtocolError, match=r"offset \d is broken"):
            chunks.decode(pairs)


def test_a_payload_that_reaches_into_the_next_chunk_is_refused():
    whole = encode_data([Batch((b"a" * 9, b"b" * 9, b"c" * 9))])
    first, second = whole[: 11 + 13], whole[11 + 13 :]
    with pytest.raises(ProtocolError, match="offset 1 is broken"):
        chunks.decode([(header_of(first, 1, 1, 1), first), (header_of(second, 2, 2, 2), second)])


@pytest.mark.parametrize("codec", CODECS)
def test_a_sub_batch_inside_a_sub_batch_is_refused(codec):
    inner = Batch((b"a", b"b")).encode()
    number = CODECS[codec].id
    packed = bytes(compress(codec, inner))
    data = struct.pack(">BHII", 0x80 | number << 4, 2, len(inner), len(packed)) + packed
    with pytest.raises(ProtocolError, match=r"holds another|does not hold"):
        chunks.decode([(header_of(data, 1, 2), data)])


@pytest.mark.parametrize("first", [0x81, 0x8F, 0xD0, 0xE0, 0xF0, 0xFF])
def test_reserved_bits_and_codecs_are_refused(first):
    data = bytes((first,)) + struct.pack(">HII", 1, 5, 5) + payload_of([b"x"])
    with pytest.raises(ProtocolError, match="offset 7"):
        chunks.decode([(header_of(data, 1, 1), data)])


@pytest.mark.parametrize("codec", range(1, 5))
@pytest.mark.parametrize("change", [-1, 1])
def test_a_compressed_sub_batch_with_another_number_of_records_is_refused(codec, change):
    good = make_batch([b"a", b"b", b"c"], codec)
    data = bytearray(good.encode())
    struct.pack_into(">H", data, 1, 3 + change)
    with pytest.raises(ProtocolError, match="offset 7"):
        chunks.decode([(header_of(bytes(data), 1, 3 + change), bytes(data))])


def test_records_moved_from_one_compressed_sub_batch_to_another_are_noticed():
    data = bytearray(make_batch([b"a", b"b"], 3).encode() + make_batch([b"c", b"d"], 3).encode())
    struct.pack_into(">H", data, 1, 3)
    struct.pack_into(">H", data, len(data) // 2 + 1, 1)
    with pytest.raises(ProtocolError, match="does not hold the records"):
        chunks.decode([(header_of(bytes(data), 2, 4), bytes(data))])


def refused_quickly(header: chunks.ChunkHeader, data: bytes, megabytes: int, **options) -> None:
    """Refused with little memory of our own, in seconds at the very most."""
    begun = time.perf_counter()
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="offset 7"):
            chunks.decode([(header, data)], **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < megabytes << 20
    assert time.perf_counter() - begun < 20


HUGE = [2**31 - 1, 2**31, 2**32 - 1]


@pytest.mark.parametrize("number", HUGE)
def test_huge_counts_in_the_header_take_no_memory(number):
    data = payload_of([b"x" * 100])
    refused_quickly(header_of(data, 1, number), data, 1)


@pytest.mark.parametrize("number", HUGE)
def test_huge_sizes_in_entries_take_no_memory(number):
    simple = struct.pack(">I", number) + b"x" * 100
    refused_quickly(header_of(simple, 1, 1), simple, 1)
    for codec in range(5):
        said = struct.pack(">BHII", 0x80 | codec << 4, 1, number, 5) + payload_of([b"x"])
        refused_quickly(header_of(said, 1, 1), said, 1)
        long = struct.pack(">BHII", 0x80 | codec << 4, 1, 5, number) + payload_of([b"x"])
        refused_quickly(header_of(long, 1, 1), long, 1)


@pytest.mark.parametrize("codec", range(1, 5))
def test_a_bomb_of_the_largest_size_declared_small_takes_no_memory(codec):
    bomb = compress(codec, bytes(64 << 20))
    data = struct.pack(">BHII", 0x80 | codec << 4, 1, 100, len(bomb)) + bomb
    refused_quickly(header_of(data, 1, 1), data, 8)


def test_many_bombs_in_one_chunk_stop_at_the_chunks_cap():
    one = make_batch([bytes(1 << 20)], 4).encode()
    header = header_of(one * 100, 100, 100)
    refused_quickly(header, one * 100, 8, max_uncompressed=99 << 20)
    assert len(chunks.decode([(header, one * 100)])) == 100


def test_a_sub_batch_beyond_its_own_cap_is_refused_and_the_cap_can_be_moved():
    data = make_batch([bytes(1 << 20)], 4).encode()
    header = header_of(data, 1, 1)
    for read in (lambda **cap: chunks.decode([(header, data)], **cap), partial_last(header, data)):
        with pytest.raises(ProtocolError, match="1048580 bytes, 1048576 are allowed"):
            read(max_batch=1 << 20)
        assert len(read(max_batch=2 << 20)) == 1


def partial_last(header: chunks.ChunkHeader, data: bytes):
    return lambda **cap: chunks.last_message(header, data, **cap)


def test_messages_of_no_bytes_count_with_their_place_in_the_columns():
    data = make_batch([b""] * 60_000, 4).encode() * 10
    header = header_of(data, 10, 600_000)
    refused_quickly(header, data, 64, max_uncompressed=20 << 20)
    assert len(chunks.decode([(header, data)])) == 600_000


def test_zeros_without_end_are_refused_with_memory_no_more_than_theirs():
    data = bytes(8 << 20)
    refused_quickly(header_of(data, 65_535, 65_535), data, 64)


def test_an_adversary_who_breaks_every_run_costs_a_step_a_message_at_most():
    inner = b"\0\x53\x75\xb0\0\0\0\x05" + struct.pack(">I", 4)
    data = payload_of([b"\0\x53" + inner * 4 + b"\xff" * (i % 7) for i in range(20_000)])
    begun = time.perf_counter()
    block = chunks.decode([(header_of(data, 20_000, 20_000), data)])
    assert len(block) == 20_000
    assert time.perf_counter() - begun < 5

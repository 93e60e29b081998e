"""The five codecs: framing, bounds, and what happens to bad bytes."""

from __future__ import annotations

import gzip
import random
import struct
import zlib

import cramjam
import lz4.frame
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from stocklog.errors import ProtocolError, UsageError
from stocklog.protocol.compression import CODECS, compress, decompress, get_codec, zstd

PACKING = [name for name in CODECS if name != "none"]
TEXT = b'{"sku":"SKU1","quantity":-3}' * 3000


def test_the_table_has_the_ids_of_the_stream_protocol():
    assert {name: codec.id for name, codec in CODECS.items()} == {
        "none": 0,
        "gzip": 1,
        "snappy": 2,
        "lz4": 3,
        "zstd": 4,
    }


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("data", [b"", b"x", TEXT, random.Random(1).randbytes(200_000)])
def test_what_is_packed_comes_back(codec, data):
    packed = compress(codec, data)
    assert bytes(decompress(codec, packed, len(data))) == data
    assert bytes(decompress(CODECS[codec].id, packed, len(data))) == data


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    "kind", [bytes, bytearray, memoryview, lambda b: np.frombuffer(b, np.uint8)]
)
def test_any_buffer_of_bytes_is_taken(codec, kind):
    packed = compress(codec, kind(TEXT))
    assert bytes(decompress(codec, kind(packed), len(TEXT))) == TEXT


def test_gzip_is_one_member_without_a_time_or_name():
    assert compress("gzip", TEXT)[:8] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00"
    assert gzip.decompress(compress("gzip", TEXT)) == TEXT


def test_snappy_is_the_framing_format():
    assert compress("snappy", TEXT).startswith(b"\xff\x06\x00\x00sNaPpY")


def test_lz4_is_a_frame_of_independent_64_kib_blocks_without_sizes_or_checksums():
    packed = compress("lz4", TEXT)
    assert packed[:6] == bytes.fromhex("04224d18 60 40")
    info = lz4.frame.get_frame_info(packed)
    assert not info["block_linked"]
    assert not info["content_size"]
    assert not info["content_checksum"]


def test_zstd_is_a_frame_without_a_content_size():
    assert zstd.get_frame_info(compress("zstd", TEXT)).decompressed_size is None


OTHER_WRITERS = {
    "gzip, level 9, by the standard library": ("gzip", lambda d: gzip.compress(d, 9)),
    "gzip by cramjam": ("gzip", lambda d: bytes(cramjam.gzip.compress(d))),
    "lz4 with linked blocks and a size": ("lz4", lambda d: lz4.frame.compress(d, store_size=True)),
    "lz4 with a checksum": ("lz4", lambda d: lz4.frame.compress(d, content_checksum=True)),
    "lz4 by cramjam": ("lz4", lambda d: bytes(cramjam.lz4.compress(d))),
    "lz4 by arrow": ("lz4", lambda d: pa.Codec("lz4").compress(d, asbytes=True)),
    "zstd with a size, by arrow": ("zstd", lambda d: pa.Codec("zstd").compress(d, asbytes=True)),
    "zstd by cramjam": ("zstd", lambda d: bytes(cramjam.zstd.compress(d))),
    "zstd with a checksum": (
        "zstd",
        lambda d: zstd.compress(d, options={zstd.CompressionParameter.checksum_flag: 1}),
    ),
}


@pytest.mark.parametrize("writer", OTHER_WRITERS)
def test_other_writers_are_read(writer):
    codec, pack = OTHER_WRITERS[writer]
    assert bytes(decompress(codec, pack(TEXT), len(TEXT))) == TEXT


OTHER_READERS = {
    "gzip": lambda d: bytes(cramjam.gzip.decompress(d)),
    "snappy": lambda d: bytes(cramjam.snappy.decompress(d)),
    "lz4": lambda d: bytes(cramjam.lz4.decompress(d)),
    "zstd": lambda d: bytes(cramjam.zstd.decompress(d)),
}


@pytest.mark.parametrize("codec", OTHER_READERS)
def test_other_readers_read_what_we_write(codec):
    assert OTHER_READERS[codec](compress(codec, TEXT)) == TEXT


@pytest.mark.parametrize("codec", PACKING)
@pytest.mark.parametrize("pieces", [2, 3, 100])
def test_several_frames_one_behind_the_other_are_read_as_one(codec, pieces):
    packed = compress(codec, TEXT) * pieces
    assert bytes(decompress(codec, packed, len(TEXT) * pieces)) == TEXT * pieces


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
def test_frames_larger_than_the_window_are_read_behind_a_first_one(codec):
    noise = random.Random(2).randbytes(1 << 20)
    packed = compress(codec, b"first") + compress(codec, noise) + compress(codec, b"last")
    assert bytes(decompress(codec, packed, len(noise) + 9)) == b"first" + noise + b"last"


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_skippable_frames_are_skipped(codec):
    skippable = struct.pack("<II", 0x184D2A50, 5) + b"notes"
    packed = skippable + compress(codec, TEXT)
    assert bytes(decompress(codec, packed, len(TEXT))) == TEXT


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
def test_a_hundred_thousand_empty_frames_are_refused_in_bounded_time(codec):
    with pytest.raises(ProtocolError, match="more than 4096 frames"):
        decompress(codec, compress(codec, b"") * 100_000, 0)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("difference", [-1, 1, -100, 1000])
def test_another_size_than_declared_is_refused(codec, difference):
    with pytest.raises(ProtocolError):
        decompress(codec, compress(codec, TEXT), len(TEXT) + difference)


@pytest.mark.parametrize("codec", PACKING)
def test_every_cut_is_refused(codec):
    packed = compress(codec, TEXT[:2000])
    for end in range(len(packed)):
        with pytest.raises(ProtocolError):
            decompress(codec, packed[:end], 2000)


@pytest.mark.parametrize("codec", PACKING)
@pytest.mark.parametrize("tail", [b"\0", b"x", b"{}" * 100, b"\x1f\x8b", b"\xff\xff\xff\xff"])
def test_trailing_bytes_are_refused(codec, tail):
    with pytest.raises(ProtocolError):
        decompress(codec, compress(codec, TEXT) + tail, len(TEXT))


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
def test_trailing_bytes_behind_an_empty_payload_are_refused(codec):
    with pytest.raises(ProtocolError):
        decompress(codec, compress(codec, b"") + b"x", 0)


def bomb_of(codec: str) -> bytes:
    return compress(codec, bytes(64 << 20))


@pytest.mark.parametrize("codec", PACKING)
def test_a_bomb_is_stopped_at_what_is_declared(codec):
    with pytest.raises(ProtocolError):
        decompress(codec, bomb_of(codec), 1000)


@pytest.mark.parametrize("codec", PACKING)
def test_more_than_the_limit_is_refused_before_anything_is_unpacked(codec):
    with pytest.raises(ProtocolError, match="1001 bytes, 1000 are allowed"):
        decompress(codec, b"", 1001, limit=1000)


@pytest.mark.parametrize("size", [-1, (64 << 20) + 1, 2**32 - 1, 2**63])
def test_by_default_64_mib_are_allowed(size):
    with pytest.raises(ProtocolError, match="are allowed"):
        decompress("zstd", b"", size)


@pytest.mark.parametrize("codec", [5, 6, 7, -1, 8])
def test_a_codec_without_a_meaning_is_the_chunks_fault(codec):
    with pytest.raises(ProtocolError, match=f"codec {codec}"):
        decompress(codec, b"", 0)


def test_a_codec_name_without_a_meaning_is_the_callers_fault():
    with pytest.raises(UsageError, match=r"brotli.*none, gzip, snappy, lz4, zstd"):
        get_codec("brotli")


@pytest.mark.parametrize("codec", PACKING)
@given(data=st.data())
@settings(max_examples=examples(150), deadline=None)
def test_damage_gives_a_protocol_error_or_bytes_of_the_declared_size(codec, data):
    packed = bytearray(compress(codec, TEXT[:700]))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        payload = decompress(codec, packed, 700)
    except ProtocolError:
        return
    assert len(payload) == 700


@pytest.mark.parametrize("codec", PACKING)
@given(noise=st.binary(max_size=300), size=st.integers(0, 2000))
@settings(max_examples=examples(150), deadline=None)
def test_noise_gives_a_protocol_error_or_bytes_of_the_declared_size(codec, noise, size):
    try:
        payload = decompress(codec, noise, size)
    except ProtocolError:
        return
    assert len(payload) == size


def test_raw_deflate_and_zlib_are_not_taken_for_gzip():
    with pytest.raises(ProtocolError):
        decompress("gzip", zlib.compress(TEXT), len(TEXT))

"""The five codecs of a sub-batch, and reading them within bounds.

A sub-batch names its codec by a number of three bits. The framing behind each
number is the one that the other stream clients write: a gzip member (RFC 1952),
the snappy *framing* format, an LZ4 *frame* of independent 64 KiB blocks, a
standard zstd frame without a content size.

What is read comes from anybody: no declared size is believed, output never
grows beyond what the sub-batch declares or the cap, and whatever is wrong ends
in a `ProtocolError`. The codecs give up the interpreter lock while they work.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import cramjam
import lz4.frame
import numpy as np
from zlib_ng import zlib_ng

from stocklog.errors import ProtocolError, UsageError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = [
    "CODECS",
    "MAX_UNCOMPRESSED",
    "BytesLike",
    "Codec",
    "as_view",
    "compress",
    "decompress",
    "get_codec",
]

BytesLike: TypeAlias = "bytes | bytearray | memoryview | np.ndarray[Any, np.dtype[np.uint8]]"
"""A contiguous buffer of bytes."""

MAX_UNCOMPRESSED = 64 << 20
"""Bytes that one sub-batch may unpack to unless the caller says otherwise."""

_MAX_FRAMES = 4096
_WINDOW = 256 << 10


def as_view(data: BytesLike) -> memoryview:
    """The bytes of a contiguous buffer as a flat memoryview, without a copy."""
    view = memoryview(cast("bytes", data))
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


@dataclass(frozen=True, slots=True)
class Codec:
    """One codec of the table.

    Attributes:
        name: what options and the URI call it.
        id: its number in a sub-batch's first byte, 0 to 4.
        pack: compresses a buffer whole.
        unpack: decompresses a buffer whole into at most the given number of bytes;
            raises anything when it cannot.
    """

    name: str
    id: int
    pack: Callable[[memoryview], bytes]
    unpack: Callable[[memoryview, int], bytes | memoryview]


def _pack_gzip(data: memoryview) -> bytes:
    # Level 1: on rows of JSON level 6 costs five times the time for half as much again of ratio.
    return bytes(zlib_ng.compress(data, 1, 31))


def _pack_snappy(data: memoryview) -> bytes:
    return bytes(cramjam.snappy.compress(data))


def _pack_lz4(data: memoryview) -> bytes:
    # lz4-java refuses linked blocks, and needs no sizes or checksums.
    return bytes(
        lz4.frame.compress(
            data,
            block_size=lz4.frame.BLOCKSIZE_MAX64KB,
            block_linked=False,
            content_checksum=False,
            store_size=False,
        )
    )


def _pack_zstd(data: memoryview) -> bytes:
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: 1,
        zstd.CompressionParameter.content_size_flag: 0,
    }
    compressor = zstd.ZstdCompressor(options=options)
    return bytes(compressor.compress(data, compressor.FLUSH_FRAME))


def _unpack_snappy(data: memoryview, size: int) -> memoryview:
    # Uninitialised memory: pages that nothing is written to are never taken from the system.
    out = as_view(np.empty(size, np.uint8))
    written = cramjam.snappy.decompress_into(data, out)
    return out[:written]


def _unpack_frames(new: Callable[[], Any], data: memoryview, size: int) -> bytes:
    """Read frames (gzip members, LZ4 or zstd frames) one behind the other.

    Each decompressor is asked for one byte more than may come, so that it reaches the
    frame's end mark when the output fits and shows the surplus when it does not. After
    the first frame the input goes in windows, because a decompressor copies what it
    leaves over: thousands of empty frames would otherwise copy the rest each time.
    """
    reader = new()
    out: bytes = reader.decompress(data, size + 1)
    rest = data[len(data) - len(reader.unused_data or b"") :] if reader.eof else data[len(data) :]
    if not len(rest):
        if not reader.eof and len(out) <= size:
            raise EOFError("it is cut short")
        return out
    parts = [out]
    left = size - len(out)
    for _ in range(_MAX_FRAMES):
        if left < 0 or not len(rest):
            return b"".join(parts)
        reader = new()
        while not reader.eof and left >= 0:
            window = rest[:_WINDOW]
            if not len(window):
                raise EOFError("it is cut short")
            part = reader.decompress(window, left + 1)
            left -= len(part)
            parts.append(part)
            rest = rest[
                len(window) - len(reader.unused_data or b"") if reader.eof else len(window) :
            ]
    raise ValueError(f"it has more than {_MAX_FRAMES} frames")


def _unpack_gzip(data: memoryview, size: int) -> bytes:
    return _unpack_frames(lambda: zlib_ng.decompressobj(31), data, size)


def _unpack_lz4(data: memoryview, size: int) -> bytes:
    return _unpack_frames(lz4.frame.LZ4FrameDecompressor, data, size)


def _unpack_zstd(data: memoryview, size: int) -> bytes:
    return _unpack_frames(zstd.ZstdDecompressor, data, size)


CODECS: dict[str, Codec] = {
    codec.name: codec
    for codec in (
        Codec("none", 0, bytes, lambda data, _: data),
        Codec("gzip", 1, _pack_gzip, _unpack_gzip),
        Codec("snappy", 2, _pack_snappy, _unpack_snappy),
        Codec("lz4", 3, _pack_lz4, _unpack_lz4),
        Codec("zstd", 4, _pack_zstd, _unpack_zstd),
    )
}
"""The codecs by name, in the order of their ids."""

_BY_ID = tuple(CODECS.values())


def get_codec(codec: str | int) -> Codec:
    """Find a codec.

    Args:
        codec: a name of `CODECS`, or the id of a sub-batch.

    Returns:
        The codec.

    Raises:
        UsageError: no codec has that name.
        ProtocolError: no codec has that id.
    """
    if isinstance(codec, str):
        found = CODECS.get(codec)
        if found is None:
            raise UsageError(f"there is no codec {codec!r}", f"Codecs: {', '.join(CODECS)}")
        return found
    if not 0 <= codec < len(_BY_ID):
        raise ProtocolError(
            f"a sub-batch says it is compressed by codec {codec}, which is none of the five known",
            "It was written by a client with a codec of its own; read it with that client",
        )
    return _BY_ID[codec]


def compress(codec: str | int, data: BytesLike) -> bytes:
    """Compress a sub-batch's payload.

    Args:
        codec: name or id.
        data: the payload, a contiguous buffer of bytes.

    Returns:
        The compressed bytes in the codec's framing.

    Raises:
        UsageError: no codec has that name.
        ProtocolError: no codec has that id.
    """
    return get_codec(codec).pack(as_view(data))


def decompress(
    codec: str | int, data: BytesLike, uncompressed_size: int, *, limit: int = MAX_UNCOMPRESSED
) -> bytes | memoryview:
    """Decompress a sub-batch's payload; it must give exactly the declared number of bytes.

    Several gzip members, LZ4 frames, zstd frames or snappy streams one behind the other
    are read as one.

    Args:
        codec: name or id.
        data: the compressed bytes, a contiguous buffer.
        uncompressed_size: how many bytes the sub-batch declares.
        limit: the most that may be declared, in bytes.

    Returns:
        The payload, `uncompressed_size` bytes (for codec `none` a view of `data`).

    Raises:
        UsageError: no codec has that name.
        ProtocolError: the id is unknown, too much is declared, or the bytes are cut,
            damaged, followed by others, or unpack to another size than declared.
    """
    found = get_codec(codec)
    if not 0 <= uncompressed_size <= limit:
        raise ProtocolError(
            f"a sub-batch says it unpacks to {uncompressed_size} bytes, {limit} are allowed",
            "If its producer really makes such batches, raise the limit",
        )
    try:
        payload = found.unpack(as_view(data), uncompressed_size)
    except MemoryError:
        raise
    except Exception as error:  # Each library has errors of its own, and cramjam's are bare.
        raise ProtocolError(
            f"a sub-batch of {len(data)} bytes cannot be unpacked by {found.name}: {error}"
        ) from error
    if len(payload) != uncompressed_size:
        more = "more" if len(payload) > uncompressed_size else f"{len(payload)}"
        raise ProtocolError(
            f"a sub-batch says it unpacks by {found.name} to {uncompressed_size} bytes, "
            f"but it gives {more}"
        )
    return payload

"""Columns of integers and texts <-> small blobs.

An integer column is stored as its smallest value and the differences to it, in as few
bytes as the largest needs, the bytes of one rank side by side, compressed with LZ4:

    width:u8 | count:u32 | smallest:i64 | LZ4 block of the differences

A text column is the lengths of the texts as such a column (u32 of bytes in front), then
an LZ4 block of the UTF-8. All little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import lz4.block
import numpy as np
import polars as pl
import pyarrow as pa

from stocklog.errors import StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = [
    "pack",
    "pack_many",
    "pack_texts",
    "split",
    "unpack",
    "unpack_many",
    "unpack_some",
    "unpack_some_texts",
    "unpack_texts",
]

_HEAD = struct.Struct("<BIq")
_SIZE = struct.Struct("<I")
_MOST_VALUES = 1 << 26
"""No column has as many: a commit takes 2**24 updates at most, and an update has two legs.
A damaged number must not cost the memory of four thousand million values."""
_DAMAGED = "Build the store again from the log: `stocklog project` with a new --store"


def pack(values: NDArray[Any]) -> bytes:
    """Make a blob of integers.

    Args:
        values: n integers of any type that fits int64.
    """
    count = len(values)
    if not count:
        return _HEAD.pack(0, 0, 0)
    smallest = int(values.min())
    span = int(values.max()) - smallest
    width = (span.bit_length() + 7) // 8
    if not width:
        return _HEAD.pack(0, count, smallest)
    # Modulo 2**64, so that the widest span is right too.
    rest = values.astype(np.int64, copy=False).view(np.uint64) - np.uint64(smallest % (1 << 64))
    columns = rest.view(np.uint8).reshape(count, 8)[:, :width].T
    data: bytes = lz4.block.compress(columns.tobytes())
    return _HEAD.pack(width, count, smallest) + data


def unpack(blob: bytes | memoryview) -> I64:
    """The integers of a blob.

    Raises:
        StoreError: it was not made by `pack`, or is damaged.
    """
    columns, count, smallest = _ranks(blob)
    return _joined(columns, count, smallest)


def unpack_some(blob: bytes | memoryview, rows: I64) -> I64:
    """A few of the integers of a blob, at a fraction of the price of all.

    Args:
        blob: of `pack`.
        rows: int64[n], their places.

    Raises:
        StoreError: the blob was not made by `pack`, or is damaged.
    """
    columns, count, smallest = _ranks(blob)
    if rows.size and rows.max() >= count:
        raise StoreError(f"A column of the store is damaged: it has {count} values", _DAMAGED)
    return _joined(columns[:, rows], len(rows), smallest)


def _ranks(blob: bytes | memoryview) -> tuple[NDArray[np.uint8], int, int]:
    """The bytes of each rank (uint8[width, count]), how many values, and the smallest."""
    try:
        width, count, smallest = _HEAD.unpack_from(blob)
        if count > _MOST_VALUES:
            raise ValueError(f"{count} values are said to be there")
        data = lz4.block.decompress(memoryview(blob)[_HEAD.size :]) if width else b""
        return np.frombuffer(data, np.uint8).reshape(width, count), count, smallest
    except (struct.error, ValueError, lz4.block.LZ4BlockError) as error:
        raise StoreError(f"A column of the store is damaged: {error}", _DAMAGED) from error


def _joined(columns: NDArray[np.uint8], count: int, smallest: int) -> I64:
    width = len(columns)
    if not width:
        return np.full(count, smallest, np.int64)
    if width == 1:
        narrow: I64 = columns[0].astype(np.int64) + np.int64(smallest)
        return narrow
    rest = np.zeros((count, 8), np.uint8)
    # A rank at a time: NumPy would take the short side of the transposed for its inner loop.
    for rank in range(width):
        rest[:, rank] = columns[rank]
    whole: I64 = (rest.reshape(-1).view(np.uint64) + np.uint64(smallest % (1 << 64))).view(np.int64)
    return whole


def pack_many(columns: Sequence[NDArray[Any]]) -> bytes:
    """Make one blob of several columns of integers, of any lengths."""
    blobs = [pack(column) for column in columns]
    return b"".join(part for blob in blobs for part in (_SIZE.pack(len(blob)), blob))


def unpack_many(blob: bytes) -> list[I64]:
    """The columns of a blob of `pack_many`.

    Raises:
        StoreError: it is none, or is damaged.
    """
    return [unpack(column) for column in split(blob)]


def split(blob: bytes) -> list[memoryview]:
    """The blobs of the columns of a blob of `pack_many`, for those who want a few of them.

    Raises:
        StoreError: it is none, or is damaged.
    """
    view, columns, at = memoryview(blob), [], 0
    while at < len(view):
        try:
            (size,) = _SIZE.unpack_from(view, at)
        except struct.error as error:
            raise StoreError(f"A column of the store is damaged: {error}", _DAMAGED) from error
        at += _SIZE.size
        columns.append(view[at : at + size])
        at += size
    return columns


def pack_texts(texts: pl.Series) -> bytes:
    """Make a blob of texts.

    Args:
        texts: strings, no nulls.
    """
    array = texts.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.large_string())
    _, ends, data = array.buffers()
    borders = np.frombuffer(ends, np.int64)[array.offset : array.offset + len(array) + 1]
    first, last = (int(borders[0]), int(borders[-1])) if len(borders) else (0, 0)
    lengths = pack(np.diff(borders))
    text = memoryview(data)[first:last] if data is not None else b""
    packed: bytes = lz4.block.compress(text)
    return _SIZE.pack(len(lengths)) + lengths + packed


def unpack_texts(blob: bytes | memoryview) -> pl.Series:
    """The texts of a blob.

    Raises:
        StoreError: it was not made by `pack_texts`, or is damaged.
    """
    try:
        borders, data = _bytes_of_texts(blob)
        count = len(borders) - 1
        array = pa.LargeStringArray.from_buffers(count, pa.py_buffer(borders), pa.py_buffer(data))
        array.validate(full=True)
    except (struct.error, ValueError, lz4.block.LZ4BlockError) as error:
        raise StoreError(f"A text column of the store is damaged: {error}", _DAMAGED) from error
    return pl.Series("text", array, pl.String)


def unpack_some_texts(blob: bytes | memoryview, rows: I64) -> list[str]:
    """A few of the texts of a blob, at a fraction of the price of all.

    Args:
        blob: of `pack_texts`.
        rows: int64[n], their places.

    Raises:
        StoreError: the blob was not made by `pack_texts`, or is damaged.
    """
    try:
        borders, data = _bytes_of_texts(blob)
        places = zip(borders[rows].tolist(), borders[rows + 1].tolist(), strict=True)
        return [data[begin:end].decode() for begin, end in places]
    except (struct.error, ValueError, IndexError, lz4.block.LZ4BlockError) as error:
        raise StoreError(f"A text column of the store is damaged: {error}", _DAMAGED) from error


def _bytes_of_texts(blob: bytes | memoryview) -> tuple[I64, bytes]:
    (size,) = _SIZE.unpack_from(blob)
    view = memoryview(blob)[_SIZE.size :]
    lengths = unpack(view[:size])
    data: bytes = lz4.block.decompress(view[size:])
    borders = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=borders[1:])
    if borders[-1] != len(data):
        raise ValueError(f"{borders[-1]} bytes of text are said to be there, not {len(data)}")
    return borders, data

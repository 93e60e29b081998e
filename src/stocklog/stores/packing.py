"""Columns of integers and texts <-> small blobs.

An integer column is stored as its smallest value and the differences to it, in as few
bytes as the largest needs, the bytes of one rank side by side, compressed with LZ4:

    width:u8 | count:u32 | smallest:i64 | LZ4 block of the differences

A text column is the lengths of the texts as such a column (u32 of bytes in front), then
an LZ4 block of the UTF-8. All little-endian.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, TypeAlias

import lz4.block
import numpy as np
import polars as pl
import pyarrow as pa

from stocklog.errors import StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["pack", "pack_texts", "unpack", "unpack_texts"]

_HEAD = struct.Struct("<BIq")
_SIZE = struct.Struct("<I")
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
    return _HEAD.pack(width, count, smallest) + lz4.block.compress(columns.tobytes())


def unpack(blob: bytes | memoryview) -> I64:
    """The integers of a blob.

    Raises:
        StoreError: it was not made by `pack`, or is damaged.
    """
    try:
        width, count, smallest = _HEAD.unpack_from(blob)
        if not width:
            return np.full(count, smallest, np.int64)
        data = lz4.block.decompress(memoryview(blob)[_HEAD.size :])
        columns = np.frombuffer(data, np.uint8).reshape(width, count)
    except (struct.error, ValueError, lz4.block.LZ4BlockError) as error:
        raise StoreError(f"A column of the store is damaged: {error}", _DAMAGED) from error
    if width == 1:
        return columns[0].astype(np.int64) + smallest
    rest = np.zeros((count, 8), np.uint8)
    rest[:, :width] = columns.T
    whole = rest.reshape(-1).view(np.uint64) + np.uint64(smallest % (1 << 64))
    return whole.view(np.int64)


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
    return _SIZE.pack(len(lengths)) + lengths + lz4.block.compress(text)


def unpack_texts(blob: bytes | memoryview) -> pl.Series:
    """The texts of a blob.

    Raises:
        StoreError: it was not made by `pack_texts`, or is damaged.
    """
    try:
        (size,) = _SIZE.unpack_from(blob)
        view = memoryview(blob)[_SIZE.size :]
        lengths = unpack(view[:size])
        data = lz4.block.decompress(view[size:])
        borders = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=borders[1:])
        if borders[-1] != len(data):
            raise ValueError(f"{borders[-1]} bytes of text are said to be there, not {len(data)}")
        array = pa.LargeStringArray.from_buffers(
            len(lengths), pa.py_buffer(borders), pa.py_buffer(data)
        )
        array.validate(full=True)
    except (struct.error, ValueError, lz4.block.LZ4BlockError) as error:
        raise StoreError(f"A text column of the store is damaged: {error}", _DAMAGED) from error
    return pl.Series("text", array, pl.String)

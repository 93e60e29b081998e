"""Whole columns to and from PostgreSQL, as its binary arrays of bigint.

An array of one dimension is, all big-endian (`array_send` in the server's arrayfuncs.c; a
second dimension adds its own count and first index):

    dimensions:i32 | has nulls:i32 | type:u32 | count:i32 | first index:i32 |
    then for each element  length:i32 = 8 | value:i64

So a million integers are one value, and nothing is done for each of them in Python.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from psycopg.adapt import Dumper
from psycopg.pq import Format

from stocklog.errors import StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["BigintArray", "BigintArrayDumper", "integers_of"]

_BIGINT, _BIGINT_ARRAY = 20, 1016
_EMPTY = struct.Struct(">iiI")
_MOST_DIMENSIONS = 2
_HEAD = struct.Struct(">iiIii")
_ELEMENT = np.dtype([("length", ">i4"), ("value", ">i8")])


@dataclass(frozen=True, slots=True)
class BigintArray:
    """A column as an argument of a statement.

    Attributes:
        values: int64[n].
    """

    values: I64


class BigintArrayDumper(Dumper):
    """How psycopg sends a `BigintArray`."""

    format = Format.BINARY
    oid = _BIGINT_ARRAY

    def dump(self, obj: BigintArray) -> bytes:
        """The bytes on the wire."""
        count = len(obj.values)
        if not count:
            return _EMPTY.pack(0, 0, _BIGINT)
        elements = np.empty(count, _ELEMENT)
        elements["length"] = 8
        elements["value"] = obj.values
        return _HEAD.pack(1, 0, _BIGINT, count, 1) + elements.tobytes()


def integers_of(array: bytes | None) -> I64:
    """The integers of an array as the server sends it.

    Args:
        array: its bytes; `None` (no rows were aggregated) is an empty one.

    Returns:
        int64[n], of two dimensions row by row.

    Raises:
        StoreError: it is no array of bigint of one or two dimensions without nulls.
    """
    if array is None or struct.unpack_from(">i", array)[0] == 0:
        return np.zeros(0, np.int64)
    dimensions, nulls, kind = _EMPTY.unpack_from(array)
    if dimensions > _MOST_DIMENSIONS or nulls or kind != _BIGINT:
        raise StoreError(
            "PostgreSQL sent another array than one of bigint",
            "Was a table of the store changed? Build it again from the log",
        )
    sizes = struct.unpack_from(f">{2 * dimensions}i", array, _EMPTY.size)[::2]
    start = _EMPTY.size + 8 * dimensions
    elements = np.frombuffer(array, _ELEMENT, math.prod(sizes), start)
    return elements["value"].astype(np.int64)

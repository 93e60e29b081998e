"""Arrow arrays made of their buffers, and their buffers as NumPy arrays.

`pyarrow.array`, `pyarrow.scalar`, and `numpy.asarray` of an Arrow array import pandas wherever that
is installed: half a second and 50 MB in the middle of the first batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["bytes_scalar", "int64_array", "integers", "is_text", "text_array", "truths"]


def int64_array(values: NDArray[np.integer[Any]]) -> Any:
    """The integers as an Arrow array of int64; the same memory if they are that already."""
    whole = np.ascontiguousarray(values, np.int64)
    return pa.Array.from_buffers(pa.int64(), whole.size, [None, pa.py_buffer(whole)])


def text_array(texts: Sequence[str]) -> Any:
    """Some texts as an Arrow array of strings."""
    parts = [text.encode() for text in texts]
    ends = np.zeros(len(parts) + 1, np.int32)
    np.cumsum([len(part) for part in parts], out=ends[1:])
    return pa.StringArray.from_buffers(
        len(parts), pa.py_buffer(ends), pa.py_buffer(b"".join(parts))
    )


def bytes_scalar(value: bytes) -> Any:
    """Some bytes as an Arrow scalar of large_binary."""
    borders = pa.py_buffer(np.array([0, len(value)], np.int64))
    buffers = [None, borders, pa.py_buffer(value)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, buffers)[0]


def integers(array: Any) -> NDArray[np.integer[Any]]:
    """The values of an Arrow array of integers, the same memory; senseless where it is null."""
    dtype, buffer = np.dtype(str(array.type)), array.buffers()[1]
    values = np.frombuffer(buffer, dtype) if buffer else np.zeros(0, dtype)
    return values[array.offset : array.offset + len(array)]


def truths(array: Any) -> NDArray[np.bool_]:
    """The values of an Arrow array of booleans without nulls."""
    buffer = array.buffers()[1]
    bits = np.frombuffer(buffer, np.uint8) if buffer else np.zeros(0, np.uint8)
    end = array.offset + len(array)
    whole = np.unpackbits(bits[: (end + 7) // 8], bitorder="little")
    return whole[array.offset : end].view(np.bool_)


def is_text(kind: Any) -> bool:
    """Whether an Arrow type is one of text."""
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )

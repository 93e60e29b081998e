r"""JSON string escapes over a whole column of texts.

Only what JSON requires is escaped (`"`, `\\` and the control characters below
U+0020), in the shortest form; everything else stays UTF-8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stocklog.inventory.arrow_arrays import bytes_scalar

__all__ = ["binary_parts", "escaped", "needs_escape", "wrapped"]

_SHORT = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r"}
_CONTROLS = {code: _SHORT.get(code, f"\\u{code:04x}") for code in range(0x20)}


def binary_parts(column: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Bytes and borders of a large_string or large_binary array.

    Returns:
        uint8 data from the first text to the last, int64[n + 1] offsets into it.
    """
    count = len(column)
    if not count:
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    _, borders, source = column.buffers()
    offsets = np.frombuffer(borders, np.int64)[column.offset : column.offset + count + 1]
    first, last = int(offsets[0]), int(offsets[-1])
    if first == last:
        return np.zeros(0, np.uint8), np.zeros(count + 1, np.int64)
    return np.frombuffer(source, np.uint8)[first:last], offsets - first


def needs_escape(data: np.ndarray[Any, Any]) -> bool:
    """Whether any byte of UTF-8 texts must be escaped in JSON."""
    if not data.size:
        return False
    return bool(data.min() < 0x20) or bool((data == 0x22).any()) or bool((data == 0x5C).any())


def escaped(texts: Any) -> Any:
    """Texts as the bytes between the quotes of a JSON string.

    Args:
        texts: a large_string array; nulls stay null.

    Returns:
        A large_binary array of the same length; no copy if nothing needs an escape.
    """
    data, _ = binary_parts(texts)
    if needs_escape(data):
        texts = pc.replace_substring(texts, "\\", "\\\\")
        texts = pc.replace_substring(texts, '"', '\\"')
        for code in np.unique(data[data < 0x20]).tolist():
            texts = pc.replace_substring(texts, chr(code), _CONTROLS[code])
    return texts.cast(pa.large_binary())


def wrapped(before: bytes, texts: Any, after: bytes) -> Any:
    """Bytes with constant bytes around each; nulls become empty, without them.

    Args:
        before: put in front of each text.
        texts: a large_binary array.
        after: put behind each text.

    Returns:
        A large_binary array without nulls.
    """
    nothing = bytes_scalar(b"")
    parts = [bytes_scalar(before), texts, bytes_scalar(after), nothing]
    joined = pc.binary_join_element_wise(*parts)
    return joined.fill_null(nothing) if joined.null_count else joined

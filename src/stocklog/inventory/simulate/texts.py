"""The names of things: SKUs, locations, sources and update ids, written a column at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stocklog.inventory.simulate.tables import Int64s

__all__ = ["Bytes", "base32", "digits", "fixed_width_texts", "numbered", "sku_texts"]

Bytes = npt.NDArray[np.uint8]

_BASE32 = np.frombuffer(b"0123456789ABCDEFGHJKMNPQRSTVWXYZ", np.uint8)
"""Crockford's alphabet: no I, L, O or U that could be taken for another sign."""

_BASE32_PAIRS = np.stack([np.tile(_BASE32, 32), np.repeat(_BASE32, 32)], axis=1).view(np.uint16)

# Popularity ranks are scattered over the numbers, so that the best sellers are not the first
# SKUs of the list. The factors are primes that divide no profile's number of SKUs.
_SCATTER = 7_919
_SCATTER_40_BITS = 0x9E3779B97F4A7C15 & ((1 << 40) - 1) | 1


def digits(numbers: Int64s, width: int) -> Bytes:
    """Write numbers in decimal with leading zeros.

    Args:
        numbers: int64[n], not negative, below 10**width.
        width: digits of each.

    Returns:
        uint8[n, width], ASCII.
    """
    out = np.empty((len(numbers), width), np.uint8)
    rest = numbers
    for place in range(width - 1, -1, -1):
        quotient = rest // 10
        out[:, place] = rest - quotient * 10 + ord("0")
        rest = quotient
    return out


def fixed_width_texts(rows: Bytes) -> pa.StringArray:
    """Make an Arrow string array of rows that all have the same width, without copying them.

    Args:
        rows: uint8[n, width], C-contiguous, UTF-8.
    """
    count, width = rows.shape
    offsets = np.arange(0, count * width + 1, width, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(rows))


def numbered(prefix: str, count: int, width: int) -> list[str]:
    """Return `prefix-001`, `prefix-002` ... with numbers of `width` digits."""
    return [f"{prefix}-{number:0{width}d}" for number in range(1, count + 1)]


def sku_texts(style: str, listed: int, unlisted: int) -> pa.StringArray:
    """Write the dictionary of SKUs, most popular first, unlisted ones at the end.

    Args:
        style: "number" (`SKU-004217`), "variant" (style, colour, size: `ST00423-05-38`) or
            "catalogue" (`B0` and eight letters and digits).
        listed: how many SKUs are in the list.
        unlisted: how many more to make that no list has.

    Returns:
        `listed + unlisted` different texts.
    """
    ranks = np.arange(listed, dtype=np.int64)
    numbers = np.concatenate(
        [(ranks * _SCATTER + listed // 3) % listed, np.arange(listed, listed + unlisted)]
    )
    return fixed_width_texts(_SKU_STYLES[style](numbers))


def _literal(rows: int, text: bytes) -> Bytes:
    return np.broadcast_to(np.frombuffer(text, np.uint8), (rows, len(text)))


def _number_style(numbers: Int64s) -> Bytes:
    return np.hstack([_literal(len(numbers), b"SKU-"), digits(numbers + 1, 6)])


def _variant_style(numbers: Int64s) -> Bytes:
    dash = _literal(len(numbers), b"-")
    style, colour, size = numbers // 40 + 1, numbers // 8 % 5 + 1, numbers % 8 + 36
    start = _literal(len(numbers), b"ST")
    parts = [start, digits(style, 5), dash, digits(colour, 2), dash, digits(size, 2)]
    return np.hstack(parts)


def _catalogue_style(numbers: Int64s) -> Bytes:
    # An odd factor modulo a power of two maps every number to a different one.
    mask = np.uint64((1 << 40) - 1)
    mixed = (numbers.astype(np.uint64) * np.uint64(_SCATTER_40_BITS)) & mask
    # Two letters at a time: 10 bits pick a pair.
    out = np.empty((len(numbers), 5), np.uint16)
    out[:, 0] = np.frombuffer(b"B0", np.uint16)[0]
    for place in range(4):
        pair = (mixed >> np.uint64(10 * place)).astype(np.int64) & 1023
        out[:, 1 + place] = _BASE32_PAIRS.take(pair)
    return out.view(np.uint8)


_SKU_STYLES = {
    "number": _number_style,
    "variant": _variant_style,
    "catalogue": _catalogue_style,
}


def base32(number: int, width: int) -> str:
    """Write the lowest `5 * width` bits of a number in Crockford's base 32."""
    return "".join(chr(_BASE32[number >> (5 * place) & 31]) for place in range(width))

"""Update ids for rows that bring none: from the content's digest, or UUIDv7 for a pipe."""

from __future__ import annotations

import hashlib
import secrets
import time
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from stocklog.errors import FeedError
from stocklog.inventory.feeds.source import ByteSource

__all__ = ["DigestIds", "IdMaker", "UuidIds", "content_digest"]

DIGEST_DIGITS = 16
PIECE = 1 << 20


class IdMaker(Protocol):
    """Makes an update id for each row."""

    def make(self, row_numbers: npt.NDArray[np.int64]) -> pl.Series:
        """Return String[n], one id for each row number."""
        ...


def content_digest(path: Path) -> str:
    """Return 16 hex digits that stand for a file's content.

    The first 64 bits of the SHA-256 of the bytes after unpacking gzip or zstd: the same lines get
    the same ids whether the file is packed or not, and however it was packed. (Of a file whose
    packed data break off: of what could be unpacked.) SHA-256 because processors have instructions
    for it; reading twice costs about a twentieth of a load.

    Args:
        path: a regular file.

    Raises:
        FeedError: it cannot be read.
    """
    source = ByteSource.open(path)
    digest = hashlib.sha256(usedforsecurity=False)
    try:
        source.start()
        while piece := source.read(PIECE):
            digest.update(piece)
    except FeedError:
        if not source.packed:
            raise
    finally:
        source.close()
    return digest.hexdigest()[:DIGEST_DIGITS]


class DigestIds:
    """Ids ``DIGEST/ROW``, and ``DIGEST-RUN/ROW`` for a deliberate repetition.

    Args:
        digest: 16 hex digits, see `content_digest`.
        run: 1 for the ordinary load.
    """

    def __init__(self, digest: str, run: int = 1) -> None:
        self._prefix = f"{digest}/" if run == 1 else f"{digest}-{run}/"

    def make(self, row_numbers: npt.NDArray[np.int64]) -> pl.Series:
        """Return the ids of rows; the same row of the same content always has the same id."""
        return self._prefix + pl.Series("update_id", row_numbers).cast(pl.String)


class UuidIds:
    """UUIDv7 (RFC 9562), rising from row to row also within a millisecond.

    The 74 bits after the time are a counter of 42 bits, begun at random in each call, and 32 random
    bits (RFC 9562 §6.2, method 1).
    """

    def __init__(self) -> None:
        self._last_ms = 0

    def make(self, row_numbers: npt.NDArray[np.int64]) -> pl.Series:
        """Return one new id for each row number (whose value does not matter)."""
        count = len(row_numbers)
        # A later call must be above an earlier one even if the clock stood still or went back.
        self._last_ms = max(time.time_ns() // 1_000_000, self._last_ms + 1)
        # The counter's highest bit stays clear, so that it cannot overflow within a call.
        counter = np.arange(count, dtype=np.uint64) + np.uint64(secrets.randbits(41))
        words = np.empty((count, 2), np.dtype(">u8"))
        words[:, 0] = np.uint64(self._last_ms << 16 | 0x7000) | counter >> np.uint64(30)
        low = np.frombuffer(secrets.token_bytes(4 * count), np.uint32).astype(np.uint64)
        words[:, 1] = (
            np.uint64(0b10 << 62) | (counter & np.uint64((1 << 30) - 1)) << np.uint64(32) | low
        )
        return _uuid_text(words.view(np.uint8))


_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
# Where the 32 hex digits stand in the 36 characters of a UUID.
_DIGIT_AT = np.array([i for i in range(36) if i not in (8, 13, 18, 23)])


def _uuid_text(raw: npt.NDArray[np.uint8]) -> pl.Series:
    """Return the usual text of UUIDs given as uint8[n, 16]."""
    count = len(raw)
    digits = np.empty((count, 32), np.uint8)
    digits[:, 0::2] = _HEX[raw >> 4]
    digits[:, 1::2] = _HEX[raw & 15]
    text = np.full((count, 36), ord("-"), np.uint8)
    text[:, _DIGIT_AT] = digits
    offsets = np.arange(0, 36 * (count + 1), 36, dtype=np.int64)
    array = pa.LargeStringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))
    series = pl.from_arrow(array)
    assert isinstance(series, pl.Series)
    return series.rename("update_id")

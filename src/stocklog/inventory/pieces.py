"""The pool of rendered pieces that rows are put together from.

A row of JSON is a run of pieces: constant text, rendered dictionary entries,
numbers, parts of times, and the batch's own texts. One Arrow `take` over the pool
writes all rows of a batch one behind the other. The front of the pool is kept
from batch to batch; what belongs to one batch only is put behind it and dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Pool", "taken", "writable"]


class Pool:
    """Byte strings in one buffer, numbered in the order in which they were added."""

    def __init__(self) -> None:
        self._data = np.empty(1 << 20, np.uint8)
        self._offsets = np.zeros(1 << 17, np.int64)
        self.count = 0

    @property
    def size(self) -> int:
        """Bytes of all pieces together."""
        return int(self._offsets[self.count])

    def add(self, data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> int:
        """Appends pieces.

        Args:
            data: uint8, the bytes of the pieces one behind the other.
            offsets: int64[k + 1], borders of the k pieces in `data`, from 0.

        Returns:
            The number of the first of them; the others follow.
        """
        first, begin, count = self.count, self.size, offsets.size - 1
        self._reserve(begin + data.size, first + count)
        self._data[begin : begin + data.size] = data
        np.add(offsets[1:], begin, out=self._offsets[first + 1 : first + count + 1])
        self.count += count
        return first

    def add_one(self, piece: bytes) -> int:
        """Appends one piece and returns its number."""
        return self.add(np.frombuffer(piece, np.uint8), np.array([0, len(piece)], np.int64))

    def add_fixed(self, pieces: NDArray[Any]) -> int:
        """Appends pieces of one width, given as a uint8[k, width] matrix."""
        count, width = pieces.shape
        return self.add(pieces.reshape(-1), np.arange(count + 1, dtype=np.int64) * width)

    def cut(self, count: int) -> None:
        """Forgets every piece from number `count` on."""
        self.count = count

    def take(
        self, index: NDArray[np.int32], expected: float = 0
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Writes pieces one behind the other.

        Args:
            index: int32[m], numbers of pieces; each must exist.
            expected: about how many bytes come out; 0: not known.

        Returns:
            uint8 data, writable and owned by the caller alone; int64[m + 1] borders.
        """
        expected = expected or self.size / max(1, self.count) * index.size
        count = self.count + 1
        wanted = int(expected / max(1, index.size) * count) + count
        self._reserve(max(self.size, wanted), count)
        return taken(self._data, self._offsets[: count + 1], index, expected)

    def _reserve(self, size: int, count: int) -> None:
        if size > self._data.size:
            self._data = _grown(self._data, size)
        if count + 1 > self._offsets.size:
            self._offsets = _grown(self._offsets, count + 1)


def _grown(array: NDArray[Any], size: int) -> NDArray[Any]:
    larger = np.empty(max(size, 2 * array.size), array.dtype)
    larger[: array.size] = array
    return larger


class _Window:
    """Shows an Arrow buffer to NumPy as writable memory and keeps it alive."""

    def __init__(self, buffer: Any, size: int) -> None:
        self.buffer = buffer
        self.__array_interface__ = {
            "shape": (size,),
            "typestr": "|u1",
            "data": (buffer.address, False),
            "version": 3,
        }


def writable(buffer: Any, size: int) -> NDArray[np.uint8]:
    """The first `size` bytes of an Arrow buffer that nobody else holds, for writing into."""
    if not size:
        return np.empty(0, np.uint8)
    return np.asarray(_Window(buffer, size))


def taken(
    data: NDArray[np.uint8], borders: NDArray[np.int64], index: NDArray[np.int32], expected: float
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Copies pieces of a buffer one behind the other.

    Args:
        data: uint8, the buffer.
        borders: int64[k + 2]; piece i of k is `data[borders[i]:borders[i + 1]]`. Pieces that are
            never taken may have senseless borders. The last border is written over.
        index: int32[m], numbers of pieces below k. They are not checked.
        expected: about how many bytes come out. Arrow makes room for as many as m pieces of mean
            length have, and copies what it has written if that is too little. So a last piece,
            which is never taken, brings the mean to what makes the room right, as far as the
            buffer has that much behind the other pieces.

    Returns:
        uint8 data, writable and owned by the caller alone; int64[m + 1] borders.
    """
    count = borders.size - 1
    wanted = int(borders[0]) + int(expected / max(1, index.size) * count) + count
    borders[-1] = min(wanted, data.size)
    buffers = [None, pa.py_buffer(borders), pa.py_buffer(data)]
    pool = pa.LargeBinaryArray.from_buffers(pa.large_binary(), count, buffers)
    # Not pa.array(index): that imports pandas wherever it is installed.
    numbers = pa.Array.from_buffers(pa.int32(), index.size, [None, pa.py_buffer(index)])
    rows = pc.take(pool, numbers, boundscheck=False)
    _, offsets, joined = rows.buffers()
    ends = np.frombuffer(offsets, np.int64)[: index.size + 1]
    return writable(joined, int(ends[-1]) if index.size else 0), ends

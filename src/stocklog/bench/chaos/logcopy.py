"""The log as it is read back, kept and read on as it grows."""

from __future__ import annotations

import numpy as np

from stocklog.bench.chaos import bodies
from stocklog.bench.chaos.bodies import Read
from stocklog.errors import StocklogError, StreamError
from stocklog.stream import StreamClient

__all__ = ["LogCopy"]

_TRIES = 20


class LogCopy:
    """Reads a stream from its first message on, over connections that no fault strikes.

    Args:
        stream: the stream.
    """

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._parts: list[Read] = []
        self._next = 0

    def update(self, client: StreamClient) -> Read:
        """Read on up to the last message that is committed now.

        Returns:
            All of it.

        Raises:
            StreamError: it cannot be read.
        """
        for number in range(_TRIES):
            try:
                return self._read_on(client)
            except StreamError:
                if number == _TRIES - 1:
                    raise
        raise AssertionError

    def _read_on(self, client: StreamClient) -> Read:
        with client.subscriber(self._stream, str(self._next), until_end=True) as subscriber:
            for block in subscriber:
                read = bodies.read(block)
                if int(read.offsets[0]) < self._next or (np.diff(read.offsets) <= 0).any():
                    raise StocklogError(
                        f"Reading the log back gave offset {read.offsets[0]} again; "
                        f"{self._next} was due"
                    )
                self._parts.append(read)
                self._next = int(read.offsets[-1]) + 1
        if len(self._parts) > 1:
            columns = zip(*self._parts, strict=True)
            self._parts = [Read(*(np.concatenate(column) for column in columns))]
        empty = np.zeros(0, np.int64)
        return self._parts[0] if self._parts else Read(empty, empty, empty)

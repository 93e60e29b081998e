"""Where frames begin in a flow of bytes that comes in pieces of any size."""

from __future__ import annotations

import struct
from typing import NamedTuple

__all__ = ["Border", "FrameBorders"]

_HEAD = struct.Struct(">IH")


class Border(NamedTuple):
    """One frame.

    Attributes:
        position: where its size field begins, in bytes since the flow began.
        size: bytes of the whole frame, its size field included.
        key: the command, without the bit that marks an answer.
    """

    position: int
    size: int
    key: int


class FrameBorders:
    """Follows one direction of a connection from its first byte on."""

    def __init__(self) -> None:
        self._position = 0
        self._next = 0
        self._head = b""

    def feed(self, data: bytes) -> list[Border]:
        """Take the next bytes.

        Args:
            data: what came.

        Returns:
            The frames whose size and key are known now and were not before.
        """
        begin, end = self._position, self._position + len(data)
        found = []
        while self._next < end:
            missing = _HEAD.size - len(self._head)
            start = self._next + len(self._head) - begin
            self._head += data[start : start + missing]
            if len(self._head) < _HEAD.size:
                break
            size, key = _HEAD.unpack(self._head)
            found.append(Border(self._next, size + 4, key & 0x7FFF))
            self._next += size + 4
            self._head = b""
        self._position = end
        return found

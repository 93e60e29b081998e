"""Bytes to frames, incrementally, whatever the pieces they arrive in.

The reader owns the memory: a caller asks it where the next bytes go, puts them
there, and says how many came. Small frames are read many at a time; a large
one (a chunk) gets a buffer of its own, so that it is never copied.
"""

from __future__ import annotations

import struct

import numpy as np

from stocklog.errors import ProtocolError
from stocklog.protocol.frames import Key

__all__ = ["FrameReader"]

_SCRATCH = 256 * 1024
_SIZE = struct.Struct(">I")
# Below this a frame is copied out of the scratch buffer; above, it may own memory.
_OWN_BUFFER = 64 * 1024


class FrameReader:
    """Cuts a byte stream into frames.

    Args:
        max_frame: the largest frame that is accepted of any command but Deliver, in bytes.
        max_chunk: the same for Deliver, which is one whole chunk and not bound by
            frame_max: chunks of 150 MB have been seen (osiris issue 169).

    Use: fill `buffer()` with up to its length, call `received(n)`.
    """

    def __init__(self, max_frame: int = 16 << 20, max_chunk: int = 1 << 30) -> None:
        self.max_frame = max_frame
        self.max_chunk = max_chunk
        self._scratch = bytearray(_SCRATCH)
        self._view = memoryview(self._scratch)
        self._filled = 0
        self._large: memoryview | None = None
        self._large_filled = 0

    def buffer(self) -> memoryview:
        """Where the next bytes belong; never empty."""
        if self._large is not None:
            return self._large[self._large_filled :]
        return self._view[self._filled :]

    def wants_all(self) -> bool:
        """Whether `buffer()` is the rest of one frame, so that waiting for all of it is right."""
        return self._large is not None

    def received(self, count: int) -> list[memoryview]:
        """Take note of `count` new bytes; return the frames that are whole now.

        Returns:
            Frames without their size. Each stays valid for as long as it is held.

        Raises:
            ProtocolError: a frame is larger than its limit, or too small to be one.
        """
        if self._large is not None:
            return self._received_large(count)
        self._filled += count
        return self._cut()

    def _received_large(self, count: int) -> list[memoryview]:
        assert self._large is not None
        self._large_filled += count
        if self._large_filled < len(self._large):
            return []
        frame, self._large = self._large, None
        return [frame]

    def _cut(self) -> list[memoryview]:
        view, filled, position = self._view, self._filled, 0
        size_at, fits_any = _SIZE.unpack_from, min(self.max_frame, self.max_chunk)
        ends: list[tuple[int, int]] = []
        while filled - position >= 4:
            (size,) = size_at(view, position)
            end = position + 4 + size
            if end > filled:
                break
            if not 4 <= size <= fits_any:
                self._check(size, view[position + 4 : position + 8])
            ends.append((position + 4, end))
            position = end
        # One copy for all whole frames, since the scratch memory is used again.
        whole = memoryview(bytes(view[:position])) if ends else view[:0]
        frames = [whole[start:end] for start, end in ends]
        self._keep_rest(position)
        return frames

    def _keep_rest(self, position: int) -> None:
        rest = self._filled - position
        if rest and position:
            self._scratch[:rest] = self._scratch[position : self._filled]
        self._filled = rest
        if rest < 4:
            return
        # Checked with the first four bytes: a peer of another protocol may send few more.
        size = int.from_bytes(self._view[:4], "big")
        self._check(size, self._view[4 : min(rest, 8)])
        if rest >= 8 and size + 4 > _OWN_BUFFER:
            # Not zeroed, so that memory is only touched as bytes arrive: a lying size
            # costs nothing.
            self._large = memoryview(np.empty(size, np.uint8).data)
            got = rest - 4
            self._large[:got] = self._view[4:rest]
            self._large_filled, self._filled = got, 0

    def _check(self, size: int, head: memoryview) -> None:
        if size < 4:
            raise ProtocolError(f"The broker sent a frame of {size} bytes; a header alone has 4")
        may_be_chunk = len(head) < 2 or int.from_bytes(head[:2], "big") & 0x7FFF == Key.DELIVER
        limit = self.max_chunk if may_be_chunk else self.max_frame
        if size > limit:
            raise ProtocolError(
                f"The broker sent a frame of {size} bytes; the limit is {limit}",
                "Is the port really the stream listener's (5552 unless configured otherwise)?",
            )

"""Cuts a feed into blocks of whole lines, with their line numbers, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stocklog.errors import FeedError
from stocklog.inventory.feeds.encoding import Transcoder
from stocklog.inventory.feeds.source import ByteSource

__all__ = ["BLOCK_SIZE", "MAX_LINE", "Block", "BlockReader"]

# 2 to 8 MiB cost the same per row; smaller blocks pay overhead, larger ones memory.
BLOCK_SIZE = 4 << 20
# A message of the stream fits one frame, 1 MiB by default: no longer row can become one.
MAX_LINE = 1 << 20
# How much of a row that is too long is kept for the reject file.
KEPT_OF_LONG_LINE = 4 << 10
# A pipe is emptied faster than it is filled: a short wait joins what comes in one go ...
LINGER = 0.005
# ... and this ends it, so that a steady trickle is handed on as it comes.
LONGEST_LINGER = 0.05


@dataclass(slots=True)
class Block:
    """Whole lines of a feed.

    Attributes:
        data: the lines with their line ends; the last line of the feed may lack one.
        first_line: number of the first line in the feed, from 1.
        ends: int64[n], position after each line's end.
        starts: int64[n], position of each line's first byte.
        closed: whether no later line can belong to a record that begins in this block: the feed
            ends here, or a line follows that is too long to be part of any.
        long_line: the start of a line that is longer than `MAX_LINE`, in a block of its own.
        long_line_length: that line's length in bytes.
    """

    data: bytes
    first_line: int
    closed: bool
    long_line: bytes = b""
    long_line_length: int = 0
    ends: npt.NDArray[np.int64] = field(init=False)
    starts: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        ends = np.flatnonzero(self.view == 10) + 1
        if self.data and (not len(ends) or ends[-1] != len(self.data)):
            ends = np.append(ends, len(self.data))
        self.ends = ends.astype(np.int64, copy=False)
        self.starts = np.concatenate([np.zeros(1, np.int64), self.ends[:-1]])[: len(ends)]

    @property
    def view(self) -> npt.NDArray[np.uint8]:
        """The data as uint8[len(data)], read-only."""
        return np.frombuffer(self.data, np.uint8)

    def length(self, index: int) -> int:
        """Return the bytes in line `index`, its line feed not counted."""
        start, end = int(self.starts[index]), int(self.ends[index])
        return end - start - (self.data[end - 1] == 10)

    def line(self, index: int) -> bytes:
        """Return line `index` of this block without its line end."""
        return self.data[self.starts[index] : self.ends[index]].rstrip(b"\r\n")


class BlockReader:
    """Reads block after block, and takes back what its user could not decide yet.

    A feed that breaks off (damaged, cut short, unreadable) first gives all its whole lines; only
    then `next` raises.

    Args:
        source: where the bytes come from.
        encoding: their encoding, canonical.
        block_size: bytes in a block, about; a block has one line at least.
    """

    def __init__(self, source: ByteSource, encoding: str, block_size: int = BLOCK_SIZE) -> None:
        self._source = source
        self._transcoder = Transcoder(encoding)
        self._block_size = block_size
        self._buffer = bytearray()
        self._searched = 0  # no line end in the buffer before this position ...
        self._line_from = 0  # ... apart from those of lines that were given back, before this one
        self._next_line = 1
        self._ended = False
        self._failure: FeedError | None = None

    def next(self) -> Block | None:
        """Return the next block, or None at the end.

        Raises:
            FeedError: the feed broke off here; its whole lines were handed out before.
        """
        first_byte_at: float | None = None
        while not self._ended:
            if self._has_line() and (
                len(self._buffer) >= self._block_size or self._would_wait(first_byte_at)
            ):
                break
            if len(self._buffer) - self._line_from > MAX_LINE and not self._has_line():
                return self._cut(closed=True) if self._line_from else self._skip_long_line()
            self._read()
            if first_byte_at is None and self._buffer:
                first_byte_at = time.monotonic()
        return self._cut(closed=self._ended)

    def peek(self, question: Callable[[bytes], bool]) -> bool:
        """Ask something about the feed's first bytes, of which at least one is not blank.

        The bytes stay: `next` begins with them.
        """
        while not self._ended and not self._buffer.strip():
            self._read()
        return question(bytes(self._buffer[:64]))

    def give_back(self, block: Block, line: int, *, undecided: bool = False) -> None:
        """Take back a block from its line `line` on: the next block begins with it.

        Args:
            block: the block that `next` returned last.
            line: its first line to take back.
            undecided: that more of the feed is needed to decide about that line: the next block
                has one line more at least.
        """
        if line >= len(block.ends):
            return
        rest = block.data[block.starts[line] :]
        self._buffer[:0] = rest
        self._searched = self._line_from = len(rest) if undecided else 0
        self._next_line = block.first_line + line

    def _read(self) -> None:
        wanted = max(self._block_size - len(self._buffer), self._block_size // 4, 1)
        try:
            data = self._source.read(wanted)
        except FeedError as error:
            self._failure, self._ended = error, True
            return
        self._ended = not data
        self._buffer += self._transcoder.feed(data, final=self._ended)

    def _has_line(self) -> bool:
        found = self._buffer.find(b"\n", self._searched)
        self._searched = found if found >= 0 else len(self._buffer)
        return found >= 0

    def _would_wait(self, since: float | None) -> bool:
        if not self._source.live:
            return False
        if since is not None and time.monotonic() - since > LONGEST_LINGER:
            return True
        return not self._source.ready(LINGER)

    def _cut(self, *, closed: bool) -> Block | None:
        whole_end = self._buffer.rfind(b"\n") + 1
        cut = len(self._buffer) if self._ended and self._failure is None else whole_end
        if cut == 0:
            if self._failure is not None:
                raise self._broken_off(self._failure)
            return None
        data = bytes(memoryview(self._buffer)[:cut])
        del self._buffer[:cut]
        self._searched = self._line_from = 0
        block = Block(data, self._next_line, closed)
        self._next_line += len(block.ends)
        return block

    def _broken_off(self, failure: FeedError) -> FeedError:
        rest = f", and {len(self._buffer):,} bytes of line {self._next_line:,}"
        return FeedError(
            f"{self._source.name}: {failure.what}; {self._next_line - 1:,} whole lines were read"
            + (rest if self._buffer else ""),
            "Get the file again, whole",
        )

    def _skip_long_line(self) -> Block:
        kept = bytes(self._buffer[:KEPT_OF_LONG_LINE])
        length = 0
        while not self._ended and not self._has_line():
            length += len(self._buffer)
            self._buffer.clear()
            self._searched = 0
            self._read()
        end = self._buffer.find(b"\n")
        length += end if end >= 0 else len(self._buffer)
        del self._buffer[: end + 1 if end >= 0 else len(self._buffer)]
        self._searched = 0
        block = Block(b"", self._next_line, True, kept, length)
        self._next_line += 1
        return block

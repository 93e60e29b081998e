"""Reading a stream from a place, to an end or for ever.

The connection's thread puts chunks into a queue that credit bounds in bytes;
whoever iterates takes them, and only then asks for more. A slow reader so holds
back nobody but itself.

Everything that is asked in offsets becomes "from N" before reading begins:
`last` is the offset of the last message that a barrier found, so the chunk that
contains it is cut in front of it; `-e` ends at that offset too.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator

from stocklog.errors import ConnectionLostError, StreamError, StreamNotFoundError
from stocklog.protocol import chunk, codes, frames
from stocklog.protocol.chunk import ChunkHeader, MessageBlock
from stocklog.protocol.frames import Key, Offset
from stocklog.stream.connection import Connection
from stocklog.stream.credit import CreditPolicy
from stocklog.stream.offsets import OffsetSpec
from stocklog.stream.plan import ReadPlan, plan_reading
from stocklog.stream.positions import Probe

__all__ = ["Subscriber"]

_ID = 0
# Small chunks are decoded together, up to about this many bytes.
_TOGETHER = 1 << 20
# A range that the clock ends is over when no chunk has come for so long.
_QUIET_S = 1.0
MAX_BYTES = 16 << 20


class Subscriber:
    """Reads one stream over a connection of its own, which it closes at the end.

    Args:
        connection: to a node with a replica of the stream; nothing else uses it.
        stream: the stream's name.
        offset: where to begin, and where to end if it is a range.
        until_end: end with the last message that is committed now.
        max_bytes: about how many bytes may wait or be on the way; at least two chunks.

    Attributes:
        notes: what the reader should be told (an offset that retention has cut, ...).

    Raises:
        StreamNotFoundError, CommandError: the broker refuses the subscription.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        offset: OffsetSpec,
        *,
        until_end: bool = False,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.stream = stream
        self.plan: ReadPlan = plan_reading(Probe(connection, stream), offset, until_end=until_end)
        self.notes: list[str] = list(self.plan.notes)
        self._connection = connection
        self._credit = CreditPolicy(max_bytes)
        self._chunks: deque[memoryview] = deque()
        self._came = threading.Condition()
        self._error: StreamError | None = None
        self._closed = False
        self._last_taken = time.monotonic()
        self._ended = self.plan.is_empty
        if not self._ended:
            self._subscribe(self.plan.start)

    def _subscribe(self, start: Offset) -> None:
        self._connection.handler = self
        self._connection.checked(
            Key.SUBSCRIBE,
            f"Reading stream {self.stream!r}",
            subscription_id=_ID,
            stream=self.stream,
            offset=start,
            credit=1,
            properties={},
        )

    # -- what the connection tells, on its thread -----------------------------------------

    def on_frames(self, key: int, bodies: list[memoryview]) -> None:
        """Chunks."""
        if key != Key.DELIVER:
            return
        chunks = [frames.split_deliver(body)[1] for body in bodies]
        with self._came:
            self._chunks.extend(chunks)
            self._credit.received(len(chunks), sum(map(len, chunks)))
            self._came.notify_all()

    def on_stream_unavailable(self, stream: str) -> None:
        """The stream was deleted, or the replica on this node has gone."""
        if stream == self.stream:
            self.on_connection_lost(
                StreamNotFoundError(
                    f"Stream {stream!r} was deleted while it was read, or its replica has gone",
                    "`stocklog stream info` shows whether it is there",
                    code=codes.STREAM_DOES_NOT_EXIST,
                )
            )

    def on_connection_lost(self, error: StreamError) -> None:
        """The connection has ended; what has come is still handed out."""
        with self._came:
            if self._error is None:
                self._error = error
            self._came.notify_all()

    # -- reading ------------------------------------------------------------------------

    def __iter__(self) -> Iterator[MessageBlock]:
        """Blocks of messages until the end, or for ever. See `next`."""
        while not self._ended:
            block = self.next()
            if block is not None:
                yield block

    @property
    def ended(self) -> bool:
        """Whether the end that was asked for has been reached."""
        return self._ended

    def next(self, timeout: float | None = None) -> MessageBlock | None:
        """Wait for messages.

        Args:
            timeout: seconds to wait at most; None: for ever.

        Returns:
            At least one message, in the order of the log, of one or more chunks; None
            when the time is over, the end is reached, or the subscriber was closed.

        Raises:
            ConnectionLostError: the connection has ended and all that came was handed out.
            ProtocolError: a chunk is broken, or its checksum does not hold.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._ended:
            taken = self._take(deadline)
            if not taken:
                self._end_by_clock()
                if deadline is not None and time.monotonic() >= deadline:
                    return None
                continue
            block = self._decode(taken)
            if len(block.offsets):
                return block
        return None

    def _take(self, deadline: float | None) -> list[memoryview]:
        """Take the chunks that wait, up to about a megabyte, and ask for more."""
        with self._came:
            if not self._chunks:
                self._wait(deadline)
            taken, size = [], 0
            while self._chunks and size < _TOGETHER:
                taken.append(self._chunks.popleft())
                size += len(taken[-1])
            credit = self._credit.grant(len(self._chunks)) if taken else 0
            lost = self._error is not None
        if taken:
            self._last_taken = time.monotonic()
        if credit and not lost:
            self._ask(credit)
        return taken

    def _wait(self, deadline: float | None) -> None:
        if self._closed:
            self._ended = True
            return
        if self._error is not None:
            raise self._error
        left = self.plan.seconds_to_end()
        if left == 0:
            left = _QUIET_S
        if deadline is not None:
            remaining = max(0.0, deadline - time.monotonic())
            left = remaining if left is None else min(left, remaining)
        self._came.wait(left)

    def _ask(self, credit: int) -> None:
        try:
            self._connection.send([frames.encode(Key.CREDIT, subscription_id=_ID, credit=credit)])
        except ConnectionLostError as error:
            self.on_connection_lost(error)

    def _decode(self, taken: list[memoryview]) -> MessageBlock:
        parts: list[tuple[ChunkHeader, memoryview]] = []
        for view in taken:
            header = chunk.parse_header(view)
            if self.plan.is_past(header):
                self._ended = True
                break
            if not self.plan.wants(header):
                continue
            data = view[chunk.HEADER_SIZE :]
            chunk.check_crc(header, data)
            parts.append((header, data))
            if self.plan.ends_with(header):
                self._ended = True
                break
        return self.plan.cut(chunk.decode(parts))

    def _end_by_clock(self) -> None:
        """A range whose last moment has passed ends when nothing more is on the way."""
        if self.plan.seconds_to_end() == 0 and time.monotonic() - self._last_taken > _QUIET_S:
            self._ended = True

    # -- the end ------------------------------------------------------------------------

    def close(self) -> None:
        """End reading; whoever waits in `next` gets None. Always ends."""
        with self._came:
            if self._closed:
                return
            self._closed = True
            self._came.notify_all()
        self._connection.close()

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

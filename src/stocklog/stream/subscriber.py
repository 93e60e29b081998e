"""Reading a stream from a place, to an end or for ever, whatever happens to the connection.

The connection's thread puts chunks into a queue that credit bounds in bytes;
whoever iterates takes them, and only then asks for more. A slow reader so holds
back nobody but itself.

Everything that is asked in offsets becomes "from N" before reading begins:
`last` is the offset of the last message that a barrier found, so the chunk that
contains it is cut in front of it; `-e` ends at that offset too. After a lost
connection reading goes on at the next offset that is owed, and hands over
nothing twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

from stocklog.errors import StreamError
from stocklog.protocol import chunk
from stocklog.protocol.chunk import ChunkHeader, MessageBlock
from stocklog.protocol.frames import Offset
from stocklog.stream.connection import Connection
from stocklog.stream.feed import Feed
from stocklog.stream.offsets import OffsetSpec
from stocklog.stream.plan import ReadPlan, asks_for_end, plan_reading
from stocklog.stream.positions import Probe, at_offset
from stocklog.stream.recovery import Attempts

__all__ = ["Subscriber"]

log = logging.getLogger(__name__)

# A range that the clock ends is over when no chunk has come for so long.
_QUIET_S = 1.0
MAX_BYTES = 16 << 20
# The broker's own records take offsets too, never so many in a row; a jump this long is a cut.
_LONG_JUMP = 10_000


class Subscriber:
    """Reads one stream over a connection of its own.

    Args:
        connect: opens a connection to a node with a replica of the stream.
        stream: the stream's name.
        offset: where to begin, and where to end if it is a range.
        until_end: end with the last message that is committed now.
        max_bytes: about how many bytes may wait or be on the way; at least two chunks.
        recover: connect again when the connection is lost.
        leader: opens a connection to the leader, to find the end of the log: a replica may
            be behind. None: `connect` leads there anyway.

    Attributes:
        notes: what the reader should be told (an offset that retention has cut, ...).
        gaps: (first, last) offsets that retention cut away before they were read.

    Raises:
        StreamNotFoundError, CommandError: the broker refuses the subscription.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        stream: str,
        offset: OffsetSpec,
        *,
        until_end: bool = False,
        max_bytes: int = MAX_BYTES,
        recover: bool = True,
        leader: Callable[[], Connection] | None = None,
    ) -> None:
        self.stream = stream
        self.notes: list[str] = []
        self.gaps: list[tuple[int, int]] = []
        self._connect = connect
        self._max_bytes = max_bytes
        self._recovers = recover
        self._closing = threading.Event()
        self._attempts: Attempts | None = None
        self._last_taken = time.monotonic()
        self._owed: int | None = None
        self._feed: Feed | None = None
        at_leader = leader() if leader and asks_for_end(offset, until_end=until_end) else None
        connection = at_leader or connect()
        try:
            self.plan: ReadPlan = plan_reading(
                Probe(connection, stream), offset, until_end=until_end
            )
            self.notes += self.plan.notes
            self.gaps += self.plan.gaps
            if at_leader is not None or self.plan.is_empty:
                connection.close()
            if not self.plan.is_empty:
                connection = connection if at_leader is None else connect()
                self._feed = self._attach(connection, self.plan.start)
        except BaseException:
            connection.close()
            raise
        self._ended = self.plan.is_empty

    def _attach(self, connection: Connection, start: Offset) -> Feed:
        sees_all = self.plan.sees_all
        return Feed(connection, self.stream, start, self._max_bytes, sees_all=sees_all)

    # -- reading ------------------------------------------------------------------------

    def __iter__(self) -> Iterator[MessageBlock]:
        """Blocks of messages until the end, or for ever. See `next`."""
        while not self._ended:
            block = self.next()
            if block is not None:
                yield block

    @property
    def ended(self) -> bool:
        """Whether the end that was asked for has been reached, or the subscriber was closed."""
        return self._ended

    def next(self, timeout: float | None = None) -> MessageBlock | None:
        """Wait for messages.

        Args:
            timeout: seconds to wait at most; None: for ever. While a lost connection is
                made again it may take longer, by what connecting takes.

        Returns:
            At least one message, in the order of the log, of one or more chunks; None
            when the time is over, the end is reached, or the subscriber was closed.

        Raises:
            StreamError: the stream was deleted, or the broker refuses to go on.
            ProtocolError: a chunk is broken, or its checksum does not hold.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._ended:
            if self._closing.is_set() or self._feed is None:
                self._ended = True
                break
            taken = self._feed.take(self._wait_time(deadline))
            if taken:
                self._last_taken, self._attempts = time.monotonic(), None
                block = self._decode(taken)
                if len(block.offsets):
                    return block
            elif self._feed.lost is not None:
                self._mend(self._feed.lost, deadline)
            else:
                self._end_by_clock()
            if not taken and deadline is not None and time.monotonic() >= deadline:
                return None
        return None

    def _wait_time(self, deadline: float | None) -> float | None:
        left = self.plan.seconds_to_end()
        if left == 0:
            left = _QUIET_S
        if deadline is not None:
            remaining = max(0.0, deadline - time.monotonic())
            left = remaining if left is None else min(left, remaining)
        return left

    def _decode(self, taken: list[memoryview]) -> MessageBlock:
        parts: list[tuple[ChunkHeader, memoryview]] = []
        skipped: list[tuple[int, int]] = []
        for view in taken:
            header = chunk.parse_header(view)
            if self.plan.is_past(header):
                self._ended = True
                break
            if self.plan.wants(header):
                data = view[chunk.HEADER_SIZE :]
                chunk.check_crc(header, data)
                if self._owed is not None and header.chunk_id > self._owed:
                    skipped.append((self._owed, header.chunk_id))
                parts.append((header, data))
                self._owed = header.chunk_id + header.records
            if self.plan.ends_with(header):
                self._ended = True
                break
        if skipped:
            self._explain(skipped)
        return self.plan.cut(chunk.decode(parts))

    def _end_by_clock(self) -> None:
        """A range whose last moment has passed ends when nothing more is on the way."""
        if self.plan.seconds_to_end() == 0 and time.monotonic() - self._last_taken > _QUIET_S:
            self._ended = True

    # -- when something is missing --------------------------------------------------------

    def _explain(self, skipped: list[tuple[int, int]]) -> None:
        """Notice offsets that were skipped because retention was faster than the reader.

        Asked once for all chunks that were taken together: it costs a connection, and where
        readers store offsets one by one every other offset is the broker's own.

        Args:
            skipped: the offset that was owed, and the one that came.
        """
        first = self._first_kept()
        for owed, came in skipped:
            # A reader goes on inside a segment that is cut already, and then jumps to the
            # first that is kept; small jumps before that are the broker's own records.
            if first is not None and first > owed and (came >= first or came - owed > _LONG_JUMP):
                self._tell_gap(owed, came - 1)

    def _tell_gap(self, first: int, last: int) -> None:
        self.gaps.append((first, last))
        self.notes.append(
            f"Offsets {first} to {last} are gone: retention cut them before they were read. "
            "Read faster, or keep more (`stocklog stream create --help`)"
        )

    def _first_kept(self) -> int | None:
        try:
            connection = self._connect()
        except StreamError:
            return None
        try:
            return Probe(connection, self.stream).first()
        except StreamError:
            return None
        finally:
            connection.close()

    def _mend(self, cause: StreamError, deadline: float | None) -> None:
        """Make one attempt to attach again, at the offset that is owed."""
        if not self._recovers:
            raise cause
        if self._attempts is None:
            self._attempts = Attempts()
        wait = self._attempts.wait()
        if deadline is not None:
            wait = min(wait, max(0.0, deadline - time.monotonic()))
        if self._closing.wait(wait):
            return
        assert self._feed is not None
        doing = f"reading {self.stream}"
        self._feed.connection.close()
        try:
            self._feed = self._reattach()
        except StreamError as error:
            if not self._attempts.is_worth_another(error):
                raise
            self._attempts.tell_failed(log, doing, error, stream=self.stream)
            return
        self._attempts.tell_mended(
            log, doing, cause, self._feed.connection.where, f"going on at offset {self._owed}",
            stream=self.stream, offset=self._owed,
        )  # fmt: skip

    def _reattach(self) -> Feed:
        connection = self._connect()
        try:
            if self._owed is None:
                return self._attach(connection, self.plan.start)
            first = Probe(connection, self.stream).first()
            if first is not None and first > self._owed:
                self._tell_gap(self._owed, first - 1)
                self._owed = first
            # Records of the chunk that contains it were handed over already.
            self.plan.wanted = max(self.plan.wanted, self._owed)
            return self._attach(connection, at_offset(self._owed))
        except BaseException:
            connection.close()
            raise

    # -- the end ------------------------------------------------------------------------

    def close(self) -> None:
        """End reading; whoever waits in `next` gets None. Always ends."""
        self._closing.set()
        feed = self._feed
        if feed is not None:
            feed.wake()
            feed.connection.close()

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

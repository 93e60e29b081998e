"""Reading what a plan says over one connection at a time, whatever happens to it.

The connection's thread puts chunks into a queue that credit bounds in bytes;
whoever iterates takes them, and only then asks for more. After a lost connection
reading goes on at the next offset that is owed, and hands over nothing twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from stocklog.errors import StocklogError, StreamError
from stocklog.protocol import chunk
from stocklog.protocol.chunk import ChunkHeader, MessageBlock
from stocklog.protocol.frames import Offset
from stocklog.stream.connection import Connection
from stocklog.stream.feed import Feed
from stocklog.stream.plan import ReadPlan
from stocklog.stream.positions import Probe, at_offset
from stocklog.stream.recovery import Attempts

__all__ = ["RangeReader", "Seen"]

log = logging.getLogger(__name__)

# A range that the clock ends is over when no chunk has come for so long.
_QUIET_S = 1.0
# The broker's own records take offsets too, never so many in a row; a jump this long is a cut.
_LONG_JUMP = 10_000


@dataclass(slots=True)
class Seen:
    """What the chunks that came were like.

    Attributes:
        chunks: how many.
        messages: in them.
        size: their bytes, those that sub-batches unpacked to included.
    """

    chunks: int = 0
    messages: int = 0
    size: int = 0

    def add(self, chunks: int, block: MessageBlock) -> None:
        """Count chunks that were decoded together."""
        self.chunks += chunks
        self.messages += len(block)
        self.size += block.buffer.nbytes

    def merge(self, other: Seen) -> None:
        """Count what another has counted."""
        self.chunks += other.chunks
        self.messages += other.messages
        self.size += other.size


class RangeReader:
    """Reads what a plan says. Attaches when it is first asked for messages.

    Args:
        connect: opens a connection to a node with a replica of the stream.
        stream: the stream's name.
        plan: where to begin and where to end.
        max_bytes: about how many bytes may wait or be on the way; at least two chunks.
        recover: connect again when the connection is lost.
        owed: the offset that is owed next, None as long as that is not known: then a
            beginning that retention has cut is no gap.
        expects: bytes a chunk, where many tiny ones are known to come: they are then
            asked for and handed over by the thousand. 0: not known.

    Attributes:
        plan: what is read.
        gaps: (first, last) offsets that retention cut away before they were read; whoever
            has told them takes them out.
        seen: what came, since whoever wants to know set it anew.
        failure: always None; what ended a `Stripe`.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        stream: str,
        plan: ReadPlan,
        *,
        max_bytes: int,
        recover: bool,
        owed: int | None = None,
        expects: int = 0,
    ) -> None:
        self.stream = stream
        self.plan = plan
        self.gaps: list[tuple[int, int]] = []
        self.seen = Seen()
        self.failure: StocklogError | None = None
        self._connect = connect
        self._max_bytes = max_bytes
        self._recovers = recover
        self._expects = expects
        self._closing = threading.Event()
        self._attempts: Attempts | None = None
        self._last_taken = time.monotonic()
        self._owed = owed
        self._feed: Feed | None = None
        self._ended = plan.is_empty

    def begin(self, connection: Connection) -> None:
        """Attach at the plan's start over this connection, which is the reader's from now on."""
        self._feed = self._attach(connection, self.plan.start)

    def _attach(self, connection: Connection, start: Offset) -> Feed:
        return Feed(
            connection,
            self.stream,
            start,
            self._max_bytes,
            sees_all=self.plan.sees_all,
            until=self.plan.until,
            expects=self._expects,
        )

    # -- reading ------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether the end of the plan has been reached, or the reader was closed."""
        return self._ended

    @property
    def owed(self) -> int | None:
        """The offset that comes next; None as long as that is not known."""
        return self._owed

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
            if self._closing.is_set():
                self._ended = True
                break
            block = self._step(deadline)
            if block is not None and len(block):
                return block
            if block is None and deadline is not None and time.monotonic() >= deadline:
                return None
        return None

    def _step(self, deadline: float | None) -> MessageBlock | None:
        """Take what has come, or mend what is broken; None when nothing came in time."""
        feed = self._feed
        if feed is None:
            self._attach_first(deadline)
            return None
        taken = feed.take(self._wait_time(deadline))
        if taken:
            self._last_taken, self._attempts = time.monotonic(), None
            return self._decode(taken)
        if feed.lost is not None:
            self._mend(feed.lost, deadline)
        else:
            self._end_by_clock()
        return None

    def _attach_first(self, deadline: float | None) -> None:
        try:
            self._hold(self._reattach())
        except StreamError as error:
            self._mend(error, deadline)

    def _hold(self, feed: Feed) -> None:
        """Go on with this feed, unless the reader was closed meanwhile."""
        self._feed = feed
        if self._closing.is_set():
            feed.wake()
            feed.connection.close()

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
                if self._owed is not None and self._owes(self._owed):
                    skipped.append((self._owed, header.chunk_id))
                self._finish()
                break
            if self.plan.wants(header):
                data = view[chunk.HEADER_SIZE :]
                chunk.check_crc(header, data)
                if self._owed is not None and header.chunk_id > self._owed:
                    skipped.append((self._owed, header.chunk_id))
                parts.append((header, data))
                self._owed = header.chunk_id + header.records
            if self.plan.ends_with(header):
                self._finish()
                break
        if skipped:
            self._explain(skipped)
        block = chunk.decode(parts)
        self.seen.add(len(parts), block)
        return self.plan.cut(block)

    def _owes(self, offset: int) -> bool:
        """Whether an offset lies in front of the end."""
        return self.plan.until is None or offset <= self.plan.until

    def _finish(self) -> None:
        """The end of the plan is reached."""
        self._ended = True

    def _end_by_clock(self) -> None:
        """A range whose last moment has passed ends when nothing more is on the way."""
        if self.plan.seconds_to_end() == 0 and time.monotonic() - self._last_taken > _QUIET_S:
            self._finish()

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
        if self.plan.until is not None:
            last = min(last, self.plan.until)
        self.gaps.append((first, last))

    def _first_kept(self) -> int | None:
        try:
            connection = self._connect()
        except StreamError:
            return None
        try:
            return Probe(connection, self.stream).begin()
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
        doing = f"reading {self.stream}"
        if self._feed is not None:
            self._feed.connection.close()
        try:
            feed = self._reattach()
        except StreamError as error:
            if not self._attempts.is_worth_another(error):
                raise
            self._attempts.tell_failed(log, doing, error, stream=self.stream)
            return
        self._hold(feed)
        self._attempts.tell_mended(
            log, doing, cause, feed.connection.where, f"going on at offset {self._owed}",
            stream=self.stream, offset=self._owed,
        )  # fmt: skip

    def _reattach(self) -> Feed:
        connection = self._connect()
        try:
            if self._owed is None:
                return self._attach(connection, self.plan.start)
            first = Probe(connection, self.stream).begin()
            if first is not None and first > self._owed and self._owes(self._owed):
                self._tell_gap(self._owed, first - 1)
                self._owed = first
            # Records of the chunk that contains it were handed over already.
            self.plan.wanted = max(self.plan.wanted, self._owed)
            return self._attach(connection, at_offset(self._owed))
        except BaseException:
            connection.close()
            raise

    # -- the end ------------------------------------------------------------------------

    def narrow(self, until: int) -> None:
        """End earlier, and hand over by the thousand until then.

        Args:
            until: the last offset that is wanted now.
        """
        self.plan = replace(self.plan, until=until)
        if self._feed is not None:
            self._feed.until = until
            self._feed.gathers = True

    def stop(self) -> None:
        """Let whoever waits in `next` get None, now and from now on."""
        self._closing.set()
        feed = self._feed
        if feed is not None:
            feed.wake()

    def close(self) -> None:
        """End reading, and the connection. Always ends."""
        self.stop()
        feed = self._feed
        if feed is not None:
            feed.connection.close()

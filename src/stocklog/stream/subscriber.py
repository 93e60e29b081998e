"""Reading a stream from a place, to an end or for ever, whatever happens to the connection.

Everything that is asked in offsets becomes "from N" before reading begins:
`last` is the offset of the last message that a barrier found, so the chunk that
contains it is cut in front of it; `-e` ends at that offset too.

One connection reads (`reading`). Where its chunks turn out tiny and many of them
are left before a known end, the rest is cut into stripes that several connections
read ahead (`stripes`), handed over in the order of the log all the same.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Self

from stocklog.errors import StocklogError, StreamError
from stocklog.protocol.chunk import MessageBlock
from stocklog.stream.connection import Connection
from stocklog.stream.offsets import OffsetSpec
from stocklog.stream.plan import ReadPlan, asks_for_end, plan_reading
from stocklog.stream.positions import Probe, at_offset
from stocklog.stream.reading import RangeReader, Seen
from stocklog.stream.stripes import ENOUGH_CHUNKS, Stripe, StripeSize, are_tiny, share_out

__all__ = ["CONNECTIONS", "MAX_BYTES", "Subscriber"]

log = logging.getLogger(__name__)

MAX_BYTES = 16 << 20
CONNECTIONS = 16
"""On two cores of a Xeon, which goes to sleep and wakes up between two chunks, twelve were half as
fast again as six on 3.10.8, and as fast on 4.0.5; sixteen are a tenth faster than twelve, and a
fiftieth. On those of an EPYC four were best and eight slower; more were not tried there."""
# Seconds that `close` waits for connections that read ahead.
_CLOSE_S = 5.0
# After so many stripes that failed a broker is taken for one that does not want several.
_MOST_FAILURES = 3


class Subscriber:
    """Reads one stream over connections of its own: one, and several where that is faster.

    Args:
        connect: opens a connection to a node with a replica of the stream.
        stream: the stream's name.
        offset: where to begin, and where to end if it is a range.
        until_end: end with the last message that is committed now.
        max_bytes: about how many bytes may wait or be on the way; at least two chunks.
        recover: connect again when the connection is lost.
        leader: opens a connection to the leader, to find the end of the log: a replica may
            be behind. None: `connect` leads there anyway.
        connections: how many may read a long range of tiny chunks at the same time.

    Attributes:
        plan: what is read.
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
        connections: int = CONNECTIONS,
    ) -> None:
        self.stream = stream
        self._connect = connect
        self._leader = leader or connect
        self._max_bytes = max_bytes
        self._recovers = recover
        self._connections = connections
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._sources: deque[RangeReader | Stripe] = deque()
        self._stripe_size: StripeSize | None = None
        self._spread_next = self._spread_end = 0
        self._failures = 0
        self._missing: tuple[int, int] | None = None
        at_leader = leader() if leader and asks_for_end(offset, until_end=until_end) else None
        connection = at_leader or connect()
        try:
            self.plan: ReadPlan = plan_reading(
                Probe(connection, stream), offset, until_end=until_end
            )
            self.notes: list[str] = list(self.plan.notes)
            self.gaps: list[tuple[int, int]] = list(self.plan.gaps)
            if at_leader is not None or self.plan.is_empty:
                connection.close()
            if not self.plan.is_empty:
                connection = connection if at_leader is None else connect()
                reader = self._plain(self.plan, None)
                reader.begin(connection)
                self._sources.append(reader)
        except BaseException:
            connection.close()
            raise
        self._ended = self.plan.is_empty

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
            if self._closing.is_set():
                self._ended = True
                break
            source = self._sources[0]
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                block = source.next(left)
            except StocklogError:
                self._tell_missing()
                raise
            self._collect_gaps(source, block)
            if source.ended and not (block is not None and source.failure):
                self._advance(source)  # behind what had come, since it may raise
            elif source.seen.chunks >= ENOUGH_CHUNKS:
                self._look(source)
            if block is not None:
                return block
            if deadline is not None and time.monotonic() >= deadline:
                break
        return None

    def _plain(self, plan: ReadPlan, owed: int | None) -> RangeReader:
        return RangeReader(
            self._connect,
            self.stream,
            plan,
            max_bytes=self._max_bytes,
            recover=self._recovers,
            owed=owed,
        )

    # -- over several connections ---------------------------------------------------------

    def _look(self, source: RangeReader | Stripe) -> None:
        """Read the rest over several connections if what came lately says that it pays."""
        seen, source.seen = source.seen, Seen()
        if isinstance(source, Stripe):
            if seen.chunks and not are_tiny(seen):
                self._spread_end = self._spread_next - 1  # no more of them
        elif self._spread_next == 0 and source.owed is not None:
            self._spread(source, seen, source.owed)

    def _spread(self, reader: RangeReader, seen: Seen, owed: int) -> None:
        until = reader.plan.until
        if until is None or reader.plan.until_ms is not None:
            return
        size = share_out(seen, until - owed + 1, self._connections, self._max_bytes)
        if size is not None and reader.plan.sees_all:
            # The range may end behind the log, and a stripe waits for nothing that is to come.
            until = min(until, self._last_committed())
            size = share_out(seen, until - owed + 1, self._connections, self._max_bytes)
            self._connections = self._connections if size is not None else 1
        if size is None:
            return
        own_end = owed + size.offsets - 1
        self._stripe_size, self._spread_next, self._spread_end = size, own_end + 1, until
        reader.narrow(own_end)
        self._begin_stripes()

    def _last_committed(self) -> int:
        """The last message's offset; -1 when that cannot be found out."""
        try:
            connection = self._leader()
        except StreamError:
            return -1
        try:
            last = Probe(connection, self.stream).last()
        except StreamError:
            return -1
        finally:
            connection.close()
        return -1 if last is None else last

    def _begin_stripes(self) -> None:
        """Keep as many connections at work as may be."""
        size = self._stripe_size
        while (
            size is not None
            and len(self._sources) < self._connections
            and self._spread_next <= self._spread_end
        ):
            first = self._spread_next
            last = min(first + size.offsets - 1, self._spread_end)
            self._spread_next = last + 1
            self._add(Stripe(self._connect, self.stream, first, last, size))

    def _add(self, source: RangeReader | Stripe, *, in_front: bool = False) -> None:
        with self._lock:
            if in_front:
                self._sources.appendleft(source)
            else:
                self._sources.append(source)
            if self._closing.is_set():
                source.stop()

    def _advance(self, source: RangeReader | Stripe) -> None:
        """Go on behind a source that has ended."""
        if self._closing.is_set():
            return
        if not self._spread_next:
            self._ended = True
            return
        with self._lock:
            self._sources.popleft()
        if isinstance(source, RangeReader):
            source.close()
        else:
            self._look(source)
            if source.failure is not None:
                self._replace(source, source.failure)
        self._begin_stripes()
        if not self._sources:
            self._go_on_alone()

    def _replace(self, stripe: Stripe, failure: Exception) -> None:
        """Read the rest of a stripe as ever: whatever is wrong shows, or is mended, there."""
        if not self._recovers:
            raise failure
        owed = stripe.owed or 0
        self._spread_end = self._spread_next - 1
        self._failures += 1
        if self._failures >= _MOST_FAILURES:
            self._connections = 1
        log.warning(
            "reading %s: %s; going on at offset %d over one connection", self.stream, failure, owed,
            extra={"event": "stripe_failed", "stream": self.stream, "cause": str(failure),
                   "offset": owed},
        )  # fmt: skip
        self._add(self._plain(self._part_of_plan(owed, stripe.last), owed), in_front=True)

    def _go_on_alone(self) -> None:
        owed = self._spread_next
        self._spread_next, self._stripe_size = 0, None
        if self.plan.until is not None and owed > self.plan.until:
            self._ended = True
            self._tell_missing()
        else:
            self._add(self._plain(self._part_of_plan(owed, self.plan.until), owed))

    def _part_of_plan(self, first: int, last: int | None) -> ReadPlan:
        whole = last == self.plan.until
        return ReadPlan(at_offset(first), first, until=last, sees_all=whole and self.plan.sees_all)

    # -- what is missing ------------------------------------------------------------------

    def _collect_gaps(self, source: RangeReader | Stripe, block: MessageBlock | None) -> None:
        """Tell a gap once, also if it reaches over the border of two stripes."""
        for first, last in source.gaps:
            if self._missing is not None and first == self._missing[1] + 1:
                self._missing = (self._missing[0], last)
            else:
                self._tell_missing()
                self._missing = (first, last)
        source.gaps.clear()
        behind = block is not None and self._missing and block.offsets[-1] > self._missing[1]
        if behind or not self._spread_next:
            self._tell_missing()

    def _tell_missing(self) -> None:
        if self._missing is None:
            return
        first, last = self._missing
        self._missing = None
        self.gaps.append((first, last))
        self.notes.append(
            f"Offsets {first} to {last} are gone: retention cut them before they were read. "
            "Read faster, or keep more (`stocklog stream create --help`)"
        )

    # -- the end ------------------------------------------------------------------------

    def close(self) -> None:
        """End reading; whoever waits in `next` gets None. Always ends."""
        with self._lock:
            self._closing.set()
            sources = list(self._sources)
            for source in sources:
                source.stop()
        deadline = time.monotonic() + _CLOSE_S
        for source in sources:
            if isinstance(source, RangeReader):
                source.close()
            else:
                source.join(max(0.0, deadline - time.monotonic()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

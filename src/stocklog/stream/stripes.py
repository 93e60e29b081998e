"""A part of a range, read ahead by a thread of its own over a connection of its own.

One connection is one Erlang process of the broker, which spends some 140 us on a chunk
however small it is. Where writers wait for each confirm, every message is a chunk: then
several connections read faster than one. `share_out` decides whether and how.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from stocklog.errors import StocklogError, StreamError
from stocklog.protocol.chunk import MessageBlock
from stocklog.stream.connection import WAKE_UP, Connection
from stocklog.stream.plan import ReadPlan
from stocklog.stream.positions import at_offset
from stocklog.stream.reading import RangeReader, Seen

__all__ = ["ENOUGH_CHUNKS", "Stripe", "StripeSize", "are_tiny", "share_out"]

ENOUGH_CHUNKS = 300
"""So many chunks say what a log is like just now."""
# Chunks are tiny when what the broker does for each, whatever is in it, is what counts.
_TINY_MESSAGES = 8
_TINY_BYTES = 4096
# Fewer chunks are read by one connection before others have been made and pay.
_WORTH = 8_000
_LONGEST = 20_000
_SHORTEST = 1_000
# What a message takes besides its bytes: its columns, and a chunk's header while it waits.
_ROW_BYTES = 32
_CHUNK_BYTES = 64
# Of a stripe's bytes this part waits as chunks at most; the rest is there decoded.
_QUEUE_PART = 4


@dataclass(frozen=True, slots=True)
class StripeSize:
    """How a range is cut.

    Attributes:
        offsets: of each stripe.
        max_bytes: that each stripe may hold.
        chunk_bytes: that its chunks are expected to have.
    """

    offsets: int
    max_bytes: int
    chunk_bytes: int


def are_tiny(seen: Seen) -> bool:
    """Whether chunks are so small that reading them over several connections pays."""
    few = seen.messages <= _TINY_MESSAGES * seen.chunks
    return bool(seen.messages) and few and seen.size <= _TINY_BYTES * seen.chunks


def share_out(seen: Seen, left: int, connections: int, max_bytes: int) -> StripeSize | None:
    """Decide how a range is cut, so that all connections have the same to do.

    Args:
        seen: what its chunks were like so far.
        left: offsets that are left.
        connections: that may read at the same time.
        max_bytes: that all of them together may hold.

    Returns:
        None when one connection is as good.
    """
    if connections < 2 or not are_tiny(seen) or left * seen.chunks < _WORTH * seen.messages:
        return None
    chunk_bytes = seen.size // seen.chunks + _CHUNK_BYTES
    row_bytes = (seen.size + _CHUNK_BYTES * seen.chunks) / seen.messages + _ROW_BYTES
    share = max_bytes // connections
    longest = min(_LONGEST, int(share / row_bytes))
    if longest < _SHORTEST:
        return None
    rounds = -(-left // (longest * connections))
    return StripeSize(-(-left // (rounds * connections)), share, chunk_bytes)


@dataclass(slots=True)
class _Part:
    """What came together.

    Attributes:
        block: messages, or None at the end.
        gaps: what was found missing by then.
        seen: what the chunks were like.
        owed: the offset that comes next.
    """

    block: MessageBlock | None
    gaps: list[tuple[int, int]] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)
    owed: int | None = None


class Stripe:
    """Reads a range of committed offsets ahead, a bounded number of bytes.

    It does not mend a lost connection: it ends with a `failure`, behind what had come, and
    whoever reads goes on over one connection from there.

    Args:
        connect: opens a connection to a node with a replica of the stream.
        stream: the stream's name.
        first, last: the offsets; a message at or behind `last` is committed.
        size: what it may hold.

    Attributes:
        last: the last offset.
        gaps, seen: as in `RangeReader`, of what was handed over.
        owed: the offset that comes next.
        failure: why it ended before its end, once all that had come is handed over.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        stream: str,
        first: int,
        last: int,
        size: StripeSize,
    ) -> None:
        self.last = last
        self.gaps: list[tuple[int, int]] = []
        self.seen = Seen()
        self.owed: int | None = first
        self.failure: StocklogError | None = None
        self._reader = RangeReader(
            connect,
            stream,
            ReadPlan(at_offset(first), first, until=last),
            max_bytes=size.max_bytes // _QUEUE_PART,
            recover=False,
            owed=first,
            expects=size.chunk_bytes,
        )
        self._most = size.max_bytes - size.max_bytes // _QUEUE_PART
        self._parts: deque[_Part] = deque()
        self._held = 0
        self._over = False
        self._ended = False
        self._closing = False
        self._lost: StocklogError | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(
            target=self._work, name=f"stocklog-stripe-{first}", daemon=True
        )
        self._thread.start()

    # -- on its own thread ----------------------------------------------------------------

    def _work(self) -> None:
        reader, lost = self._reader, None
        try:
            while not reader.ended:
                block = reader.next()
                self._put(_Part(block, reader.gaps, reader.seen, reader.owed))
                reader.gaps, reader.seen = [], Seen()
        except StocklogError as error:
            lost = error
        except Exception as error:  # a defect of ours must not leave the reader waiting
            lost = StreamError(f"Reading ahead failed: {error!r}")
            lost.__cause__ = error
        finally:
            reader.close()
            with self._changed:
                self._lost, self._over = lost, True
                self._changed.notify_all()

    def _put(self, part: _Part) -> None:
        size = _size(part)
        with self._changed:
            self._changed.wait_for(lambda: self._held < self._most or self._closing)
            self._parts.append(part)
            self._held += size
            self._changed.notify_all()

    # -- for whoever reads ------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether all that came was handed over, and no more will come."""
        return self._ended

    def next(self, timeout: float | None = None) -> MessageBlock | None:
        """Wait for messages; see `Subscriber.next`.

        Args:
            timeout: seconds, a quarter of one at most; None: that.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._parts or self._over or self._closing,
                WAKE_UP if timeout is None else min(timeout, WAKE_UP),
            )
            part = self._parts.popleft() if self._parts else _Part(None, owed=self.owed)
            self._held -= _size(part)
            self._ended = self._closing or (self._over and not self._parts)
            self._changed.notify_all()
        self.gaps += part.gaps
        self.seen.merge(part.seen)
        self.owed = part.owed
        if self._ended:
            self.failure = self._lost
        return part.block

    def stop(self) -> None:
        """Give up; its thread closes the connection."""
        self._reader.stop()
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def join(self, timeout: float) -> None:
        """Wait until its connection is closed."""
        self._thread.join(timeout)


def _size(part: _Part) -> int:
    block = part.block
    return 0 if block is None else block.buffer.nbytes + _ROW_BYTES * len(block)

"""One subscription as one connection knows it: chunks that have come and wait to be taken."""

from __future__ import annotations

import threading
import time
from collections import deque

from stocklog.errors import ConnectionLostError, StreamError
from stocklog.protocol import frames
from stocklog.protocol.chunk_header import count_records, end_of
from stocklog.protocol.frames import Key, Offset
from stocklog.stream.connection import WAKE_UP, Connection
from stocklog.stream.credit import CreditPolicy
from stocklog.stream.positions import ALL_CHUNKS, at_offset

__all__ = ["Feed"]

_ID = 0
# Small chunks are taken together until they hold this much, compressed or not: then what a
# block costs however small it is no longer counts, and its columns still fit the cache.
_TOGETHER = 3 << 20
_RECORDS_TOGETHER = 15_000
# Where more than this waits there is no hurry to read on. A broker that finds room for a few more
# kilobytes again and again wakes up each time, on a busy machine in place of who decodes. But only
# for a moment: a broker that cannot send does not read heartbeats either.
_WAITING = 3 * _TOGETHER // 2
_REST_S = 0.1
# Of a bulk of tiny chunks the reading thread waits a little for more after few, and whoever
# takes waits for many: on a busy machine waking up costs ten times what a tiny chunk does.
_FEW_BYTES = 8 << 10
_PAUSE_S = 0.01
_MANY = 1000
# How often a reading thread that is held back looks whether a heartbeat is due.
_BEAT_EVERY_S = 0.5


class Feed:
    """Subscribes, queues what comes, and asks for more as it is taken.

    Args:
        connection: to a node with a replica of the stream; nothing else uses it.
        stream: the stream's name.
        start: where to attach.
        max_bytes: about how many bytes may wait or be on the way; at least two chunks.
        sees_all: let the broker's own chunks (tracking records) come too.
        until: the last offset that is wanted, None without an end. A chunk holds one offset
            at least, so no more chunks are asked for than offsets are left.
        expects: bytes that a chunk is expected to have; 0: not known, so that credit begins
            with one chunk and grows.

    Attributes:
        lost: why nothing more comes, None while more may.
        gathers: whether chunks are wanted by the thousand rather than at once.

    Raises:
        StreamNotFoundError, CommandError: the broker refuses the subscription.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        start: Offset,
        max_bytes: int,
        *,
        sees_all: bool = False,
        until: int | None = None,
        expects: int = 0,
    ) -> None:
        self.connection = connection
        self.lost: StreamError | None = None
        self.gathers = expects > 0
        self.until = until
        self._reached = (start.value or 0) if start.kind == at_offset(0).kind else 0
        self._stream = stream
        self._credit = CreditPolicy(max_bytes, expects)
        self._chunks: deque[memoryview] = deque()
        self._waiting = 0
        self._most_waiting = 2 * max_bytes
        self._came = threading.Condition()
        self._woken = False
        connection.handler = self
        connection.checked(
            Key.SUBSCRIBE,
            f"Reading stream {stream!r}",
            subscription_id=_ID,
            stream=stream,
            offset=start,
            credit=1,
            properties=ALL_CHUNKS if sees_all else {},
        )
        if expects:
            with self._came:
                credit = self._credit.grant(len(self._chunks), self._left())
            if credit:
                self._ask(credit)

    # -- what the connection tells, on its thread -----------------------------------------

    def on_frames(self, key: int, bodies: list[memoryview]) -> None:
        """Chunks."""
        if key != Key.DELIVER:
            return
        chunks = [frames.split_deliver(body)[1] for body in bodies]
        with self._came:
            size = sum(map(len, chunks))
            self._chunks.extend(chunks)
            self._waiting += size
            self._credit.received(len(chunks), size)
            if self.until is not None:
                self._reached = end_of(chunks[-1])
            if not self.gathers or self._is_enough():
                self._came.notify_all()
            self._hold_back()
        if self.gathers and size < _FEW_BYTES:
            time.sleep(_PAUSE_S)

    def _left(self) -> int | None:
        """How many chunks may be wanted still, at most."""
        return None if self.until is None else max(0, self.until - self._reached + 1)

    def _is_enough(self) -> bool:
        """Whether nobody should wait for more of a bulk to come together."""
        left = self._left()
        return (
            len(self._chunks) >= _MANY
            or self._waiting > self._most_waiting // 4
            or left == 0
            or (bool(self._chunks) and self._credit.is_low(left))
            or self.lost is not None
            or self._woken
        )

    def _hold_back(self) -> None:
        """Rest a moment while enough waits; stop while far more waits than was meant to.

        Credit counts chunks, and thousands that were asked for when they were small may
        come large. TCP then holds the broker back.
        """
        if not self.gathers:
            self._came.wait_for(lambda: self._may_read(_WAITING), _REST_S)
        while not self._may_read(self._most_waiting):
            self._came.wait(_BEAT_EVERY_S)
            self.connection.beat()

    def _may_read(self, most: int) -> bool:
        return self._waiting <= most or self._woken or self.lost is not None

    def on_stream_unavailable(self, stream: str) -> None:
        """The stream was deleted, or the replica on this node has gone."""
        if stream == self._stream:
            self.on_connection_lost(
                ConnectionLostError(f"Stream {stream!r} was deleted, or its replica has gone")
            )

    def on_connection_lost(self, error: StreamError) -> None:
        """The connection has ended; what has come can still be taken."""
        with self._came:
            if self.lost is None:
                self.lost = error
            self._came.notify_all()

    # -- taking -------------------------------------------------------------------------

    def take(self, timeout: float | None) -> list[memoryview]:
        """Take the chunks that wait, some 3 MB or 15,000 messages, and ask for as many more.

        Args:
            timeout: seconds to wait for the first (where it `gathers`, for many), a quarter
                of one at most; None: that.

        Returns:
            Chunks in the order of the log; none when the time is over, nothing more will
            come (`lost`), or `wake` was called.
        """
        with self._came:
            most = WAKE_UP if timeout is None else min(timeout, WAKE_UP)
            if self.gathers:
                self._came.wait_for(self._is_enough, most)
            elif not self._chunks and self.lost is None and not self._woken:
                self._came.wait(most)
            taken, size, records = [], 0, 0
            while self._chunks and size < _TOGETHER and records < _RECORDS_TOGETHER:
                taken.append(self._chunks.popleft())
                size += len(taken[-1])
                records += count_records(taken[-1])
            self._waiting -= size
            self._came.notify_all()
            credit = self._credit.grant(len(self._chunks), self._left()) if taken else 0
            asks = credit and self.lost is None
        if asks:
            self._ask(credit)
        return taken

    def _ask(self, credit: int) -> None:
        try:
            self.connection.send([frames.encode(Key.CREDIT, subscription_id=_ID, credit=credit)])
        except ConnectionLostError as error:
            self.on_connection_lost(error)

    def wake(self) -> None:
        """Let whoever waits in `take` return, now and from now on."""
        with self._came:
            self._woken = True
            self._came.notify_all()

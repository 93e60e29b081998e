"""Where the log begins and ends, found by subscribing.

No broker before 4.3 tells the offset of the last message, and 3.10 not even the
first. But Subscribe is handled in one go: the answer, then every chunk that is
committed and covered by the credit, then the next request. So a cheap request
right behind it is a barrier: what has not come before its answer was not there.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from stocklog.errors import ConnectionLostError, StreamError
from stocklog.protocol import chunk, codes, frames
from stocklog.protocol.chunk import ChunkHeader
from stocklog.protocol.frames import Key, Offset
from stocklog.stream.connection import Connection

__all__ = ["ALL_CHUNKS", "FIRST", "LAST", "NEXT", "Probe", "at_offset", "at_time"]

ALL_CHUNKS = {"chunk_selector": "all"}
"""A property of Subscribe: the broker's own records come too. Undocumented, and a cheap read
of the log as it is on 3.10.8 and 4.0.5."""

FIRST, LAST, NEXT = Offset(1), Offset(2), Offset(3)
_PATIENCE = 5.0
_PAUSE = 0.002
# A node that has just started shows a log without a message for a moment (seen: 4.0.5
# after kill -9), so that is believed only if it lasts.
_EMPTY_S = 0.3
_EMPTY_PAUSE = 0.05
_PROBE_ID = 255


def at_offset(offset: int) -> Offset:
    """Begin with the chunk that contains this offset."""
    return Offset(4, offset)


def at_time(time_ms: int) -> Offset:
    """Begin with the first chunk whose time is not earlier (ms since 1970)."""
    return Offset(5, time_ms)


@dataclass(slots=True)
class Probe:
    """Asks one stream where it begins and ends, over a connection that nothing else uses yet.

    Args:
        connection: to a node that holds a replica.
        stream: the stream's name.
    """

    connection: Connection
    stream: str

    def first(self) -> int | None:
        """The offset of the oldest message that is kept; None when there is no message."""
        header = self._first_chunk(FIRST)
        if header is None and not self._is_empty():
            header = self._first_chunk(FIRST)
        return None if header is None else header.chunk_id

    def begin(self) -> int | None:
        """The oldest offset that is kept, a message's or not; None when there is no message.

        What lies before it was cut by retention, and nothing else was: a log may well begin
        with a record of the broker's own, where names of readers or producers stand.
        """
        first = self.first()
        header = None if first is None else self._first_chunk(FIRST, sees_all=True)
        return first if header is None else header.chunk_id

    def _is_empty(self) -> bool:
        """Whether no message is committed, for a while, and none waits to be."""
        deadline = time.monotonic() + _EMPTY_S
        while self._first_chunk(FIRST) is None:
            if self._knows_no_commit():
                return False
            if time.monotonic() > deadline:
                return True
            time.sleep(_EMPTY_PAUSE)
        return False

    def _knows_no_commit(self) -> bool:
        """Whether the node has chunks and does not know yet how far they are committed.

        So it is with a member of a stream that gets a new leader. 3.10 cannot tell.
        """
        if Key.STREAM_STATS not in self.connection.agreed.commands:
            return False
        answer = self.connection.request(Key.STREAM_STATS, stream=self.stream)
        if answer.code != codes.OK:
            return False
        stats = dict(answer.values["stats"])
        return bool(stats.get("first_chunk_id", -1) >= 0 > stats.get("committed_chunk_id", -1))

    def last(self) -> int | None:
        """The offset of the last message that is committed; None when there is none.

        On a cluster the newest chunk may not be committed yet; then it is asked again.

        Raises:
            StreamError: no answer could be had within five seconds.
        """
        deadline = time.monotonic() + _PATIENCE
        while True:
            header = self._first_chunk(LAST)
            if header is not None:
                return header.chunk_id + header.records - 1
            if self._is_empty():
                return None
            if time.monotonic() > deadline:
                raise StreamError(
                    f"Stream {self.stream!r} has messages, but its end is not committed",
                    "A majority of its replicas must be up; `stocklog stream info` lists them",
                )
            time.sleep(_PAUSE)

    def finds(self, start: Offset) -> bool:
        """Whether a message that is committed now lies at `start` or behind it."""
        return self._first_chunk(start) is not None

    def start_of_last(self, count: int) -> tuple[int, int] | None:
        """Find where the last `count` messages begin.

        Returns:
            The offset of the first of them and of the last, or None when there is no
            message. Offsets have gaps (the broker's own records take some), so chunk
            headers are counted, further and further back until there are enough.
        """
        last = self.last()
        if last is None:
            return None
        if count == 1:
            return last, last
        first, back = self.first() or 0, count
        while True:
            start = max(first, last - back + 1)
            headers = self._headers_from(start, last)
            found = _nth_from_end(headers, count, last)
            if found is not None and found >= start:
                return found, last
            if start <= first:
                return (max(headers[0].chunk_id, first) if headers else last), last
            back *= 2

    def _first_chunk(self, offset: Offset, *, sees_all: bool = False) -> ChunkHeader | None:
        collected = _Collector()
        self._subscribe(offset, collected, credit=1, barrier=True, sees_all=sees_all)
        self._unsubscribe()
        return collected.headers[0] if collected.headers else None

    def _headers_from(self, start: int, last: int) -> list[ChunkHeader]:
        collected = _Collector()
        self._subscribe(at_offset(start), collected, credit=1, barrier=False)
        while not collected.headers or not _covers(collected.headers[-1], last):
            if not collected.wait(self.connection.timeout):
                raise StreamError(f"Stream {self.stream!r} stopped delivering before offset {last}")
            if collected.lost is not None:
                raise collected.lost
            self.connection.send([frames.encode(Key.CREDIT, subscription_id=_PROBE_ID, credit=1)])
        self._unsubscribe()
        return [header for header in collected.headers if header.chunk_id <= last]

    def _subscribe(
        self,
        offset: Offset,
        collected: _Collector,
        *,
        credit: int,
        barrier: bool,
        sees_all: bool = False,
    ) -> None:
        self.connection.handler = collected
        request = {
            "subscription_id": _PROBE_ID,
            "stream": self.stream,
            "offset": offset,
            "credit": credit,
            "properties": ALL_CHUNKS if sees_all else {},
        }
        requests = [(Key.SUBSCRIBE, request)]
        if barrier:
            requests.append((Key.METADATA, {"streams": []}))
        answers = self.connection.pipeline(requests, collected.close if barrier else None)
        if answers[0].code != codes.OK:
            raise codes.error_for(
                answers[0].code, f"Reading stream {self.stream!r} at {self.connection.where}"
            )

    def _unsubscribe(self) -> None:
        answer = self.connection.request(Key.UNSUBSCRIBE, subscription_id=_PROBE_ID)
        self.connection.handler = None
        if answer.code not in (codes.OK, 4):
            raise codes.error_for(answer.code, f"Leaving stream {self.stream!r}")


class _Collector:
    """Keeps the headers of the chunks that come, until it is closed."""

    def __init__(self) -> None:
        self.headers: list[ChunkHeader] = []
        self.lost: StreamError | None = None
        self._closed = False
        self._came = threading.Condition()
        self._seen = 0

    def close(self) -> None:
        """Take nothing more; called at the barrier, on the reading thread."""
        self._closed = True

    def wait(self, timeout: float) -> bool:
        """Wait for a chunk (or the connection's end) since the last call."""
        with self._came:
            came = self._came.wait_for(
                lambda: len(self.headers) > self._seen or self.lost is not None, timeout
            )
            self._seen = len(self.headers)
            return came

    def on_frames(self, key: int, bodies: list[memoryview]) -> None:
        if key != Key.DELIVER or self._closed:
            return
        with self._came:
            for body in bodies:
                self.headers.append(chunk.parse_header(frames.split_deliver(body)[1]))
            self._came.notify_all()

    def on_stream_unavailable(self, stream: str) -> None:
        self.on_connection_lost(
            ConnectionLostError(f"Stream {stream!r} was deleted, or its replica here has gone")
        )

    def on_connection_lost(self, error: StreamError) -> None:
        with self._came:
            self.lost = error
            self._came.notify_all()


def _covers(header: ChunkHeader, offset: int) -> bool:
    return header.chunk_id + header.records > offset


def _nth_from_end(headers: list[ChunkHeader], count: int, last: int) -> int | None:
    """The offset of the message that is `count`-th from offset `last`, if the headers reach it."""
    missing = count
    for header in reversed(headers):
        records = min(header.records, last - header.chunk_id + 1)
        if records >= missing:
            return header.chunk_id + records - missing
        missing -= records
    return None

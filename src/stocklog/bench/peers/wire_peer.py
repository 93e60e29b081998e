"""The bare wire: frames made before the clock starts, chunks dropped as they come.

No client can be faster than this on the same machine and broker; what is missing
to it is what making and understanding updates costs.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from stocklog.bench.job import Job
from stocklog.bench.peers.connect import tls_context
from stocklog.bench.updates import encoded
from stocklog.errors import StreamError
from stocklog.protocol import amqp, chunk, frames
from stocklog.protocol.frames import Key, Offset
from stocklog.stream import PublisherOptions, StreamURI
from stocklog.stream.connection import Connection
from stocklog.stream.inflight import SentFrame
from stocklog.stream.packing import Packer

__all__ = ["Confirms", "connect", "publish", "read"]

_MOST_ENTRIES = 40_000
_MOST_BYTES = 8 << 20
# Chunks that the broker may have on the way; tiny ones come twice as fast as with twenty.
_CREDIT = 1000
_PATIENCE = 600.0


class Confirms:
    """Counts entries that are confirmed; the handler of a connection.

    Attributes:
        count: entries.
        changed: notified whenever it rises.
    """

    def __init__(self) -> None:
        self.count = 0
        self.changed = threading.Condition()

    def wait_for(self, count: int, timeout: float) -> None:
        """Wait until so many are confirmed.

        Raises:
            StreamError: the time was over first.
        """
        with self.changed:
            if not self.changed.wait_for(lambda: self.count >= count, timeout):
                raise StreamError(f"Only {self.count:,} of {count:,} entries were confirmed")

    def on_frames(self, key: int, bodies: list[memoryview]) -> None:
        """Count a few confirms, on the reading thread."""
        with self.changed:
            for body in bodies:
                self.count += int.from_bytes(body[5:9], "big")
            self.changed.notify_all()

    def on_stream_unavailable(self, stream: str) -> None:
        """Whoever waits runs into its time."""

    def on_connection_lost(self, error: Exception) -> None:
        """Whoever waits runs into its time, or cannot send."""


def connect(job: Job) -> Connection:
    """A connection to the job's broker; the caller closes it."""
    uri = StreamURI.parse(job.uri)
    return Connection(*uri.hosts[0], uri, ssl_context=tls_context(job))


def publish(job: Job) -> dict[str, Any]:
    """Send frames that are ready, the same bounds as ours."""
    options = PublisherOptions(**job.options)
    connection, confirms = connect(job), Confirms()
    packer = Packer(options, connection.agreed.frame_max, 0)
    ready: list[SentFrame] = []
    for data, starts in encoded(job.count, job.seed, amqp.lead(options.plain)):
        ready += packer.add(data, starts)
    ready += packer.flush()
    connection.handler = confirms
    connection.checked(
        Key.DECLARE_PUBLISHER,
        "Publishing",
        publisher_id=0,
        reference=options.name or "",
        stream=job.stream,
    )
    begun = time.perf_counter()
    entries = _send(connection, confirms, ready)
    confirms.wait_for(entries, _PATIENCE)
    seconds = time.perf_counter() - begun
    connection.close()
    return {"updates": job.count, "seconds": seconds}


def _send(connection: Connection, confirms: Confirms, ready: list[SentFrame]) -> int:
    entries, size, waiting = 0, 0, []
    for frame in ready:
        entries += len(frame.ids)
        size += frame.size
        waiting.append((entries, frame.size))
        with confirms.changed:
            while True:
                while waiting and waiting[0][0] <= confirms.count:
                    size -= waiting.pop(0)[1]
                room = size <= _MOST_BYTES and entries - confirms.count <= _MOST_ENTRIES
                if room or len(waiting) < 2:
                    break
                confirms.changed.wait()
        connection.send(frame.pieces)
    return entries


class _Chunks:
    """Counts records and asks for as many chunks again."""

    def __init__(self, connection: Connection, count: int) -> None:
        self.connection, self.missing = connection, count
        self.done = threading.Event()

    def on_frames(self, key: int, bodies: list[memoryview]) -> None:
        for body in bodies:
            self.missing -= chunk.parse_header(frames.split_deliver(body)[1]).records
        if self.missing <= 0:
            self.done.set()
            return
        self.connection.send([frames.encode(Key.CREDIT, subscription_id=0, credit=len(bodies))])

    def on_stream_unavailable(self, stream: str) -> None: ...

    def on_connection_lost(self, error: Exception) -> None: ...


def read(job: Job) -> dict[str, Any]:
    """Receive chunks from the first on and drop them."""
    connection = connect(job)
    chunks = _Chunks(connection, job.count)
    connection.handler = chunks
    begun = time.perf_counter()
    connection.checked(
        Key.SUBSCRIBE,
        "Reading",
        subscription_id=0,
        stream=job.stream,
        offset=Offset(1),
        credit=_CREDIT,
        properties={},
    )
    if not chunks.done.wait(_PATIENCE):
        raise StreamError(f"{chunks.missing:,} messages did not come")
    seconds = time.perf_counter() - begun
    connection.close()
    return {"updates": job.count, "seconds": seconds}

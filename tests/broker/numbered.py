"""Messages that are numbers, so that any reader's takings can be held against what was sent.

The oracle of `last`, `numbers` of a block, a producer that never rests, and records of
the broker's own making between the messages.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from stocklog.protocol import amqp
from stocklog.protocol.chunk import MessageBlock
from stocklog.protocol.frames import Key, encode
from stocklog.stream import StreamClient, StreamURI
from stocklog.stream.connection import Connection
from stocklog.stream.publisher import Publisher
from stocklog.stream.subscriber import Subscriber

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"sub_batch": 1},
    **{codec: {"codec": codec, "sub_batch": 100} for codec in CODECS},
}
"""Publisher options: entries of their own, and sub-batches of each codec."""


def bodies_of(block: MessageBlock) -> list[bytes]:
    """Every body of a block, as objects: for tests only."""
    bodies = amqp.locate_bodies(block)
    assert not bodies.problems
    data = bodies.buffer.tobytes()
    return [
        data[start : start + length]
        for start, length in zip(bodies.starts.tolist(), bodies.lengths.tolist(), strict=True)
    ]


def numbers(block: MessageBlock | None) -> list[int]:
    """The numbers in a block's bodies; of no block none."""
    return [] if block is None else [int(body) for body in bodies_of(block)]


def send_bodies(publisher: Publisher, bodies: Sequence[bytes]) -> None:
    publisher.send(*amqp.frame_bodies(list(bodies), publisher.options.plain))


def send_numbers(publisher: Publisher, first: int, count: int) -> None:
    """Sends the numbers from `first` on; returns before they are confirmed."""
    send_bodies(publisher, [b"%d" % number for number in range(first, first + count)])


def read_numbers(subscriber: Subscriber, count: int, timeout: float = 10.0) -> list[int]:
    """At least `count` numbers, or what had come when nothing did for `timeout` seconds."""
    got: list[int] = []
    while len(got) < count:
        block = subscriber.next(timeout)
        if block is None:
            break
        got += numbers(block)
    return got


def check_last(low: int, high: int, received: list[int]) -> None:
    """The promise of `last`.

    Args:
        low: the last number that was confirmed before attaching.
        high: the last number that was sent when Subscribe was answered.
        received: all that came since.
    """
    assert received, "nothing came"
    first = received[0]
    assert low <= first <= high, f"began with {first}, not within {low} to {high}"
    assert received == list(range(first, first + len(received))), "missing, twice or out of order"


def open_connection(uri: StreamURI) -> Connection:
    host, port = uri.hosts[0]
    return Connection(host, port, uri)


def ready(connection: Connection, uri: StreamURI) -> Callable[[], Connection]:
    """Hands out the connection that is open already, and new ones after that."""
    waiting = [connection]
    return lambda: waiting.pop() if waiting else open_connection(uri)


class Tracker:
    """Makes the broker write records of its own: StoreOffset on an idle stream is a chunk."""

    def __init__(self, uri: StreamURI, stream: str) -> None:
        self._connection = open_connection(uri)
        self._stream = stream
        self._offset = 0

    def store(self, count: int) -> None:
        """Writes `count` tracking chunks (fewer beside a busy producer: then they ride along)."""
        for _ in range(count):
            self._offset += 1
            self._connection.send(
                [
                    encode(
                        Key.STORE_OFFSET,
                        reference="tracker",
                        stream=self._stream,
                        offset=self._offset,
                    )
                ]
            )
            # Answered by the writer behind the StoreOffset, so that the next is a chunk again.
            answer = self._connection.request(
                Key.QUERY_OFFSET, reference="tracker", stream=self._stream
            )
            assert answer.values["offset"] == self._offset

    def close(self) -> None:
        self._connection.close()


class BusyProducer:
    """Sends numbers without end on a thread of its own, in batches of any size."""

    def __init__(self, publisher: Publisher, first: int = 1) -> None:
        self.publisher = publisher
        self.before = first - 1
        self.sent = first - 1
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: Exception | None = None

    @property
    def confirmed(self) -> int:
        """The last number that is confirmed."""
        return self.before + self.publisher.confirmed

    def _run(self) -> None:
        choose = random.Random(self.sent)
        try:
            while not self._stop.wait(choose.choice((0, 0.0003, 0.002))):
                count = choose.choice((1, 3, 90, 400, 1500))
                # Counted before it is sent: a reader may have it before `send` returns.
                self.sent += count
                send_numbers(self.publisher, self.sent - count + 1, count)
        except Exception as error:  # shown by `stop`
            self._error = error

    def __enter__(self) -> BusyProducer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error


@contextmanager
def fresh_stream(client: StreamClient, name: str) -> Iterator[str]:
    """A stream that is there for a while."""
    assert client.create_stream(name)
    try:
        yield name
    finally:
        client.delete_stream(name)

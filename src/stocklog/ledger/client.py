"""The Python face: connect, send updates, read them as columns.

with stocklog.connect() as client:
    with client.producer("inventory_updates", name="wms-1") as producer:
        producer.send(updates)
    for batch in client.consumer("inventory_updates", offset="first"):
        print(batch.offsets, batch.to_polars())
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from stocklog.errors import UsageError
from stocklog.ledger.batch import Batch, InvalidMessage, decode
from stocklog.ledger.connect import Connection, open_connection
from stocklog.ledger.producer import LINGER, Producer
from stocklog.ledger.streams import ensure_stream
from stocklog.stream import StreamClient, Subscriber, parse_offset

__all__ = ["Batch", "Client", "Consumer", "InvalidMessage", "Producer", "connect"]

_GLANCE = 1.0
"""Seconds after which an endless wait comes up, so that a Ctrl-C is always seen."""


def connect(
    uri: str | None = None,
    *,
    start_broker: bool = False,
    tls_ca: str | Path | None = None,
    name: str = "stocklog",
    say: Callable[[str], None] = lambda text: None,
) -> Client:
    """Connect to a broker.

    Args:
        uri: `rabbitmq-stream[+tls]://user:password@host:port,host2:port/vhost`. Left out:
            the environment variable STOCKLOG_URI, else the private node that
            `stocklog broker up` started, else localhost:5552 as guest.
        start_broker: start the private node if none of these answers.
        tls_ca: PEM file of certificates to trust besides the system's.
        name: what the broker shows as the connection's name.
        say: gets a line about whatever takes long, such as starting a broker.

    Returns:
        The client; use it in a `with` statement or close it.

    Raises:
        UsageError: the URI cannot be meant.
        BrokerNotFoundError: no broker answers.
        StreamError: the broker does not let us in.
    """
    ca = None if tls_ca is None else Path(tls_ca)
    return Client(open_connection(uri, start=start_broker, tls_ca=ca, name=name, say=say))


class Client:
    """A broker, and what can be done with its streams. Made by `connect`.

    Args:
        connection: open; closed with the client.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._open: list[Producer | Consumer] = []

    @property
    def broker(self) -> str:
        """The broker in one line: masked URI, version, how it was found."""
        return self._connection.where

    @property
    def stream_client(self) -> StreamClient:
        """The client of the stream protocol below, for streams' offsets, making and deleting."""
        return self._connection.client

    def producer(
        self,
        stream: str,
        *,
        name: str | None = None,
        codec: str = "none",
        sub_batch: int | None = None,
        linger: float = LINGER,
    ) -> Producer:
        """Publish to a stream, which is made if there is none.

        Args:
            stream: the stream's name.
            name: of the producer, at most 255 bytes: the broker drops what it has already
                got under that name. For life a name is either plain entries or blocks of
                one `sub_batch`.
            codec: `none`, `gzip`, `snappy`, `lz4` or `zstd`, for the entries of a table.
            sub_batch: updates in one entry; 1 is plain entries. Left out: 500 for tables,
                1 if the first thing sent is a single update.
            linger: seconds that a single update may wait for others to go with it.

        Returns:
            The producer; use it in a `with` statement or close it.
        """
        ensure_stream(self.stream_client, stream)
        producer = Producer(
            self.stream_client, stream, name=name, codec=codec, sub_batch=sub_batch, linger=linger
        )
        self._open.append(producer)
        return producer

    def consumer(
        self, stream: str, *, offset: str | int = "next", until_end: bool = False
    ) -> Consumer:
        """Read a stream, which is made if there is none. Reading removes nothing.

        Args:
            stream: the stream's name.
            offset: where to begin: `next`, `first`, `last`, `last:N`, an offset, a time,
                a duration, or a range `A..B`, as in the table of offsets.
            until_end: end with the last message that is committed now.

        Returns:
            Iterate it for batches; it is attached as soon as this returns.

        Raises:
            UsageError: the offset cannot be meant.
        """
        spec = parse_offset(str(offset))
        ensure_stream(self.stream_client, stream)
        subscriber = self.stream_client.subscriber(stream, spec, until_end=until_end)
        consumer = Consumer(subscriber)
        self._open.append(consumer)
        return consumer

    def close(self) -> None:
        """Close what was opened through this client, and the connection. Always ends.

        Raises:
            StreamError: a producer that was still open has updates without a confirm.
        """
        with ExitStack() as stack:  # closes every one, whatever the others raise
            stack.callback(self._connection.client.close)
            while self._open:
                stack.callback(self._open.pop(0).close)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<stocklog.Client of {self.broker}>"


class Consumer:
    """Reads a stream batch by batch. Made by `Client.consumer`.

    Args:
        subscriber: attached.
    """

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber
        self._lock = threading.Lock()

    @property
    def notes(self) -> list[str]:
        """What the reader should know, such as an offset that retention has cut."""
        return self._subscriber.notes

    def __iter__(self) -> Iterator[Batch]:
        """Batch after batch, to the end that was asked for or for ever."""
        while True:
            batch = self.next()
            if batch is not None:
                yield batch
            elif self._subscriber.ended:
                return

    def next(self, timeout: float | None = None) -> Batch | None:
        """Wait for a batch.

        Args:
            timeout: seconds to wait at most; `None`: for ever.

        Returns:
            The next batch; `None` when the time is over or the end was reached.

        Raises:
            UsageError: another thread is reading from this consumer.
        """
        if not self._lock.acquire(blocking=False):
            raise UsageError(
                "Two threads read from one consumer", "Open a consumer for each of them"
            )
        try:
            block = self._subscriber.next(_GLANCE if timeout is None else timeout)
            while block is None and timeout is None and not self._subscriber.ended:
                block = self._subscriber.next(_GLANCE)
        finally:
            self._lock.release()
        return None if block is None else decode(block)

    def close(self) -> None:
        """End the reading; safe to call twice."""
        self._subscriber.close()

    def __enter__(self) -> Consumer:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()

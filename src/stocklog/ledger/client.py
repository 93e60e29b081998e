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
from stocklog.ledger.memory import Memory
from stocklog.ledger.producer import LINGER, Producer
from stocklog.ledger.streams import ensure_stream
from stocklog.stream import CONNECTIONS, OffsetSpec, StreamClient, Subscriber, parse_offset

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
        self,
        stream: str,
        *,
        offset: str | int = "next",
        until_end: bool = False,
        name: str | None = None,
        reset: bool = False,
        on_truncated: str = "first",
        connections: int = CONNECTIONS,
    ) -> Consumer:
        """Read a stream, which is made if there is none. Reading removes nothing.

        Args:
            stream: the stream's name.
            offset: where to begin: `next`, `first`, `last`, `last:N`, an offset, a time,
                a duration, or a range `A..B`, as in the table of offsets.
            until_end: end with the last message that is committed now.
            name: of the reader, at most 255 bytes: it goes on behind the last batch that the
                reader of this name has handled, and `offset` is for its first time. The
                offset lies with the broker; see `Consumer`.
            reset: begin at `offset` whatever is stored under the name.
            on_truncated: if retention has cut what the named reader wants next: `first` goes
                on with the first that is kept, `next` with what is new, `fail` is an error.
                `Consumer.gaps` has what is missing.
            connections: how many may read at the same time where a long range turns out to
                be of tiny chunks; 1: never more than one.

        Returns:
            Iterate it for batches; it is attached as soon as this returns.

        Raises:
            UsageError: the offset, the name, `on_truncated` or `connections` cannot be meant.
            StreamError: what comes next was cut, and that is to be an error.
        """
        spec: OffsetSpec | None = parse_offset(str(offset))
        if name is None and (reset or on_truncated != "first"):
            raise UsageError("reset and on_truncated are for a reader with a name")
        ensure_stream(self.stream_client, stream)
        memory = None
        if name is not None and spec is not None:
            memory = Memory(self.stream_client, stream, name)
            spec = memory.start(spec, reset=reset, on_truncated=on_truncated)
        subscriber = None
        if spec is not None:
            subscriber = self.stream_client.subscriber(
                stream, spec, until_end=until_end, connections=connections
            )
        consumer = Consumer(subscriber, memory)
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

    A named one counts a batch as handled when the next is asked for, and stores the offset
    with the broker every few thousand updates, at the end of the read, and when it is closed.
    A loop that is left by `break` or an error has not handled the batch that it was in;
    `handled` says that it has.

    Args:
        subscriber: attached; None if a named reader has nothing left of its range.
        memory: of a named reader.
    """

    def __init__(self, subscriber: Subscriber | None, memory: Memory | None = None) -> None:
        self._subscriber = subscriber
        self._memory = memory
        self._handed: Batch | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._notes = [*memory.notes] if memory else []

    @property
    def notes(self) -> list[str]:
        """What the reader should know, such as an offset that retention has cut."""
        if self._subscriber is not None and self._subscriber.notes:
            self._notes += self._subscriber.notes
            self._subscriber.notes.clear()
        return self._notes

    @property
    def gaps(self) -> list[tuple[int, int]]:
        """(first, last) offsets that retention cut before they were read."""
        own = self._memory.gaps if self._memory else []
        return own + (self._subscriber.gaps if self._subscriber else [])

    @property
    def stored_offset(self) -> int | None:
        """Where a named reader would go on behind; None for none."""
        return self._memory.stored if self._memory else None

    @property
    def _ended(self) -> bool:
        return self._subscriber is None or self._subscriber.ended

    def __iter__(self) -> Iterator[Batch]:
        """Batch after batch, to the end that was asked for or for ever."""
        while True:
            batch = self.next()
            if batch is not None:
                yield batch
            elif self._ended:
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
            self._count_handed()
            batch = self._take(timeout)
            if batch is None and self._ended:
                self._settle()
            elif batch is not None:
                self._handed = batch
        finally:
            self._lock.release()
        return batch

    def _take(self, timeout: float | None) -> Batch | None:
        if self._subscriber is None:
            return None
        block = self._subscriber.next(_GLANCE if timeout is None else timeout)
        while block is None and timeout is None and not self._subscriber.ended:
            if self._memory is not None:
                self._memory.look()
            block = self._subscriber.next(_GLANCE)
        return None if block is None else decode(block)

    def _count_handed(self) -> None:
        """Whoever asks for the next batch has handled the last one."""
        batch, self._handed = self._handed, None
        if batch is not None and batch.messages and self._memory is not None:
            self._memory.handled(batch.last_offset, batch.messages)

    def _settle(self) -> None:
        if self._memory is not None:
            self._memory.settle()

    def handled(self) -> None:
        """All batches handed over so far are handled: store that now.

        Raises:
            UsageError: the reader has no name.
            StreamError: the broker did not take it.
        """
        if self._memory is None:
            raise UsageError(
                "A reader without a name has no offset to store", "Give consumer(..., name=...)"
            )
        self._count_handed()
        self._memory.settle()

    def close(self) -> None:
        """End the reading, and store what was handled; safe to call twice.

        Raises:
            StreamError: the offset of what was handled could not be stored.
        """
        if self._subscriber is not None:
            self._subscriber.close()
        if not self._closed:
            self._closed = True
            self._settle()

    def __enter__(self) -> Consumer:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()

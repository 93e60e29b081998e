"""The streams and queues that a benchmark makes, and takes away again."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stocklog.bench.job import Job
from stocklog.bench.updates import BROKEN
from stocklog.errors import StocklogError, UsageError
from stocklog.stream import StreamArguments, StreamClient

__all__ = ["Bench"]

_RETENTION = 60_000_000_000
_PATIENCE = 5.0


@dataclass(slots=True)
class Bench:
    """The broker that is measured, and what was made on it.

    Attributes:
        client: connected.
        uri: the stream URI with its password.
        amqp_port: for the peers by AMQP 0-9-1; 0 if not known.
        folder: on the broker's disk if it is on this machine, else None.
        count: updates of our own runs; slower contenders take a part of it.
        rounds: counted rounds.
        say: gets a line about what is being done.
        node_pid: the broker's process, if it runs here, to watch its memory.
        only: keys of what is to be measured; empty for all.
        tls_ca: PEM file of certificates to trust; empty for none.
    """

    client: StreamClient
    uri: str
    amqp_port: int
    folder: Path | None
    count: int
    rounds: int
    say: Callable[[str], None] = lambda text: None
    node_pid: int | None = None
    only: frozenset[str] = frozenset()
    tls_ca: str = ""
    _made: list[str] = field(default_factory=list, init=False)

    def tell(self, text: str) -> None:
        """Say what is being done."""
        self.say(text)

    def job(self, peer: str, verb: str, stream: str, count: int, seed: int, **options: Any) -> Job:
        """A job against this broker; see `Job`."""
        return Job(peer, verb, self.uri, stream, count, seed, self.amqp_port, options, self.tls_ca)

    def publish_broken(self, stream: str) -> None:
        """Publish one message that is JSON and no update."""
        with self.client.publisher(stream, sub_batch=1) as publisher:
            message = publisher.lead + json.dumps(BROKEN).encode()
            # The publisher writes into the lead.
            data = np.frombuffer(bytearray(message), np.uint8)
            publisher.send(data, np.array([0, len(message)], np.int64))

    def new_stream(self, purpose: str, keeps: int = _RETENTION) -> str:
        """Make a stream that nobody else has.

        Args:
            purpose: a part of its name.
            keeps: bytes of the newest messages that retention leaves; far more than is
                written if not given.
        """
        name = f"stocklog-bench-{purpose}-{secrets.token_hex(4)}"
        segment = None if keeps == _RETENTION else keeps // 10
        self.client.create_stream(
            name, StreamArguments(max_length_bytes=keeps, max_segment_size=segment)
        )
        self._made.append(name)
        return name

    def drop(self, name: str) -> None:
        """Delete a stream at once, to give its space back."""
        self._made.remove(name)
        self.client.delete_stream(name)

    @contextlib.contextmanager
    def stream(self, purpose: str, keeps: int = _RETENTION) -> Iterator[str]:
        """A stream for as long as the block runs; see `new_stream`."""
        name = self.new_stream(purpose, keeps)
        try:
            yield name
        finally:
            self.drop(name)

    def classic(self, purpose: str) -> str:
        """The name of a classic queue that a pika run declares."""
        return f"stocklog-bench-{purpose}-{secrets.token_hex(4)}"

    def check_amqp(self) -> None:
        """See that something takes connections where pika will make them.

        Raises:
            UsageError: nothing does.
        """
        host = self.client.uri.hosts[0][0]
        try:
            socket.create_connection((host, self.amqp_port), _PATIENCE).close()
        except OSError as error:
            raise UsageError(
                f"pika cannot reach the broker by AMQP 0-9-1: {host}:{self.amqp_port} answers "
                f"{error.strerror or error}",
                "Give its port with --amqp-port; 0 leaves pika out",
            ) from error

    def delete_queue(self, name: str) -> None:
        """Delete a classic queue by AMQP 0-9-1."""
        import pika

        host = self.client.uri.hosts[0][0]
        credentials = pika.PlainCredentials(self.client.uri.user, self.client.uri.password)
        parameters = pika.ConnectionParameters(
            host, self.amqp_port, self.client.uri.vhost, credentials
        )
        with pika.BlockingConnection(parameters) as connection:
            connection.channel().queue_delete(name)

    def close(self) -> None:
        """Take away what is left, also after a failure."""
        for name in list(self._made):
            with contextlib.suppress(StocklogError):
                self.drop(name)

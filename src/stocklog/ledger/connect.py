"""Which broker: the one that the user names, the private node, or the local one."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stocklog.errors import BrokerNotFoundError, ConnectionLostError, StocklogError, UsageError
from stocklog.stream import StreamClient, StreamURI

if TYPE_CHECKING:
    import ssl

    from stocklog.broker import NodeInfo

__all__ = ["LOCAL_URI", "URI_VARIABLE", "Connection", "Say", "open_connection"]

URI_VARIABLE = "STOCKLOG_URI"
"""The environment variable that names the broker."""

LOCAL_URI = "rabbitmq-stream://guest:guest@localhost:5552"
"""What is tried when nothing is named and no private node runs: RabbitMQ's own default."""

Say = Callable[[str], None]
"""Takes one line for the user."""

_STREAM_PORT = 5552
_AMQP_PORT = 5672
_PATIENCE = 1.0
"""Seconds that a port gets to answer while we look around."""
_HOW_TO_START = (
    "Start a private one with `stocklog broker up`, or name yours: "
    f"{URI_VARIABLE}=rabbitmq-stream://user:password@host:5552"
)
_HOW_TO_ENABLE = (
    "A RabbitMQ answers on port 5672, but not with streams. Enable them: "
    "`rabbitmq-plugins enable rabbitmq_stream` on its machine, then try again"
)


@dataclass(frozen=True)
class Connection:
    """A broker that answers.

    Attributes:
        client: connected.
        origin: how the broker was found, for people: `private node`, `--uri`, ...
        node: the private node, if it is one.
        started: whether this call started it.
    """

    client: StreamClient
    origin: str
    node: NodeInfo | None = None
    started: bool = False

    @property
    def where(self) -> str:
        """The broker in one line: masked URI, version, how it was found."""
        version = self.client.server_version
        return f"{self.client.uri} (RabbitMQ {version}, {self.origin})"

    def facts(self) -> dict[str, str]:
        """The same for programs: `uri` (masked), `version`, `origin`."""
        version = self.client.server_version
        return {"uri": str(self.client.uri), "version": version, "origin": self.origin}


def open_connection(
    uri: str | None = None,
    *,
    origin: str = "",
    start: bool = False,
    tls_ca: Path | None = None,
    name: str = "stocklog",
    say: Say = lambda text: None,
) -> Connection:
    """Find a broker and connect to it.

    The order: `uri`; the environment variable STOCKLOG_URI; a private node that
    `stocklog broker up` started; localhost:5552 as guest. A broker that is named is the
    only one that is tried.

    Args:
        uri: `rabbitmq-stream[+tls]://user:password@host:port,host2:port/vhost`.
        origin: where `uri` came from, for messages; `the argument` if left out.
        start: start the private node if none answers.
        tls_ca: PEM file of certificates to trust besides the system's.
        name: what the broker shows as the connection's name.
        say: gets a line about whatever takes long or may surprise.

    Returns:
        The connection; the caller closes its client.

    Raises:
        UsageError: the URI cannot be meant.
        BrokerNotFoundError: no broker answers.
        BrokerStartError: the private node did not come up.
        StreamError: the broker answers, but does not let us in.
    """
    if not uri and os.environ.get(URI_VARIABLE):
        uri, origin = os.environ[URI_VARIABLE], URI_VARIABLE
    if uri:
        return _named(uri, origin or "the argument", tls_ca, name)
    if tls_ca is not None:
        raise UsageError(
            "TLS certificates were given, but no broker",
            f"Name it: {URI_VARIABLE}=rabbitmq-stream+tls://user:password@host:5551",
        )
    return _found(start=start, name=name, say=say)


def _named(uri: str, origin: str, tls_ca: Path | None, name: str) -> Connection:
    target = StreamURI.parse(uri)
    if tls_ca is not None and not target.tls:
        raise UsageError(
            "TLS certificates were given, but the URI is one without TLS",
            "Write rabbitmq-stream+tls:// (port 5551 by default)",
        )
    context = _trusting(tls_ca) if tls_ca is not None else None
    try:
        client = StreamClient(target, connection_name=name, ssl_context=context)
    except ConnectionLostError as error:
        remedy = error.remedy or f"Is it running, and is this its stream port? (from {origin})"
        if any(_lacks_streams(host, port) for host, port in target.hosts):
            remedy = _HOW_TO_ENABLE
        raise BrokerNotFoundError(error.what, remedy) from error
    return Connection(client, origin)


def _found(*, start: bool, name: str, say: Say) -> Connection:
    from stocklog import broker

    node = broker.find_running()
    if node is not None:
        return Connection(_client(node.uri, name), "private node", node)
    if _listens("localhost", _STREAM_PORT):
        client = _client(LOCAL_URI, name)
        return Connection(client, "localhost:5552 as guest, the default")
    streamless = _lacks_streams("localhost", _STREAM_PORT)
    if not start:
        remedy = f"{_HOW_TO_ENABLE}. Or: {_HOW_TO_START}" if streamless else _HOW_TO_START
        raise BrokerNotFoundError(
            f"No broker: {URI_VARIABLE} is not set, no private node runs, "
            f"and nothing answers on localhost:{_STREAM_PORT}",
            remedy,
        )
    if streamless:
        say(f"{_HOW_TO_ENABLE}, if that is the broker you mean")
    say("no broker answers: starting a private one (`stocklog broker down` ends it)")
    node = broker.start(on_progress=say)
    return Connection(_client(node.uri, name), "private node, just started", node, started=True)


def _client(uri: str, name: str) -> StreamClient:
    return StreamClient(StreamURI.parse(uri), connection_name=name)


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), _PATIENCE).close()
    except OSError:
        return False
    return True


def _lacks_streams(host: str, port: int) -> bool:
    """Whether a RabbitMQ speaks AMQP 0-9-1 there while nothing answers on the stream port."""
    if _listens(host, port):
        return False
    try:
        with socket.create_connection((host, _AMQP_PORT), _PATIENCE) as sock:
            sock.settimeout(_PATIENCE)
            sock.sendall(b"AMQP\x00\x00\x09\x01")
            # The server's first frame is connection.start: a method on channel 0.
            return sock.recv(3) == b"\x01\x00\x00"
    except OSError:
        return False


def _trusting(tls_ca: Path) -> ssl.SSLContext:
    import ssl

    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cafile=tls_ca)
    except (OSError, ssl.SSLError) as error:
        raise StocklogError(
            f"{tls_ca} holds no certificates that can be read: {error}",
            "Give a PEM file with the certificate of the authority",
        ) from error
    return context

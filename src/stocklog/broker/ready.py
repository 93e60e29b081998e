"""When a node can be used: a stream handshake succeeds, and streams take publishers.

RabbitMQ opens its ports before its streams have recovered: after a crash the broker
refuses publishers for a while, or closes the connection without a word.

And on a new node the first stream starts the stream coordinator, whose registration
reaches the disk only about a second later (Ra's `names.dets`, saved every 500 ms when
idle). A node that is killed within that second comes up again with streams that never
become available (seen on 3.10.8 and 4.0.5). So the first stream of a node is one of ours,
and the node counts as ready once the registration is in the file.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from stocklog.errors import BrokerStartError, CommandError, StreamError
from stocklog.protocol import codes
from stocklog.protocol.frames import Key
from stocklog.stream.connection import Connection
from stocklog.stream.uri import StreamURI

_PAUSE = 0.05
_PROBE = "stocklog-broker-ready"
_COORDINATOR = b"rabbit_stream_coordinator"
_COORDINATOR_TIMEOUT = 10.0


def handshake(uri: StreamURI, host: str, port: int) -> None:
    """Opens a connection and closes it.

    Raises:
        StreamError: what stands in the way.
    """
    Connection(host, port, uri, name=_PROBE).close()


def streams_in(folder: Path) -> list[str]:
    """Names of the streams whose data lie in a broker's private folder.

    The folders are named `<vhost>_<stream>_<time>` with `_` for every character that is no
    letter, digit, `_`, `-` or `=`, so a name may be wrong; such a stream is then not found.
    """
    return sorted(name for name in _names_in(folder) if not name.startswith(_PROBE))


def _names_in(folder: Path) -> set[str]:
    names = (path.name for path in folder.glob("n[1-9]/data/*/stream/*") if path.is_dir())
    return {name.removeprefix("__").rpartition("_")[0] for name in names} - {""}


def coordinator_is_lasting(folder: Path) -> bool:
    """Whether every node of the folder would find its stream coordinator after a kill."""
    files = list(folder.glob("n[1-9]/data/*/coordination/*/names.dets"))
    return bool(files) and all(_COORDINATOR in file.read_bytes() for file in files)


def make_coordinator_lasting(uri: StreamURI, folder: Path) -> None:
    """Starts the stream coordinator by a stream of ours, and waits until it would be found.

    Never fails: a broker that does this differently is none the worse for it.
    """
    deadline = time.monotonic() + _COORDINATOR_TIMEOUT
    begun = False
    while time.monotonic() < deadline and not coordinator_is_lasting(folder):
        if not begun:
            with contextlib.suppress(StreamError):
                _replicas_of_a_new_stream(Connection(*uri.hosts[0], uri, name=_PROBE))
                begun = True
        time.sleep(_PAUSE)


def delete_left_probes(uri: StreamURI, folder: Path) -> None:
    """Deletes streams of ours that a killed start has left behind."""
    left = [name for name in _names_in(folder) if name.startswith(_PROBE)]
    if not left:
        return
    with contextlib.suppress(StreamError):
        connection = Connection(*uri.hosts[0], uri, name=_PROBE)
        try:
            for name in left:
                connection.request(Key.DELETE, stream=name)
        finally:
            connection.close()


def await_publishers(
    uri: StreamURI, host: str, port: int, streams: Sequence[str], deadline: float
) -> list[str]:
    """Waits until every one of `streams` that exists takes a publisher.

    Args:
        uri: user, password and virtual host.
        host: the node's address.
        port: its stream port.
        streams: the candidates.
        deadline: when to give up, on `time.monotonic`'s clock.

    Returns:
        The streams that did not, because the deadline came first.
    """
    waiting = list(streams)
    while waiting:
        try:
            connection = Connection(host, port, uri, name=_PROBE)
            try:
                while waiting:
                    _probe(connection, waiting[0])
                    waiting.pop(0)
            finally:
                connection.close()
        except StreamError:
            # Not available yet, or closed on us while the stream elects its leader.
            if time.monotonic() > deadline:
                return waiting
            time.sleep(_PAUSE)
    return []


def _probe(connection: Connection, stream: str) -> None:
    """Declares a publisher as a producer would; nothing is written."""
    answer = connection.request(
        Key.DECLARE_PUBLISHER, publisher_id=0, reference=_PROBE, stream=stream
    )
    if answer.code == codes.STREAM_DOES_NOT_EXIST:
        return
    if answer.code != codes.OK:
        raise codes.error_for(answer.code, f"Declaring a publisher on {stream!r}")
    connection.checked(
        Key.QUERY_PUBLISHER_SEQUENCE, "Asking for a sequence", reference=_PROBE, stream=stream
    )
    connection.checked(Key.DELETE_PUBLISHER, "Ending the publisher", publisher_id=0)


def await_cluster(uri: StreamURI, deadline: float, check: Callable[[], None]) -> None:
    """Waits until a new stream gets a replica on every node, which proves that all are members.

    Args:
        uri: all nodes' hosts, user and password.
        deadline: when to give up, on `time.monotonic`'s clock.
        check: called between tries; raises when a node has ended.

    Raises:
        BrokerStartError: the nodes run, but not as one cluster.
    """
    host, port = uri.hosts[0]
    replicas = 0
    while time.monotonic() < deadline:
        check()
        try:
            replicas = _replicas_of_a_new_stream(Connection(host, port, uri, name=_PROBE))
        except StreamError:
            replicas = 0
        if replicas == len(uri.hosts):
            return
        time.sleep(_PAUSE * 5)
    raise BrokerStartError(
        f"The {len(uri.hosts)} nodes did not become one cluster: a new stream got {replicas}"
        " replicas",
        "Stop them with `stocklog broker down` and try again",
    )


def _replicas_of_a_new_stream(connection: Connection) -> int:
    name = f"{_PROBE}-{secrets.token_hex(4)}"
    try:
        connection.checked(Key.CREATE, "Creating a stream", stream=name, arguments={})
        try:
            found = connection.request(Key.METADATA, streams=[name]).values["streams"]
            _, code, leader, replicas = found[0]
            if code != codes.OK or leader == 0xFFFF:
                raise CommandError("The stream has no leader yet", code=code, retryable=True)
            return 1 + len(replicas)
        finally:
            connection.checked(Key.DELETE, "Deleting a stream", stream=name)
    finally:
        connection.close()

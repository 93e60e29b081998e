"""The face of the stream client: a cluster's address, and what can be done there.

Topology commands share one connection, opened when first needed; each publisher
and each subscriber has one of its own, since a publisher that the broker holds
back blocks everything on its connection. Publishers go to the stream's leader,
subscribers to a replica where there is one.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from stocklog.errors import ConnectionLostError, UsageError
from stocklog.protocol import codes
from stocklog.protocol.frames import Key
from stocklog.stream import tracking
from stocklog.stream.arguments import StreamArguments, check_new_stream_name
from stocklog.stream.connection import RPC_TIMEOUT, Connection
from stocklog.stream.handshake import HEARTBEAT
from stocklog.stream.nodes import Address, Nodes
from stocklog.stream.offsets import OffsetSpec, parse_offset
from stocklog.stream.options import PublisherOptions
from stocklog.stream.positions import Probe
from stocklog.stream.publisher import Publisher
from stocklog.stream.subscriber import CONNECTIONS, MAX_BYTES, Subscriber
from stocklog.stream.uri import StreamURI

__all__ = ["StreamClient", "StreamMetadata"]

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class StreamMetadata:
    """Where a stream lives.

    Attributes:
        code: 1, or the response code of what is wrong (2: it does not exist).
        leader: (host, port) of its leader as the cluster advertises it, None if there is none.
        replicas: the same of the others.
    """

    code: int
    leader: tuple[str, int] | None
    replicas: tuple[tuple[str, int], ...]


class StreamClient:
    """Works with the streams of one cluster.

    Args:
        uri: where, and who we are.
        connection_name: shown in the broker's management.
        rpc_timeout: seconds to wait for each answer.
        heartbeat: seconds that are proposed to the broker; a peer that is silent for twice
            as long is given up.
        recover: let publishers and subscribers connect again by themselves.
        load_balancer: connect through the URI's hosts only, again and again until the wanted
            node answers; for nodes that advertise what we cannot reach.
        ssl_context: for TLS; None: the system's authorities, host names checked.

    Raises:
        ConnectionLostError: none of the hosts answers.
        AuthenticationError: user, password, virtual host or certificate are refused.
    """

    def __init__(
        self,
        uri: StreamURI | str,
        *,
        connection_name: str = "stocklog",
        rpc_timeout: float = RPC_TIMEOUT,
        heartbeat: int = HEARTBEAT,
        recover: bool = True,
        load_balancer: bool = False,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.uri = StreamURI.parse(uri) if isinstance(uri, str) else uri
        if self.uri.tls and ssl_context is None:
            ssl_context = ssl.create_default_context()
        self._ssl_context = ssl_context if self.uri.tls else None
        self._name = connection_name
        self._timeout = rpc_timeout
        self._heartbeat = heartbeat
        self._recover = recover
        self._nodes = Nodes(self.uri.hosts, self._connect, load_balancer=load_balancer)
        self._lock = threading.Lock()
        self._admin: Connection | None = None
        self.server_version = self._connection().agreed.version

    # -- connections ----------------------------------------------------------------------

    def _connection(self) -> Connection:
        with self._lock:
            if self._admin is not None and not self._admin.is_open:
                self._admin.close()
                self._admin = None
            if self._admin is None:
                self._admin = self._nodes.any()
            return self._admin

    def _connect(self, host: str, port: int) -> Connection:
        return Connection(
            host,
            port,
            self.uri,
            name=self._name,
            ssl_context=self._ssl_context,
            timeout=self._timeout,
            heartbeat=self._heartbeat,
        )

    def _connect_to_stream(self, stream: str, *, leader: bool) -> Connection:
        return self._nodes.among(self._places(stream, leader=leader))

    def _places(self, stream: str, *, leader: bool) -> list[Address]:
        found = self.metadata([stream])[stream]
        if found.code != codes.OK:
            raise codes.error_for(found.code, f"Looking for stream {stream!r} at {self.uri}")
        first = [found.leader] if found.leader else []
        if leader and not first:
            raise codes.error_for(
                codes.STREAM_NOT_AVAILABLE, f"Looking for the leader of stream {stream!r}"
            )
        return first if leader else [*found.replicas, *first]

    # -- streams --------------------------------------------------------------------------

    def create_stream(self, name: str, arguments: StreamArguments | None = None) -> bool:
        """Make a stream.

        Args:
            name: 1 to 233 bytes (in the virtual host `/`), not beginning with `amq.`.
            arguments: retention and the like; None: the broker's defaults (no bound).

        Returns:
            False when a stream of this name was there already, with whatever arguments.

        Raises:
            UsageError: the name cannot be one.
            CommandError: the broker refuses.
        """
        check_new_stream_name(name, self.uri.vhost)
        wanted = (arguments or StreamArguments()).as_map()
        frame = self._ask(
            lambda connection: connection.request(Key.CREATE, stream=name, arguments=wanted)
        )
        if frame.code == codes.STREAM_ALREADY_EXISTS:
            return False
        # Both of these also come for a stream that exists: with other arguments, or
        # without the right to configure it.
        if frame.code in (codes.PRECONDITION_FAILED, codes.ACCESS_REFUSED) and self.stream_exists(
            name
        ):
            return False
        if frame.code != codes.OK:
            raise codes.error_for(frame.code, f"Creating stream {name!r} at {self.uri}")
        return True

    def delete_stream(self, name: str) -> None:
        """Delete a stream and all that is in it.

        Raises:
            StreamNotFoundError: there is none of this name.
            CommandError: the broker refuses.
        """
        frame = self._ask(lambda connection: connection.request(Key.DELETE, stream=name))
        if frame.code != codes.OK:
            raise codes.error_for(frame.code, f"Deleting stream {name!r} at {self.uri}")

    def stream_exists(self, name: str) -> bool:
        """Whether there is a stream of this name (an ordinary queue is none)."""
        return self.metadata([name])[name].code != codes.STREAM_DOES_NOT_EXIST

    def metadata(self, names: list[str]) -> dict[str, StreamMetadata]:
        """Where streams live.

        Args:
            names: the streams.

        Returns:
            One entry a name.
        """
        frame = self._ask(lambda connection: connection.request(Key.METADATA, streams=names))
        brokers = {ref: (host, port) for ref, host, port in frame.values["brokers"] if host}
        found = {
            name: StreamMetadata(
                code, brokers.get(leader), tuple(brokers[ref] for ref in replicas if ref in brokers)
            )
            for name, code, leader, replicas in frame.values["streams"]
        }
        missing = StreamMetadata(codes.STREAM_DOES_NOT_EXIST, None, ())
        return {name: found.get(name, missing) for name in names}

    def stats(self, name: str) -> dict[str, int]:
        """What the broker counts about a stream; empty before 3.11, which has no such command.

        Returns:
            `first_chunk_id`, `committed_chunk_id`, and from 4.3 `committed_offset`; -1 for none.
        """
        if Key.STREAM_STATS not in self._connection().agreed.commands:
            return {}
        frame = self._ask(lambda connection: connection.request(Key.STREAM_STATS, stream=name))
        if frame.code != codes.OK:
            raise codes.error_for(frame.code, f"Asking about stream {name!r} at {self.uri}")
        return dict(frame.values["stats"])

    def first_offset(self, name: str) -> int | None:
        """The offset of the oldest message that is kept; None when there is none."""
        return self._probe(name, Probe.first)

    def begin_offset(self, name: str) -> int | None:
        """The oldest offset that is kept, a message's or not; None when there is no message.

        A log may begin with a record of the broker's own. What lies before this offset was
        cut by retention.
        """
        return self._probe(name, Probe.begin)

    def last_offset(self, name: str) -> int | None:
        """The offset of the last committed message; None when there is none."""
        return self._probe(name, Probe.last)

    def query_offset(self, name: str, stream: str) -> int | None:
        """The offset that a reader left under its name; see `stocklog.stream.tracking`."""
        return self._ask(lambda connection: tracking.query_offset(connection, name, stream))

    def store_offset(self, name: str, stream: str, offset: int) -> None:
        """Leave the offset of the last handled message; see `stocklog.stream.tracking`."""
        self._ask(lambda connection: tracking.store_offset(connection, name, stream, offset))

    def query_sequence(self, name: str, stream: str) -> int:
        """The last number under a producer's name; see `stocklog.stream.tracking`."""
        return self._ask(lambda connection: tracking.query_sequence(connection, name, stream))

    def _probe(self, name: str, ask: Callable[[Probe], _Result]) -> _Result:
        connection = self._connect_to_stream(name, leader=True)
        try:
            return ask(Probe(connection, name))
        finally:
            connection.close()

    def _ask(self, ask: Callable[[Connection], _Result]) -> _Result:
        """Ask on the topology connection, once more on a fresh one if that one had died."""
        reused = self._admin is not None
        connection = self._connection()
        try:
            return ask(connection)
        except ConnectionLostError:
            # It may only be silent; whoever asks next must not wait for it again.
            connection.abort()
            connection.close()
            if not reused:
                raise
            log.debug("asking again on a new connection", exc_info=True)
            return ask(self._connection())

    # -- publishing and reading -----------------------------------------------------------

    def publisher(self, stream: str, **options: Any) -> Publisher:
        """Open a publisher.

        Args:
            stream: the stream, which exists.
            options: the fields of `PublisherOptions`.

        Raises:
            UsageError: options that do not go together.
            StreamNotFoundError, CommandError: the broker refuses.
        """
        try:
            chosen = PublisherOptions(**options)
        except TypeError as error:
            raise UsageError(f"A publisher has no such option: {error}") from None
        return Publisher(
            lambda: self._connect_to_stream(stream, leader=True),
            stream,
            chosen,
            recover=self._recover,
        )

    def subscriber(
        self,
        stream: str,
        offset: OffsetSpec | str = "next",
        *,
        until_end: bool = False,
        max_bytes: int = MAX_BYTES,
        connections: int = CONNECTIONS,
    ) -> Subscriber:
        """Open a subscriber.

        Args:
            stream: the stream, which exists.
            offset: where to begin, see `stocklog.stream.offsets`.
            until_end: end with the last message that is committed now.
            max_bytes: about how many bytes may wait or be on the way.
            connections: how many may read at the same time where a long range turns out to
                be of tiny chunks, as slow writers leave them; 1: never more than one.

        Raises:
            UsageError: the offset is none, or there are fewer connections than one.
            StreamNotFoundError, CommandError: the broker refuses.
        """
        spec = parse_offset(offset) if isinstance(offset, str) else offset
        if connections < 1:
            raise UsageError(f"A reader needs one connection at least, not {connections}")
        has_replicas = bool(self.metadata([stream])[stream].replicas)
        return Subscriber(
            lambda: self._connect_to_stream(stream, leader=False),
            stream,
            spec,
            until_end=until_end,
            max_bytes=max_bytes,
            recover=self._recover,
            connections=connections,
            leader=(lambda: self._connect_to_stream(stream, leader=True)) if has_replicas else None,
        )

    def close(self) -> None:
        """End the topology connection. Publishers and subscribers have their own."""
        with self._lock:
            if self._admin is not None:
                self._admin.close()
                self._admin = None

    def __enter__(self) -> StreamClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

"""What a private broker is, as values: what its folder keeps, what runs, what is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec


class Process(msgspec.Struct, frozen=True):
    """A process that we started.

    Attributes:
        pid: its number.
        created: when it began, seconds since 1970; tells it from a later process of that number.
    """

    pid: int
    created: float


class Ports(msgspec.Struct, frozen=True):
    """The ports of one node, all on 127.0.0.1.

    Attributes:
        amqp: AMQP 0-9-1 (and 1.0).
        stream: the stream protocol.
        distribution: what the other nodes and rabbitmqctl connect to.
        replication: the first of `REPLICATION_SPAN` ports for stream replicas.
    """

    amqp: int
    stream: int
    distribution: int
    replication: int


class Settings(msgspec.Struct):
    """What a folder keeps for life, also while nothing runs.

    Attributes:
        user: the broker's only user, an administrator.
        password: letters and digits.
        cookie: what Erlang nodes of this folder prove themselves with.
        nodes: how many nodes the cluster has.
        version: the RabbitMQ that wrote the data last; empty before the first start.
        root: the tree of `--rabbitmq-root`, or None.
        ports: those of the last start, node by node, so that a URI outlives a restart.
        epmd_port: the port mapper's of the last start; 0 before the first.
    """

    user: str
    password: str
    cookie: str
    nodes: int = 1
    version: str = ""
    root: str | None = None
    ports: list[Ports] = []
    epmd_port: int = 0

    def __repr__(self) -> str:
        return f"Settings(user={self.user!r}, nodes={self.nodes}, version={self.version!r})"


class Node(msgspec.Struct, frozen=True):
    """One node: its name, its ports, and the process of its Erlang machine (None: not started)."""

    name: str
    ports: Ports
    process: Process | None = None


class State(msgspec.Struct):
    """What was started, and how far it got.

    Attributes:
        phase: "starting" until a stream handshake succeeded, then "running".
        version: the RabbitMQ that was started.
        epmd_port: port of our own Erlang port mapper.
        epmd: its process.
        nodes: the nodes in order.
        root: the tree that it was taken from, or None.
    """

    phase: str
    version: str
    epmd_port: int
    epmd: Process | None
    nodes: list[Node]
    root: str | None = None


@dataclass(frozen=True)
class NodeAddress:
    """Where one node of a private broker is.

    Attributes:
        name: Erlang's name of it, for example "n1@localhost".
        pid: process of its Erlang machine.
        amqp_port: AMQP 0-9-1 on 127.0.0.1.
        stream_port: the stream protocol on 127.0.0.1.
        running: whether that process is alive.
    """

    name: str
    pid: int
    amqp_port: int
    stream_port: int
    running: bool = True


@dataclass(frozen=True)
class NodeInfo:
    """A private broker that runs.

    Attributes:
        uri: complete, with the password; lists all nodes; virtual host "/".
        version: RabbitMQ's version.
        dir: its private folder.
        nodes: the nodes in order.
        started: whether this call started (part of) it.
    """

    uri: str
    version: str
    dir: Path
    nodes: tuple[NodeAddress, ...]
    started: bool = False

    @property
    def masked_uri(self) -> str:
        """The URI with `***` for the password, fit to be shown."""
        return mask_password(self.uri)

    @property
    def pid(self) -> int:
        """Process of the first node's Erlang machine."""
        return self.nodes[0].pid

    @property
    def amqp_port(self) -> int:
        """AMQP 0-9-1 port of the first node."""
        return self.nodes[0].amqp_port

    @property
    def stream_port(self) -> int:
        """Stream protocol port of the first node."""
        return self.nodes[0].stream_port

    def __repr__(self) -> str:
        return f"NodeInfo({self.masked_uri!r}, version={self.version!r}, dir={str(self.dir)!r})"


@dataclass(frozen=True)
class Status:
    """How a private broker is.

    Attributes:
        state: "running", "starting", "degraded" (part of a cluster is gone), "stale" (it was
            started and is gone) or "down".
        dir: its private folder.
        info: where it is; None when it is down or stale.
        size_on_disk: bytes that the folder takes.
        memory: resident bytes of its processes.
    """

    state: str
    dir: Path
    info: NodeInfo | None
    size_on_disk: int
    memory: int


def mask_password(uri: str) -> str:
    """`uri` with `***` in the place of its password."""
    parts = urlsplit(uri)
    credentials, at, hosts = parts.netloc.rpartition("@")
    if not at or ":" not in credentials:
        return uri
    user = credentials.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{user}:***@{hosts}"))

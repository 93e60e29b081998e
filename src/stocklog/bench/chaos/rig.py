"""The private broker that is struck, and the processes around it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from stocklog import broker
from stocklog.bench.chaos.history import ProducerHistory, ReaderHistory
from stocklog.bench.chaos.proxy import LOOPBACK, Proxy, ProxyLoop
from stocklog.bench.chaos.worker import Task
from stocklog.broker.model import NodeAddress
from stocklog.errors import StocklogError
from stocklog.stream import StreamClient, StreamURI

__all__ = ["Actor", "Rig"]

_END_PATIENCE = 90.0


@dataclass(slots=True)
class Actor:
    """A producer or reader: its process, its proxies (one a node), its history.

    Attributes:
        task: what it does.
        proxies: between it and each node.
        producer: its history, if it is a producer.
        reader: its history, if it is a reader.
        process: the one that runs now.
    """

    task: Task
    proxies: list[Proxy]
    producer: ProducerHistory | None = None
    reader: ReaderHistory | None = None
    process: subprocess.Popen[str] | None = None
    _log: Path = field(default=Path())

    def start(self) -> None:
        """Start its process, with what an earlier one wrote in the history."""
        self._log = Path(self.task.file).with_suffix(".err")
        with self._log.open("a") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stocklog.bench.chaos.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                text=True,
            )
        assert self.process.stdin is not None
        self.process.stdin.write(self.task.text())
        self.process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()

    def ask_to_end(self) -> None:
        """Let it finish what it has begun."""
        assert self.process is not None
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def wait(self) -> int:
        """Wait until it has ended; its status."""
        assert self.process is not None
        try:
            return self.process.wait(_END_PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            return -1

    @property
    def is_running(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.poll() is None

    def update(self) -> None:
        """Read what it wrote into its history since."""
        for kept in (self.producer, self.reader):
            if kept is not None:
                kept.update()

    def complaint(self) -> str:
        """The end of what it said on stderr."""
        return self._log.read_text(errors="replace")[-2000:].strip()


class Rig:
    """A private broker of its own folder, started for this and deleted afterwards.

    Args:
        folder: for the broker, the histories and what is said on stderr.
        nodes: how many nodes.
        root: a tree with RabbitMQ in it; None: this machine's own.
        say: gets a line about what takes long.
    """

    def __init__(
        self, folder: Path, nodes: int, root: Path | None, say: Callable[[str], None]
    ) -> None:
        self.folder = folder
        self._broker = folder / "broker"
        self._root = root
        self._say = say
        self.actors: list[Actor] = []
        info = broker.start(self._broker, nodes=nodes, rabbitmq_root=root, on_progress=say)
        self.uri = StreamURI.parse(info.uri)
        self.version = info.version
        self.loop = ProxyLoop()
        self._client: StreamClient | None = None

    # -- the broker -----------------------------------------------------------------------

    @property
    def nodes(self) -> Sequence[NodeAddress]:
        """The nodes as they are now."""
        info = broker.status(self._broker).info
        return info.nodes if info is not None else ()

    @property
    def client(self) -> StreamClient:
        """A client that is connected to the nodes directly."""
        if self._client is None:
            self._client = StreamClient(self.uri, rpc_timeout=5.0, heartbeat=5)
        return self._client

    def leader(self, stream: str) -> int | None:
        """The number of the node (from 0) that leads a stream, as Metadata says now."""
        try:
            found = self.client.metadata([stream])[stream].leader
        except StocklogError:
            self._client = None
            return None
        ports = [port for _, port in self.uri.hosts]
        return ports.index(found[1]) if found else None

    def signal(self, node: int, number: int) -> None:
        """Send a signal to a node's process."""
        os.kill(self.nodes[node].pid, number)

    def end_node(self, node: int, number: int) -> None:
        """End a node's process, and wait until it has gone."""
        process = psutil.Process(self.nodes[node].pid)
        process.send_signal(number)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.wait(60.0)

    def mend(self) -> None:
        """Start what is not running, and wait until it takes publishers."""
        broker.start(self._broker, rabbitmq_root=self._root)

    def control(self, *words: str) -> str:
        """Run `rabbitmqctl`."""
        return broker.control(words, self._broker)

    # -- the processes ---------------------------------------------------------------------

    def add(self, task: Task, *, delay: float) -> Actor:
        """Start a producer or reader behind proxies of its own.

        Args:
            task: without its URI.
            delay: seconds that what the broker sends takes to it.
        """
        proxies = [Proxy(self.loop, port, delay=delay) for _, port in self.uri.hosts]
        hosts = tuple((LOOPBACK, proxy.port) for proxy in proxies)
        uri = StreamURI(hosts, self.uri.user, self.uri.password).with_password()
        words = {name: getattr(task, name) for name in Task.__slots__} | {"uri": uri}
        task = Task(**words)
        actor = Actor(task, proxies)
        if task.role == "producer":
            actor.producer = ProducerHistory.read(Path(task.file), task.slot)
        else:
            actor.reader = ReaderHistory.read(Path(task.file), task.name)
        actor.start()
        self.actors.append(actor)
        return actor

    @property
    def producers(self) -> list[Actor]:
        """The producers."""
        return [actor for actor in self.actors if actor.task.role == "producer"]

    @property
    def readers(self) -> list[Actor]:
        """The readers."""
        return [actor for actor in self.actors if actor.task.role == "reader"]

    def update(self) -> None:
        """Read on in all histories."""
        for actor in self.actors:
            actor.update()

    def unconfirmed_at(self, moment: float) -> int:
        """Messages of all producers that were unconfirmed at a moment."""
        self.update()
        return sum(a.producer.unconfirmed_at(moment) for a in self.producers if a.producer)

    def drop_actors(self) -> None:
        """End what runs, and forget all."""
        for actor in self.actors:
            if actor.is_running:
                actor.kill()
            for proxy in actor.proxies:
                proxy.close()
        self.actors = []

    def close(self) -> None:
        """End everything and delete the broker."""
        self.drop_actors()
        if self._client is not None:
            self._client.close()
        self.loop.close()
        for node in self.nodes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(node.pid, signal.SIGCONT)
        broker.stop(self._broker, delete=True)

    def wait_for(self, what: Callable[[], bool], seconds: float) -> bool:
        """Wait until something holds; whether it does."""
        deadline = time.monotonic() + seconds
        while not what():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

"""Boots the processes of a private broker and waits until they can be used."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from stocklog.broker import launch, ports, processes
from stocklog.broker.config import base_environment, node_environment, write_configuration
from stocklog.broker.control import run_control
from stocklog.broker.folder import Folder
from stocklog.broker.install import Installation
from stocklog.broker.model import Node, Settings, State
from stocklog.broker.ready import (
    await_cluster,
    await_publishers,
    coordinator_is_lasting,
    delete_left_probes,
    handshake,
    make_coordinator_lasting,
    streams_in,
)
from stocklog.broker.report import stream_uri
from stocklog.errors import AuthenticationError, BrokerStartError, StreamError

START_TIMEOUT = 120.0
"""Seconds that a node gets from its start to a handshake; a slow laptop needs about 20."""
RUNNING_TIMEOUT = 20.0
"""Seconds that a node gets to answer that was up already."""
RECOVERY_TIMEOUT = 30.0
"""Seconds that streams get to take publishers again after a crash."""

_EPMD_TIMEOUT = 20.0
_PAUSE = 0.05
_LOG_LINES = 5
_ERROR_LINES = 10
_LINE_LENGTH = 200
_ERROR_LINE = re.compile(r"^\S+ \S+ \[error\] <\S+> (.*)$", re.M)
_PORT_IN_USE = re.compile(
    r"eaddrinuse|already_used|could not bind|address already in use|already listening", re.I
)


class PortTakenError(BrokerStartError):
    """A port was free when we looked and taken when it was wanted; others may do."""


class Boot:
    """The steps of a start, under the folder's lock.

    Args:
        folder: the broker's folder.
        settings: user, password, ports of the last start.
        install: the RabbitMQ to start.
        say: told what takes long or may surprise.
    """

    def __init__(
        self,
        folder: Folder,
        settings: Settings,
        install: Installation,
        say: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.install = install
        self.say = say

    # -- starting -----------------------------------------------------------------------------

    def plan(self, *, keep_ports: bool) -> State:
        """Names and ports for everything.

        Args:
            keep_ports: take those of the last start where they are free.
        """
        settings = self.settings
        taken: set[int] = set()
        earlier = list(settings.ports) if keep_ports else []
        nodes = []
        for index in range(settings.nodes):
            mine = earlier[index] if index < len(earlier) else None
            if mine is not None and ports.are_free(mine):
                taken.update((mine.amqp, mine.stream, mine.distribution))
            else:
                mine = ports.free_ports(taken)
            nodes.append(Node(f"n{index + 1}@localhost", mine))
        epmd = settings.epmd_port if keep_ports else 0
        if not epmd or epmd in taken or not ports.is_free(epmd):
            epmd = ports.free_port(taken)
        settings.ports, settings.epmd_port = [node.ports for node in nodes], epmd
        with self.folder.explained():
            self.folder.save_settings(settings)
        return State("starting", self.install.version, epmd, None, nodes, settings.root)

    def save(self, state: State) -> None:
        """Keeps what has been started so far."""
        with self.folder.explained():
            self.folder.save_state(state)

    def start_epmd(self, state: State) -> None:
        """Starts our own port mapper and waits until it listens.

        Raises:
            BrokerStartError: it ended; quotes what it said.
        """
        words = [str(self.install.epmd), "-port", str(state.epmd_port), "-address", ports.LOOPBACK]
        environment = base_environment(self.folder, self.install, state.epmd_port)
        log = self.folder.epmd_log
        pid = launch.start(self.install, self.folder, words, environment=environment, log=log)
        state.epmd = processes.describe(pid)
        self.save(state)
        deadline = time.monotonic() + _EPMD_TIMEOUT
        while process := processes.alive(state.epmd, self.folder):
            if processes.listens(process, state.epmd_port):
                return
            if time.monotonic() > deadline:
                break
            time.sleep(_PAUSE / 2)
        said = launch.tail(launch.text_of(log), _LOG_LINES) or "it said nothing"
        what = f"Erlang's port mapper did not start: {said}"
        if not ports.is_free(state.epmd_port):
            raise PortTakenError(what)
        raise BrokerStartError(what, launch.remedy_for(self.install))

    def start_nodes(self, state: State, indexes: list[int]) -> None:
        """Starts the nodes of these numbers (from 1); does not wait for them."""
        first = state.nodes[0].name
        for index in indexes:
            node = state.nodes[index - 1]
            joins = first if index > 1 else None
            write_configuration(self.folder, self.settings, index, node, joins=joins)
            pid = launch.start(
                self.install,
                self.folder,
                [str(self.install.sbin / "rabbitmq-server")],
                environment=node_environment(
                    self.folder, self.install, state.epmd_port, index, node
                ),
                log=self._start_log(index),
                place=self.folder.node(index).name,
            )
            state.nodes[index - 1] = Node(node.name, node.ports, processes.describe(pid))
            self.save(state)

    # -- waiting ------------------------------------------------------------------------------

    def await_ready(
        self, state: State, *, timeout: float = START_TIMEOUT, new_cluster: bool = False
    ) -> None:
        """Waits until every node takes connections and every stream takes publishers.

        Args:
            state: what was started.
            timeout: seconds that the nodes get.
            new_cluster: also prove that all nodes are in one cluster.

        Raises:
            PortTakenError: a node ended because a port was not free.
            BrokerStartError: a node ended or does not answer; quotes its log.
        """
        self.await_nodes(state, list(range(1, len(state.nodes) + 1)), timeout)
        uri = stream_uri(self.settings, state)
        deadline = time.monotonic() + RECOVERY_TIMEOUT
        if new_cluster:
            await_cluster(uri, deadline, lambda: self.check_alive(state))
        if not coordinator_is_lasting(self.folder.path):
            make_coordinator_lasting(uri, self.folder.path)
        delete_left_probes(uri, self.folder.path)
        streams = streams_in(self.folder.path)
        if not streams:
            return
        left = await_publishers(uri, *uri.hosts[0], streams, deadline)
        if left:
            self.say(f"these streams take no publisher yet: {', '.join(left)}")

    def await_nodes(self, state: State, indexes: list[int], timeout: float = START_TIMEOUT) -> None:
        """Waits for a stream handshake with each of these nodes, with our user and password."""
        deadline = time.monotonic() + timeout
        for index in indexes:
            while error := self._handshake_failure(state, index):
                self.check_alive(state)
                if time.monotonic() > deadline:
                    raise BrokerStartError(
                        f"{state.nodes[index - 1].name} did not answer within {timeout:.0f}"
                        f" seconds ({error.what})",
                        self._log_of(index),
                    ) from error
                time.sleep(_PAUSE)

    def _handshake_failure(self, state: State, index: int) -> StreamError | None:
        address = stream_uri(self.settings, state)
        node = state.nodes[index - 1]
        try:
            handshake(address, *address.hosts[index - 1])
        except AuthenticationError:
            self._set_password(state)
            handshake(address, *address.hosts[index - 1])  # once more, and no more
        except StreamError as error:
            return error
        # The AMQP listener comes up last, and a node that does not get it ends itself.
        process = processes.alive(node.process, self.folder)
        if process is None or not processes.listens(process, node.ports.amqp):
            return StreamError(f"{node.name} does not listen on port {node.ports.amqp}")
        return None

    def check_alive(self, state: State) -> None:
        """Raises the error that a node's end while starting is."""
        for index, node in enumerate(state.nodes, 1):
            if node.process is None or processes.alive(node.process, self.folder):
                continue
            taken = _PORT_IN_USE.search(launch.text_of(self._start_log(index)))
            kind = PortTakenError if taken else BrokerStartError
            raise kind(
                f"{node.name} of RabbitMQ {self.install.version} ended while starting",
                self._log_of(index),
            )

    def _start_log(self, index: int) -> Path:
        return self.folder.node(index) / "start.log"

    def _log_of(self, index: int) -> str:
        """What matters of what a node wrote, with where the whole of it lies.

        Erlang ends with pages about its own processes; the reason stands before them.
        """
        log = self._start_log(index)
        text = launch.text_of(log)
        if not text.strip():
            return f"It wrote nothing to {log}"
        errors = [match[1] for match in _ERROR_LINE.finditer(text)]
        first = [line for line in dict.fromkeys(errors) if line.strip("= ")][:_ERROR_LINES]
        said = "\n".join(line[:_LINE_LENGTH] for line in first)
        end = "\n".join(line[:_LINE_LENGTH] for line in launch.tail(text, _LOG_LINES).splitlines())
        return f"{said}\nThe end of {log}:\n{end}" if said else f"The end of {log}:\n{end}"

    def _set_password(self, state: State) -> None:
        """Gives the broker our user, when the one it has was in files that got damaged."""
        self.say("the broker does not know the password in its folder: setting it anew")
        user, password = self.settings.user, self.settings.password
        for words, text in (
            (["add_user", user], password + "\n"),
            (["set_user_tags", user, "administrator"], ""),
            (["set_permissions", "-p", "/", user, ".*", ".*", ".*"], ""),
        ):
            run_control(self.folder, self.install, state, words, text=text)

"""Starts a private broker, or finds it running; mends what an earlier one left behind."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from stocklog.broker import launch, ports, processes
from stocklog.broker.config import (
    base_environment,
    credentials_in,
    node_environment,
    write_configuration,
)
from stocklog.broker.folder import Folder, new_settings
from stocklog.broker.install import Installation, find_installation
from stocklog.broker.model import Node, NodeInfo, Settings, State
from stocklog.broker.ready import await_cluster, await_publishers, handshake, streams_in
from stocklog.broker.status import info_of, stream_uri
from stocklog.broker.stop import stop_everything
from stocklog.errors import (
    AuthenticationError,
    BrokerStartError,
    ConnectionLostError,
    StocklogError,
    StreamError,
    UsageError,
)

MOST_NODES = 9
START_TIMEOUT = 120.0
"""Seconds that a node gets from its start to a handshake; a slow laptop needs about 20."""
RECOVERY_TIMEOUT = 60.0
"""Seconds that streams get to take publishers again after a crash."""

_LEAST_DISK = 100 << 20
_PORT_TRIES = 4
_LOG_LINES = 15
_PORT_IN_USE = re.compile(r"eaddrinuse|already_used|could not bind|address already in use", re.I)

Progress = Callable[[str], None]


def start(
    dir: Path | str | None = None,  # noqa: A002
    nodes: int | None = None,
    rabbitmq_root: Path | str | None = None,
    on_progress: Progress = lambda _: None,
) -> NodeInfo:
    """Starts the private broker of a folder, unless it runs already.

    Several calls at once, from any number of processes, start it once. It outlives the
    caller; `stop` ends it. What an earlier start left half-done is mended first.

    Args:
        dir: its private folder; under the user's state directory when None.
        nodes: how many nodes the cluster has; None means as the folder has, or 1.
        rabbitmq_root: a tree laid by debootstrap to take RabbitMQ from (root only); None means
            as the folder has, or this machine's.
        on_progress: called with a line of text before each step that takes long.

    Returns:
        Where it is; it takes connections and publishers.

    Raises:
        BrokerNotFoundError: RabbitMQ is not installed.
        BrokerStartError: it did not come up; quotes its log.
        UsageError: the arguments contradict each other or the folder.
    """
    if nodes is not None and not 1 <= nodes <= MOST_NODES:
        raise UsageError(f"{nodes} nodes are not possible", f"Give 1 to {MOST_NODES}")
    folder = Folder(dir)
    folder.create()
    with folder.locked(on_progress):
        settings = _settings(folder, nodes)
        install = _installation(folder, settings, rabbitmq_root)
        return _Start(folder, settings, install, on_progress).run()


def _settings(folder: Folder, nodes: int | None) -> Settings:
    settings = folder.settings() or _recovered_settings(folder)
    if settings is None:
        return new_settings(nodes or 1)
    if nodes is not None and nodes != settings.nodes:
        if folder.has_data() or folder.state() is not None:
            raise UsageError(
                f"The broker in {folder.path} has {settings.nodes} node(s), not {nodes}",
                "Name another folder with --dir, or delete this one and its data with"
                " `stocklog broker down --delete`",
            )
        settings.nodes = nodes
    return settings


def _recovered_settings(folder: Folder) -> Settings | None:
    """Settings of a folder whose own record is damaged, as far as its other files tell."""
    found = len(list(folder.path.glob("n[1-9]")))
    if not found:
        return None
    settings = new_settings(found)
    if known := credentials_in(folder.node(1) / "rabbitmq.conf"):
        settings.user, settings.password = known
    return settings


def _installation(
    folder: Folder, settings: Settings, rabbitmq_root: Path | str | None
) -> Installation:
    root = rabbitmq_root if rabbitmq_root is not None else settings.root
    install = find_installation(None if root is None else Path(root))
    old = Installation(settings.version, Path(), Path())
    if settings.version and folder.has_data():
        # RabbitMQ reads data of its own series and of earlier ones of the same major version.
        same_major = old.release[:1] == install.release[:1]
        if not same_major or old.release[:2] > install.release[:2]:
            raise UsageError(
                f"The data in {folder.path} were written by RabbitMQ {settings.version};"
                f" {install.version} cannot take them over",
                "Use that version, name another folder with --dir, or delete the data with"
                " `stocklog broker down --delete`",
            )
    settings.version = install.version
    settings.root = None if install.root is None else str(install.root)
    return install


class _Start:
    """One start, under the folder's lock."""

    def __init__(
        self, folder: Folder, settings: Settings, install: Installation, say: Progress
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.install = install
        self.say = say

    def run(self) -> NodeInfo:
        state = self.folder.state()
        if state is not None and self._is_whole(state):
            return info_of(self.folder, self.settings, state)
        self._clear_away(state)
        free = shutil.disk_usage(self.folder.path).free
        if free < _LEAST_DISK:
            raise BrokerStartError(
                f"Only {free >> 20} MB are free in {self.folder.path};"
                f" RabbitMQ stops publishers when it gets low",
                f"Free at least {_LEAST_DISK >> 20} MB, or name another folder with --dir",
            )
        with self.folder.explained():
            self.folder.save_settings(self.settings)
        try:
            state = self._start_on_free_ports(state)
        except BaseException:
            stop_everything(self.folder, patience=10.0)
            raise
        return info_of(self.folder, self.settings, state, started=True)

    # -- what is there already ----------------------------------------------------------------

    def _is_whole(self, state: State) -> bool:
        """Whether all of it runs and answers; waits for nodes that are still starting."""
        living = [processes.alive(node.process, self.folder) for node in state.nodes]
        if not all(living) or processes.alive(state.epmd, self.folder) is None:
            return False
        if state.phase != "running":
            self.say(f"a start of RabbitMQ {state.version} was interrupted: taking it over")
        try:
            self._await_ready(state, first=False)
        except StocklogError:
            return False
        if state.phase != "running":
            state.phase = "running"
            self.folder.save_state(state)
        return True

    def _clear_away(self, state: State | None) -> None:
        """Ends what is left of an earlier start, so that the next one begins clean."""
        left = processes.all_of(self.folder)
        if left:
            numbers = ", ".join(str(process.pid) for process in left)
            self.say(f"ending what an earlier start left behind (process {numbers})")
        stop_everything(self.folder, patience=15.0)
        if state is not None and not left:
            self.say("the broker was killed; starting it again")

    # -- a new start --------------------------------------------------------------------------

    def _start_on_free_ports(self, old: State | None) -> State:
        for attempt in range(_PORT_TRIES):
            try:
                return self._start(old if attempt == 0 else None)
            except _PortTakenError as error:
                self.say("another program took a port meanwhile; trying others")
                stop_everything(self.folder, patience=5.0)
                if attempt == _PORT_TRIES - 1:
                    raise BrokerStartError(error.what, error.remedy) from error
        raise AssertionError("unreachable")

    def _start(self, old: State | None) -> State:
        settings, folder = self.settings, self.folder
        count = f"{settings.nodes} nodes of " if settings.nodes > 1 else ""
        self.say(f"starting {count}RabbitMQ {self.install.version} in {folder.path}")
        state = self._plan(old)
        folder.save_state(state)
        fresh = not folder.has_data()
        self._start_epmd(state)
        if fresh and settings.nodes > 1:
            # The others join the first; started together, two could each found a cluster.
            self._start_nodes(state, [1])
            self._await_nodes(state, [1])
            rest = list(range(2, settings.nodes + 1))
            self._start_nodes(state, rest)
        else:
            # Together: a node that was stopped first waits for the one that was stopped last.
            self._start_nodes(state, list(range(1, settings.nodes + 1)))
        self._await_ready(state, first=fresh)
        state.phase = "running"
        folder.save_state(state)
        return state

    def _plan(self, old: State | None) -> State:
        """Ports for everything: those of last time where they are free, so that URIs live on."""
        taken: set[int] = set()
        earlier = {node.name: node.ports for node in old.nodes} if old else {}
        nodes = []
        for index in range(1, self.settings.nodes + 1):
            name = f"n{index}@localhost"
            mine = earlier.get(name)
            if mine is None or not ports.are_free(mine):
                mine = ports.free_ports(taken)
            nodes.append(Node(name, mine))
        epmd = old.epmd_port if old and ports.is_free(old.epmd_port) else ports.free_port(taken)
        return State("starting", self.install.version, epmd, None, nodes)

    def _start_epmd(self, state: State) -> None:
        words = [str(self.install.epmd), "-port", str(state.epmd_port), "-address", ports.LOOPBACK]
        environment = base_environment(self.folder, self.install, state.epmd_port)
        log = self.folder.epmd_log
        pid = launch.start(self.install, self.folder, words, environment=environment, log=log)
        state.epmd = processes.describe(pid)
        self.folder.save_state(state)
        deadline = time.monotonic() + 20.0
        while process := processes.alive(state.epmd, self.folder):
            if processes.listens(process, state.epmd_port):
                return
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        said = launch.tail_of(log, _LOG_LINES)
        kind = BrokerStartError if ports.is_free(state.epmd_port) else _PortTakenError
        raise kind(f"Erlang's port mapper did not start: {said or 'it said nothing'}")

    def _start_nodes(self, state: State, indexes: list[int]) -> None:
        first = state.nodes[0].name
        for index in indexes:
            node = state.nodes[index - 1]
            joins = first if index > 1 else None
            write_configuration(self.folder, self.settings, index, node, joins=joins)
            environment = node_environment(self.folder, self.install, state.epmd_port, index, node)
            pid = launch.start(
                self.install,
                self.folder,
                [str(self.install.sbin / "rabbitmq-server")],
                environment=environment,
                log=self.folder.node(index) / "start.log",
            )
            state.nodes[index - 1] = Node(node.name, node.ports, processes.describe(pid))
            self.folder.save_state(state)

    # -- waiting ------------------------------------------------------------------------------

    def _await_ready(self, state: State, *, first: bool) -> None:
        self._await_nodes(state, list(range(1, len(state.nodes) + 1)))
        uri = stream_uri(self.settings, state)
        deadline = time.monotonic() + RECOVERY_TIMEOUT
        if first and len(state.nodes) > 1:
            await_cluster(uri, deadline, lambda: self._check_alive(state))
        streams = streams_in(self.folder.node(1))
        if not streams:
            return
        left = await_publishers(uri, *uri.hosts[0], streams, deadline)
        if left:
            self.say(f"these streams take no publisher yet: {', '.join(left)}")

    def _await_nodes(self, state: State, indexes: list[int]) -> None:
        uri = stream_uri(self.settings, state)
        deadline = time.monotonic() + START_TIMEOUT
        mended = False
        for index in indexes:
            while True:
                try:
                    handshake(uri, *uri.hosts[index - 1])
                    break
                except AuthenticationError:
                    if mended:
                        raise
                    self._set_password(state)
                    mended = True
                except (ConnectionLostError, StreamError) as error:
                    self._check_alive(state)
                    if time.monotonic() > deadline:
                        raise BrokerStartError(
                            f"{state.nodes[index - 1].name} did not answer within"
                            f" {START_TIMEOUT:.0f} seconds ({error.what})",
                            self._log_of(index),
                        ) from error
                time.sleep(0.05)

    def _check_alive(self, state: State) -> None:
        for index, node in enumerate(state.nodes, 1):
            if node.process is None or processes.alive(node.process, self.folder):
                continue
            log = self._log_of(index)
            kind = _PortTakenError if _PORT_IN_USE.search(log) else BrokerStartError
            raise kind(f"{node.name} of RabbitMQ {self.install.version} ended while starting", log)

    def _log_of(self, index: int) -> str:
        """The end of what a node wrote, with where the whole of it lies."""
        place = self.folder.node(index)
        for log in (place / "start.log", *sorted((place / "log").glob("*@localhost.log"))):
            if text := launch.tail_of(log, _LOG_LINES):
                return f"The end of {log}:\n{text}"
        return f"Its logs in {place} are empty"

    def _set_password(self, state: State) -> None:
        """Gives the broker our user, when the one it has was in a file that got damaged."""
        self.say("the broker does not know the password in its folder: setting it anew")
        node = state.nodes[0]
        environment = node_environment(self.folder, self.install, state.epmd_port, 1, node)
        control = [str(self.install.sbin / "rabbitmqctl"), "-q"]
        user, password = self.settings.user, self.settings.password
        steps = (
            (["add_user", user], password + "\n"),
            (["set_user_tags", user, "administrator"], ""),
            (["set_permissions", "-p", "/", user, ".*", ".*", ".*"], ""),
        )
        for words, text in steps:
            launch.run(
                self.install,
                self.folder,
                [*control, *words],
                environment=environment,
                text=text,
            )


class _PortTakenError(BrokerStartError):
    """A port was free when we looked and taken when the node wanted it."""

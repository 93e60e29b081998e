"""`start`: boots a private broker, or finds it running; mends what an earlier one left behind."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

from stocklog.broker import ports, processes
from stocklog.broker.boot import RUNNING_TIMEOUT, START_TIMEOUT, Boot, PortTakenError
from stocklog.broker.down import stop_everything
from stocklog.broker.folder import Folder, new_settings
from stocklog.broker.install import Installation, find_installation, release_of
from stocklog.broker.model import NodeInfo, Settings, State
from stocklog.broker.report import info_of
from stocklog.errors import BrokerStartError, StocklogError, UsageError

MOST_NODES = 9

_LEAST_DISK = 100 << 20
_PORT_TRIES = 4
_DELETE = (
    "Name another folder with --dir, or delete this one and its data with"
    " `stocklog broker down --delete`"
)


def start(
    dir: Path | str | None = None,  # noqa: A002
    nodes: int | None = None,
    rabbitmq_root: Path | str | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> NodeInfo:
    """Starts the private broker of a folder, unless it runs already.

    Several calls at once, from any number of processes, start it once. It outlives the
    caller; `stop` ends it. What an earlier start left half-done is mended first, and of a
    cluster only the nodes that are gone are started.

    Args:
        dir: its private folder; under the user's state directory when None.
        nodes: how many nodes the cluster has; None means as the folder has, or 1.
        rabbitmq_root: a tree laid by debootstrap to take RabbitMQ from (root only); None means
            as the folder has, or this machine's own.
        on_progress: called with a line of text before each step that takes long.

    Returns:
        Where it is; it takes connections and publishers.

    Raises:
        BrokerNotFoundError: RabbitMQ is not installed; says how to install it.
        BrokerStartError: it did not come up; quotes its log.
        UsageError: the arguments contradict each other or the folder.
    """
    if nodes is not None and not 1 <= nodes <= MOST_NODES:
        raise UsageError(f"{nodes} nodes are not possible", f"Give 1 to {MOST_NODES}")
    root = None if rabbitmq_root is None else Path(rabbitmq_root)
    folder = Folder(dir)
    with folder.locked(on_progress, create=True):
        return _Start(folder, nodes, root, on_progress).run()


class _Start:
    """One start, under the folder's lock."""

    def __init__(
        self, folder: Folder, nodes: int | None, root: Path | None, say: Callable[[str], None]
    ) -> None:
        self.folder = folder
        self.say = say
        self.state = folder.state()
        self.settings = self._settings(nodes)
        self._root = root

    def run(self) -> NodeInfo:
        if self.state is not None and any(self._living(self.state)):
            self._check_same_root()
            if mended := self._take_over(self.state):
                return mended
        return self._start_anew()

    # -- what the folder holds ----------------------------------------------------------------

    def _settings(self, nodes: int | None) -> Settings:
        settings = self.folder.settings()
        if settings is None:
            # The folder is new, or both copies are damaged; a new password gets set later.
            found = len(list(self.folder.path.glob("n[1-9]")))
            settings = new_settings(found or nodes or 1)
            if self.state is not None:
                settings.version, settings.root = self.state.version, self.state.root
                settings.ports = [node.ports for node in self.state.nodes]
                settings.epmd_port = self.state.epmd_port
        if nodes is not None and nodes != settings.nodes:
            if self.folder.has_data() or self.state is not None:
                raise UsageError(
                    f"The broker in {self.folder.path} has {settings.nodes} node(s), not {nodes}",
                    _DELETE,
                )
            settings.nodes = nodes
        return settings

    def _check_same_root(self) -> None:
        if self._root is not None and str(self._root.resolve()) != (self.settings.root or "/"):
            raise UsageError(
                f"The broker in {self.folder.path} runs already, with RabbitMQ from"
                f" {self.settings.root or 'this machine'}",
                "Stop it first with `stocklog broker down`, or name another folder with --dir",
            )

    @functools.cached_property
    def _boot(self) -> Boot:
        install = self._installation()
        self.settings.version = install.version
        self.settings.root = None if install.root is None else str(install.root)
        return Boot(self.folder, self.settings, install, self.say)

    def _installation(self) -> Installation:
        settings = self.settings
        root = self._root or (Path(settings.root) if settings.root else None)
        install = find_installation(root)
        if settings.version and self.folder.has_data():
            # RabbitMQ takes over data of earlier releases of the same major version.
            old, new = release_of(settings.version), install.release
            if old[:1] != new[:1] or old[:2] > new[:2]:
                raise UsageError(
                    f"The data in {self.folder.path} were written by RabbitMQ"
                    f" {settings.version}; {install.version} cannot take them over",
                    f"Use that version again. {_DELETE}",
                )
        return install

    # -- what runs already --------------------------------------------------------------------

    def _living(self, state: State) -> list[bool]:
        return [processes.alive(node.process, self.folder) is not None for node in state.nodes]

    def _take_over(self, state: State) -> NodeInfo | None:
        """Waits for what runs, and starts what is missing of it; None if that is not enough."""
        missing = [number for number, runs in enumerate(self._living(state), 1) if not runs]
        without_epmd = processes.alive(state.epmd, self.folder) is None
        was_up = state.phase == "running"
        if not was_up:
            # A cluster that is half there cannot be told from one that was never whole.
            if missing or without_epmd:
                return None
            self.say(f"a start of RabbitMQ {state.version} was cut off: taking it over")
        try:
            if without_epmd:
                self._boot.start_epmd(state)
            if missing:
                self._restart(state, missing)
            whole = was_up and not missing
            self._boot.await_ready(state, timeout=RUNNING_TIMEOUT if whole else START_TIMEOUT)
        except StocklogError as error:
            self.say(f"it cannot be taken over ({error.what}): starting it anew")
            return None
        self._finish(state)
        return info_of(self.folder, self.settings, state, started=bool(missing) or not was_up)

    def _restart(self, state: State, missing: list[int]) -> None:
        names = ", ".join(state.nodes[number - 1].name for number in missing)
        self.say(f"{names} of the cluster in {self.folder.path} is gone: starting it again")
        processes.end(self._strays(state), 5.0)
        for number in missing:
            if not ports.are_free(state.nodes[number - 1].ports):
                raise BrokerStartError(f"The ports of {state.nodes[number - 1].name} are taken")
        self._boot.start_nodes(state, missing)

    def _strays(self, state: State) -> list[processes.Found]:
        """Nodes of this folder that the state does not know."""
        known = {node.process.pid for node in state.nodes if node.process}
        found = processes.all_of(self.folder)
        return [p for p in found if processes.is_node(p) and p.pid not in known]

    def _finish(self, state: State) -> None:
        if state.phase != "running" or self.folder.settings() != self.settings:
            state.phase = "running"
            with self.folder.explained():
                self.folder.save_settings(self.settings)
                self.folder.save_state(state)

    # -- a new start --------------------------------------------------------------------------

    def _start_anew(self) -> NodeInfo:
        boot = self._boot
        self._clear_away()
        self._check_disk()
        try:
            state = self._start_on_free_ports(boot)
        except BaseException:
            stop_everything(self.folder, patience=10.0)
            raise
        return info_of(self.folder, self.settings, state, started=True)

    def _clear_away(self) -> None:
        """Ends what is left of an earlier start, so that the next one begins clean."""
        left = processes.all_of(self.folder)
        if left:
            numbers = ", ".join(str(process.pid) for process in left)
            self.say(f"ending what an earlier start left behind (process {numbers})")
        elif self.state is not None:
            self.say("the broker was killed or its machine restarted: starting it again")
        stop_everything(self.folder, patience=15.0)

    def _check_disk(self) -> None:
        free = shutil.disk_usage(self.folder.path).free
        if free < _LEAST_DISK:
            raise BrokerStartError(
                f"Only {free >> 20} MB are free in {self.folder.path};"
                " RabbitMQ stops publishers when it gets low",
                f"Free at least {_LEAST_DISK >> 20} MB, or name another folder with --dir",
            )

    def _start_on_free_ports(self, boot: Boot) -> State:
        for attempt in range(1, _PORT_TRIES + 1):
            try:
                return self._start(boot, boot.plan(keep_ports=attempt == 1))
            except PortTakenError:
                if attempt == _PORT_TRIES:
                    raise
                self.say("another program took a port meanwhile: trying others")
                stop_everything(self.folder, patience=5.0)
        raise AssertionError("unreachable")

    def _start(self, boot: Boot, state: State) -> State:
        count = self.settings.nodes
        of = f"{count} nodes of " if count > 1 else ""
        self.say(f"starting {of}RabbitMQ {boot.install.version} in {self.folder.path}")
        boot.save(state)
        fresh = not self.folder.has_data()
        boot.start_epmd(state)
        everyone = list(range(1, count + 1))
        if fresh and count > 1:
            # The others join the first; started together, two could each found a cluster.
            boot.start_nodes(state, [1])
            boot.await_nodes(state, [1])
            boot.start_nodes(state, everyone[1:])
        else:
            # Together: a node that was stopped first waits for the one that was stopped last.
            boot.start_nodes(state, everyone)
        boot.await_ready(state, new_cluster=fresh and count > 1)
        self._finish(state)
        return state

"""Says what runs in a private folder, without changing anything."""

from __future__ import annotations

from pathlib import Path

from stocklog.broker import processes
from stocklog.broker.folder import Folder
from stocklog.broker.model import NodeAddress, NodeInfo, Settings, State, Status
from stocklog.broker.ports import LOOPBACK
from stocklog.stream.uri import StreamURI


def stream_uri(settings: Settings, state: State) -> StreamURI:
    """The broker's address, with all its nodes."""
    hosts = tuple((LOOPBACK, node.ports.stream) for node in state.nodes)
    return StreamURI(hosts, settings.user, settings.password)


def info_of(folder: Folder, settings: Settings, state: State, *, started: bool = False) -> NodeInfo:
    """What is told about a broker that runs."""
    addresses = tuple(
        NodeAddress(
            name=node.name,
            pid=node.process.pid if node.process else 0,
            amqp_port=node.ports.amqp,
            stream_port=node.ports.stream,
            running=processes.alive(node.process, folder) is not None,
        )
        for node in state.nodes
    )
    uri = stream_uri(settings, state).with_password() + "/"
    return NodeInfo(uri, state.version, folder.path, addresses, started)


def find_running(dir: Path | str | None = None) -> NodeInfo | None:  # noqa: A002
    """The private broker of a folder if it is up, else None; quick, and takes no lock.

    Args:
        dir: its private folder; under the user's state directory when None.

    Returns:
        Where it is, also while a part of a cluster is gone; None while it is starting.
    """
    found = status_of(Folder(dir))
    return found.info if found.state in {"running", "degraded"} else None


def status(dir: Path | str | None = None) -> Status:  # noqa: A002
    """How the private broker of a folder is.

    Args:
        dir: its private folder; under the user's state directory when None.
    """
    folder = Folder(dir)
    found = status_of(folder)
    return Status(
        found.state,
        folder.path,
        found.info,
        folder.size_on_disk(),
        processes.memory(processes.all_of(folder)) if found.info else 0,
    )


def status_of(folder: Folder) -> Status:
    """As `status`, without what takes long: size and memory are 0."""
    with folder.explained():
        state, settings = folder.state(), folder.settings()
    if state is None or settings is None:
        return Status("down", folder.path, None, 0, 0)
    info = info_of(folder, settings, state)
    running = [node.running for node in info.nodes]
    if not any(running):
        return Status("stale", folder.path, None, 0, 0)
    if state.phase != "running":
        return Status("starting", folder.path, info, 0, 0)
    return Status("running" if all(running) else "degraded", folder.path, info, 0, 0)

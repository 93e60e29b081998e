"""Stops a private broker, and everything that belongs to it, by process number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stocklog.broker import processes
from stocklog.broker.folder import Folder
from stocklog.errors import BrokerStartError

STOP_TIMEOUT = 60.0
"""Seconds that a node gets to write what it holds and end by itself."""


def stop(
    dir: Path | str | None = None,  # noqa: A002
    *,
    delete: bool = False,
    on_progress: Callable[[str], None] = lambda _: None,
) -> bool:
    """Stops the private broker of a folder; its data stay unless `delete`.

    Args:
        dir: its private folder; under the user's state directory when None.
        delete: delete its data, settings and logs too.
        on_progress: called with a line of text before each step that takes long.

    Returns:
        Whether anything ran.

    Raises:
        BrokerStartError: the folder cannot be used, or a process does not end.
    """
    folder = Folder(dir)
    with folder.explained():
        if not folder.path.is_dir() or not folder.is_ours():
            return False
    with folder.locked(on_progress) as held:
        if not held:
            return False
        ran = bool(processes.all_of(folder))
        if ran:
            on_progress(f"stopping the broker in {folder.path}")
        stop_everything(folder, patience=STOP_TIMEOUT)
        if delete:
            folder.delete()
    return ran


def stop_everything(folder: Folder, *, patience: float) -> None:
    """Ends all nodes, then their port mapper, then whatever else is left; under the lock.

    Raises:
        BrokerStartError: a process does not end.
    """
    state = folder.state()
    mine = {process.pid: process for process in processes.all_of(folder)}
    known = [state.epmd, *(node.process for node in state.nodes)] if state else []
    for process in known:
        found = processes.alive(process, folder)
        if found is not None:
            mine.setdefault(found.pid, found)
    nodes = [process for process in mine.values() if processes.is_node(process)]
    processes.end(nodes, patience)
    # Helpers of a node end with it; the port mapper does not.
    left = processes.end(mine.values(), 5.0)
    left += processes.end(processes.all_of(folder), 5.0)
    if left:
        numbers = ", ".join(str(process.pid) for process in left)
        raise BrokerStartError(
            f"These processes of the broker in {folder.path} do not end: {numbers}",
            "The kernel holds them; look at them with `ps`",
        )
    with folder.explained():
        folder.forget_state()

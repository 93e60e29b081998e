"""Processes that we started: told apart from all others, found again, ended by number."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from typing import TypeAlias

import psutil

from stocklog.broker.config import MARK
from stocklog.broker.folder import Folder
from stocklog.broker.model import Process

Found: TypeAlias = psutil.Process
"""A living process."""

# psutil counts from the boot time, which moves a little when the clock is set.
_CLOCK_SLACK = 2.0


def describe(pid: int) -> Process:
    """The process `pid`, with what tells it from a later one of the same number."""
    try:
        return Process(pid, psutil.Process(pid).create_time())
    except psutil.Error:
        return Process(pid, time.time())


def alive(process: Process | None, folder: Folder) -> psutil.Process | None:
    """The process if it runs and is the one that we started for `folder`, else None."""
    if process is None:
        return None
    try:
        found = psutil.Process(process.pid)
        return found if not _has_ended(found) and _is_ours(found, process, folder) else None
    except psutil.Error:
        return None


def _has_ended(process: psutil.Process) -> bool:
    """Whether nothing of it is left but its status.

    The first thread of a killed process may be a zombie while another still gives back the
    memory; until that one has ended too, the process keeps its ports.
    """
    return bool(process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1)


def _is_ours(found: psutil.Process, process: Process, folder: Folder) -> bool:
    try:
        environment = found.environ()
    except (psutil.AccessDenied, psutil.ZombieProcess, OSError):
        environment = {}
    if environment:
        return bool(environment.get(MARK) == str(folder.path))
    return bool(abs(found.create_time() - process.created) < _CLOCK_SLACK)


def all_of(folder: Folder) -> list[psutil.Process]:
    """Every living process that carries the mark of `folder`, whoever started it and when."""
    found = []
    for process in psutil.process_iter():
        # Another user's process, one that has just ended, or one of the kernel's.
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or _has_ended(process):
                continue
            if process.environ().get(MARK) == str(folder.path):
                found.append(process)
    return found


def is_node(process: psutil.Process) -> bool:
    """Whether it is an Erlang machine that runs RabbitMQ."""
    with contextlib.suppress(psutil.Error):
        return "beam" in process.name() or "rabbit" in process.cmdline()
    return False


def end(processes: Iterable[psutil.Process], patience: float) -> list[psutil.Process]:
    """Asks all to end, waits, and kills those that have not after `patience` seconds.

    Returns:
        The ones that still run: none, unless the kernel holds them.
    """
    # psutil checks number and creation time before it signals, so a reused number is safe.
    living = [p for p in processes if p.is_running()]
    for process in living:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGTERM)
    living = wait_gone(living, patience)
    for process in living:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return wait_gone(living, 10.0)


def wait_gone(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Waits until all have ended, at most that long; returns those that have not."""
    deadline = time.monotonic() + seconds
    while True:
        processes = [p for p in processes if _is_there(p)]
        if not processes or time.monotonic() > deadline:
            return processes
        time.sleep(0.02)


def _is_there(process: psutil.Process) -> bool:
    # Our own ended children are zombies until somebody asks for their status.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    try:
        return bool(process.is_running() and not _has_ended(process))
    except psutil.Error:
        return False


def memory(processes: Iterable[psutil.Process]) -> int:
    """Resident bytes of all of them together."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def listens(process: psutil.Process, port: int) -> bool:
    """Whether that very process has a listener on `port`."""
    with contextlib.suppress(psutil.Error):
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1] == port:
                return True
    return False

"""What several tests of the broker need."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import psutil

from stocklog.broker import NodeInfo, processes
from stocklog.broker.folder import Folder
from stocklog.protocol import amqp
from stocklog.stream import StreamClient, StreamURI


def publish(info: NodeInfo, stream: str, bodies: list[bytes]) -> None:
    """Writes messages and waits for their confirms; makes the stream if need be."""
    with StreamClient(StreamURI.parse(info.uri)) as client:
        client.create_stream(stream)
        publisher = client.publisher(stream, sub_batch=1)
        publisher.send(*amqp.frame_bodies(bodies, plain=True))
        publisher.flush(20.0)
        assert publisher.confirmed == len(bodies)
        publisher.close()


def last_offset(info: NodeInfo, stream: str) -> int | None:
    """The offset of the stream's last message."""
    with StreamClient(StreamURI.parse(info.uri)) as client:
        return client.last_offset(stream)


def command(*words: str | Path) -> list[str]:
    """The command line `stocklog broker WORDS`."""
    return [sys.executable, "-m", "stocklog", "broker", *map(str, words)]


def run(*words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Runs `stocklog broker WORDS` to its end."""
    return subprocess.run(
        command(*words),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
        **options,  # type: ignore[call-overload]
    )


def belonging(folder: Path) -> list[psutil.Process]:
    """Every living process that was started for the folder."""
    return processes.all_of(Folder(folder))


def wait_until(what: Callable[[], object], seconds: float = 30.0) -> None:
    """Waits until `what` is true; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not true within {seconds:g} s"
        time.sleep(0.02)


def as_nobody(action: Callable[[], str]) -> str:
    """Runs `action` in a child process with the rights of `nobody`; returns its text.

    A fork, because an interpreter under /root could not be started by that user.
    """
    import encodings.idna  # noqa: F401  (the child cannot read the standard library)

    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads
        child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            os.chdir("/")
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            try:
                text = action()
                status = 0
            except BaseException as error:
                text = f"{type(error).__name__}: {error}"
            os.write(writing, text.encode())
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as file:
        said = file.read().decode()
    _, status = os.waitpid(child, 0)
    assert status == 0, said
    return said

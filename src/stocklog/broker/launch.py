"""Starts a program of the installation so that it outlives us, also inside a chroot.

A tree of `--rabbitmq-root` needs /proc, /dev and the private folder inside it. They are
mounted in a mount namespace of the program's own: no other process sees these mounts, and
the kernel undoes them when the program ends, however it ends. So nothing is left to undo,
and nobody who deletes the tree or the folder can reach across one of them.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

from stocklog.broker.config import INSIDE
from stocklog.broker.folder import Folder
from stocklog.broker.install import Installation
from stocklog.errors import BrokerStartError

_MOST_LOG = 64 << 10

# As many open files as allowed, up to what RabbitMQ can use: Erlang lays out tables for all.
_PREPARE = (
    'umask 077; files=$(ulimit -Hn); [ "$files" -le 65536 ] 2>/dev/null || files=65536;'
    ' ulimit -Sn "$files"; '
)
# A shell starts the program behind itself and ends: so it is nobody's child but init's, and no
# zombie is left when it ends before us. From here on every step is an exec, and `$!` stays
# the number of the program itself.
_DETACH = _PREPARE + 'log=$1; shift; "$@" </dev/null >"$log" 2>&1 & echo $!'
_ENTER = (
    'root=$1; folder=$2; shift 2; mount --rbind /proc "$root/proc"; mount --rbind /dev "$root/dev";'
    f' mount --bind "$folder" "$root{INSIDE}"; exec chroot "$root" "$@"'
)


def command(install: Installation, folder: Folder, words: list[str], place: str = ".") -> list[str]:
    """The command line that runs `words` inside the installation.

    Args:
        install: what to run.
        folder: the broker's folder.
        words: the program, as seen inside the installation, and its arguments.
        place: the working directory inside a tree, below the private folder.
    """
    if install.root is None:
        return words
    entered = ["/bin/sh", "-c", f'cd {INSIDE}/{place} && exec "$@"', "sh", *words]
    enter = ["/bin/sh", "-euc", _ENTER, "sh", str(install.root), str(folder.path), *entered]
    return [_tool("unshare"), "--mount", "--propagation", "private", "--", *enter]


def start(
    install: Installation,
    folder: Folder,
    words: list[str],
    *,
    environment: dict[str, str],
    log: Path,
    place: str = ".",
) -> int:
    """Starts `words` in a session of its own, its output in `log` (begun anew).

    Args:
        install: what to run.
        folder: the broker's folder.
        words: the program, as seen inside the installation, and its arguments.
        environment: the whole environment.
        log: where its output goes.
        place: the working directory, below the private folder. RabbitMQ drops a file there
            now and then (Mnesia, while a node joins a cluster).

    Returns:
        The number of its process.

    Raises:
        BrokerStartError: it cannot be started.
    """
    program = command(install, folder, words, place)
    detached = ["/bin/sh", "-c", _DETACH, "sh", str(log), *program]
    try:
        done = subprocess.run(  # noqa: S603
            detached,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=folder.path / place,
            env=environment,
            start_new_session=True,
            check=False,
        )
    except OSError as error:
        raise BrokerStartError(f"/bin/sh cannot be run: {error}") from error
    if not done.stdout.strip().isdigit():
        raise BrokerStartError(f"{words[0]} cannot be started: {tail(done.stderr, 5)}")
    return int(done.stdout)


def run(
    install: Installation,
    folder: Folder,
    words: list[str],
    *,
    environment: dict[str, str],
    text: str = "",
    timeout: float = 60.0,
) -> str:
    """Runs `words` to its end and returns its output.

    Raises:
        BrokerStartError: it failed or took longer than `timeout` seconds.
    """
    try:
        done = subprocess.run(  # noqa: S603
            ["/bin/sh", "-c", _PREPARE + 'exec "$@"', "sh", *command(install, folder, words)],
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=folder.path,
            env=environment,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BrokerStartError(f"{words[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        raise BrokerStartError(
            f"{' '.join(words[:2])} ended with status {done.returncode}:"
            f" {tail(done.stdout + done.stderr, 5)}"
        )
    return done.stdout


def tail(text: str, lines: int) -> str:
    """The last `lines` lines of `text` that are not blank."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


def text_of(log: Path) -> str:
    """The last part of a log; empty if there is none."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _MOST_LOG))
        return file.read().decode("utf-8", "replace")
    return ""


def remedy_for(install: Installation) -> str:
    """What may be wrong when the installation's programs do not run at all."""
    if install.root is None:
        return ""
    return (
        f"Entering {install.root} needs the right to mount (CAP_SYS_ADMIN), which root often"
        " lacks inside a container"
    )


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise BrokerStartError(f"`{name}` is not on PATH", "Install the package util-linux")
    return path

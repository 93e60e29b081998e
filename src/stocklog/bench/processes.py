"""Commands as processes of their own, with what each used."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stocklog.bench import launch
from stocklog.stream.connection import WAKE_UP

__all__ = ["Used", "run_measured"]


@dataclass(frozen=True, slots=True)
class Used:
    """What a command used.

    Attributes:
        status: its exit status; negative for the signal that ended it.
        cpu_seconds: user and system time, imports and preparation included.
        peak_bytes: largest resident memory, with that of processes it started.
    """

    status: int
    cpu_seconds: float
    peak_bytes: int


def run_measured(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    text: str = "",
    out: Any = None,
    err: Any = None,
) -> Used:
    """Run a command to its end; it is killed if this is left before.

    Args:
        command: an absolute path, and arguments.
        environment: all of its environment.
        text: its standard input.
        out: file for its standard output; None: this process's.
        err: the same for its standard error.
    """
    with tempfile.TemporaryDirectory(prefix="stocklog-bench-") as folder:
        found = Path(folder, "used.json")
        launcher = [sys.executable, "-I", "-S", launch.__file__, str(found)]
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [*launcher, *command],
            stdin=subprocess.PIPE, stdout=out, stderr=err, text=True, env=dict(environment),
        )  # fmt: skip
        try:
            _wait_for(process, text)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        return Used(*json.loads(found.read_text()))


def _wait_for(process: subprocess.Popen[str], text: str) -> None:
    """In pieces: once Polars is imported, Ctrl-C does not end a wait without end (`WAKE_UP`)."""
    while True:
        try:
            process.communicate(text, timeout=WAKE_UP)
        except subprocess.TimeoutExpired:
            text = ""  # sent already
        else:
            return

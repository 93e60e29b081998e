"""Runs the command line as a process of its own, as a user's shell would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 120


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str


def environment(place: Path, **more: str) -> dict[str, str]:
    """The tests' environment without what the developer has set, its state under `place`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("STOCKLOG_U", "STOCKLOG_D"))}
    return {**kept, "XDG_STATE_HOME": str(place), "NO_COLOR": "1", **more}


def start(
    words: list[str], env: Mapping[str, str], program: str = "-m stocklog", **how: object
) -> subprocess.Popen[str]:
    """Start it, with Ctrl-C in working order even where the tests run in the background."""
    return subprocess.Popen(
        [sys.executable, *program.split(), *words],
        env=dict(env),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **how,  # type: ignore[arg-type]
    )


def run(
    *words: str,
    env: Mapping[str, str],
    stdin: str | None = None,
    program: str = "-m stocklog",
    cwd: Path | None = None,
) -> Done:
    """Run it to its end."""
    process = start(
        list(words),
        env,
        program,
        cwd=cwd,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
    )
    try:
        out, err = process.communicate(stdin, timeout=PATIENCE)
    finally:
        process.kill()
    return Done(process.returncode, out, err)

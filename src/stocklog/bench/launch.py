"""Runs one command and writes down what it used; a small process between a benchmark and a run.

On Linux a process begins with the largest memory of the one that it was forked from: a benchmark
that holds a million updates would find as much in each of its contenders.

A command that has processes of its own is looked at five times a second: memory that they share
counts once (Linux's "proportional set size").
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from types import FrameType

__all__ = ["main"]

_LOOK_S = 0.2


def main() -> None:
    """Run `sys.argv[2:]`; write its status, CPU seconds and peak bytes as JSON to `sys.argv[1]`.

    SIGTERM kills the command. Ctrl-C is left to the command, which gets it as well.
    """
    file, *command = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pid = os.posix_spawn(command[0], command, os.environ, setsigdef=[signal.SIGINT])

    def kill(number: int, frame: FrameType | None) -> None:
        os.kill(pid, signal.SIGKILL)

    signal.signal(signal.SIGTERM, kill)
    together = _Together(pid)
    together.start()
    _, ended, usage = os.wait4(pid, 0)
    # Linux counts kilobytes, macOS bytes.
    peak = max(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024), together.peak)
    status = os.waitstatus_to_exitcode(ended)
    with open(file, "w", encoding="utf-8") as out:
        json.dump([status, usage.ru_utime + usage.ru_stime, peak], out)


class _Together(threading.Thread):
    """Looks at what a process and those that it started hold together, while it has any.

    Attributes:
        peak: the most, in bytes.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._pid = pid

    def run(self) -> None:
        """Until the process has ended."""
        while True:
            time.sleep(_LOOK_S)
            try:
                others = _read(f"/proc/{self._pid}/task/{self._pid}/children").split()
                if others:
                    held = [_held(pid) for pid in (str(self._pid), *others)]
                    self.peak = max(self.peak, sum(held))
            except (OSError, ValueError):
                return  # it has ended, or this is not Linux


def _held(pid: str) -> int:
    """Bytes of a process, its part of shared ones included."""
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _read(file: str) -> str:
    with open(file, encoding="ascii") as text:
        return text.read()


if __name__ == "__main__":
    main()

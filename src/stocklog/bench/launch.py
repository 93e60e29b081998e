"""Runs one command and writes down what it used; a small process between a benchmark and a run.

On Linux a process begins with the largest memory of the one that it was forked from: a benchmark
that holds a million updates would find as much in each of its contenders.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from types import FrameType

__all__ = ["main"]


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
    _, ended, usage = os.wait4(pid, 0)
    # Linux counts kilobytes, macOS bytes.
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    status = os.waitstatus_to_exitcode(ended)
    with open(file, "w", encoding="utf-8") as out:
        json.dump([status, usage.ru_utime + usage.ru_stime, peak], out)


if __name__ == "__main__":
    main()

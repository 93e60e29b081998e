#!/usr/bin/env python3
"""Ends what a run of the tests has left running: leftovers.py FOLDER [PATIENCE].

`./test` gives its tests a folder of their own as TMPDIR. Every process that they start inherits it,
and a RabbitMQ node carries its private folder, which lies below it, in its environment. Exit status
0 if none is left, 1 if any was after PATIENCE seconds (each is named on stderr, then ended).
"""

from __future__ import annotations

import contextlib
import sys
import time

import psutil

# A node that was just told to stop needs about a second to be gone.
PATIENCE = 8.0


def living(folder: str) -> list[psutil.Process]:
    """Returns the processes with the folder, or a path below it, in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            values = process.environ().values()
            named = any(value == folder or value.startswith(folder + "/") for value in values)
            if named and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):  # gone meanwhile, or another user's
            continue
    return found


def describe(process: psutil.Process) -> str:
    """Returns the process id and the beginning of its command line."""
    try:
        return f"{process.pid} {' '.join(process.cmdline())[:150]}"
    except psutil.Error:
        return str(process.pid)


def main(arguments: list[str]) -> int:
    """Waits, names, ends; returns the exit status."""
    if len(arguments) not in (1, 2):
        print(__doc__, file=sys.stderr)
        return 2
    patience = float(arguments[1]) if len(arguments) == 2 else PATIENCE
    deadline = time.monotonic() + patience
    while (left := living(arguments[0].rstrip("/"))) and time.monotonic() < deadline:
        time.sleep(0.3)
    if not left:
        return 0
    print("Still running after the tests, now ended:", file=sys.stderr)
    for process in left:
        print(f"  {describe(process)}", file=sys.stderr)
        with contextlib.suppress(psutil.Error):
            process.terminate()
    for process in psutil.wait_procs(left, timeout=5.0)[1]:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

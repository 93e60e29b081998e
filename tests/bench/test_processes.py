"""What a command used is its own, whatever the process that asks holds."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from stocklog.bench.processes import run_measured


def test_the_memory_of_the_asker_is_not_taken_for_the_commands() -> None:
    held = np.ones(600 << 20, np.uint8)
    small = run_measured([sys.executable, "-I", "-S", "-c", "pass"], os.environ)
    large = run_measured([sys.executable, "-I", "-S", "-c", "b = b'x' * (200 << 20)"], os.environ)
    assert held.size > 10 * small.peak_bytes
    assert 200 << 20 < large.peak_bytes < 300 << 20


def test_status_input_output_and_time_are_the_commands(tmp_path: Path) -> None:
    code = "import sys; print(sys.stdin.read()); sum(range(10**7)); sys.exit(7)"
    with (tmp_path / "out").open("w") as out:
        used = run_measured([sys.executable, "-c", code], os.environ, text="words", out=out)
    assert used.status == 7
    assert used.cpu_seconds > 0.01
    assert (tmp_path / "out").read_text() == "words\n"


def test_a_command_that_a_signal_ended_says_so() -> None:
    code = "import os; os.kill(os.getpid(), 9)"
    assert run_measured([sys.executable, "-c", code], os.environ).status == -signal.SIGKILL


def test_a_command_does_not_outlive_the_one_who_asked(tmp_path: Path) -> None:
    import polars  # noqa: F401 - it replaces SIGINT's handler, and waits go on

    started = tmp_path / "pid"
    code = (
        "import os, pathlib, time\n"
        f"pathlib.Path({str(started) + '.new'!r}).write_text(str(os.getpid()))\n"
        f"os.rename({str(started) + '.new'!r}, {str(started)!r})\n"
        "time.sleep(60)\n"
    )

    def interrupt() -> None:
        while not started.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_measured([sys.executable, "-c", code], os.environ)
    assert time.monotonic() - begun < 30
    pid = int(started.read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)

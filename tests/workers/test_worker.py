"""Another process does a part of the work, with the same results whatever becomes of it.

Each case runs in a process of its own, since only one without threads may be forked.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the worker is for Linux")

HEAD = """
    import gc, os, signal, sys, threading, time
    import numpy as np
    from stocklog.ledger.pipeline import mapped
    from stocklog.workers import Worker
    import work

    worker = Worker.start()
    assert worker is not None
    pid = worker._process.pid
"""

WORK = """
    import os, signal, time
    import numpy as np

    def squares(values):
        return np.full(values.size, os.getpid()), values * values

    def refuse(values):
        raise ValueError(f"no {values[0]}")

    def slow(values):
        time.sleep(0.05)
        return values + 1

    def whole(values):
        return np.zeros(4 << 20)  # more than a slot holds

    def die(values):
        if values[0] == 5 and os.getppid() == int(os.environ["PARENT"]):
            os.kill(os.getpid(), signal.SIGKILL)
        return values + 1
"""


def run(tmp_path: Path, script: str, *, status: int = 0) -> str:
    (tmp_path / "work.py").write_text(textwrap.dedent(WORK))
    code = textwrap.dedent(HEAD) + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    return done.stdout


def test_results_keep_their_order_and_both_processes_work(tmp_path: Path) -> None:
    run(tmp_path, """
        items = [np.arange(n, n + 1000) for n in range(200)]
        pids = set()
        for item, (who, found) in zip(items, mapped(iter(items), work.squares, helper=worker)):
            assert (found == item * item).all()
            pids.add(int(who[0]))
        assert pids == {os.getpid(), pid}, pids
        worker.close()
    """)  # fmt: skip


def test_results_that_are_kept_never_hold_the_work_up(tmp_path: Path) -> None:
    run(tmp_path, """
        items = [np.full(1000, n) for n in range(100)]
        kept = [found for _, found in mapped(iter(items), work.squares, helper=worker)]
        assert [int(found[0]) for found in kept] == [n * n for n in range(100)]
        assert worker.submit(work.squares, items[0]) is None  # all memory is taken
        del kept
        gc.collect()
        assert worker.submit(work.squares, items[3])()[1][0] == 9
        worker.close()
    """)  # fmt: skip


def test_an_error_is_the_same_as_without(tmp_path: Path) -> None:
    run(tmp_path, """
        try:
            list(mapped(iter([np.arange(7, 9)] * 3), work.refuse, helper=worker))
        except ValueError as error:
            assert str(error) == "no 7"
        else:
            raise AssertionError("no error")
        worker.close()
    """)  # fmt: skip


def test_a_result_that_has_no_room_is_made_here(tmp_path: Path) -> None:
    run(tmp_path, """
        assert worker.submit(work.whole, np.arange(3))().size == 4 << 20
        found = list(mapped(iter([np.arange(3)] * 5), work.whole, helper=worker))
        assert [each.size for each in found] == [4 << 20] * 5
        assert worker.submit(work.whole, np.zeros(8 << 20)) is None
        worker.close()
    """)  # fmt: skip


def test_a_worker_that_is_killed_costs_nothing_but_its_help(tmp_path: Path) -> None:
    run(tmp_path, """
        os.environ["PARENT"] = "0"
        items = [np.full(10, n) for n in range(60)]
        found = []
        for number, each in enumerate(mapped(iter(items), work.slow, helper=worker)):
            found.append(int(each[0]))
            if number == 3:
                os.kill(pid, signal.SIGKILL)
        assert found == list(range(1, 61)), found
        assert worker.submit(work.slow, items[0]) is None
        worker.close()
    """)  # fmt: skip


def test_it_is_not_ended_by_ctrl_c_but_by_its_owner(tmp_path: Path) -> None:
    run(tmp_path, """
        os.kill(pid, signal.SIGINT)
        assert worker.submit(work.squares, np.arange(3))()[1].tolist() == [0, 1, 4]
        worker.close()
        worker.close()
        assert worker.submit(work.squares, np.arange(3)) is None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            pass
        else:
            raise AssertionError("it runs on")
    """)  # fmt: skip


def test_it_ends_with_the_process_that_made_it_however_that_ends(tmp_path: Path) -> None:
    pid = int(run(tmp_path, """
        print(pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """, status=-signal.SIGKILL))  # fmt: skip
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    pytest.fail("it runs on")


def test_a_process_with_threads_gets_none(tmp_path: Path) -> None:
    run(tmp_path, """
        worker.close()
        assert Worker.start() is not None
        ended = threading.Event()
        threading.Thread(target=ended.wait).start()
        assert Worker.start() is None
        ended.set()
    """)  # fmt: skip


def test_a_process_in_which_polars_has_computed_gets_none(tmp_path: Path) -> None:
    run(tmp_path, """
        worker.close()
        import polars as pl
        other = Worker.start()
        assert other is not None
        other.close()
        pl.DataFrame({"a": [1, 2]}).lazy().select(pl.col("a").sort()).collect()
        assert Worker.start() is None
    """)  # fmt: skip

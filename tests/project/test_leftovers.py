"""scripts/leftovers.py: what a run of the tests has started does not run on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]


def leftovers(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TMPDIR": "/tmp"}  # the script itself names no other folder
    return subprocess.run(
        [sys.executable, ROOT / "scripts/leftovers.py", folder, "0.5"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def sleeper(**environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "300"], env={"PATH": os.environ["PATH"], **environment})


@pytest.mark.slow
def test_a_process_that_names_the_folder_or_a_place_below_it_is_named_and_ended(
    tmp_path: Path,
) -> None:
    left = [sleeper(TMPDIR=str(tmp_path)), sleeper(ANY_NODE=str(tmp_path / "node/n1"))]
    done = leftovers(tmp_path)
    assert done.returncode == 1
    for process in left:
        assert f"{process.pid} sleep 300" in done.stderr
        assert process.wait(timeout=10) != 0


def test_other_processes_are_left_alone(tmp_path: Path) -> None:
    other = sleeper(TMPDIR=f"{tmp_path}-of-another-run")
    try:
        assert leftovers(tmp_path).returncode == 0
        assert psutil.Process(other.pid).is_running()
    finally:
        other.kill()
        other.wait()

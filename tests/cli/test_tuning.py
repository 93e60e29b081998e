"""What a command's process is set to."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import gc, os, sys
from stocklog.cli.tuning import tune

tune()
import numpy as np

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

block = np.ones(16 << 20, np.uint8)
held = resident()
del block
print(os.environ["OPENBLAS_NUM_THREADS"], gc.get_threshold()[0], held - resident() < 1 << 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
@pytest.mark.parametrize("given", [None, "2"])
def test_freed_memory_stays_and_what_the_user_set_does_too(given: str | None) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    if given is not None:
        environment["OPENBLAS_NUM_THREADS"] = given
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == [given or "1", "50000", "True"]

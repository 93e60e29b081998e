"""What the measurements ran on: without it a figure says nothing."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from stocklog._version import __version__
from stocklog.errors import StocklogError

__all__ = ["check_disk", "command_line", "describe"]

_PACKAGES = ("rstream", "pika", "polars", "pyarrow", "numpy", "lz4")

# Greedy up to the last @ in front of the path: an @ in a password may stand as it is.
_PASSWORD = re.compile(r"(://[^/:@\s]+:)[^/\s]*@")


def describe(broker_version: str) -> dict[str, str]:
    """Machine and versions, as lines of a report."""
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "RabbitMQ": broker_version,
        "Python": platform.python_version(),
        "stocklog": __version__,
        **{name: found for name in _PACKAGES if (found := _installed(name))},
    }


def command_line() -> str:
    """What was typed, fit to stand in a report: passwords of URIs are masked."""
    words = [_PASSWORD.sub(r"\1***@", word) for word in sys.argv[1:]]
    return shlex.join(["stocklog", *words])


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def check_disk(folder: Path, needed: int) -> None:
    """Refuse to begin what would fill the disk: a full one blocks every publisher.

    Args:
        folder: on the broker's disk, if it is on this machine.
        needed: bytes.

    Raises:
        StocklogError: there is less than twice that.
    """
    free = shutil.disk_usage(folder).free
    if free < 2 * needed:
        raise StocklogError(
            f"The streams of this benchmark take up to {needed / 1e9:.1f} GB, and "
            f"{folder} has {free / 1e9:.1f} GB free",
            "Free some space, or give a smaller --count",
        )

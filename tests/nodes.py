"""Real RabbitMQ nodes for the tests: started on demand, once a session, never left behind.

Every folder of a session lies under one temporary folder. A watchdog process holds the
reading end of a pipe from pytest: when pytest ends, in whatever way, the pipe closes, and
the watchdog stops every broker under that folder and deletes it.

`python tests/nodes.py FOLDER` is that watchdog.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from stocklog import broker
from stocklog.broker import NodeInfo
from stocklog.broker.folder import Folder
from stocklog.broker.install import find_installation
from stocklog.errors import StocklogError

VERSIONS = ("3.10.8", "4.0.5")
# The system's package gives one of the two; the other lies in a tree that root can enter.
_SUITES = {"3.10.8": "bookworm", "4.0.5": "trixie"}
_TREE_VARIABLES = {
    "3.10.8": "STOCKLOG_TEST_RABBITMQ3_ROOT",
    "4.0.5": "STOCKLOG_TEST_RABBITMQ4_ROOT",
}
_PREFIX = "stocklog-tests-"
_REPOSITORY = Path(__file__).resolve().parent.parent


def in_ci() -> bool:
    """Whether a missing broker is a failure."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def system_version() -> str:
    """The RabbitMQ that is installed on this machine; empty if there is none."""
    try:
        return find_installation().version
    except StocklogError:
        return ""


def root_for(version: str) -> Path | None:
    """The tree that holds `version`; None when it is the system's own.

    Skips the test, or fails it in CI, when this version cannot be had here.
    """
    if system_version() == version:
        return None
    if os.geteuid() != 0:
        _missing(f"RabbitMQ {version} IS NOT TESTED: it lies in a tree that only root can enter")
    given = os.environ.get(_TREE_VARIABLES[version])
    if given:
        return Path(given)
    if shutil.which("debootstrap") is None:
        _missing(f"RabbitMQ {version} IS NOT TESTED: debootstrap is not installed")
    return lay_tree(version)


def lay_tree(version: str) -> Path:
    """Lays the tree with debootstrap, or finds it laid; minutes the first time."""
    script = _REPOSITORY / "scripts/rabbitmq-tree.sh"
    laid = subprocess.run(
        ["bash", str(script), _SUITES[version]], capture_output=True, text=True, check=False
    )
    if laid.returncode != 0:
        _missing(f"RabbitMQ {version} IS NOT TESTED: {script.name} failed: {laid.stderr[-2000:]}")
    path = Path(laid.stdout.strip().splitlines()[-1])
    os.environ[_TREE_VARIABLES[version]] = str(path)
    return path


def _missing(reason: str) -> None:
    if in_ci():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


class Nodes:
    """All brokers of one session."""

    def __init__(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._running: dict[str, NodeInfo] = {}
        self._watchdog = subprocess.Popen(
            [sys.executable, __file__, str(self.base)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def get(self, version: str, nodes: int = 1) -> NodeInfo:
        """The broker of that version, started if this is the first call for it."""
        root = root_for(version)
        key = f"{version}-{nodes}"
        info = self._running.get(key)
        # A test may have killed it: then it is mended, and the next test gets it whole.
        if info is None or broker.find_running(self.base / key) is None:
            info = broker.start(self.base / key, nodes=nodes, rabbitmq_root=root)
            self._running[key] = info
        return info

    def fresh(self, name: str) -> Path:
        """A folder for a broker of a test's own, which the test starts by itself."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.base)) / "b"

    def close(self) -> None:
        """Ends everything, and waits until it has ended."""
        assert self._watchdog.stdin is not None
        self._watchdog.stdin.close()
        status = self._watchdog.wait(timeout=120)
        assert status == 0, f"the watchdog of {self.base} ended with status {status}"


def brokers_under(base: Path) -> list[Path]:
    """Every private folder under `base`, known by its lock."""
    return sorted({path.parent for path in base.rglob("stocklog.lock") if path.is_file()})


def clean(base: Path) -> int:
    """Stops every broker under `base` and deletes it; the number of failures."""
    failures = 0
    for place in brokers_under(base):
        try:
            # No data are wanted any more, so no clean stop either; what an `up` that was
            # killed left under the lock is found by its mark.
            from stocklog.broker import processes

            processes.end(processes.all_of(Folder(place)), 0.0)
            broker.stop(place, delete=True)
        except StocklogError as error:
            print(f"{place}: {error}", file=sys.stderr)
            failures += 1
    if not failures:
        shutil.rmtree(base, ignore_errors=True)
    return failures


def watch(base: Path) -> int:
    """Waits for the end of pytest, then cleans."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    return min(clean(base), 100)


if __name__ == "__main__":
    sys.exit(watch(Path(sys.argv[1])))

"""Runs what the documents say, as somebody at a terminal would who has a clean copy of the tree."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from docpages import ROOT, Block

BLOCK_TIMEOUT = 300.0
_NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", "uv.lock", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info"
)


def clean_copy(target: Path) -> Path:
    """Copies what git knows or would take (not what it ignores), as it is in the work tree."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target / name)
    else:
        shutil.copytree(ROOT, target, ignore=_NOT_COPIED, dirs_exist_ok=True)
    return target


def environment(state: Path) -> dict[str, str]:
    """A new terminal's: no virtual environment, no broker of anyone else's."""
    mine = {
        k: v for k, v in os.environ.items() if not k.startswith(("STOCKLOG_URI", "VIRTUAL_ENV"))
    }
    own = str(Path(sys.prefix) / "bin")
    mine["PATH"] = os.pathsep.join(p for p in mine["PATH"].split(os.pathsep) if p != own)
    mine["XDG_STATE_HOME"] = str(state)
    # ./test stands in the documents too: there it finds all tests, and runs none a second time.
    mine["PYTEST_ADDOPTS"] = "--collect-only -q"
    mine.pop("PYTEST_CURRENT_TEST", None)
    return mine


class Terminal:
    """A place, its environment, and what is still open in it.

    Args:
        place: the root of a copy of the tree.
        state: the folder for private brokers; nobody else's broker is found.
        activated: whether `.venv` is activated in each new terminal.
    """

    def __init__(self, place: Path, state: Path, *, activated: bool = False) -> None:
        self.place = place
        self.environment = environment(state)
        self._logs = state.parent / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        self._open: list[tuple[Block, subprocess.Popen[bytes], Path]] = []
        if activated:
            self.environment["PATH"] = f"{place}/.venv/bin{os.pathsep}{self.environment['PATH']}"

    def run(self, block: Block) -> str:
        """Runs a block to its end, or until it says that it waits; returns what it printed."""
        log = self._logs / f"{len(list(self._logs.iterdir()))}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self._command(block),
                cwd=self.place,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if block.until:
            self._open.append((block, process, log))
            self._await(block, process, log)
        else:
            self._finish(block, process, log)
        return log.read_text(errors="replace")

    def interrupt_all(self) -> list[str]:
        """Presses Ctrl-C in every terminal that is still open; returns what each had printed."""
        printed = []
        while self._open:
            block, process, log = self._open.pop()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            self._finish(block, process, log)
            printed.append(log.read_text(errors="replace"))
        return printed

    def close(self) -> None:
        """Ends whatever a failed block has left, and the private broker."""
        for _, process, _ in self._open:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        down = [sys.executable, "-m", "stocklog", "broker", "down", "--delete", "--yes"]
        subprocess.run(down, env=self.environment, check=False, capture_output=True, timeout=120)

    def _command(self, block: Block) -> list[str]:
        if block.language == "python":
            return [str(self.place / ".venv/bin/python"), "-W", "error", "-c", block.code]
        text = block.code if block.language == "sh" else "\n".join(block.commands)
        return ["bash", "-e", "-o", "pipefail", "-c", text]

    def _await(self, block: Block, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + BLOCK_TIMEOUT
        while block.until not in log.read_text(errors="replace"):
            assert process.poll() is None, self._story(block, process, log, "ended")
            assert time.monotonic() < deadline, self._story(block, process, log, "never said so")
            time.sleep(0.1)

    def _finish(self, block: Block, process: subprocess.Popen[bytes], log: Path) -> None:
        try:
            process.wait(BLOCK_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise AssertionError(self._story(block, process, log, "did not end")) from None
        assert process.returncode == block.status, self._story(block, process, log, "ended")

    def _story(self, block: Block, process: subprocess.Popen[bytes], log: Path, what: str) -> str:
        end = log.read_text(errors="replace")[-3000:]
        return (
            f"{block}: {what} (status {process.returncode}, wanted {block.status}"
            f"{f', wanted to read {block.until!r}' if block.until else ''})\n{block.code}---\n{end}"
        )


@contextlib.contextmanager
def terminal(place: Path, state: Path, *, activated: bool = False) -> Iterator[Terminal]:
    """A terminal whose broker and processes are gone afterwards, however it went."""
    one = Terminal(place, state, activated=activated)
    try:
        yield one
    finally:
        one.close()

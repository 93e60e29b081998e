"""What changes when a person sits at a terminal: questions, the bar, colours."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shell import PATIENCE, Done

Call = Callable[..., Done]


class Terminal:
    """A command on a pseudo-terminal, stdin and stderr at least; what it shows is kept."""

    def __init__(self, words: list[str], env: dict[str, str], *, stdout: bool = False) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stocklog", *words],
            env={**env, "TERM": "xterm-256color", "COLUMNS": "120"},
            stdin=theirs,
            stdout=theirs if stdout else subprocess.DEVNULL,
            stderr=theirs,
        )
        os.close(theirs)
        self.shown = ""
        self._came = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: nobody has the other side any more
            while data := os.read(self._ours, 65536):
                with self._came:
                    self.shown += data.decode(errors="replace")
                    self._came.notify_all()

    def wait_for(self, text: str) -> None:
        with self._came:
            assert self._came.wait_for(lambda: text in self.shown, PATIENCE), self.shown

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self) -> int:
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(5)
        os.close(self._ours)


@pytest.fixture
def terminal(on_broker: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_one(*words: str, stdout: bool = False, colours: bool = True) -> Terminal:
        env = dict(on_broker)
        if colours:
            del env["NO_COLOR"]
        opened.append(Terminal(list(words), env, stdout=stdout))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def filled(stocklog_on: Call, stream_name: str) -> str:
    assert stocklog_on("produce", "-n", "2000", "-s", stream_name, "--seed", "1").status == 0
    return stream_name


@pytest.mark.parametrize(("answer", "status"), [("y\r", 0), ("n\r", 130), ("\r", 130)])
def test_delete_asks_and_says_what_would_go(
    terminal: Callable[..., Terminal], stocklog_on: Call, filled: str, answer: str, status: int
) -> None:
    asked = terminal("stream", "delete", filled)
    asked.wait_for(f"Delete '{filled}' and its 2,000 messages")
    assert stocklog_on("stream", "info", filled).status == 0
    asked.type(answer)
    assert asked.end() == status
    assert ("deleted the stream" in asked.shown) is (status == 0)
    assert stocklog_on("stream", "info", filled).status == (1 if status == 0 else 0)


def test_delete_with_yes_does_not_ask(terminal: Callable[..., Terminal], filled: str) -> None:
    told = terminal("stream", "delete", filled, "--yes")
    assert told.end() == 0
    assert "Delete '" not in told.shown


def test_delete_where_nobody_can_answer_is_a_usage_error(
    stocklog: Call, stocklog_on: Call, filled: str, on_broker: dict[str, str]
) -> None:
    done = stocklog("stream", "delete", filled, STOCKLOG_URI=on_broker["STOCKLOG_URI"])
    assert done.status == 2
    assert "--yes" in done.err
    assert stocklog_on("stream", "info", filled).status == 0


BAR = "━"


@pytest.mark.parametrize(
    "words",
    [
        ["produce", "-n", "2000", "--rate", "1000"],
        ["load", "FEED"],
        ["consume", "first", "-e", "-f", "none"],
    ],
    ids=lambda words: words[0],
)
def test_long_work_shows_a_bar_with_its_rate_on_a_terminal(
    terminal: Callable[..., Terminal],
    stocklog_on: Call,
    filled: str,
    words: list[str],
    tmp_path: Path,
) -> None:
    feed = tmp_path / "feed.jsonl"
    stocklog_on("consume", "first", "-e", "-f", "jsonl", "-o", str(feed), "-s", filled)
    words = [str(feed) if word == "FEED" else word for word in words]
    seen = terminal(*words, "-s", filled)
    assert seen.end() == 0
    assert BAR in seen.shown
    assert words[0] in seen.shown
    assert "updates, " in seen.shown
    plain = terminal(*words, "-s", filled, "-q")
    assert plain.end() == 0
    assert plain.shown == ""


def test_data_on_the_terminal_itself_is_not_mixed_with_a_bar(
    terminal: Callable[..., Terminal], filled: str
) -> None:
    seen = terminal("consume", "first", "-e", "-s", filled, stdout=True)
    assert seen.end() == 0
    assert BAR not in seen.shown
    assert seen.shown.count("\n") >= 2000


def test_without_a_terminal_there_is_neither_bar_nor_colour(
    stocklog: Call, on_broker: dict[str, str], filled: str
) -> None:
    where = {"STOCKLOG_URI": on_broker["STOCKLOG_URI"], "NO_COLOR": "", "TERM": "xterm-256color"}
    for words in (["produce", "-n", "2000"], ["consume", "first", "-e"], ["stream", "info"]):
        named = [*words, filled] if words[0] == "stream" else [*words, "-s", filled]
        done = stocklog(*named, **where)
        assert done.status == 0
        assert "\x1b" not in done.out + done.err
        assert BAR not in done.out + done.err


def test_no_color_turns_colours_off_on_a_terminal(
    terminal: Callable[..., Terminal], filled: str
) -> None:
    words = ("produce", "-n", "1000", "--rate", "1000", "-s", filled)
    coloured, plain = terminal(*words), terminal(*words, colours=False)
    assert (coloured.end(), plain.end()) == (0, 0)
    assert "\x1b[38;5;" in coloured.shown
    assert "\x1b[38;5;" not in plain.shown
    assert "\x1b[3" not in plain.shown

"""Fixtures for commands as processes."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from shell import Done, environment, run, start

from stocklog.broker import NodeInfo
from stocklog.cli import main
from stocklog.stream import StreamClient


@pytest.fixture
def alone(tmp_path: Path) -> dict[str, str]:
    """An environment in which no broker is named and none was ever started."""
    return environment(tmp_path / "state")


@pytest.fixture
def stocklog(alone: dict[str, str]) -> Callable[..., Done]:
    """Runs the command line where there is no broker."""

    def call(*words: str, stdin: str | None = None, **more: str) -> Done:
        return run(*words, env={**alone, **more}, stdin=stdin)

    return call


@pytest.fixture
def launch() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts commands that go on; whatever the test does, they are gone after it."""
    started: list[subprocess.Popen[str]] = []

    def call(words: list[str], env: dict[str, str], **how: Any) -> subprocess.Popen[str]:
        started.append(start(words, env, **how))
        return started[-1]

    yield call
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def on_broker(alone: dict[str, str], one_broker: NodeInfo) -> dict[str, str]:
    """An environment that names a broker."""
    return {**alone, "STOCKLOG_URI": one_broker.uri}


@pytest.fixture
def on(alone: dict[str, str], broker: NodeInfo) -> dict[str, str]:
    """An environment that names a broker of each version in turn."""
    return {**alone, "STOCKLOG_URI": broker.uri}


@pytest.fixture
def client(broker: NodeInfo) -> Iterator[StreamClient]:
    """Connected to the broker that `on` names."""
    with StreamClient(broker.uri) as made:
        yield made


@pytest.fixture
def stocklog_on(on_broker: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Runs the command line on a real broker, in this process: most tests need no other."""
    for name in ("STOCKLOG_URI", "XDG_STATE_HOME", "NO_COLOR"):
        monkeypatch.setenv(name, on_broker[name])

    def call(*words: str) -> Done:
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
        with redirect_stdout(out), redirect_stderr(err):
            status = main(words)
        texts = []
        for stream in (out, err):
            stream.flush()
            texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
        return Done(status, *texts)

    return call

"""Fixtures for commands as processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from shell import Done, environment, run

from stocklog.broker import NodeInfo


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
def on_broker(alone: dict[str, str], one_broker: NodeInfo) -> dict[str, str]:
    """An environment that names a broker."""
    return {**alone, "STOCKLOG_URI": one_broker.uri}


@pytest.fixture
def stocklog_on(on_broker: dict[str, str]) -> Callable[..., Done]:
    """Runs the command line on a real broker."""

    def call(*words: str, stdin: str | None = None, **more: str) -> Done:
        return run(*words, env={**on_broker, **more}, stdin=stdin)

    return call

"""Fixtures that every part of the tests may use: real brokers, fresh stream names."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from hypothesis import settings

from examples import QUICK, examples
from nodes import VERSIONS, Nodes
from postgres_server import PostgresServer
from stocklog.broker import NodeInfo
from store_driver import fresh_file

STORES = ("sqlite", "postgresql")


def pytest_configure() -> None:
    """Fewer examples for `./test quick`; no ignored signals, which every command would inherit.

    A shell starts `command &` with SIGINT ignored, and `nohup` ignores SIGHUP; whoever runs the
    tests in such a way would see each test of Ctrl-C fail.
    """
    settings.register_profile("quick", max_examples=examples(100))
    if QUICK:
        settings.load_profile("quick")
    for number, usual in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGQUIT, signal.SIG_DFL),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, usual)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests by what they use, so that no test can forget it."""
    for item in items:
        used = set(getattr(item, "fixturenames", ()))
        if used & {"nodes", "broker", "one_broker", "cluster"}:
            item.add_marker(pytest.mark.broker)
        drawn = getattr(getattr(item, "callspec", None), "params", {})
        if "postgres" in used or drawn.get("stores") == "postgresql":
            item.add_marker(pytest.mark.postgresql)
        if used & {"cluster", "stocklog", "launch"}:
            # Three nodes, or commands as processes of their own, which start in half a second.
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def nodes() -> Iterator[Nodes]:
    """Starts brokers on demand; all are gone at the end."""
    all_nodes = Nodes()
    yield all_nodes
    all_nodes.close()


@pytest.fixture(params=VERSIONS)
def broker(nodes: Nodes, request: pytest.FixtureRequest) -> NodeInfo:
    """A broker of each version in turn, the same one for all tests of the session."""
    return nodes.get(request.param)


@pytest.fixture
def one_broker(nodes: Nodes) -> NodeInfo:
    """The broker of the version that is the system's own, or else of the newest."""
    from nodes import system_version

    own = system_version()
    return nodes.get(own if own in VERSIONS else VERSIONS[-1])


@pytest.fixture
def cluster(nodes: Nodes) -> NodeInfo:
    """Three nodes of 4.0.5 on this machine; `uri` lists all three."""
    return nodes.get("4.0.5", nodes=3)


@pytest.fixture
def stream_name() -> str:
    """A stream's name that nobody has used."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server, the same for all tests of the session."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture(scope="session", params=STORES)
def stores(request: pytest.FixtureRequest) -> Callable[[], AbstractContextManager[str]]:
    """Makes stores of each kind in turn: `with stores() as uri`; none is there before."""
    if request.param == "sqlite":
        return fresh_file
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.fresh


@pytest.fixture
def store(stores: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """The URI of a store that is not there yet, of each kind in turn."""
    with stores() as uri:
        yield uri

"""Fixtures for tests that start a broker of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nodes import VERSIONS, Nodes, clean, root_for, system_version


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever starts a node of its own takes more than a few seconds."""
    for item in items:
        if {"folder", "nobodys"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def folder(nodes: Nodes) -> Iterator[Path]:
    """A folder that does not exist yet; what runs in it at the end is ended."""
    place = nodes.fresh("own")
    yield place
    assert clean(place.parent) == 0


@pytest.fixture(params=VERSIONS)
def root(request: pytest.FixtureRequest, nodes: Nodes) -> Path | None:
    """What to give as `rabbitmq_root` for each version in turn."""
    return root_for(request.param)


@pytest.fixture
def one_root(nodes: Nodes) -> Path | None:
    """What to give as `rabbitmq_root` where one version is enough."""
    own = system_version()
    return root_for(own if own in VERSIONS else VERSIONS[-1])

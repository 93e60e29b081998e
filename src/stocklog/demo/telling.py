"""What the parts of the demo share: how they tell, how they fail, streams of their own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from stocklog.errors import StocklogError
from stocklog.ledger.streams import DEFAULT_ARGUMENTS

if TYPE_CHECKING:
    import polars as pl

    from stocklog.stream import StreamClient

__all__ = ["DemoError", "Teller", "demo_stream", "expect"]


class DemoError(StocklogError):
    """A step did not show what it should."""


class Teller(Protocol):
    """Shows what happens."""

    def step(self, text: str) -> None:
        """What is done now, in a sentence or two."""

    def fact(self, text: str) -> None:
        """What was seen."""

    def table(self, frame: pl.DataFrame) -> None:
        """Rows of an answer."""


@contextmanager
def demo_stream(client: StreamClient) -> Iterator[str]:
    """A stream of the demo's own, deleted afterwards."""
    name = f"stocklog_demo_{secrets.token_hex(4)}"
    client.create_stream(name, DEFAULT_ARGUMENTS)
    try:
        yield name
    finally:
        client.delete_stream(name)


def expect(what: str, seen: object, wanted: object) -> None:
    """Compare what a step saw with what it must see.

    Raises:
        DemoError: it is something else.
    """
    if seen != wanted:
        raise DemoError(
            f"{what}: {_shown(seen)} instead of {_shown(wanted)}",
            "This is a defect of stocklog or of the broker: please report it",
        )


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)

"""A command's connection to the broker, named on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stocklog.cli.options import BrokerChoice
from stocklog.cli.report import Report

if TYPE_CHECKING:
    from stocklog.ledger.connect import Connection

__all__ = ["connected"]


@contextmanager
def connected(broker: BrokerChoice, report: Report, *, start: bool = False) -> Iterator[Connection]:
    """Find the broker, say which it is, and close the connection at the end.

    Args:
        broker: what the user said about it.
        report: says which broker is used.
        start: start the private node if none answers.

    Yields:
        The connection.
    """
    from stocklog.ledger.connect import open_connection

    connection = open_connection(
        broker.uri, origin=broker.origin, start=start, tls_ca=broker.tls_ca, say=report.note
    )
    try:
        report.note(f"broker {connection.where}", "broker", connection.facts())
        yield connection
    finally:
        connection.client.close()

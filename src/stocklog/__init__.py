"""stocklog: inventory updates by the million over RabbitMQ Streams.

What a reader meets first:

    import stocklog

    with stocklog.connect() as client:
        with client.producer("inventory_updates") as producer:
            producer.send(updates)              # a Polars or Arrow table, or one Update
        for batch in client.consumer("inventory_updates", offset="first"):
            print(batch.offsets, batch.to_polars())

`import stocklog` itself loads nothing heavy: each public name is imported when
it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from stocklog._version import __version__

if TYPE_CHECKING:
    from stocklog.errors import (
        AuthenticationError,
        BrokerNotFoundError,
        BrokerStartError,
        CertificateError,
        CommandError,
        ConnectionLostError,
        FeedError,
        InvalidUpdateError,
        MessageTooLargeError,
        ProducerConflictError,
        ProtocolError,
        RegisterError,
        StocklogError,
        StoreError,
        StreamError,
        StreamNotFoundError,
        UnconfirmedError,
        UsageError,
    )
    from stocklog.inventory.update import Update
    from stocklog.ledger.client import Batch, Client, Consumer, Producer, connect
    from stocklog.ledger.questions import Ledger, open_ledger

__all__ = [
    "AuthenticationError",
    "Batch",
    "BrokerNotFoundError",
    "BrokerStartError",
    "CertificateError",
    "Client",
    "CommandError",
    "ConnectionLostError",
    "Consumer",
    "FeedError",
    "InvalidUpdateError",
    "Ledger",
    "MessageTooLargeError",
    "Producer",
    "ProducerConflictError",
    "ProtocolError",
    "RegisterError",
    "StocklogError",
    "StoreError",
    "StreamError",
    "StreamNotFoundError",
    "UnconfirmedError",
    "Update",
    "UsageError",
    "__version__",
    "connect",
    "open_ledger",
]

_HOMES = {
    **dict.fromkeys(("Batch", "Client", "Consumer", "Producer", "connect"), "ledger.client"),
    **dict.fromkeys(("Ledger", "open_ledger"), "ledger.questions"),
    "Update": "inventory.update",
}


def __getattr__(name: str) -> object:
    """Import a public name at its first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'stocklog' has no attribute {name!r}")
    value = getattr(import_module(f"stocklog.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

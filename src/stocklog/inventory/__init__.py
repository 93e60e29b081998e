"""The inventory domain: the update, its JSON form, its generator and its files.

Knows nothing of RabbitMQ. Names are imported when they are first used, so that
`import stocklog.inventory` alone costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "REASONS": "update",
    "REQUIRED": "update",
    "TYPES": "update",
    "UPDATE_SCHEMA": "update",
    "Update": "update",
    "Validation": "update",
    "to_frame": "update",
    "validate": "update",
    "Decoded": "codec",
    "Encoded": "codec",
    "decode": "codec",
    "decode_row": "codec",
    "encode": "codec",
    "encode_row": "codec",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)

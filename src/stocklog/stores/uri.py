"""Which store: `sqlite:///relative.db`, `sqlite:////absolute/file.db`, `postgresql://...`."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from urllib.parse import unquote

import platformdirs

from stocklog.errors import UsageError
from stocklog.stores.model import Store
from stocklog.stores.sqlite import SqliteStore

__all__ = ["default_path", "open_store", "parse_store"]

_LONGEST = 200
_FORMS = (
    "Write sqlite:///file.db (relative to here), sqlite:////folder/file.db (absolute) or "
    "postgresql://user@host:5432/database"
)
_SERVERS = ("postgresql://", "postgres://")


def default_path(stream: str) -> Path:
    """The file of a stream's store in the user's state directory.

    Args:
        stream: its name. Characters that have no place in a file name are written as
            `%` and their number, so that two streams never share a file.
    """
    safe = re.sub(r"[^A-Za-z0-9_.-]|^\.", _escaped, stream)
    if len(safe) > _LONGEST:
        digest = hashlib.sha256(stream.encode()).hexdigest()[:16]
        safe = f"{safe[:_LONGEST]}%{digest}"
    return Path(platformdirs.user_state_dir("stocklog")) / "stores" / f"{safe}.db"


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode())


def parse_store(uri: str) -> Path:
    """The file that the URI of a store in SQLite names.

    Args:
        uri: three slashes: relative to the working directory; four: absolute. `%20` and the
            like are read as in any URI.

    Raises:
        UsageError: it is no URI of a store.
    """
    scheme, _, rest = uri.partition("://")
    if scheme != "sqlite" or not rest.startswith("/") or not unquote(rest[1:]).strip("/"):
        raise UsageError(f"The store {uri!r} is not understood", _FORMS)
    return Path(unquote(rest[1:]))


def open_store(uri: str | None, stream: str, *, writing: bool = False) -> Store:
    """Open a store.

    Args:
        uri: of the store; `None` is the default, in the user's state directory.
        stream: whose store the default is.
        writing: to write it; then it is made if it is missing.

    Raises:
        UsageError: the URI cannot be meant.
        StoreError: it is missing, is no store, cannot be reached, or another process
            writes it.
    """
    if uri is not None and uri.startswith(_SERVERS):
        return _open_on_server(uri, writing=writing)
    path = default_path(stream) if uri is None else parse_store(uri)
    return SqliteStore(path, writing=writing)


def _open_on_server(uri: str, *, writing: bool) -> Store:
    try:
        from stocklog.stores.postgres import PostgresStore
    except ImportError as error:
        raise UsageError(
            f"A store in PostgreSQL needs psycopg, which cannot be loaded: {error}",
            "Install it with stocklog's extra: `uv sync --extra postgresql`, or "
            "`pip install 'stocklog[postgresql]'`",
        ) from None
    return PostgresStore(uri, writing=writing)

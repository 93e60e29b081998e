"""An SQLite file that is a store: opened, locked, and explained when it fails."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import polars as pl

from stocklog.errors import StoreError
from stocklog.stores.locking import WriterLock
from stocklog.stores.model import FORMAT
from stocklog.stores.schema import APPLICATION_ID, SCHEMA

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["SqliteFile"]

_WAIT = 30.0
_WAL_PAGES = 16_384
"""Pages (128 MB) after which the WAL goes into the file. That waits for the disk, as long as
all else of a commit of 400,000 keys takes, and most pages of balances are in several commits."""
_REBUILD = "Name another file with --store, and build it from the log with `stocklog project`"


class SqliteFile:
    """An open SQLite file with the tables of a store.

    Args:
        path: the file.
        writing: open it to write; it is made if it is missing.

    Raises:
        StoreError: it is missing, is no store, or cannot be opened.
    """

    def __init__(self, path: Path, *, writing: bool = False) -> None:
        self._path = path
        self._lock: WriterLock | None = None
        self._is_indexed = False
        if not writing and not path.exists():
            raise StoreError(
                f"There is no store at {path}", "`stocklog project` makes it from the log"
            )
        if writing:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = WriterLock(path)
        try:
            with self._explained():
                self._db = self._connect(writing=writing)
        except BaseException:
            self.close()
            raise

    def _connect(self, *, writing: bool) -> sqlite3.Connection:
        mode = "rwc" if writing else "ro"
        uri = f"{self._path.absolute().as_uri()}?mode={mode}"
        # One thread at a time, though not always the same: see `Projection`.
        db = sqlite3.connect(
            uri, uri=True, timeout=_WAIT, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(db, writing=writing)
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection, *, writing: bool) -> None:
        is_new = not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if is_new and writing:
            db.execute("PRAGMA page_size = 8192")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            statements = [text for text in SCHEMA.split(";\n") if text.strip()]
            db.execute("BEGIN IMMEDIATE")
            for statement in statements:
                db.execute(statement)
            db.execute("INSERT INTO meta VALUES ('format', ?)", (str(FORMAT),))
            db.execute("COMMIT")
        elif db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID or is_new:
            raise StoreError(f"{self._path} is no store of stocklog", "Name another with --store")
        form = db.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()[0]
        if form != str(FORMAT):
            raise StoreError(
                f"{self._path} has the layout {form}, this stocklog reads {FORMAT}", _REBUILD
            )
        query = "SELECT count(*) FROM sqlite_schema WHERE name = 'keys_place'"
        self._is_indexed = bool(db.execute(query).fetchone()[0])
        if writing:
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA cache_size = -65536")
            db.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            remedy = "Is there room on the disk, and may you write there?"
            if "locked" in str(error):
                remedy = "Another program holds a transaction open on it; end that one"
            elif "not a database" in str(error) or "malformed" in str(error):
                remedy = _REBUILD
            raise StoreError(f"SQLite, {self._path}: {error}", remedy) from error

    @property
    def where(self) -> str:
        """The file."""
        return str(self._path)

    def close(self) -> None:
        """Let go of the file."""
        db = getattr(self, "_db", None)
        if db is not None:
            db.close()
        if self._lock is not None:
            self._lock.release()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Within it everything that is read is of one moment; one may lie within another."""
        if self._db.in_transaction:
            yield
            return
        with self._explained():
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                self._db.execute("COMMIT")

    def _integers(self, query: str, arguments: Sequence[Any] = ()) -> I64:
        """The rows of a query as int64[columns, rows]."""
        with self._explained():
            cursor = self._db.execute(query, arguments)
            width = len(cursor.description)
            flat = np.fromiter(chain.from_iterable(cursor), np.int64)
        return np.ascontiguousarray(flat.reshape(-1, width).T)

    def _texts(self, query: str) -> pl.Series:
        with self._explained():
            return pl.Series("name", [row[0] for row in self._db.execute(query)], pl.String)

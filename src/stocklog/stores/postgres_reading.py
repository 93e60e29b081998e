"""What a PostgreSQL store tells: the reading half of `PostgresStore`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np
import polars as pl
from psycopg.pq import TransactionStatus

from stocklog.inventory.balances import Balances
from stocklog.stores.model import Names, Position, Sources
from stocklog.stores.postgres_columns import BigintArray, integers_of
from stocklog.stores.postgres_connect import Target, explained
from stocklog.stores.postgres_schema import KEYS_A_PART
from stocklog.stores.sql_history import SqlHistory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stocklog.stores.postgres_connect import Connection

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["PostgresReader"]

_KEYS_AT_ONCE = 1 << 22
"""Keys in one array: the server bounds a value to 1 GB."""


def _own(query: str) -> bytes:
    """A query as psycopg takes it; ours hold no question mark but for arguments."""
    return query.replace("?", "%s").encode()


class PostgresReader(SqlHistory):
    """Reads a store.

    Args:
        db: a session of `connect`.
        target: where it is.
    """

    BLOCK_ORDER = "number"
    ONE_OF_SEGMENTS = "segment = ANY(?)"
    OTHER_STORE = "Name another schema in the URI (?schema=NAME): each stream has one of its own"

    def __init__(self, db: Connection, target: Target) -> None:
        self._db = db
        self._target = target

    @property
    def where(self) -> str:
        """The URI, without a password."""
        return self._target.where

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Within it everything that is read is of one moment; one may lie within another."""
        if self._db.info.transaction_status != TransactionStatus.IDLE:
            yield
            return
        with explained(self._target):
            self._db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            yield
        finally:
            if not self._db.closed:
                with explained(self._target):
                    self._db.execute("ROLLBACK")

    def _rows(self, query: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query; blobs come as they are."""
        with explained(self._target), self._db.cursor(binary=True) as cursor:
            return cursor.execute(_own(query), arguments).fetchall()

    def _list(self, numbers: Sequence[int]) -> BigintArray:
        return BigintArray(np.array(numbers, np.int64))

    def _execute(self, statement: str, arguments: Sequence[Any] = ()) -> None:
        self._db.execute(_own(statement), arguments)

    def _value(self, query: str, arguments: Sequence[Any] = ()) -> Any:
        """The first value of the first row; `None` if there is no row."""
        rows = self._rows(query, arguments)
        return rows[0][0] if rows else None

    # -- where it stands and what it knows --------------------------------------------------

    def position(self) -> Position | None:
        """Where it stands; `None` for a new one."""
        text = self._value("SELECT value FROM meta WHERE name = 'position'")
        return None if text is None else msgspec.json.decode(text, type=Position)

    def _texts(self, table: str) -> pl.Series:
        rows = self._rows(f"SELECT name FROM {table} ORDER BY code")  # noqa: S608
        return pl.Series("name", [row[0] for row in rows], pl.String)

    def names(self) -> Names:
        """Every name and key."""
        key_skus, key_locations = self._columns("keys", "key", ("sku", "location"))
        return Names(self._texts("skus"), self._texts("locations"), key_skus, key_locations)

    def sources(self) -> Sources:
        """Every source."""
        rows = self._rows("SELECT name, newest, sequence FROM sources ORDER BY code")
        numbers = np.array([row[1:] for row in rows], np.int64).reshape(-1, 2)
        names = pl.Series("name", [row[0] for row in rows], pl.String)
        return Sources(names, numbers[:, 0].copy(), numbers[:, 1].copy())

    def key(self, sku: str, location: str) -> int | None:
        """The code of one key."""
        found: int | None = self._value(
            "SELECT key FROM keys WHERE sku = (SELECT code FROM skus WHERE name = %s) "
            "AND location = (SELECT code FROM locations WHERE name = %s)",
            (sku, location),
        )
        return found

    # -- balances -----------------------------------------------------------------------------

    def _key_count(self) -> int:
        highest = self._value("SELECT max(key) FROM keys")
        return 0 if highest is None else int(highest) + 1

    def _columns(self, table: str, number: str, names: Sequence[str], each: int = 1) -> I64:
        """int64[columns, keys] of a table of which each row has so many keys.

        Args:
            table: its name.
            number: the column that numbers its rows from 0.
            names: the columns.
            each: keys of a row; its values are arrays if there are several.
        """
        count = self._key_count()
        rows = -(-count // each)
        found = np.zeros((len(names), rows, each), np.int64)
        arrays = ", ".join(f"array_agg({name})" for name in (number, *names))
        query = f"SELECT {arrays} FROM {table} WHERE {number} >= %s AND {number} < %s"  # noqa: S608
        step = max(1, _KEYS_AT_ONCE // each)
        for first in range(0, rows, step):
            with explained(self._target), self._db.cursor(binary=True) as cursor:
                cursor.execute(query.encode(), (first, min(rows, first + step)))
                result = cursor.pgresult
                assert result is not None
                numbers, *values = (
                    integers_of(result.get_value(0, at)) for at in range(len(names) + 1)
                )
            for column, its in zip(found, values, strict=True):
                column[numbers] = its.reshape(len(numbers), each)
        return found.reshape(len(names), -1)[:, :count]

    def balances(self, key: int | None = None) -> I64:
        """int64[5, keys]: the columns of `Balances` of all keys, or of one."""
        if key is None:
            return self._columns("balances", "part", Balances.COLUMNS, KEYS_A_PART)
        place = key % KEYS_A_PART + 1
        columns = ", ".join(f"{name}[{place}]" for name in Balances.COLUMNS)
        query = (
            f"SELECT {columns} FROM keys JOIN balances ON part = {key // KEYS_A_PART} "  # noqa: S608
            "WHERE key = %s"
        )
        rows = self._rows(query, (key,))
        return np.array(rows, np.int64).reshape(-1, len(Balances.COLUMNS)).T

    def stock(self) -> I64:
        """int64[2, keys]: on hand and reserved of all keys."""
        return self._columns("balances", "part", ("on_hand", "reserved"), KEYS_A_PART)

    def close(self) -> None:
        """Let go of the session."""
        self._db.close()

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
from stocklog.inventory.legs import COUNT, Legs
from stocklog.stores import packing
from stocklog.stores.model import Names, Position, Sources
from stocklog.stores.postgres_columns import integers_of
from stocklog.stores.postgres_connect import Target, explained
from stocklog.stores.segments import Block, Clock, Flags, Ids, SegmentInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stocklog.stores.postgres_connect import Connection

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["PostgresReader"]

_KEYS_AT_ONCE = 1 << 22
"""Keys in one array: the server bounds a value to 1 GB."""


class PostgresReader:
    """Reads a store.

    Args:
        db: a session of `connect`.
        target: where it is.
    """

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
            return cursor.execute(query.encode(), arguments).fetchall()

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
        key_skus, key_locations = self._of_keys(("sku", "location"))
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
            "SELECT key FROM balances WHERE sku = (SELECT code FROM skus WHERE name = %s) "
            "AND location = (SELECT code FROM locations WHERE name = %s)",
            (sku, location),
        )
        return found

    # -- balances -----------------------------------------------------------------------------

    def _key_count(self) -> int:
        highest = self._value("SELECT max(key) FROM balances")
        return 0 if highest is None else int(highest) + 1

    def _of_keys(self, columns: Sequence[str]) -> I64:
        """int64[columns, keys] of all keys."""
        count = self._key_count()
        found = np.zeros((len(columns), count), np.int64)
        arrays = ", ".join(f"array_agg({name})" for name in ("key", *columns))
        query = f"SELECT {arrays} FROM balances WHERE key >= %s AND key < %s"  # noqa: S608
        for first in range(0, count, _KEYS_AT_ONCE):
            last = min(count, first + _KEYS_AT_ONCE)
            with explained(self._target), self._db.cursor(binary=True) as cursor:
                cursor.execute(query.encode(), (first, last))
                result = cursor.pgresult
                assert result is not None
                keys, *values = (
                    integers_of(result.get_value(0, at)) for at in range(len(columns) + 1)
                )
            for row, column in zip(found, values, strict=True):
                row[keys] = column
        return found

    def balances(self, key: int | None = None) -> I64:
        """int64[5, keys]: the columns of `Balances` of all keys, or of one."""
        if key is None:
            return self._of_keys(Balances.COLUMNS)
        query = f"SELECT {', '.join(Balances.COLUMNS)} FROM balances WHERE key = %s"  # noqa: S608
        rows = self._rows(query, (key,))
        return np.array(rows, np.int64).reshape(-1, len(Balances.COLUMNS)).T

    def stock(self) -> I64:
        """int64[2, keys]: on hand and reserved of all keys."""
        return self._of_keys(("on_hand", "reserved"))

    # -- history ------------------------------------------------------------------------------

    def segments(self) -> list[SegmentInfo]:
        """The segments, in the order of the log."""
        query = f"SELECT {', '.join(SegmentInfo._fields)} FROM segments ORDER BY id"  # noqa: S608
        return [SegmentInfo(*row) for row in self._rows(query)]

    def blocks(
        self, segment: int, keys: tuple[int, int] | None = None, *, origins: bool = False
    ) -> Iterator[Legs]:
        """The blocks of a segment, or those that may hold keys of a range.

        Args:
            segment: its number.
            keys: the lowest and the highest key that are wanted.
            origins: also read reasons and sources, which else are 0.
        """
        columns = "first_key, last_key, legs, places, effects" + (", origins" if origins else "")
        query = f"SELECT {columns} FROM blocks WHERE segment = %s"  # noqa: S608
        arguments: list[int] = [segment]
        if keys is not None:
            query += " AND first_key <= %s AND last_key >= %s"
            arguments += [keys[1], keys[0]]
        for row in self._rows(f"{query} ORDER BY number", arguments):
            yield Block(*row).unpack()

    def _blob(self, column: str, segment: int) -> bytes:
        query = f"SELECT {column} FROM segments WHERE id = %s"  # noqa: S608
        blob: bytes = self._value(query, (segment,))
        return blob

    def counts(self, segment: int) -> tuple[Legs, tuple[I64, I64]]:
        """The counts of a segment in event order, and the book figures by offset."""
        blob = self._blob("counts", segment)
        keys, times, offsets, values, with_figure, figures = packing.unpack_many(blob)
        kinds = np.full(len(keys), COUNT, np.uint8)
        nothing = np.zeros(len(keys), np.int64)
        legs = Legs(keys, times, offsets, kinds, values, nothing.astype(np.uint8), nothing)
        return legs, (with_figure, figures)

    def flags(self, segment: int) -> Flags:
        """The flags of a segment."""
        return Flags.unpack(self._blob("flag_columns", segment))

    def clock(self, segment: int) -> Clock:
        """When the broker wrote the messages of a segment."""
        return Clock.unpack(self._blob("clock", segment))

    def ids(
        self, segment: int, first: int = 0, last: int | None = None
    ) -> Iterator[tuple[int, Ids]]:
        """Blocks of ids, each with the number of its first update.

        Args:
            segment: its number.
            first: the lowest number of an update that is wanted.
            last: the highest; `None`: all.
        """
        query = (
            "SELECT first_update, numbers, texts FROM ids WHERE segment = %s "
            "AND first_update + updates > %s AND first_update <= %s ORDER BY first_update"
        )
        highest = (1 << 62) if last is None else last
        for number, numbers, texts in self._rows(query, (segment, first, highest)):
            yield int(number), Ids.unpack(numbers, texts)

    def ids_at(self, segment: int, offsets: I64) -> pl.Series:
        """The ids of updates of a segment by their offsets.

        Args:
            segment: its number.
            offsets: int64[n], rising, each that of an update of the segment.
        """
        query = (
            "SELECT first_update, first_offset, last_offset FROM ids WHERE segment = %s "
            "ORDER BY first_update"
        )
        found: list[str] = []
        for number, first, last in self._rows(query, (segment,)):
            low, high = np.searchsorted(offsets, [first, last + 1])
            if low < high:
                read = "SELECT numbers, texts FROM ids WHERE segment = %s AND first_update = %s"
                ((numbers, texts),) = self._rows(read, (segment, number))
                rows = np.searchsorted(packing.unpack_many(numbers)[0], offsets[low:high])
                found += packing.unpack_some_texts(texts, rows)
        return pl.Series("id", found, pl.String)

    def close(self) -> None:
        """Let go of the session."""
        self._db.close()

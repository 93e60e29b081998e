"""What can be asked of an SQLite store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np

from stocklog.inventory.balances import NEVER
from stocklog.stores import packing
from stocklog.stores.model import Names, Position, Sources
from stocklog.stores.schema import KEYS_A_PART
from stocklog.stores.sql_history import SqlHistory
from stocklog.stores.sqlite_file import SqliteFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["SqliteReader"]

_NO_MARKS = np.repeat(np.array([[NEVER], [-1], [NEVER]], np.int64), KEYS_A_PART, axis=1)


def _marks_of(blob: bytes) -> I64:
    """count_time, count_offset and delta_time of the keys of a part."""
    return np.frombuffer(blob, "<i8").reshape(3, KEYS_A_PART)


class SqliteReader(SqliteFile, SqlHistory):
    """The reading half of a store; the arguments are those of `SqliteFile`."""

    # The same order as that of the rows, but read off the index: by `rowid` alone SQLite would
    # first copy all blobs into a sorter, which takes five times as long as reading them.
    BLOCK_ORDER = "first_key, last_key, rowid"
    ONE_OF_SEGMENTS = "segment IN (SELECT value FROM json_each(?))"
    OTHER_STORE = "Name another file with --store: each stream has a store of its own"

    def position(self) -> Position | None:
        """Where it stands; `None` for a new one."""
        with self._explained():
            row = self._db.execute("SELECT value FROM meta WHERE name = 'position'").fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=Position)

    def _key_pairs(self) -> list[I64]:
        """SKU and location codes of all keys."""
        query = "SELECT pairs FROM key_parts ORDER BY first_key"
        with self._explained():
            parts = [packing.unpack_many(row[0]) for row in self._db.execute(query)]
        if not parts:
            return [np.zeros(0, np.int64)] * 2
        return [np.concatenate(columns) for columns in zip(*parts, strict=True)]

    def names(self) -> Names:
        """Every name and key."""
        key_skus, key_locations = self._key_pairs()
        return Names(
            self._texts("SELECT name FROM skus ORDER BY code"),
            self._texts("SELECT name FROM locations ORDER BY code"),
            key_skus,
            key_locations,
        )

    def sources(self) -> Sources:
        """Every source."""
        newest, sequence = self._integers("SELECT newest, sequence FROM sources ORDER BY code")
        return Sources(self._texts("SELECT name FROM sources ORDER BY code"), newest, sequence)

    def key(self, sku: str, location: str) -> int | None:
        """The code of one key."""
        query = (
            "SELECT key FROM keys WHERE sku = (SELECT code FROM skus WHERE name = ?) "
            "AND location = (SELECT code FROM locations WHERE name = ?)"
        )
        with self._explained():
            row = self._db.execute(query, (sku, location)).fetchone()
        return None if row is None else int(row[0])

    def balances(self, key: int | None = None) -> I64:
        """int64[5, keys]: the columns of `Balances` of all keys, or of one."""
        if key is None:
            sums = self.stock()
            with self._explained():
                rows = self._db.execute("SELECT columns FROM marks ORDER BY part").fetchall()
            marks = np.concatenate([_marks_of(row[0]) for row in rows] or [_NO_MARKS[:, :0]], 1)
            return np.concatenate([sums, marks[:, : sums.shape[1]]])
        sums = self._integers("SELECT on_hand, reserved FROM balances WHERE key = ?", (key,))
        part, place = divmod(key, KEYS_A_PART)
        return np.concatenate([sums, self._marks(part)[:, place : place + sums.shape[1]]])

    def _marks(self, part: int) -> I64:
        """int64[3, 1024]: what the rule needs of the keys of a part, to be changed."""
        row = self._db.execute("SELECT columns FROM marks WHERE part = ?", (part,)).fetchone()
        return _NO_MARKS.copy() if row is None else _marks_of(row[0]).copy()

    def stock(self) -> I64:
        """int64[2, keys]: on hand and reserved of all keys."""
        return self._integers("SELECT on_hand, reserved FROM balances ORDER BY key")

    def _list(self, numbers: Sequence[int]) -> str:
        return msgspec.json.encode(numbers).decode()

    def _rows(self, query: str, arguments: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        with self._explained():
            yield from self._db.execute(query, arguments)

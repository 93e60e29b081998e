"""What can be asked of an SQLite store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np
import polars as pl

from stocklog.inventory.balances import NEVER
from stocklog.inventory.legs import COUNT, Legs
from stocklog.stores import packing
from stocklog.stores.model import Names, Position, Sources
from stocklog.stores.schema import KEYS_A_PART
from stocklog.stores.segments import Block, Clock, Flags, Ids, SegmentInfo
from stocklog.stores.sqlite_file import SqliteFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["SqliteReader"]

_NO_MARKS = np.repeat(np.array([[NEVER], [-1], [NEVER]], np.int64), KEYS_A_PART, axis=1)


def _marks_of(blob: bytes) -> I64:
    """count_time, count_offset and delta_time of the keys of a part."""
    return np.frombuffer(blob, "<i8").reshape(3, KEYS_A_PART)


class SqliteReader(SqliteFile):
    """The reading half of a store; the arguments are those of `SqliteFile`."""

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

    def segments(self) -> list[SegmentInfo]:
        """The segments, in the order of the log."""
        query = f"SELECT {','.join(SegmentInfo._fields)} FROM segments ORDER BY id"  # noqa: S608
        with self._explained():
            return [SegmentInfo(*row) for row in self._db.execute(query)]

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
        query = f"SELECT {columns} FROM blocks WHERE segment = ?"  # noqa: S608
        arguments: list[int] = [segment]
        if keys is not None:
            query += " AND first_key <= ? AND last_key >= ?"
            arguments += [keys[1], keys[0]]
        with self._explained():
            for row in self._db.execute(f"{query} ORDER BY rowid", arguments):
                yield Block(*row).unpack()

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

    def _blob(self, column: str, segment: int) -> bytes:
        query = f"SELECT {column} FROM segments WHERE id = ?"  # noqa: S608
        with self._explained():
            blob: bytes = self._db.execute(query, (segment,)).fetchone()[0]
        return blob

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
            "SELECT first_update, numbers, texts FROM ids WHERE segment = ? "
            "AND first_update + updates > ? AND first_update <= ? ORDER BY first_update"
        )
        highest = (1 << 62) if last is None else last
        with self._explained():
            for number, numbers, texts in self._db.execute(query, (segment, first, highest)):
                yield int(number), Ids.unpack(numbers, texts)

    def ids_at(self, segment: int, offsets: I64) -> pl.Series:
        """The ids of updates of a segment by their offsets.

        Args:
            segment: its number.
            offsets: int64[n], rising, each that of an update of the segment.
        """
        query = "SELECT rowid, first_offset, last_offset FROM ids WHERE segment = ? ORDER BY rowid"
        found: list[str] = []
        with self._explained():
            for rowid, first, last in self._db.execute(query, (segment,)).fetchall():
                low, high = np.searchsorted(offsets, [first, last + 1])
                if low < high:
                    read = "SELECT numbers, texts FROM ids WHERE rowid = ?"
                    numbers, texts = self._db.execute(read, (rowid,)).fetchone()
                    rows = np.searchsorted(packing.unpack_many(numbers)[0], offsets[low:high])
                    found += packing.unpack_some_texts(texts, rows)
        return pl.Series("id", found, pl.String)

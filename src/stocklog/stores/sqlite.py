"""Balances and their history in one SQLite file.

The file is in WAL mode: others read a whole state while the next one is written, and a
process that is killed leaves the last commit. `synchronous` is NORMAL: when the machine
loses power the newest commits may be gone, offset and all, and are made again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import msgspec
import numpy as np

from stocklog.errors import StoreError
from stocklog.stores import packing
from stocklog.stores.model import Commit, Position
from stocklog.stores.schema import INDEXES, KEYS_A_PART, MOST_ROWS, inserting
from stocklog.stores.segments import Segment, id_blocks, leg_blocks
from stocklog.stores.sqlite_read import SqliteReader
from stocklog.stores.sums import Sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["SqliteStore"]

_KEY_PARTS = 64


class SqliteStore(SqliteReader):
    """A store in an SQLite file; the arguments are those of `SqliteFile`."""

    KEYS_TOGETHER: ClassVar[int] = 1

    # -- whose it is ----------------------------------------------------------------------

    def _begin_position(self, position: Position) -> None:
        with self._explained():
            self._put_position(position)

    def _put_position(self, position: Position) -> None:
        text = msgspec.json.encode(position).decode()
        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('position', ?)", (text,))

    def _execute(self, statement: str, arguments: Sequence[Any] = ()) -> None:
        self._db.execute(statement, arguments)

    # -- writing --------------------------------------------------------------------------

    def write(self, commit: Commit) -> None:
        """Make a commit, all or nothing.

        Raises:
            StoreError: the store does not stand where the commit begins, or cannot be written.
        """
        with self._transaction():
            if self.position() != commit.before:
                raise StoreError(
                    f"{self._path} has been moved by another program meanwhile",
                    "One `stocklog project` writes a store; start it again",
                )
            keys_before = self._key_count()
            self._write_names(commit)
            self._write_keys(commit, keys_before)
            self._write_balances(commit)
            self._write_marks(commit)
            is_indexed = self._is_indexed
            if not is_indexed and keys_before * 10 >= self._key_count() * 9:
                is_indexed = self._index()
            if commit.segment is not None:
                self._write_segment(commit.segment)
                self._merge()
            self._put_position(commit.position)
        self._is_indexed = is_indexed

    def make_indexes(self) -> None:
        """Make the indexes by which one key is found, if they were put off while keys came.

        Raises:
            StoreError: they cannot be written.
        """
        if not self._is_indexed and self._key_count():
            with self._transaction():
                self._index()
            self._is_indexed = True

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing."""
        with self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _write_names(self, commit: Commit) -> None:
        for table, first, names in (
            ("skus", commit.first_sku, commit.skus),
            ("locations", commit.first_location, commit.locations),
        ):
            rows = enumerate(names.to_list(), first)
            self._db.executemany(f"INSERT INTO {table} VALUES (?, ?)", rows)  # noqa: S608
        codes, names, newest, sequence = commit.sources
        seen = zip(codes.tolist(), names.to_list(), newest.tolist(), sequence.tolist(), strict=True)
        self._db.executemany("INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?)", seen)

    def _write_balances(self, commit: Commit) -> None:
        self._put("balances", [commit.keys, *commit.columns[2:4]], replacing=True)

    def _put(self, table: str, columns: list[I64], *, replacing: bool = False) -> None:
        values = np.stack(columns, axis=1)
        for first in range(0, len(values), MOST_ROWS):
            part = values[first : first + MOST_ROWS]
            statement = inserting(table, len(part), replacing=replacing)
            self._db.execute(statement, part.ravel().tolist())

    def _write_marks(self, commit: Commit) -> None:
        """Put what the rule needs of the changed keys among that of their neighbours."""
        values = np.stack(commit.columns[4:])
        parts, places = np.divmod(commit.keys, KEYS_A_PART)
        borders = [*np.flatnonzero(np.diff(parts, prepend=-1)).tolist(), len(parts)]
        for first, last in pairwise(borders):
            part = int(parts[first])
            marks = self._marks(part)
            marks[:, places[first:last]] = values[:, first:last]
            self._db.execute(
                "REPLACE INTO marks VALUES (?, ?)", (part, marks.astype("<i8").tobytes())
            )

    def _write_keys(self, commit: Commit, keys_before: int) -> None:
        """Keep new keys as rows, and as columns, which a question reads in no time."""
        new = commit.keys >= keys_before
        if not new.any():
            return
        pairs = [column[new] for column in commit.columns[:2]]
        self._put("keys", [commit.keys[new], *pairs])
        insert = "INSERT INTO key_parts VALUES (?, ?)"
        self._db.execute(insert, (keys_before, packing.pack_many(pairs)))
        (parts,) = self._db.execute("SELECT count(*) FROM key_parts").fetchone()
        if parts >= _KEY_PARTS:
            whole = packing.pack_many(self._key_pairs())
            self._db.execute("DELETE FROM key_parts")
            self._db.execute(insert, (0, whole))

    def _key_count(self) -> int:
        (highest,) = self._db.execute("SELECT max(key) FROM keys").fetchone()
        return 0 if highest is None else int(highest) + 1

    def _index(self) -> bool:
        """Make the indexes; that they are there."""
        for statement in INDEXES:
            self._db.execute(statement)
        return True

    def _write_segment(self, segment: Segment) -> None:
        (last,) = self._db.execute("SELECT max(id) FROM segments").fetchone()
        info = segment.info(0 if last is None else last + 1)
        counts = segment.counts
        packed = [counts.keys, counts.times, counts.offsets, counts.values, *segment.expected]
        blobs = (packing.pack_many(packed), segment.flags.pack(), segment.clock.pack())
        marks = ",".join("?" * (len(info) + len(blobs)))
        self._db.execute(f"INSERT INTO segments VALUES ({marks})", (*info, *blobs))  # noqa: S608
        self._db.executemany(
            "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (info.id, b.first_key, b.last_key, b.rows, b.places, b.effects, b.origins)
                for b in leg_blocks(segment.legs)
            ),
        )
        sums = Sums.of(segment.legs)
        self._db.execute(
            "INSERT INTO sums VALUES (?, ?, ?, ?)", (info.id, sums.since, *sums.pack())
        )
        first = info.first_update
        for rows, *rest in id_blocks(segment.ids):
            self._db.execute(
                "INSERT INTO ids VALUES (?, ?, ?, ?, ?, ?, ?)", (info.id, first, rows, *rest)
            )
            first += rows

"""Balances and their history in one SQLite file.

The file is in WAL mode: others read a whole state while the next one is written, and a
process that is killed leaves the last commit. `synchronous` is NORMAL: when the machine
loses power the newest commits may be gone, offset and all, and are made again.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np
import polars as pl

from stocklog.errors import StoreError
from stocklog.inventory.balances import Balances
from stocklog.inventory.legs import COUNT, Legs
from stocklog.stores import packing
from stocklog.stores.locking import WriterLock
from stocklog.stores.model import FORMAT, Commit, Names, Position, Sources
from stocklog.stores.schema import APPLICATION_ID, BALANCE_COLUMNS, INDEXES, SCHEMA, upsert
from stocklog.stores.segments import (
    Block,
    Clock,
    Flags,
    Ids,
    Segment,
    SegmentInfo,
    id_blocks,
    leg_blocks,
    mergeable,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["SqliteStore"]

_WAIT = 30.0
# SQLite takes 32,766 parameters a statement.
_UPSERT_ROWS = 4000
_KEY_PARTS = 64
_REBUILD = "Name another file with --store, and build it from the log with `stocklog project`"


class SqliteStore:
    """A store in an SQLite file.

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
        query = "SELECT count(*) FROM sqlite_schema WHERE name = 'balances_place'"
        self._is_indexed = bool(db.execute(query).fetchone()[0])
        if writing:
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA cache_size = -65536")

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

    # -- where it stands ------------------------------------------------------------------

    def position(self) -> Position | None:
        """Where it stands; `None` for a new one."""
        with self._explained():
            row = self._db.execute("SELECT value FROM meta WHERE name = 'position'").fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=Position)

    def claim(self, stream: str) -> Position:
        """Make it the store of a stream, for ever.

        Args:
            stream: name of the stream.

        Returns:
            Where it stands.

        Raises:
            StoreError: it is another stream's.
        """
        position = self.position()
        if position is None:
            position = Position(stream)
            with self._explained():
                self._put_position(position)
        if position.stream != stream:
            raise StoreError(
                f"{self._path} is the store of the stream {position.stream!r}, not of {stream!r}",
                "Name another file with --store: each stream has a store of its own",
            )
        return position

    def _put_position(self, position: Position) -> None:
        text = msgspec.json.encode(position).decode()
        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('position', ?)", (text,))

    # -- writing --------------------------------------------------------------------------

    def write(self, commit: Commit) -> None:
        """Make a commit, all or nothing.

        Raises:
            StoreError: the store does not stand where the commit begins, or cannot be written.
        """
        with self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                if self.position() != commit.before:
                    raise StoreError(
                        f"{self._path} has been moved by another program meanwhile",
                        "One `stocklog project` writes a store; start it again",
                    )
                keys_before = self._key_count()
                self._write_names(commit)
                self._write_balances(commit)
                self._write_key_parts(commit, keys_before)
                self._make_indexes(keys_before)
                if commit.segment is not None:
                    self._write_segment(commit.segment)
                    self._merge()
                self._put_position(commit.position)
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
        values = np.stack([commit.keys, *commit.columns], axis=1)
        for first in range(0, len(values), _UPSERT_ROWS):
            part = values[first : first + _UPSERT_ROWS]
            self._db.execute(upsert(len(part)), part.ravel().tolist())

    def _write_key_parts(self, commit: Commit, keys_before: int) -> None:
        """Keep the new keys once more as columns, which a question reads in no time."""
        new = commit.keys >= keys_before
        if not new.any():
            return
        pairs = [column[new] for column in commit.columns[:2]]
        insert = "INSERT INTO key_parts VALUES (?, ?)"
        self._db.execute(insert, (keys_before, packing.pack_many(pairs)))
        (parts,) = self._db.execute("SELECT count(*) FROM key_parts").fetchone()
        if parts >= _KEY_PARTS:
            whole = packing.pack_many(self._key_pairs())
            self._db.execute("DELETE FROM key_parts")
            self._db.execute(insert, (0, whole))

    def _key_pairs(self) -> list[I64]:
        """SKU and location codes of all keys."""
        query = "SELECT pairs FROM key_parts ORDER BY first_key"
        with self._explained():
            parts = [packing.unpack_many(row[0]) for row in self._db.execute(query)]
        if not parts:
            return [np.zeros(0, np.int64)] * 2
        return [np.concatenate(columns) for columns in zip(*parts, strict=True)]

    def _key_count(self) -> int:
        (highest,) = self._db.execute("SELECT max(key) FROM balances").fetchone()
        return 0 if highest is None else int(highest) + 1

    def _make_indexes(self, keys_before: int) -> None:
        """Make the indexes once, when keys that come are mostly known ones."""
        if self._is_indexed or keys_before * 10 < self._key_count() * 9:
            return
        for statement in INDEXES:
            self._db.execute(statement)
        self._is_indexed = True

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
        first = info.first_update
        for rows, *rest in id_blocks(segment.ids):
            self._db.execute(
                "INSERT INTO ids VALUES (?, ?, ?, ?, ?, ?, ?)", (info.id, first, rows, *rest)
            )
            first += rows

    def _merge(self) -> None:
        """Make few segments of many small ones."""
        infos = self.segments()
        while count := mergeable(infos):
            merged = Segment.merged([self._segment(info) for info in infos[-count:]])
            for table, column in (("segments", "id"), ("blocks", "segment"), ("ids", "segment")):
                statement = f"DELETE FROM {table} WHERE {column} >= ?"  # noqa: S608
                self._db.execute(statement, (infos[-count].id,))
            self._write_segment(merged)
            infos = self.segments()

    def _segment(self, info: SegmentInfo) -> Segment:
        """A whole segment, to be merged."""
        blocks = list(self.blocks(info.id, origins=True))
        ids = [block for _, block in self.ids(info.id)]
        nothing = Ids(np.zeros(0, np.int64), np.zeros(0, np.int64), pl.Series([], dtype=pl.String))
        return Segment(
            Legs.joined(blocks),
            self.counts(info.id)[1],
            Ids.joined(ids) if ids else nothing,
            self.flags(info.id),
            self.clock(info.id),
            info.first_update,
        )

    # -- reading --------------------------------------------------------------------------

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
            "SELECT key FROM balances WHERE sku = (SELECT code FROM skus WHERE name = ?) "
            "AND location = (SELECT code FROM locations WHERE name = ?)"
        )
        with self._explained():
            row = self._db.execute(query, (sku, location)).fetchone()
        return None if row is None else int(row[0])

    def balances(self, key: int | None = None) -> I64:
        """int64[5, keys]: the columns of `Balances` of all keys, or of one."""
        query = f"SELECT {','.join(Balances.COLUMNS)} FROM balances"  # noqa: S608
        if key is None:
            return self._integers(f"{query} ORDER BY key")
        return self._integers(f"{query} WHERE key = ?", (key,))

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


assert BALANCE_COLUMNS[3:] == Balances.COLUMNS

"""Balances and their history in a schema of a PostgreSQL database.

Everything of a commit, the offset too, changes in one transaction; whether it is on disk
when it is done is the server's `synchronous_commit`. The one writer holds an advisory lock,
which the server lets go of when the writer's connection ends, however it ends.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import msgspec
import numpy as np

from stocklog.errors import StoreError
from stocklog.inventory.balances import Balances
from stocklog.stores import packing
from stocklog.stores.model import FORMAT, Commit, Position
from stocklog.stores.postgres_columns import BigintArray
from stocklog.stores.postgres_connect import (
    RIGHTS,
    Target,
    connect,
    explained,
    parse_target,
)
from stocklog.stores.postgres_reading import PostgresReader
from stocklog.stores.postgres_schema import (
    INDEXES,
    INSERT_BALANCES,
    INSERT_KEYS,
    KEYS_A_PART,
    MARK,
    SCHEMA,
    UPDATE_BALANCES,
    lock_number,
)
from stocklog.stores.segments import Ids, Segment, SegmentInfo, id_blocks, leg_blocks
from stocklog.stores.sums import Sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stocklog.stores.postgres_connect import Connection

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["PostgresStore"]

WAIT = 10.0
"""Seconds for which a writer waits for another one, which may just have been killed."""

_POLL = 0.1
_OTHER = "Name another schema in the URI (?schema=NAME), and build it with `stocklog project`"


class PostgresStore(PostgresReader):
    """A store in PostgreSQL.

    Args:
        uri: see `parse_target`.
        writing: open it to write; schema and tables are made if they are missing.
        wait: seconds to wait for another writer to end; `None`: `WAIT`.

    Raises:
        UsageError: the URI cannot be meant.
        StoreError: it is missing, is no store, has another writer, or the server cannot be
            used.
    """

    def __init__(self, uri: str, *, writing: bool = False, wait: float | None = None) -> None:
        target = parse_target(uri)
        super().__init__(connect(target, writing=writing), target)
        try:
            with explained(target):
                if writing:
                    _lock(self._db, target, WAIT if wait is None else wait)
                _prepare(self._db, target, writing=writing)
                query = "SELECT to_regclass('keys_place') IS NOT NULL"
                self._is_indexed = bool(self._value(query))
        except BaseException:
            self.close()
            raise

    KEYS_TOGETHER: ClassVar[int] = KEYS_A_PART

    # -- writing --------------------------------------------------------------------------

    def _begin_position(self, position: Position) -> None:
        with explained(self._target):
            self._put_position(position)

    def _put_position(self, position: Position) -> None:
        text = msgspec.json.encode(position).decode()
        self._db.execute(
            "INSERT INTO meta VALUES ('position', %s) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (text,),
        )

    def write(self, commit: Commit) -> None:
        """Make a commit, all or nothing.

        Raises:
            StoreError: the store does not stand where the commit begins, or cannot be written.
        """
        with explained(self._target), self._db.transaction():
            # Holds up whoever else might write, should the lock not have kept them off.
            self._db.execute("SELECT FROM meta WHERE name = 'position' FOR UPDATE")
            if self.position() != commit.before:
                raise StoreError(
                    f"{self.where} has been moved by another program meanwhile",
                    "One `stocklog project` writes a store; start it again",
                )
            keys_before = self._key_count()
            self._write_names(commit)
            self._write_sources(commit)
            self._write_keys(commit, keys_before)
            self._write_balances(commit, keys_before)
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
            with explained(self._target), self._db.transaction():
                self._index()
            self._is_indexed = True

    def _write_names(self, commit: Commit) -> None:
        for table, first, names in (
            ("skus", commit.first_sku, commit.skus),
            ("locations", commit.first_location, commit.locations),
        ):
            if len(names):
                self._copy(table, "int8 text", enumerate(names.to_list(), first))

    def _write_sources(self, commit: Commit) -> None:
        codes, names, newest, sequence = commit.sources
        self._db.execute(
            "INSERT INTO sources SELECT * FROM unnest(%s, %s::text[], %s, %s) "
            "ON CONFLICT (code) DO UPDATE SET newest = excluded.newest, "
            "sequence = excluded.sequence",
            (BigintArray(codes), names.to_list(), BigintArray(newest), BigintArray(sequence)),
        )

    def _write_keys(self, commit: Commit, keys_before: int) -> None:
        new = slice(int(np.searchsorted(commit.keys, keys_before)), None)
        columns = zip(("key", "sku", "location"), (commit.keys, *commit.columns[:2]), strict=True)
        arrays = {name: BigintArray(column[new]) for name, column in columns}
        if len(arrays["key"].values):
            self._db.execute(INSERT_KEYS.encode(), arrays)

    def _write_balances(self, commit: Commit, keys_before: int) -> None:
        """Write whole rows; a commit has all keys of those that it changes."""
        first = np.flatnonzero(np.diff(commit.keys // KEYS_A_PART, prepend=-1))
        parts = commit.keys[first] // KEYS_A_PART
        columns = np.zeros((len(Balances.COLUMNS), len(parts) * KEYS_A_PART), np.int64)
        # Only the last row of the store may have fewer keys, so what is missing is at the end.
        columns[:, : len(commit.keys)] = commit.columns[2:]
        known = int(np.searchsorted(parts * KEYS_A_PART, keys_before))
        for statement, begin, end in (
            (UPDATE_BALANCES, 0, known),
            (INSERT_BALANCES, known, len(parts)),
        ):
            if begin < end:
                places = slice(begin * KEYS_A_PART, end * KEYS_A_PART)
                pairs = zip(Balances.COLUMNS, columns, strict=True)
                arrays = {name: BigintArray(column[places]) for name, column in pairs}
                arrays["part"] = BigintArray(parts[begin:end])
                self._db.execute(statement.encode(), arrays)

    def _index(self) -> bool:
        """Make the indexes; that they are there."""
        for statement in INDEXES:
            self._db.execute(statement.encode())
        return True

    def _write_segment(self, segment: Segment) -> None:
        last = self._value("SELECT max(id) FROM segments")
        info = segment.info(0 if last is None else last + 1)
        counts = segment.counts
        packed = [counts.keys, counts.times, counts.offsets, counts.values, *segment.expected]
        blobs = (packing.pack_many(packed), segment.flags.pack(), segment.clock.pack())
        kinds = " ".join(["int8"] * len(info) + ["bytea"] * len(blobs))
        self._copy("segments", kinds, [(*info, *blobs)])
        self._copy(
            "blocks",
            "int8 int8 int8 int8 int8 bytea bytea bytea",
            (
                (info.id, n, b.first_key, b.last_key, b.rows, b.places, b.effects, b.origins)
                for n, b in enumerate(leg_blocks(segment.legs))
            ),
        )
        sums = Sums.of(segment.legs)
        self._copy("sums", "int8 int8 bytea bytea", [(info.id, sums.since, *sums.pack())])
        self._copy("ids", "int8 int8 int8 int8 int8 bytea bytea", _id_rows(info, segment.ids))

    def _copy(self, table: str, kinds: str, rows: Any) -> None:
        """COPY rows of a table, in binary."""
        statement = f"COPY {table} FROM STDIN (FORMAT BINARY)"
        with self._db.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.set_types(kinds.split())
            for row in rows:
                copy.write_row(row)


def _id_rows(info: SegmentInfo, ids: Ids) -> Any:
    first = info.first_update
    for rows, *rest in id_blocks(ids):
        yield (info.id, first, rows, *rest)
        first += rows


# -- opening ----------------------------------------------------------------------------------


def _lock(db: Connection, target: Target, wait: float) -> None:
    """Become the only writer, or say who is."""
    number = lock_number(target.schema)
    deadline = time.monotonic() + wait
    while True:
        row = db.execute("SELECT pg_try_advisory_lock(%s)", (number,)).fetchone()
        if row and row[0]:
            return
        if time.monotonic() >= deadline:
            break
        time.sleep(_POLL)
    row = db.execute(
        "SELECT concat_ws(', ', nullif(application_name, ''), 'server process ' || pid, "
        "'user ' || usename) FROM pg_locks JOIN pg_stat_activity USING (pid) "
        "WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
        "AND (classid::bigint << 32) | objid::bigint = %s",
        (number,),
    ).fetchone()
    raise StoreError(
        f"Another `stocklog project` ({row[0] if row else 'unknown'}) writes {target.where}",
        "A store has one writer: wait for it, end it, or name another schema (?schema=NAME)",
    )


def _prepare(db: Connection, target: Target, *, writing: bool) -> None:
    """Check that the schema holds a store of ours; make it if it is to be written."""
    found = db.execute(
        "SELECT n.oid, count(c.oid), bool_or(c.relname = 'meta' "
        "AND obj_description(c.oid, 'pg_class') = %s), has_schema_privilege(n.oid, 'USAGE') "
        "FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid "
        "WHERE n.nspname = %s GROUP BY n.oid",
        (MARK, target.schema),
    ).fetchone()
    if found is not None and not found[3]:
        raise StoreError(
            f"PostgreSQL, {target.where}: permission denied for schema {target.schema}", RIGHTS
        )
    if found is not None and found[2]:
        _check_format(db, target)
        return
    if not writing:
        raise StoreError(
            f"There is no store in the schema {target.schema!r} of {target.where}",
            "`stocklog project` makes it from the log",
        )
    if found is not None and found[1]:
        raise StoreError(
            f"The schema {target.schema!r} of {target.where} holds something else", _OTHER
        )
    with db.transaction():
        if found is None:
            name = '"' + target.schema.replace('"', '""') + '"'
            db.execute(f"CREATE SCHEMA {name}".encode())
        for statement in SCHEMA:
            db.execute(statement.encode())
        db.execute("INSERT INTO meta VALUES ('format', %s)", (str(FORMAT),))


def _check_format(db: Connection, target: Target) -> None:
    row = db.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()
    form = row[0] if row else "none"
    if form != str(FORMAT):
        raise StoreError(
            f"{target.where} has the layout {form}, this stocklog reads {FORMAT}", _OTHER
        )

"""The register: what this machine remembers of its producers, loads and readers.

A broker remembers 255 producers a stream, no settings, and no reader whose offset was cut
away. So a small SQLite file in the state directory keeps them: which name sends what, which
files are loaded, which are under way, and how far each named reader has come.

An entry knows its log again by a message of it (`marks`), not by the broker's address alone:
a stream that was deleted and made again is another log, and the same log may be reached by
other addresses. Whoever works under an entry holds a lock of it, which the kernel lets go of
when the process dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import platformdirs

from stocklog.errors import ProducerConflictError, RegisterError
from stocklog.ledger.marks import Held, holds
from stocklog.stores.coding import Mark
from stocklog.stream import StreamClient

__all__ = ["Entry", "Facts", "Register", "default_folder", "place_of"]

_FORMAT = 1
_APPLICATION_ID = 0x53_4C_52_47  # "SLRG"
_WAIT = 30.0
_OTHER_PLACES = 8
"""Entries of other addresses that are held against the log: each costs a look into it."""

_SCHEMA = """
CREATE TABLE entries (
    kind TEXT NOT NULL, stream TEXT NOT NULL, key TEXT NOT NULL, place TEXT NOT NULL,
    mark_offset INTEGER, mark_time INTEGER, mark_digest TEXT,
    facts TEXT NOT NULL, changed REAL NOT NULL,
    PRIMARY KEY (kind, stream, key, place)
) WITHOUT ROWID
"""


def default_folder() -> Path:
    """The folder under the user's state directory (XDG_STATE_HOME is respected)."""
    return Path(platformdirs.user_state_dir("stocklog")) / "register"


class Facts(msgspec.Struct, kw_only=True):
    """What is kept of a producer, a load or a reader.

    Attributes:
        name: of the producer at the broker.
        sub_batch: updates in one entry, for the name's life; 1 is plain entries.
        settings: what decides the rows, as texts.
        last: the highest number that is known to be confirmed; of a reader: the highest
            offset that it has handled.
        ends: of a name: the last numbers of runs that are not known to be confirmed to
            their ends, 0 for a run without end. There a block may have been sent short.
        finished: whether everything of a load is confirmed.
        rows: updates of a finished load.
        rejects: rows of a finished load that were no updates.
        run: 1, or the number of the deliberate repetition (`--again`).
        times: how often this run was begun: once more when retention had cut it.
        path: of the file, as it was given.
        first: digest of the first update, by which a pipe's content is known again.
        at: when it was begun, seconds since 1970.
    """

    name: str = ""
    sub_batch: int = 0
    settings: dict[str, str] = msgspec.field(default_factory=dict)
    last: int = 0
    ends: list[int] = msgspec.field(default_factory=list)
    finished: bool = False
    rows: int = 0
    rejects: int = 0
    run: int = 1
    times: int = 1
    path: str = ""
    first: str = ""
    at: float = msgspec.field(default_factory=time.time)

    @property
    def day(self) -> str:
        """When it was begun, for people."""
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(self.at))


class Entry(msgspec.Struct, kw_only=True):
    """One line of the register.

    Attributes:
        kind: `name`, `load` or `reader`.
        stream: the stream's name.
        key: the name, or the content's digest.
        place: the broker's hosts and virtual host.
        mark: a message of the log, by which it is known again; None if it had none.
        facts: what is kept.
    """

    kind: str
    stream: str
    key: str
    place: str
    mark: Mark | None = None
    facts: Facts


class Register:
    """An open register. Usable by one thread at a time.

    Args:
        folder: where it lies; made with mode 0700 if it is missing.

    Raises:
        RegisterError: it cannot be made, read or written, or belongs to another user.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = default_folder() if folder is None else folder
        self._path = self.folder / "register.db"
        with self._explained():
            self._check_folder()
            self._db = self._connect()

    def _check_folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.folder.stat().st_uid != os.geteuid():
            raise RegisterError(
                f"The register's folder {self.folder} belongs to another user",
                "Set XDG_STATE_HOME to a folder of your own",
            )
        self.folder.chmod(0o700)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            self._path, timeout=_WAIT, isolation_level=None, check_same_thread=False
        )
        try:
            db.execute("PRAGMA synchronous = FULL")
            db.execute("BEGIN IMMEDIATE")
            if not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                db.execute(f"PRAGMA user_version = {_FORMAT}")
                db.execute(_SCHEMA)
            db.execute("COMMIT")
            form = db.execute("PRAGMA user_version").fetchone()[0]
            if form != _FORMAT or self._application(db) != _APPLICATION_ID:
                raise RegisterError(
                    f"{self._path} is no register that this stocklog can read (layout {form})",
                    "Use the stocklog that wrote it, or set XDG_STATE_HOME to another folder",
                )
        except BaseException:
            db.close()
            raise
        return db

    @staticmethod
    def _application(db: sqlite3.Connection) -> int:
        return int(db.execute("PRAGMA application_id").fetchone()[0])

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            remedy = "Is there room, and may you write there? XDG_STATE_HOME names another folder"
            if "locked" in str(error):
                remedy = "Another program holds it open in a transaction; end that one"
            elif "not a database" in str(error) or "malformed" in str(error):
                remedy = (
                    "Move the file away: loads are then known again only as far as the broker "
                    "remembers their names (255 a stream)"
                )
            raise RegisterError(
                f"The register of loads and names, {self._path}: {error}", remedy
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Register:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- entries --------------------------------------------------------------------------

    def put(self, entry: Entry) -> None:
        """Keep an entry, in place of the one of the same kind, stream, key and place.

        It is on the disk when this returns.
        """
        mark = entry.mark
        row = (entry.kind, entry.stream, entry.key, entry.place) + (
            (mark.offset, mark.recorded_at, mark.digest) if mark else (None, None, None)
        )
        with self._explained():
            self._db.execute(
                "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, msgspec.json.encode(entry.facts).decode(), time.time()),
            )

    def drop(self, entry: Entry) -> None:
        """Forget an entry."""
        with self._explained():
            self._db.execute(
                "DELETE FROM entries WHERE kind = ? AND stream = ? AND key = ? AND place = ?",
                (entry.kind, entry.stream, entry.key, entry.place),
            )

    def entries(self, kind: str, stream: str, key: str | None = None) -> list[Entry]:
        """The entries of a stream, wherever its broker is; the latest change first."""
        query = "SELECT * FROM entries WHERE kind = ? AND stream = ?"
        values: list[Any] = [kind, stream]
        if key is not None:
            query += " AND key = ?"
            values.append(key)
        with self._explained():
            rows = self._db.execute(f"{query} ORDER BY changed DESC", values).fetchall()
        return [self._entry(row) for row in rows]

    def _entry(self, row: tuple[Any, ...]) -> Entry:
        kind, stream, key, place, offset, recorded_at, digest, facts, _ = row
        mark = None if offset is None else Mark(offset, recorded_at, digest)
        try:
            kept = msgspec.json.decode(facts, type=Facts)
        except msgspec.MsgspecError as error:
            raise RegisterError(
                f"The register {self._path} holds an entry that cannot be read: {error}",
                "Move the file away, or use the stocklog that wrote it",
            ) from error
        return Entry(kind=kind, stream=stream, key=key, place=place, mark=mark, facts=kept)

    def find(
        self, client: StreamClient, kind: str, stream: str, key: str
    ) -> tuple[Entry | None, Held]:
        """The entry of this very log, if there is one.

        Entries of the same address whose stream was deleted or made anew are forgotten; an
        entry of another address counts if the log has its mark, and moves to this address.

        Args:
            client: connected to the broker.
            kind: `name`, `load` or `reader`.
            stream: the stream's name.
            key: see `Entry`.

        Returns:
            The entry or None, and what the log says to its mark.
        """
        here = place_of(client)
        found = self.entries(kind, stream, key)
        near = [entry for entry in found if entry.place == here]
        far = [entry for entry in found if entry.place != here and entry.mark is not None]
        for entry in [*near, *far[:_OTHER_PLACES]]:
            held = holds(client, stream, entry.mark)
            if entry.place == here:
                if held is not Held.NO:
                    return entry, held
                self.drop(entry)
            elif held is Held.YES:
                self.drop(entry)
                entry.place = here
                self.put(entry)
                return entry, held
        return None, Held.NO

    # -- one process an entry -----------------------------------------------------------------

    @contextlib.contextmanager
    def alone(self, client: StreamClient, stream: str, key: str, what: str) -> Iterator[None]:
        """Hold the lock of a name or a load while it is published.

        Args:
            client: connected to the broker.
            stream: the stream's name.
            key: the name, or the content's digest.
            what: what is being done, for the error.

        Raises:
            ProducerConflictError: another process of this machine does it.
        """
        text = "\0".join((place_of(client), stream, key))
        path = self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.lock"
        with self._explained():
            handle = _lock(path)
        if handle is None:
            raise ProducerConflictError(
                f"Another stocklog (process {_holder(path)}) is {what} to stream {stream!r}",
                "Two at once would lose each other's updates: wait for it, or end it",
            )
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # while it is held: whoever waits looks again
            os.close(handle)


def place_of(client: StreamClient) -> str:
    """The broker's hosts and virtual host, without user and password."""
    uri = client.uri
    hosts = ",".join(sorted(f"{host}:{port}" for host, port in uri.hosts))
    return f"{hosts}/{uri.vhost}"


def _lock(path: Path) -> int | None:
    """The file's handle with its lock held; None if another process has it."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                os.ftruncate(handle, 0)
                os.write(handle, f"{os.getpid()}\n".encode())
                return handle
        os.close(handle)  # the holder before us has taken the file away


def _holder(path: Path) -> str:
    try:
        return path.read_text().strip() or "unknown"
    except OSError:
        return "unknown"

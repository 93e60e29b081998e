"""What a load is published as: which name, from which update on, or not at all.

Each regular file is a load of its own. Its content and the settings that decide its rows
make its producer's name, and its k-th good row has the number k under it: so whoever loads
it again after an interruption goes on with the row behind the last number that the log has.
That a load is finished is kept in the register, as long as the log holds it.

A pipe with `--name` is numbered likewise under that name. A pipe without one has no memory.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stocklog.errors import StreamError, UsageError
from stocklog.ledger.marks import Held, last_mark
from stocklog.ledger.names import NameRecord, claim, describe_differences
from stocklog.ledger.register import Entry, Facts, Register, place_of
from stocklog.stream import StreamClient

if TYPE_CHECKING:
    from stocklog.inventory.feeds import Feed, FeedOptions

__all__ = ["FileWay", "LoadBook", "PipeWay", "Way", "pipe_digest", "settings_of"]

Say = Callable[[str], None]

_SAVE_EVERY = 5.0
_DIGITS = 16


def settings_of(feed: Feed, options: FeedOptions, sub_batch: int) -> dict[str, str]:
    """Everything that decides a feed's rows or how they are cut, named like its option."""
    found = {"--input-format": feed.format, "--sub-batch": str(sub_batch)}
    optional = {
        "--delimiter": feed.delimiter,
        "--encoding": options.encoding,
        "--timezone": options.timezone,
        "--decimal-comma": "yes" if options.decimal_comma else None,
        "--keep-extra": "yes" if options.keep_extra else None,
    }
    found |= {name: value for name, value in optional.items() if value is not None}
    found |= {f"--map {name}": text for name, text in options.mapping.items()}
    found |= {f"--set {name}": str(value) for name, value in options.constants.items()}
    return found


def pipe_digest(name: str) -> str:
    """What stands for a named pipe's content in the ids that are made for its rows."""
    return hashlib.sha256(f"pipe\0{name}".encode()).hexdigest()[:_DIGITS]


class Way:
    """How one file or pipe goes out; this one has no name and no memory.

    Attributes:
        name: the producer's name, None for none.
        is_done: whether the log has it already, so that nothing is to be sent.
        run: which deliberate repetition it is, from 1.
        facts: what the register keeps of it.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self.is_done = False
        self.run = 1
        self.facts = Facts()

    def begin(self, sequence: int) -> list[int]:
        """The publisher is open; the numbers at which a block must be cut short."""
        return []

    def check_first(self, digest: str) -> None:
        """Hold the first update against what it was."""

    def will_end(self, number: int) -> None:
        """All rows are handed over; the last has this number."""

    def progress(self, number: int) -> None:
        """So many are confirmed."""

    def settle(self, number: int, *, complete: bool, rejects: int = 0) -> None:
        """All that was sent is confirmed, up to this number."""


class FileWay(Way):
    """A regular file under a name made of its content. Made by `LoadBook`."""

    def __init__(
        self, book: LoadBook, entry: Entry, held: Held, *, is_known: bool, is_done: bool = False
    ) -> None:
        super().__init__(entry.facts.name)
        self.facts = entry.facts
        self.run = entry.facts.run
        self.is_done = is_done
        self._book, self._entry, self._held, self._is_known = book, entry, held, is_known
        self._is_marked = False
        self._next_save = 0.0

    def begin(self, sequence: int) -> list[int]:
        """See `Way`.

        Raises:
            StreamError: the broker has forgotten how far the load was.
        """
        facts = self.facts
        if sequence < facts.last and self._held is Held.YES:
            raise StreamError(
                f"The load of {facts.path} was interrupted behind row {facts.last}, but the broker "
                f"has forgotten it: it has {sequence} as the last number of {facts.name!r} (it "
                "remembers 255 names a stream)",
                "See what the log has of it, and load the rest as a file of its own",
            )
        if sequence and not self._is_known:
            self._book.say(
                f"{facts.path}: the log has {sequence:,} of its updates, though the register does "
                "not know this load; going on behind them"
            )
        elif sequence:
            self._book.say(
                f"{facts.path}: going on with its load of {facts.day}; the log has {sequence:,} of "
                "its updates"
            )
        facts.last = sequence
        # Of a log without a message it takes 0.3 s to be sure, and there is no message to mark.
        self._is_marked = sequence > 0
        self._book.keep(self._entry, mark=self._is_marked)
        return []

    def progress(self, number: int) -> None:
        """See `Way`; noted every few seconds."""
        now = time.monotonic()
        if number and now >= self._next_save:
            self._next_save = now + _SAVE_EVERY
            self.facts.last = number
            self._book.keep(self._entry, mark=not self._is_marked)
            self._is_marked = True

    def settle(self, number: int, *, complete: bool, rejects: int = 0) -> None:
        """See `Way`."""
        facts = self.facts
        if complete and not number:
            self._book.forget(self._entry)  # other settings may find updates in it
            return
        facts.last = number
        facts.finished, facts.rows, facts.rejects = complete, number, rejects
        self._book.keep(self._entry, mark=True)


class PipeWay(Way):
    """A pipe under the user's name: its k-th good row has the number k.

    Args:
        record: the name in the register.
    """

    def __init__(self, record: NameRecord) -> None:
        super().__init__(record.facts.name)
        self.facts = record.facts
        self._record = record

    def begin(self, sequence: int) -> list[int]:
        """See `Way`."""
        return self._record.begin(sequence, None)

    def check_first(self, digest: str) -> None:
        """See `Way`."""
        self._record.check_first(digest)

    def will_end(self, number: int) -> None:
        """See `Way`."""
        self._record.will_end(number)

    def progress(self, number: int) -> None:
        """See `Way`."""
        self._record.progress(number)

    def settle(self, number: int, *, complete: bool, rejects: int = 0) -> None:
        """See `Way`."""
        self._record.settle(number)


class LoadBook:
    """Decides the way of each file of a load.

    Args:
        register: open, or None: then only the broker knows what was loaded.
        client: connected.
        stream: the stream's name; it exists.
        name: the user's `--name`, or None.
        sub_batch: updates in one entry.
        again: load on purpose what is loaded already.
        say: gets a line about what is found.
    """

    def __init__(
        self,
        register: Register | None,
        client: StreamClient,
        stream: str,
        *,
        name: str | None,
        sub_batch: int,
        again: bool,
        say: Say,
    ) -> None:
        self._register, self._client, self._stream = register, client, stream
        self._name, self._sub_batch, self._again = name, sub_batch, again
        self.say = say

    def keep(self, entry: Entry, *, mark: bool = False) -> None:
        """Write an entry; with the log's last message as its mark if asked for."""
        if self._register is None:
            return
        if mark:
            entry.mark = last_mark(self._client, self._stream)
        self._register.put(entry)

    def forget(self, entry: Entry) -> None:
        """Forget an entry."""
        if self._register is not None:
            self._register.drop(entry)

    # -- pipes ------------------------------------------------------------------------------

    @contextmanager
    def of_pipe(self, settings: Mapping[str, str]) -> Iterator[Way]:
        """The way of a pipe.

        Raises:
            UsageError: the name is another's, or was loaded with other settings.
            ProducerConflictError: another process of this machine loads under it.
        """
        if self._name is None or self._register is None:
            yield Way(self._name)
            return
        with claim(
            self._register, self._client, self._stream, self._name, self._sub_batch
        ) as record:
            record.check_settings({"command": "load", **settings})
            yield PipeWay(record)

    # -- files ------------------------------------------------------------------------------

    @contextmanager
    def of_file(self, file: Path, digest: str, settings: Mapping[str, str]) -> Iterator[Way]:
        """The way of a regular file.

        Args:
            file: as it was given.
            digest: of its content.
            settings: see `settings_of`.

        Raises:
            UsageError: it was loaded, or began to be, with other settings.
            ProducerConflictError: another process of this machine loads it.
        """
        if self._register is None:
            yield self._without_register(file, digest, settings)
            return
        what = f"loading {file}"
        with self._register.alone(self._client, self._stream, f"load {digest}", what):
            yield self._decide(self._register, file, digest, settings)

    def _without_register(self, file: Path, digest: str, settings: Mapping[str, str]) -> Way:
        run = self._free_run(digest, settings, 2) if self._again else 1
        return self._new(file, digest, settings, run=run)

    def _decide(
        self, register: Register, file: Path, digest: str, settings: Mapping[str, str]
    ) -> Way:
        entry, held = register.find(self._client, "load", self._stream, digest)
        if entry is None:
            self._tell_changed(register, file, digest)
        elif held is Held.UNKNOWN and not self._client.query_sequence(
            entry.facts.name, self._stream
        ):
            entry = None  # begun on an empty log, which has nothing of it
        if self._again:
            return self._repeated(entry, held, file, digest, settings)
        if entry is None:
            return self._new(file, digest, settings)
        if entry.facts.finished and held is Held.CUT:
            self.say(
                f"{file} was loaded on {entry.facts.day}, but retention has cut it from the log: "
                "loading it afresh, with the same update ids"
            )
            facts = entry.facts
            return self._new(file, digest, settings, run=facts.run, times=facts.times + 1)
        self._check_same(entry.facts, file, settings)
        return FileWay(self, entry, held, is_known=True, is_done=entry.facts.finished)

    def _repeated(
        self,
        entry: Entry | None,
        held: Held,
        file: Path,
        digest: str,
        settings: Mapping[str, str],
    ) -> Way:
        """`--again`: a new run, or the one that was begun by the same command."""
        facts = entry.facts if entry else Facts()
        is_same = not describe_differences(facts.settings, settings)
        if entry is not None and facts.run > 1 and not facts.finished and is_same:
            return FileWay(self, entry, held, is_known=True)
        run = self._free_run(digest, settings, facts.run + 1)
        return self._new(file, digest, settings, run=run)

    def _free_run(self, digest: str, settings: Mapping[str, str], run: int) -> int:
        """The first run from this one on of which the broker knows nothing."""
        while self._client.query_sequence(self._name_of(digest, settings, run, 1), self._stream):
            run += 1
        return run

    def _new(
        self, file: Path, digest: str, settings: Mapping[str, str], *, run: int = 1, times: int = 1
    ) -> FileWay:
        facts = Facts(
            name=self._name_of(digest, settings, run, times),
            sub_batch=self._sub_batch,
            settings=dict(settings),
            run=run,
            times=times,
            path=str(file.absolute()),
        )
        place = place_of(self._client)
        entry = Entry(kind="load", stream=self._stream, key=digest, place=place, facts=facts)
        return FileWay(self, entry, Held.UNKNOWN, is_known=False)

    def _name_of(self, digest: str, settings: Mapping[str, str], run: int, times: int) -> str:
        """The same for the same content, settings and run, on every machine."""
        text = json.dumps(dict(settings), sort_keys=True)
        name = f"{self._name or 'load'}/{digest}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        name += f"-{run}" if run > 1 else ""
        return name + (f".{times}" if times > 1 else "")

    def _check_same(self, facts: Facts, file: Path, settings: Mapping[str, str]) -> None:
        other = describe_differences(facts.settings, settings)
        if not other:
            return
        if facts.finished:
            raise UsageError(
                f"{file} was loaded into stream {self._stream!r} on {facts.day} with other "
                f"settings: {other}",
                "Nothing was sent. --again loads it once more, with update ids of their own",
            )
        raise UsageError(
            f"The load of {file} into stream {self._stream!r} that began on {facts.day} is not "
            f"finished, and had other settings: {other}",
            "Nothing was sent. Give the same settings to finish it; or --again loads all of it "
            "once more, with update ids of their own, beside what is in the log",
        )

    def _tell_changed(self, register: Register, file: Path, digest: str) -> None:
        path = str(file.absolute())
        for entry in register.entries("load", self._stream):
            facts = entry.facts
            if facts.path == path and entry.key != digest and entry.place == place_of(self._client):
                state = f"{facts.rows:,} updates" if facts.finished else "not finished"
                self.say(
                    f"{file} has another content than when it was loaded on {facts.day} "
                    f"({state}): it is loaded as a file of its own"
                )
                return

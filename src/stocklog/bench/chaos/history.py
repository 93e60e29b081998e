"""What producers and readers did, kept in files beside the broker, a line an event.

A line is `KIND time field ...`; time is seconds on the machine's monotonic clock, which
all processes share. Lines are written by one `write` to a file that is only appended to,
so a process that is killed loses at most the line that it was writing; a line that says
"sent" is written before sending, one that says "confirmed" or "handled" afterwards.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

__all__ = ["Event", "History", "ProducerHistory", "ReaderHistory", "Run", "Tail"]

BEGUN, SENT, CONFIRMED = "B", "S", "C"
READ, HANDLED, STORED, GAP = "R", "H", "O", "G"
LOST, AGAIN, FAILED, ENDED = "D", "U", "E", "X"


@dataclass(frozen=True, slots=True)
class Event:
    """One line.

    Attributes:
        kind: a letter, see the constants above.
        at: seconds on the monotonic clock.
        fields: the rest of it.
    """

    kind: str
    at: float
    fields: list[str]

    def number(self, index: int) -> int:
        """A field as a number."""
        return int(self.fields[index])


class History:
    """Appends to a history file."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, kind: str, *fields: object) -> None:
        """Write one event down."""
        said = " ".join(str(one).replace("\n", " ") for one in fields)
        os.write(self._file, f"{kind} {time.monotonic():.6f} {said}\n".encode())

    def close(self) -> None:
        """End writing."""
        os.close(self._file)


class Tail:
    """Reads a history file piece by piece, as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def events(self) -> Iterator[Event]:
        """What was written since the last call; a line that is not whole waits."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._position)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._position += len(whole)
        for line in whole.decode().splitlines():
            kind, at, *fields = line.split(" ")
            yield Event(kind, float(at), fields)


@dataclass(slots=True)
class ProducerHistory:
    """What a producer says that it did, over all its processes.

    Attributes:
        slot: the producer's number, which stands in its messages.
        sent: the highest number that was ever sent.
        confirmed: (time, first, last) of each run of numbers that the broker confirmed.
        sends: (time, last) of each send.
        began: (time, last number in the log) of each process.
        lost: when connections were lost.
        again: (time, messages sent again, seconds) of each new connection.
        failures: errors that ended a process.
    """

    slot: int
    sent: int = 0
    confirmed: list[tuple[float, int, int]] = field(default_factory=list)
    sends: list[tuple[float, int]] = field(default_factory=list)
    began: list[tuple[float, int]] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)
    again: list[tuple[float, int, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    ended: bool = False
    tail: Tail | None = None

    @classmethod
    def read(cls, path: Path, slot: int) -> ProducerHistory:
        """Read a file, all that is in it now."""
        self = cls(slot, tail=Tail(path))
        self.update()
        return self

    def update(self) -> None:
        """Read what was written since."""
        for event in self.tail.events() if self.tail else ():
            self._take(event)

    def _take(self, event: Event) -> None:
        if event.kind == SENT:
            self.sent = max(self.sent, event.number(1))
            self.sends.append((event.at, event.number(1)))
        elif event.kind == CONFIRMED:
            self.confirmed.append((event.at, event.number(0), event.number(1)))
        elif event.kind == BEGUN:
            self.ended = False
            self.began.append((event.at, event.number(0)))
        elif event.kind == LOST:
            self.lost.append(event.at)
        elif event.kind == AGAIN:
            self.again.append((event.at, event.number(0), float(event.fields[1])))
        elif event.kind == FAILED:
            self.failures.append(" ".join(event.fields))
        elif event.kind == ENDED:
            self.ended = True

    def unconfirmed_at(self, moment: float) -> int:
        """How many messages were sent and not confirmed at a moment.

        Only what the process of that moment sent counts.
        """
        begun = max((one for one in self.began if one[0] <= moment), default=(0.0, 0))
        sent = max((last for at, last in self.sends if begun[0] <= at <= moment), default=0)
        known = max(
            (last for at, _, last in self.confirmed if begun[0] <= at <= moment), default=begun[1]
        )
        return max(0, sent - known)

    def confirmed_after(self, moment: float) -> float | None:
        """When the first confirm after a moment came."""
        return next((at for at, _, _ in self.confirmed if at > moment), None)


@dataclass(slots=True)
class Run:
    """What one process of a reader received.

    Attributes:
        wanted: the offset that it was to begin with.
        until: the last offset that it was to read; None: without end.
        stored: the offset that was stored under its name when it began; -1 for none.
        received: (first offset, last offset, checksum of what the messages are).
        handled: (time, offset) up to which it had handled.
        ended: whether it came to the end of its range.
        shown: how much of `received` was given by `fresh`.
    """

    wanted: int
    until: int | None
    stored: int
    at: float
    received: list[tuple[int, int, int]] = field(default_factory=list)
    handled: list[tuple[float, int]] = field(default_factory=list)
    ended: bool = False
    shown: int = 0

    def fresh(self) -> Run:
        """What is new since the last call, as a run that begins where that ended."""
        wanted = self.received[self.shown - 1][1] + 1 if self.shown else self.wanted
        new = replace(self, wanted=wanted, received=self.received[self.shown :])
        self.shown = len(self.received)
        return new


@dataclass(slots=True)
class ReaderHistory:
    """What a reader says that it did, a run for each process.

    Attributes:
        name: the reader's.
        runs: in order.
        lost: when connections were lost.
        failures: errors that ended a process.
        gaps: offsets that it was told are gone.
        latest: when it last received something.
    """

    name: str
    runs: list[Run] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    latest: float = 0.0
    tail: Tail | None = None

    @classmethod
    def read(cls, path: Path, name: str) -> ReaderHistory:
        """Read a file, all that is in it now."""
        self = cls(name, tail=Tail(path))
        self.update()
        return self

    def update(self) -> None:
        """Read what was written since."""
        for event in self.tail.events() if self.tail else ():
            self._take(event)

    def _take(self, event: Event) -> None:
        if event.kind == BEGUN:
            until = event.number(1)
            self.runs.append(
                Run(event.number(0), None if until < 0 else until, event.number(2), event.at)
            )
        elif event.kind == READ:
            self.latest = event.at
            self.runs[-1].received.append((event.number(0), event.number(1), event.number(2)))
        elif event.kind == HANDLED:
            self.runs[-1].handled.append((event.at, event.number(0)))
        elif event.kind == ENDED:
            self.runs[-1].ended = True
        elif event.kind == LOST:
            self.lost.append(event.at)
        elif event.kind == GAP:
            self.gaps.append((event.number(0), event.number(1)))
        elif event.kind == FAILED:
            self.failures.append(" ".join(event.fields))

    def fresh(self) -> ReaderHistory:
        """What is new since the last call; checking all again and again takes too long."""
        return ReaderHistory(self.name, [run.fresh() for run in self.runs])

    @property
    def position(self) -> int:
        """The last offset that any of its processes received; -1 for none."""
        return max((run.received[-1][1] for run in self.runs if run.received), default=-1)

    @property
    def handled(self) -> int:
        """The last offset that any of its processes had handled; -1 for none."""
        return max((offset for run in self.runs for _, offset in run.handled), default=-1)

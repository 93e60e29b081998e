"""Holds a log against what producers and readers say that they did.

Anomalies are named as in Jepsen's tests of logs:

- lost: confirmed and not in the log, or jumped over for good;
- duplicate: in the log twice, or handed to a reader twice;
- out of order: behind a later message of the same producer;
- unseen: in the log and in a reader's range, and the reader passed it by;
- phantom: nobody sent it, or a reader got what is not in the log or not in its range;
- ahead: an offset was stored before the reader had handled what it stands for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stocklog.bench.chaos.bodies import Read
from stocklog.bench.chaos.history import ProducerHistory, ReaderHistory, Run
from stocklog.bench.chaos.reader import checksum

__all__ = ["KINDS", "Anomaly", "check"]

KINDS = ("lost", "duplicate", "out of order", "unseen", "phantom", "ahead")
"""Every name that an anomaly can have."""

_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Something that must not be.

    Attributes:
        kind: one of `KINDS`.
        who: the producer or reader.
        count: messages.
        text: which.
    """

    kind: str
    who: str
    count: int
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.count} of {self.who}: {self.text}"


def check(
    log: Read,
    producers: Sequence[ProducerHistory],
    readers: Sequence[ReaderHistory],
    *,
    is_final: bool = False,
) -> list[Anomaly]:
    """Find every anomaly.

    Args:
        log: all messages of the log in its order, read after the histories.
        producers: their histories; a producer's slot stands in its messages.
        readers: their histories.
        is_final: nothing moves any more, and readers without an end must have read all.

    Returns:
        The anomalies, none if all is well.
    """
    found = list(_unknown(log, producers))
    for producer in producers:
        numbers = log.numbers[log.producers == producer.slot]
        found += _producer(producer, numbers)
    for reader in readers:
        found += _reader(reader, log, is_final=is_final)
    return found


# -- what producers wrote -----------------------------------------------------------------


def _unknown(log: Read, producers: Sequence[ProducerHistory]) -> Iterator[Anomaly]:
    slots = np.array([producer.slot for producer in producers], np.int64)
    strange = ~np.isin(log.producers, slots)
    if strange.any():
        yield _anomaly("phantom", "nobody", log.offsets[strange], "offsets")


def _producer(producer: ProducerHistory, numbers: npt.NDArray[np.int64]) -> Iterator[Anomaly]:
    who = f"producer {producer.slot}"
    strange = (numbers < 1) | (numbers > producer.sent)
    if strange.any():
        yield _anomaly("phantom", who, numbers[strange], "never sent: numbers")
    known, firsts, counts = np.unique(numbers, return_index=True, return_counts=True)
    if (counts > 1).any():
        yield _anomaly("duplicate", who, np.repeat(known, counts - 1), "numbers")
    in_log_order = numbers[np.sort(firsts)]
    if len(in_log_order):
        before = np.maximum.accumulate(in_log_order)
        late = in_log_order < before
        if late.any():
            yield _anomaly("out of order", who, in_log_order[late], "numbers")
    missing = _missing(producer, known)
    if len(missing):
        yield _anomaly("lost", who, missing, "numbers")


def _missing(producer: ProducerHistory, known: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Numbers that were confirmed, or lie before one that is in the log, and are not there."""
    highest = int(known[-1]) if len(known) else 0
    runs = np.array([(first, last + 1) for _, first, last in producer.confirmed], np.int64)
    runs = np.append(runs.reshape(-1, 2), [[1, highest + 1]], axis=0)
    # How many runs hold a number: one more from each beginning on, one less from each end on.
    steps = np.zeros(int(runs.max()) + 1, np.int64)
    np.add.at(steps, runs[:, 0], 1)
    np.add.at(steps, runs[:, 1], -1)
    return np.setdiff1d(np.flatnonzero(np.cumsum(steps) > 0), known, assume_unique=True)


# -- what readers got ---------------------------------------------------------------------


def _reader(reader: ReaderHistory, log: Read, *, is_final: bool) -> Iterator[Anomaly]:
    who = f"reader {reader.name}"
    handled = -1
    for run in reader.runs:
        yield from _run(who, run, log)
        if run.stored > handled:
            text = f"went on behind offset {run.stored}, had handled {handled}"
            yield Anomaly("ahead", who, run.stored - handled, text)
        handled = max([handled, *(offset for _, offset in run.handled)])
    endless = [run for run in reader.runs if run.until is None]
    if is_final and endless and len(log.offsets) and reader.position < log.offsets[-1]:
        rest = log.offsets[log.offsets > reader.position]
        yield _anomaly("unseen", who, rest, "never came to offsets")


def _run(who: str, run: Run, log: Read) -> Iterator[Anomaly]:
    position = run.wanted - 1
    for first, last, told in run.received:
        if first < run.wanted or (run.until is not None and last > run.until):
            yield Anomaly(
                "phantom", who, last - first + 1,
                f"offsets {first} to {last} are not in its range {run.wanted} to {run.until}",
            )  # fmt: skip
        if first <= position:
            kind = "out of order" if last < position and first > run.wanted else "duplicate"
            kind = "duplicate" if _came_before(run, first, last) else kind
            yield Anomaly(kind, who, last - first + 1, f"offsets {first} to {last}")
        else:
            yield from _unseen(who, log, position + 1, first - 1)
        yield from _compare(who, log, first, last, told)
        position = max(position, last)
    if run.ended and run.until is not None:
        yield from _unseen(who, log, position + 1, run.until)


def _came_before(run: Run, first: int, last: int) -> bool:
    """Whether an earlier piece of the run holds some of these offsets."""
    for low, high, _ in run.received:
        if (low, high) == (first, last):
            return sum(piece[:2] == (first, last) for piece in run.received) > 1
        if low <= last and first <= high:
            return True
    return False


def _unseen(who: str, log: Read, first: int, last: int) -> Iterator[Anomaly]:
    begin, end = np.searchsorted(log.offsets, [first, last + 1])
    if end > begin:
        yield _anomaly("unseen", who, log.offsets[begin:end], "offsets")


def _compare(who: str, log: Read, first: int, last: int, told: int) -> Iterator[Anomaly]:
    begin, end = np.searchsorted(log.offsets, [first, last + 1])
    there = Read(log.offsets[begin:end], log.producers[begin:end], log.numbers[begin:end])
    if end - begin != last - first + 1 or checksum(there) != told:
        text = f"offsets {first} to {last} hold something else in the log"
        yield Anomaly("phantom", who, last - first + 1, text)


def _anomaly(kind: str, who: str, which: npt.NDArray[np.int64], what: str) -> Anomaly:
    shown = ", ".join(map(str, which[:_EXAMPLES].tolist()))
    more = " …" if len(which) > _EXAMPLES else ""
    return Anomaly(kind, who, len(which), f"{what} {shown}{more}")

"""A reader that writes down what it receives, and what it has handled."""

from __future__ import annotations

import random
import zlib
from pathlib import Path

import numpy as np

from stocklog.bench.chaos import bodies, history
from stocklog.bench.chaos.history import ReaderHistory
from stocklog.bench.chaos.worker import Worker
from stocklog.errors import StocklogError, StreamError
from stocklog.stream import StreamClient, Subscriber

__all__ = ["KINDS", "checksum", "run"]

KINDS = ("follow", "named", "ranges")
"""One that goes on behind its own last offset, one that goes on behind the offset that it
stored with the broker, and one that reads range after range."""

_STORE_EVERY = 2_000
_RANGE = 20_000
_REST_S = 0.2


def checksum(read: bodies.Read) -> int:
    """A checksum of whose messages they are and which."""
    both = np.stack([read.producers, read.numbers]).astype("<i8")
    return zlib.crc32(both.tobytes())


def run(worker: Worker) -> None:
    """Read until told to end."""
    with worker.connect() as client:
        {"follow": _follow, "named": _named, "ranges": _ranges}[worker.task.kind](worker, client)


def _subscribe(worker: Worker, client: StreamClient, offset: str, until_end: bool) -> Subscriber:
    subscriber: Subscriber = worker.keep_trying(
        lambda: client.subscriber(worker.task.stream, offset, until_end=until_end)
    )
    return subscriber


def _take(worker: Worker, subscriber: Subscriber) -> int | None:
    """Receive one block and write it down; the last offset, or None if nothing came."""
    block = subscriber.next(0.2)
    if block is None:
        return None
    read = bodies.read(block)
    # A jump in the offsets is the broker's own record; each run of them gets a line.
    cuts = np.flatnonzero(np.diff(read.offsets) != 1) + 1
    for part in np.split(np.arange(len(read.offsets)), cuts):
        piece = bodies.Read(*(column[part] for column in read))
        worker.history.note(history.READ, piece.offsets[0], piece.offsets[-1], checksum(piece))
    return int(read.offsets[-1])


def _follow(worker: Worker, client: StreamClient) -> None:
    known = ReaderHistory.read(Path(worker.task.file), worker.task.name).position
    _read_on(worker, client, known + 1, stored=-1)


def _named(worker: Worker, client: StreamClient) -> None:
    stored = worker.keep_trying(lambda: client.query_offset(worker.task.name, worker.task.stream))
    known = -1 if stored is None else stored
    _read_on(worker, client, known + 1, stored=known)


def _read_on(worker: Worker, client: StreamClient, wanted: int, stored: int) -> None:
    named = worker.task.kind == "named"
    worker.history.note(history.BEGUN, wanted, -1, stored)
    handled = last_stored = wanted - 1
    with _subscribe(worker, client, str(wanted), False) as subscriber:
        while not worker.is_to_end:
            last = _take(worker, subscriber)
            if last is not None:
                handled = last
                worker.history.note(history.HANDLED, handled)
            if named and handled - last_stored >= _STORE_EVERY and _store(worker, client, handled):
                last_stored = handled
        _note_gaps(worker, subscriber)
    if named and handled > last_stored:
        _store(worker, client, handled)


def _store(worker: Worker, client: StreamClient, offset: int) -> bool:
    try:
        client.store_offset(worker.task.name, worker.task.stream, offset)
    except StreamError:
        return False  # the next one will be stored
    worker.history.note(history.STORED, offset)
    return True


def _ranges(worker: Worker, client: StreamClient) -> None:
    earlier = len(ReaderHistory.read(Path(worker.task.file), worker.task.name).runs)
    choose = random.Random(f"{worker.task.seed}-{earlier}")  # noqa: S311
    while not worker.is_to_end:
        try:
            last = client.last_offset(worker.task.stream)
        except StocklogError:
            last = None
        if last is None:
            worker.wait(0.1)
            continue
        first = choose.randint(max(0, last - _RANGE), last)
        until = choose.randint(first, last)
        _read_range(worker, client, first, until)
        worker.wait(_REST_S)


def _read_range(worker: Worker, client: StreamClient, first: int, until: int) -> None:
    worker.history.note(history.BEGUN, first, until, -1)
    with _subscribe(worker, client, f"{first}..{until}", True) as subscriber:
        while not subscriber.ended:
            _take(worker, subscriber)
            if worker.is_to_end:
                return
        _note_gaps(worker, subscriber)
    worker.history.note(history.ENDED)


def _note_gaps(worker: Worker, subscriber: Subscriber) -> None:
    for first, last in subscriber.gaps:
        worker.history.note(history.GAP, first, last)

"""A named producer that writes down what it sends before, and what is confirmed after."""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from stocklog.bench.chaos import bodies, history
from stocklog.bench.chaos.history import History
from stocklog.bench.chaos.worker import Worker
from stocklog.errors import StreamError
from stocklog.stream import Publisher
from stocklog.stream.link import PublisherLink

__all__ = ["KINDS", "run"]

KINDS: dict[str, dict[str, Any]] = {
    "plain": {"sub_batch": 1},
    "blocks": {"sub_batch": 100},
    "lz4": {"sub_batch": 250, "codec": "lz4"},
}
"""Publisher options of each kind of producer."""

_DRAIN = 60.0
_PIECES = (1, 7, 40, 100, 250, 300, 777)


class _Recorded:
    """Listens to a publisher and writes down what it hears."""

    def __init__(self, publisher: Publisher, kept: History) -> None:
        self._publisher, self._kept = publisher, kept
        self._confirmed_ids, self._went_down = publisher.confirmed_ids, publisher.went_down
        publisher.confirmed_ids = self.confirmed_ids  # type: ignore[method-assign]
        publisher.went_down = self.went_down  # type: ignore[method-assign]

    def confirmed_ids(self, ids: npt.NDArray[np.uint64]) -> None:
        """Confirms came: entries by the number of their last message."""
        self._confirmed_ids(ids)
        last = np.unique(ids).astype(np.int64)
        size = self._publisher.options.sub_batch
        first = (last - 1) // size * size + 1
        begins = np.flatnonzero(np.append(True, first[1:] != last[:-1] + 1))
        ends = np.append(begins[1:] - 1, len(last) - 1)
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            self._kept.note(history.CONFIRMED, first[begin], last[end])

    def went_down(self, link: PublisherLink, error: StreamError) -> None:
        """The connection was lost."""
        self._kept.note(history.LOST, error.what)
        self._went_down(link, error)


def run(worker: Worker) -> None:
    """Publish from where the log stands until told to end, then flush."""
    task = worker.task
    choose = random.Random(task.seed)  # noqa: S311 - a seed is what is wanted
    pace = task.options["rate"]
    with worker.connect() as client:
        publisher = worker.keep_trying(
            lambda: client.publisher(task.stream, name=task.name, **KINDS[task.kind])
        )
        worker.history.note(history.BEGUN, publisher.last_sequence)
        _Recorded(publisher, worker.history)
        number, due = publisher.last_sequence, time.monotonic()
        while not worker.is_to_end:
            count = choose.choice(_PIECES)
            worker.history.note(history.SENT, number + 1, number + count)
            publisher.send(*bodies.build(task.slot, number + 1, count, publisher.lead))
            number += count
            # What a fault held up is not caught up with, so that the log stays small.
            due = max(due + count / pace, time.monotonic() - 0.1)
            worker.wait(max(0.0, due - time.monotonic()))
        publisher.close(_DRAIN)
        worker.history.note(history.ENDED)

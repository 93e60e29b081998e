"""Our Python face: a whole frame of strings, or one update at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from stocklog.bench.job import Job
from stocklog.bench.peers.connect import stream_client
from stocklog.bench.updates import BROKEN, as_bodies, as_frame, with_broken
from stocklog.errors import InvalidUpdateError, StocklogError
from stocklog.inventory import codec
from stocklog.inventory.update import Update
from stocklog.ledger.producer import Producer

__all__ = ["frame", "rows"]


def frame(job: Job) -> dict[str, Any]:
    """Publish a frame of `job.count` updates that is ready in memory.

    Raises:
        StocklogError: the same frame with one invalid row in it was not refused for that row.
    """
    updates = as_frame(job.count, job.seed)
    with stream_client(job) as client:
        producer = Producer(client, job.stream)
        begun = time.perf_counter()
        producer.send(updates)
        producer.close()
        seconds = time.perf_counter() - begun
        refusing = Producer(client, job.stream)
        _must_refuse(lambda: refusing.send(with_broken(updates)))
        if refusing.sent:
            raise StocklogError("A frame was refused, and a part of it was sent all the same")
    return {"updates": producer.confirmed, "seconds": seconds}


def rows(job: Job) -> dict[str, Any]:
    """Publish `job.count` updates one by one; each is made, and so validated, on the way.

    Raises:
        StocklogError: an invalid one could be made.
    """
    values = [codec.decode_row(body).to_dict() for body in as_bodies(job.count, job.seed)]
    with stream_client(job) as client:
        producer = Producer(client, job.stream)
        make: Any = Update
        begun = time.perf_counter()
        for fields in values:
            producer.send(make(**fields))
        producer.close()
        seconds = time.perf_counter() - begun
    _must_refuse(lambda: make(**BROKEN))
    return {"updates": producer.confirmed, "seconds": seconds}


def _must_refuse(attempt: Callable[[], object]) -> None:
    try:
        attempt()
    except InvalidUpdateError as error:
        if len(error.reasons) == 1:
            return
        raise
    raise StocklogError("An invalid update was not noticed")

"""Our own producer and reader at a set pace, saying when what was sent and seen."""

from __future__ import annotations

import time
from typing import Any

from stocklog.bench.job import Job
from stocklog.bench.peers.connect import stream_client
from stocklog.bench.updates import as_bodies
from stocklog.inventory import codec
from stocklog.inventory.simulate import Simulator
from stocklog.ledger.batch import decode
from stocklog.ledger.producer import LINGER, Producer

__all__ = ["publish", "publish_rows", "read"]

_STEPS = 200  # a second


def publish(job: Job) -> dict[str, Any]:
    """Publish `job.count` updates, `rate` a second (0: as fast as it goes), in steps of 5 ms."""
    rate = job.options.get("rate") or 0
    rows = max(1, int(rate / _STEPS)) if rate else 8192
    sub_batch = job.options.get("sub_batch", 500)
    simulator = Simulator("grocery", job.seed)
    edges: list[tuple[int, float]] = []
    with (
        stream_client(job) as client,
        client.publisher(job.stream, sub_batch=sub_batch) as publisher,
    ):
        begun = due = time.monotonic()
        while publisher.sent < job.count:
            due = _pace(due, rows, rate)
            edges.append((publisher.sent + rows, time.monotonic()))
            block = codec.encode(simulator.batch(rows), publisher.lead)
            publisher.send(block.data, block.starts)
            if rate:
                publisher.push()
        publisher.flush()
        seconds = time.monotonic() - begun
        return {
            "updates": publisher.confirmed,
            "seconds": seconds,
            "facts": {"edges": edges},
        }


def _pace(due: float, rows: int, rate: float) -> float:
    if not rate:
        return due
    wait = due - time.monotonic()
    if wait > 0:
        time.sleep(wait)
    return due + rows / rate


def publish_rows(job: Job) -> dict[str, Any]:
    """The row face: one update at a time, `rate` a second (0: as fast as it goes)."""
    rate = job.options.get("rate") or 0
    updates = [codec.decode_row(body) for body in as_bodies(job.count, job.seed)]
    edges: list[tuple[int, float]] = []
    with stream_client(job) as client:
        producer = Producer(client, job.stream, linger=job.options.get("linger", LINGER))
        begun = due = time.monotonic()
        for number, update in enumerate(updates, 1):
            if rate:
                due = _pace(due, 1, rate)
                edges.append((number, time.monotonic()))
            producer.send(update)
        producer.close()
        seconds = time.monotonic() - begun
    return {"updates": len(updates), "seconds": seconds, "facts": {"edges": edges}}


def read(job: Job) -> dict[str, Any]:
    """Read `job.count` updates as typed columns, `rate` a second at most (0: no bound).

    With `seconds` it ends after that time, whatever it has.
    """
    rate = job.options.get("rate") or 0
    limit = job.options.get("seconds") or 600
    count, edges = 0, []
    with stream_client(job) as client, client.subscriber(job.stream, "first") as subscriber:
        begun = time.monotonic()
        first = 0.0
        while count < job.count and time.monotonic() - begun < limit:
            block = subscriber.next(0.2)
            if block is None:
                continue
            first = first or time.monotonic()
            step = max(1, rate // 10) if rate else len(block)
            for start in range(0, len(block), step):
                rows = block[start : start + step]
                count += len(decode(rows))
                edges.append((count, time.monotonic()))
                if rate:
                    time.sleep(len(rows) / rate)
                if time.monotonic() - begun >= limit:
                    break
        seconds = time.monotonic() - (first or begun)
    return {"updates": count, "seconds": seconds, "facts": {"edges": edges}}

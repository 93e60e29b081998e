"""Bodies of a given size, as they are: what the envelope and the wire cost by the byte."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from stocklog.bench.job import Job
from stocklog.bench.peers.connect import stream_client

__all__ = ["publish"]

_BLOCK_BYTES = 1 << 20


def publish(job: Job) -> dict[str, Any]:
    """Publish `job.count` bodies of `size` random letters."""
    size = job.options["size"]
    rows = max(1, _BLOCK_BYTES // size)
    letters = np.random.default_rng(job.seed).integers(97, 123, rows * size, np.uint8)
    with stream_client(job) as client, client.publisher(job.stream) as publisher:
        width = len(publisher.lead) + size
        begun = time.perf_counter()
        for done in range(0, job.count, rows):
            count = min(rows, job.count - done)
            block = np.empty((count, width), np.uint8)
            block[:, : len(publisher.lead)] = np.frombuffer(publisher.lead, np.uint8)
            block[:, len(publisher.lead) :] = letters[: count * size].reshape(count, size)
            publisher.send(block.reshape(-1), np.arange(count + 1, dtype=np.int64) * width)
        publisher.flush()
        seconds = time.perf_counter() - begun
        sent = publisher.confirmed
    return {"updates": sent, "seconds": seconds, "facts": {"bytes": sent * size}}

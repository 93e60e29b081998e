"""A slow writer: each message confirmed before the next is sent, so each is a chunk of its own."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from stocklog.bench.job import Job
from stocklog.bench.peers.connect import stream_client
from stocklog.bench.updates import encoded

__all__ = ["publish"]


def publish(job: Job) -> dict[str, Any]:
    """Publish `job.count` updates in chunks of one message."""
    with (
        stream_client(job) as client,
        client.publisher(job.stream, sub_batch=1) as publisher,
    ):
        begun = time.perf_counter()
        for data, starts in encoded(job.count, job.seed, publisher.lead):
            for row in range(len(starts) - 1):
                body = data[starts[row] : starts[row + 1]]
                publisher.send(body, np.array([0, len(body)], np.int64))
                publisher.flush()
        seconds = time.perf_counter() - begun
        return {"updates": publisher.confirmed, "seconds": seconds}

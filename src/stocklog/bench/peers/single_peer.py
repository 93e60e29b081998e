"""A slow writer: each message confirmed before the next is sent, so each is a chunk of its own."""

from __future__ import annotations

import itertools
import struct
import time
from typing import Any

from stocklog.bench.job import Job
from stocklog.bench.peers.wire_peer import Confirms, connect
from stocklog.bench.updates import encoded
from stocklog.protocol import amqp
from stocklog.protocol.frames import Key

__all__ = ["publish"]

# Size, key, version, publisher, how many messages; then the message's number and the rest of it.
_HEAD = struct.Struct(">IHHBIQ")
_PATIENCE = 60.0


def publish(job: Job) -> dict[str, Any]:
    """Publish `job.count` updates in chunks of one message."""
    connection, confirms = connect(job), Confirms()
    connection.handler = confirms
    connection.checked(
        Key.DECLARE_PUBLISHER, "Publishing", publisher_id=0, reference="", stream=job.stream
    )
    sent = 0
    begun = time.perf_counter()
    for data, starts in encoded(job.count, job.seed, amqp.lead(True)):
        amqp.write_lengths(data, starts, plain=True)
        whole = data.tobytes()
        for start, end in itertools.pairwise(starts.tolist()):
            # The first eight bytes of the lead are room for the number.
            size = _HEAD.size - 4 + end - start - 8
            head = _HEAD.pack(size, Key.PUBLISH, 1, 0, 1, sent)
            connection.send([head + whole[start + 8 : end]])
            sent += 1
            confirms.wait_for(sent, _PATIENCE)
    seconds = time.perf_counter() - begun
    connection.close()
    return {"updates": confirms.count, "seconds": seconds}

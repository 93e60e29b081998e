"""The process in which a peer runs one job: JSON in on stdin, JSON out on stdout."""

from __future__ import annotations

import importlib
import json
import sys

from stocklog.bench.job import Job

__all__ = ["main"]

_PEERS = {
    "python": "stocklog.bench.peers.python_peer",
    "single": "stocklog.bench.peers.single_peer",
    "rstream": "stocklog.bench.peers.rstream_peer",
    "pika": "stocklog.bench.peers.pika_peer",
    "wire": "stocklog.bench.peers.wire_peer",
    "live": "stocklog.bench.peers.live_peer",
    "pika_live": "stocklog.bench.peers.pika_live_peer",
    "bodies": "stocklog.bench.peers.bodies_peer",
}


def main() -> None:
    """Run the job and print what it measured."""
    job = Job(**json.loads(sys.stdin.read()))
    peer = importlib.import_module(_PEERS[job.peer])
    found = getattr(peer, job.verb)(job)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()

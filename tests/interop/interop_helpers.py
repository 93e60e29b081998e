"""Bodies out and in by our own client, for tests that have another one at the other end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from stocklog.protocol import amqp
from stocklog.stream import StreamClient


def publish_bodies(client: StreamClient, stream: str, bodies: Sequence[bytes], **how: Any) -> None:
    """Publishes and waits for the confirms."""
    with client.publisher(stream, **how) as publisher:
        publisher.send(*amqp.frame_bodies(list(bodies), publisher.options.plain))
        publisher.flush(20)
        assert publisher.confirmed == len(bodies)


def read_messages(client: StreamClient, stream: str, count: int) -> Iterable[tuple[bytes, bytes]]:
    """`count` messages from the first on, each with its body."""
    found: list[tuple[bytes, bytes]] = []
    with client.subscriber(stream, "first") as reader:
        while len(found) < count:
            block = reader.next(10)
            assert block is not None, f"{len(found)} of {count} messages came"
            bodies = amqp.locate_bodies(block)
            assert bodies.problems == {}
            data = bodies.buffer.tobytes()
            places = zip(bodies.starts.tolist(), bodies.lengths.tolist(), strict=True)
            for row, (start, length) in enumerate(places):
                found.append((block.message(row), data[start : start + length]))
    assert len(found) == count
    return found


def read_bodies(client: StreamClient, stream: str, count: int) -> list[bytes]:
    return [body for _, body in read_messages(client, stream, count)]

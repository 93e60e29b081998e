"""pika at a set pace on classic queues behind a fanout exchange, saying when what was seen."""

from __future__ import annotations

import json
import time
from typing import Any

import pika

from stocklog.bench.job import Job
from stocklog.bench.updates import as_dicts
from stocklog.stream import StreamURI

__all__ = ["declare", "publish", "read", "remove"]

_STEPS = 100  # a second
_PREFETCH = 200


def _connect(job: Job) -> pika.BlockingConnection:
    uri = StreamURI.parse(job.uri)
    credentials = pika.PlainCredentials(uri.user, uri.password)
    return pika.BlockingConnection(
        pika.ConnectionParameters(uri.hosts[0][0], job.amqp_port, uri.vhost, credentials)
    )


def declare(job: Job) -> dict[str, Any]:
    """Declare the exchange `job.stream` and one durable queue a reader, named in `queues`."""
    with _connect(job) as connection:
        channel = connection.channel()
        channel.exchange_declare(job.stream, "fanout", durable=True)
        for queue in job.options["queues"]:
            channel.queue_declare(queue, durable=True)
            channel.queue_bind(queue, job.stream)
    return {"updates": 0, "seconds": 1.0}


def remove(job: Job) -> dict[str, Any]:
    """Delete them; says how many messages were left in each queue."""
    with _connect(job) as connection:
        channel = connection.channel()
        left = {
            queue: channel.queue_declare(queue, passive=True).method.message_count
            for queue in job.options["queues"]
        }
        for queue in job.options["queues"]:
            channel.queue_delete(queue)
        channel.exchange_delete(job.stream)
    return {"updates": 0, "seconds": 1.0, "facts": {"left": left}}


def publish(job: Job) -> dict[str, Any]:
    """Publish `job.count` persistent messages, `rate` a second."""
    updates, edges = as_dicts(job.count, job.seed), []
    rate = job.options["rate"]
    rows = max(1, rate // _STEPS)
    properties = pika.BasicProperties(delivery_mode=2)
    with _connect(job) as connection:
        channel = connection.channel()
        begun = due = time.monotonic()
        for start in range(0, len(updates), rows):
            while due > time.monotonic():
                connection.process_data_events(max(0.0, due - time.monotonic()))
            due += rows / rate
            block = updates[start : start + rows]
            edges.append((start + len(block), time.monotonic()))
            for update in block:
                body = json.dumps(update, separators=(",", ":")).encode()
                channel.basic_publish(job.stream, "", body, properties)
        seconds = time.monotonic() - begun
    return {"updates": len(updates), "seconds": seconds, "facts": {"edges": edges}}


def read(job: Job) -> dict[str, Any]:
    """Read queue `queue`, `rate` a second at most (0: no bound), for `seconds`."""
    rate, limit = job.options.get("rate") or 0, job.options["seconds"]
    edges: list[tuple[int, float]] = []
    with _connect(job) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=_PREFETCH)
        begun = time.monotonic()
        for method, _, body in channel.consume(job.options["queue"], inactivity_timeout=0.2):
            if body is not None:
                json.loads(body)
                edges.append((len(edges) + 1, time.monotonic()))
                channel.basic_ack(method.delivery_tag)
                if rate:
                    time.sleep(1 / rate)
            if len(edges) >= job.count or time.monotonic() - begun >= limit:
                break
        channel.cancel()
    seconds = edges[-1][1] - edges[0][1] if len(edges) > 1 else limit
    return {"updates": len(edges), "seconds": seconds, "facts": {"edges": edges}}

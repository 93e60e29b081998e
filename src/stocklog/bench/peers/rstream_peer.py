"""rstream, used as its own documentation does: dicts, `json.dumps`, `send_batch` of 1,000."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import rstream
from rstream import AMQPMessage, ConsumerOffsetSpecification, OffsetType, amqp_decoder

from stocklog.bench.job import Job
from stocklog.bench.peers.connect import tls_context
from stocklog.bench.updates import as_dicts, foreign
from stocklog.stream import StreamURI

__all__ = ["publish", "read"]

_BATCH = 1000


def _where(job: Job) -> dict[str, Any]:
    uri = StreamURI.parse(job.uri)
    host, port = uri.hosts[0]
    return {
        "host": host,
        "port": port,
        "vhost": uri.vhost,
        "username": uri.user,
        "password": uri.password,
        "ssl_context": tls_context(job),
    }


def publish(job: Job) -> dict[str, Any]:
    """Publish `job.count` updates, all confirmed; `foreign` writes JSON as others do."""
    updates = as_dicts(job.count, job.seed)
    if job.options.get("foreign"):
        return asyncio.run(_publish(job, list(foreign(updates, job.seed)), str))
    return asyncio.run(_publish(job, updates, _compact))


def _compact(update: dict[str, Any]) -> str:
    return json.dumps(update, separators=(",", ":"))


async def _publish(job: Job, updates: list[Any], render: Callable[[Any], str]) -> dict[str, Any]:
    confirmed = 0
    done = asyncio.Event()

    def on_confirm(status: rstream.ConfirmationStatus) -> None:
        nonlocal confirmed
        confirmed += 1
        if confirmed == len(updates):
            done.set()

    async with rstream.Producer(**_where(job)) as producer:
        begun = time.perf_counter()
        for start in range(0, len(updates), _BATCH):
            batch = [
                AMQPMessage(body=render(update).encode())
                for update in updates[start : start + _BATCH]
            ]
            await producer.send_batch(
                job.stream, batch, publisher_name=None, on_publish_confirm=on_confirm
            )
        await asyncio.wait_for(done.wait(), 600)
        seconds = time.perf_counter() - begun
    return {"updates": confirmed, "seconds": seconds}


def read(job: Job) -> dict[str, Any]:
    """Read `job.count` updates from the first on, `json.loads` each."""
    return asyncio.run(_read(job))


async def _read(job: Job) -> dict[str, Any]:
    count = 0
    ended = 0.0
    consumer = rstream.Consumer(**_where(job))

    def on_message(message: AMQPMessage, context: rstream.MessageContext) -> None:
        nonlocal count, ended
        json.loads(message.body)
        count += 1
        if count == job.count:
            ended = time.perf_counter()
            consumer.stop()

    await consumer.start()
    begun = time.perf_counter()
    await consumer.subscribe(
        job.stream,
        on_message,
        decoder=amqp_decoder,
        offset_specification=ConsumerOffsetSpecification(OffsetType.FIRST, None),
    )
    await asyncio.wait_for(consumer.run(), 600)
    await consumer.close()
    return {"updates": count, "seconds": ended - begun}

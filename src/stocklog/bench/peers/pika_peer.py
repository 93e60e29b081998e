"""pika over AMQP 0-9-1: into a classic durable queue, or into the stream itself."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from typing import Any

import pika
from pika.adapters.select_connection import SelectConnection
from pika.channel import Channel

from stocklog.bench.job import Job
from stocklog.bench.updates import as_dicts
from stocklog.stream import StreamURI

__all__ = ["publish", "read"]

# Confirms come while publishing goes on; so many messages may wait for theirs.
_WINDOW = 5000
_BURST = 500
_PREFETCH = 1000


def _parameters(job: Job) -> pika.ConnectionParameters:
    uri = StreamURI.parse(job.uri)
    return pika.ConnectionParameters(
        uri.hosts[0][0],
        job.amqp_port,
        uri.vhost,
        pika.PlainCredentials(uri.user, uri.password),
    )


class _Run:
    """One connection that does one thing and stops."""

    def __init__(self, job: Job, ready: Callable[[_Run], None]) -> None:
        self.job = job
        self.begun = self.ended = 0.0
        self.done = 0
        self._ready = ready
        self.channel: Channel
        self.connection = SelectConnection(
            _parameters(job), on_open_callback=self._opened, on_close_callback=self._closed
        )
        self.connection.ioloop.start()

    def _opened(self, connection: SelectConnection) -> None:
        connection.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: Channel) -> None:
        self.channel = channel
        if self.job.options.get("classic"):
            channel.queue_declare(
                self.job.stream, durable=True, callback=lambda _: self._ready(self)
            )
        else:
            self._ready(self)

    def _closed(self, connection: SelectConnection, reason: BaseException) -> None:
        connection.ioloop.stop()

    def finish(self) -> None:
        self.ended = time.perf_counter()
        self.connection.close()

    def result(self) -> dict[str, Any]:
        return {"updates": self.done, "seconds": self.ended - self.begun}


def publish(job: Job) -> dict[str, Any]:
    """Publish `job.count` persistent messages; `confirms` waits for each one's confirm."""
    return _Run(job, functools.partial(_publish, updates=as_dicts(job.count, job.seed))).result()


def _publish(run: _Run, updates: list[dict[str, Any]]) -> None:
    channel, properties = run.channel, pika.BasicProperties(delivery_mode=2)
    confirms, sent = bool(run.job.options.get("confirms")), 0

    def on_confirm(frame: Any) -> None:
        tag = frame.method.delivery_tag
        run.done = tag if frame.method.multiple else max(run.done + 1, 0)
        if run.done >= len(updates):
            run.done = len(updates)
            run.finish()

    def burst() -> None:
        nonlocal sent
        if run.ended:
            return
        end = min(sent + _BURST, len(updates))
        if confirms:
            end = min(end, run.done + _WINDOW)
        for update in updates[sent:end]:
            body = json.dumps(update, separators=(",", ":")).encode()
            channel.basic_publish("", run.job.stream, body, properties)
        sent = max(sent, end)
        if sent < len(updates):
            run.connection.ioloop.call_later(0, burst)
        elif not confirms:
            # All that tells that the broker has it: its answer to a request behind them.
            channel.queue_declare(run.job.stream, passive=True, callback=lambda _: told())

    def told() -> None:
        run.done = len(updates)
        run.finish()

    if confirms:
        channel.confirm_delivery(on_confirm)
    run.begun = time.perf_counter()
    burst()


def read(job: Job) -> dict[str, Any]:
    """Read `job.count` messages, `json.loads` and acknowledge each."""
    return _Run(job, _read).result()


def _read(run: _Run) -> None:
    channel = run.channel
    arguments = {} if run.job.options.get("classic") else {"x-stream-offset": "first"}

    def on_message(channel: Channel, method: Any, properties: Any, body: bytes) -> None:
        if run.ended:
            return
        json.loads(body)
        run.done += 1
        # Acknowledging many at once is what pika users do for speed.
        if run.done % 100 == 0 or run.done == run.job.count:
            channel.basic_ack(method.delivery_tag, multiple=True)
        if run.done == run.job.count:
            run.finish()

    channel.basic_qos(prefetch_count=_PREFETCH)
    run.begun = time.perf_counter()
    channel.basic_consume(run.job.stream, on_message, arguments=arguments)

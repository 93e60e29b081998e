"""Does a slow reader hold anybody back? On a stream, and on classic queues beside it."""

from __future__ import annotations

import secrets
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil

from stocklog.bench.clocks import latencies, percentiles
from stocklog.bench.job import Job, Result, run_job
from stocklog.bench.report import Column, Report, Section
from stocklog.bench.streams import Bench

__all__ = ["measure"]

_FAST_READERS = 3
_SLOW_RATE = 1000
_SECONDS = 10.0
_STREAM_RATE = 100_000
_CLASSIC_RATE = 3000
_SAMPLE = 0.5
_SEED = 4000

_TEXT = (
    "One producer at a set rate, three fast readers, and (in the second line of each pair) one "
    "that is held to 1,000 updates a second. On the stream the slow reader's backlog is the log "
    "itself, which is kept anyway; with classic queues (one a reader behind a fanout exchange) the "
    "broker holds it for that reader alone. pika needs most of two cores for 3,000 a second with "
    "four readers, so both are measured at that rate, and the stream also at 100,000. Latency is "
    "that of the fast readers, publishing to decoded row."
)


@dataclass(slots=True)
class _Watch:
    """Samples the broker's resident memory while a case runs."""

    pid: int | None
    samples: list[tuple[float, float]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        if self.pid is None:
            return
        process, at = psutil.Process(self.pid), 0.0
        while not self._stop.wait(_SAMPLE):
            at += _SAMPLE
            self.samples.append((at, process.memory_info().rss / 1e6))

    def stop(self) -> None:
        self._stop.set()


def measure(bench: Bench, report: Report) -> None:
    """Run each case with and without the slow reader and add the tables to the report."""
    cases = [("stream", _STREAM_RATE), ("stream", _CLASSIC_RATE)]
    if bench.amqp_port:
        bench.check_amqp()
        cases.append(("classic queues", _CLASSIC_RATE))
    kept: dict[str, list[dict[str, Any]]] = {}
    for number in range(bench.rounds):
        for kind, rate in cases:
            for slow in (False, True):
                name = f"{kind}, {rate:,} a second{', one slow reader' if slow else ''}"
                bench.tell(f"round {number + 1}: {name}")
                run = _on_stream if kind == "stream" else _on_queues
                kept.setdefault(name, []).append(run(bench, rate, number, slow=slow))
    report.sections.append(_table(kept))
    memory = {name: rounds[-1]["memory"] for name, rounds in kept.items() if rounds[-1]["memory"]}
    if memory:
        report.sections.append(_memory(memory))


def _table(kept: dict[str, list[dict[str, Any]]]) -> Section:
    rows, figures = [], {}
    for name, rounds in kept.items():
        middle = {
            key: float(np.median([one[key] for one in rounds]))
            for key in ("producer", "fast", "slow", "backlog", "p50", "p99")
        }
        figures[name] = {"median": middle, "rounds": rounds}
        rows.append(
            [
                name,
                f"{middle['producer']:,.0f}",
                f"{middle['fast']:,.0f}",
                f"{middle['p50']:.1f}",
                f"{middle['p99']:.1f}",
                f"{middle['slow']:,.0f}" if middle["slow"] else "",
                f"{middle['backlog']:,.0f}" if middle["slow"] else "",
            ]
        )
    columns = [
        Column("case", right=False),
        Column("producer/s"),
        Column("each fast reader/s"),
        Column("p50 ms"),
        Column("p99 ms"),
        Column("slow reader/s"),
        Column("its backlog"),
    ]
    return Section("Slow reader", _TEXT, columns, rows, figures)


def _memory(memory: dict[str, list[tuple[float, float]]]) -> Section:
    rows = [
        [name, f"{points[0][1]:,.0f}", f"{max(y for _, y in points):,.0f}"]
        for name, points in memory.items()
    ]
    columns = [Column("case", right=False), Column("MB at the start"), Column("most MB")]
    return Section(
        "Broker memory",
        "Resident memory of the broker's process during the last round.",
        columns,
        rows,
        memory,
        lines=memory,
        axes=("seconds", "MB resident"),
    )


def _on_stream(bench: Bench, rate: int, number: int, *, slow: bool) -> dict[str, Any]:
    count = int(rate * _SECONDS)
    with bench.stream("slow") as stream:

        def reader(held_to: int) -> Job:
            options = {"rate": held_to, "seconds": _SECONDS + (1 if held_to else 5)}
            return bench.job("live", "read", stream, count, 0, **options)

        publisher = bench.job("live", "publish", stream, count, _SEED + number, rate=rate)
        return _run(bench, publisher, reader, slow=slow)


def _on_queues(bench: Bench, rate: int, number: int, *, slow: bool) -> dict[str, Any]:
    count, exchange = int(rate * _SECONDS), f"stocklog-bench-{secrets.token_hex(4)}"
    names = [f"{exchange}-{index}" for index in range(_FAST_READERS + slow)]

    def job(verb: str, **options: Any) -> Job:
        return bench.job("pika_live", verb, exchange, count, _SEED + number, **options)

    waiting = list(names)

    def reader(held_to: int) -> Job:
        seconds = _SECONDS + (1 if held_to else 5)
        return job("read", queue=waiting.pop(0), rate=held_to, seconds=seconds)

    run_job(job("declare", queues=names))
    try:
        return _run(bench, job("publish", rate=rate), reader, slow=slow)
    finally:
        run_job(job("remove", queues=names))


def _run(bench: Bench, publisher: Job, reader: Any, *, slow: bool) -> dict[str, Any]:
    watch = _Watch(bench.node_pid)
    with ThreadPoolExecutor(_FAST_READERS + 3) as pool:
        watching = pool.submit(watch.run)
        fast = [pool.submit(run_job, reader(0)) for _ in range(_FAST_READERS)]
        lazy: Future[Result] | None = pool.submit(run_job, reader(_SLOW_RATE)) if slow else None
        publishing = pool.submit(run_job, publisher)
        try:
            sent, readers = publishing.result(), [one.result() for one in fast]
            behind = lazy.result() if lazy else None
        finally:
            watch.stop()
            watching.result()
    values = np.concatenate([latencies(sent.facts["edges"], one.facts["edges"]) for one in readers])
    return {
        **percentiles(values),
        "producer": sent.rate,
        "fast": float(np.mean([one.rate for one in readers])),
        "fast_missed": sum(sent.updates - one.updates for one in readers),
        "slow": behind.rate if behind else 0.0,
        "backlog": sent.updates - behind.updates if behind else 0,
        "memory": watch.samples,
    }

"""Publish to delivery at set rates: p50, p95 and p99."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from stocklog.bench.clocks import latencies, percentiles
from stocklog.bench.job import run_job
from stocklog.bench.report import Column, Report, Section
from stocklog.bench.streams import Bench

__all__ = ["measure"]

_CASES: tuple[tuple[str, str, int, dict[str, Any]], ...] = (
    ("1,000 a second, row face", "publish_rows", 1_000, {}),
    ("1,000 a second, row face, linger 1 ms", "publish_rows", 1_000, {"linger": 0.001}),
    ("1,000 a second, plain entries", "publish", 1_000, {"sub_batch": 1}),
    ("100,000 a second, plain entries", "publish", 100_000, {"sub_batch": 1}),
    ("100,000 a second, sub-batches", "publish", 100_000, {"sub_batch": 500}),
    ("500,000 a second, sub-batches", "publish", 500_000, {"sub_batch": 500}),
)
_SEED = 3000
# The first second warms up: connections, caches, the broker's first chunks.
_WARM_UP = 1.0
_SECONDS = 6.0

_TEXT = (
    "One producer process, one reader process, the broker beside them. An update's time runs from "
    "the moment it is handed over (its block's turn has come) to the moment its decoded and "
    "validated row is in the reader's hands, in milliseconds. Medians of the rounds. The row face "
    "waits up to 5 ms for others to go with an update, or as `linger` says."
)


def measure(bench: Bench, report: Report) -> None:
    """Measure each rate and add the table to the report."""
    rows, figures = [], {}
    kept: dict[str, list[dict[str, Any]]] = {name: [] for name, *_ in _CASES}
    for number in range(bench.rounds):
        for name, verb, rate, options in _CASES:
            found = _one(bench, verb, rate, number, options)
            kept[name].append(found)
            bench.tell(f"round {number + 1}: {name}: p50 {found['p50']:.2f} ms")
    for name, results in kept.items():
        middle = {key: float(np.median([one[key] for one in results])) for key in results[0]}
        figures[name] = {"median": middle, "rounds": results}
        rows.append([name, *(f"{middle[key]:.2f}" for key in ("p50", "p95", "p99", "max"))])
    columns = [
        Column("updates", right=False),
        Column("p50 ms"),
        Column("p95 ms"),
        Column("p99 ms"),
        Column("max ms"),
    ]
    report.sections.append(Section("Latency", _TEXT, columns, rows, figures))


def _one(
    bench: Bench, verb: str, rate: int, number: int, options: dict[str, Any]
) -> dict[str, Any]:
    count = int(rate * _SECONDS)
    with bench.stream("latency") as stream, ThreadPoolExecutor(2) as pool:
        seconds = 4 * _SECONDS
        reading = pool.submit(run_job, bench.job("live", "read", stream, count, 0, seconds=seconds))
        job = bench.job("live", verb, stream, count, _SEED + number, rate=rate, **options)
        publishing = pool.submit(run_job, job)
        published, delivered = publishing.result(), reading.result()
    values = latencies(published.facts["edges"], delivered.facts["edges"])
    return percentiles(values[int(rate * _WARM_UP) :])

"""Rate, CPU and memory against length, producers, readers and the size of bodies."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from stocklog.bench.job import Job, Result, run_job
from stocklog.bench.report import Column, Report, Section
from stocklog.bench.streams import Bench

__all__ = ["measure"]

_PRODUCERS = (1, 2, 4)
_READERS = (1, 2, 4, 8)
_BODY_SIZES = (100, 1_000, 10_000, 100_000)
_BODY_BYTES = 200_000_000
_SEED = 5000

_COLUMNS = [
    Column("case", right=False),
    Column("updates/s in all"),
    Column("spread"),
    Column("MB/s"),
    Column("CPU ns/update"),
    Column("peak MB of one"),
]


def measure(bench: Bench, report: Report) -> None:
    """Measure each dimension and add its table to the report."""
    lengths = [bench.count // 10, bench.count, bench.count * 10]
    report.sections += [
        _section(
            bench,
            "Scale: length",
            "`produce` of so many updates, and `consume first -e --format none` of them.",
            [(f"produce {n:,}", _produced(n)) for n in lengths]
            + [(f"consume {n:,}", _consumed(n)) for n in lengths],
        ),
        _section(
            bench,
            "Scale: producers",
            "Producers at the same time on one stream, the updates shared out.",
            [(f"{n} producing", _producers(n)) for n in _PRODUCERS],
        ),
        _section(
            bench,
            "Scale: readers",
            "Readers at the same time, each of the whole stream; the rate is the sum.",
            [(f"{n} reading", _readers(n)) for n in _READERS],
        ),
        _section(
            bench,
            "Scale: size of bodies",
            "Bodies of random letters, published as sub-batches; no JSON is made or read.",
            [(f"{size:,} bytes", _bodies(size)) for size in _BODY_SIZES],
        ),
    ]


Case = Callable[[Bench, int], list[Result]]


def _section(bench: Bench, title: str, text: str, cases: Sequence[tuple[str, Case]]) -> Section:
    kept: dict[str, list[list[Result]]] = {name: [] for name, _ in cases}
    for number in range(bench.rounds):
        for name, case in cases:
            bench.tell(f"round {number + 1}: {title}: {name}")
            kept[name].append(case(bench, number))
    rows, figures, bars = [], {}, []
    for name, rounds in kept.items():
        rates = [_rate(results) for results in rounds]
        median = statistics.median(rates)
        last = rounds[-1]
        size = sum(result.facts.get("bytes", 0) for result in last)
        seconds = max(result.seconds for result in last)
        cpu = sum(r.cpu_seconds for r in last) / sum(r.updates for r in last) * 1e9
        peak = max(result.peak_bytes for result in last)
        rows.append(
            [
                name,
                f"{median:,.0f}",
                f"{min(rates):,.0f} – {max(rates):,.0f}",
                f"{size / seconds / 1e6:,.0f}" if size else "",
                f"{cpu:,.0f}",
                f"{peak / 1e6:,.0f}",
            ]
        )
        figures[name] = {"rates": rates, "cpu_ns_per_update": cpu, "peak_bytes": peak}
        bars.append((name, median))
    return Section(title, text, _COLUMNS, rows, figures, bars)


def _rate(results: list[Result]) -> float:
    """All updates by the longest of the clocks, which run at the same time."""
    return sum(result.updates for result in results) / max(result.seconds for result in results)


def _together(jobs: list[Job]) -> list[Result]:
    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run_job, jobs))


def _produce(bench: Bench, stream: str, count: int, seed: int) -> Job:
    return Job("stocklog", "publish", bench.uri, stream, count, seed)


def _consume(bench: Bench, stream: str, count: int) -> Job:
    options: dict[str, Any] = {"arguments": ["--format", "none"]}
    return Job("stocklog", "read", bench.uri, stream, count, 0, options=options)


def _produced(count: int) -> Case:
    def case(bench: Bench, number: int) -> list[Result]:
        with bench.stream("scale") as stream:
            return [run_job(_produce(bench, stream, count, _SEED + number))]

    return case


def _consumed(count: int) -> Case:
    def case(bench: Bench, number: int) -> list[Result]:
        with bench.stream("scale") as stream:
            run_job(_produce(bench, stream, count, _SEED + number))
            return [run_job(_consume(bench, stream, count))]

    return case


def _producers(producers: int) -> Case:
    def case(bench: Bench, number: int) -> list[Result]:
        share = bench.count // producers
        with bench.stream("scale") as stream:
            return _together(
                [
                    _produce(bench, stream, share, _SEED + 10 * number + index)
                    for index in range(producers)
                ]
            )

    return case


def _readers(readers: int) -> Case:
    def case(bench: Bench, number: int) -> list[Result]:
        with bench.stream("scale") as stream:
            run_job(_produce(bench, stream, bench.count, _SEED + number))
            return _together([_consume(bench, stream, bench.count)] * readers)

    return case


def _bodies(size: int) -> Case:
    def case(bench: Bench, number: int) -> list[Result]:
        count = min(bench.count, _BODY_BYTES // size)
        with bench.stream("scale") as stream:
            options = {"size": size}
            return [
                run_job(Job("bodies", "publish", bench.uri, stream, count, number, options=options))
            ]

    return case

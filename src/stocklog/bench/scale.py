"""Rate, CPU and memory against length, producers, readers and the size of bodies."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from stocklog.bench.job import Job, Result, run_job
from stocklog.bench.report import Column, Report, Section
from stocklog.bench.streams import Bench

__all__ = ["measure"]

# Of --count: the longest is too long for --quick, whose count is small.
_LENGTHS = (0.1, 1, 10, 50)
# What a stream keeps whose retention is at work while it is written.
_KEPT_BYTES = 1_000_000_000
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
    """Measure each dimension, or those of `bench.only`, and add its table to the report."""
    for key, section in _DIMENSIONS.items():
        if not bench.only or key in bench.only:
            report.sections.append(section(bench))


@dataclass(slots=True)
class _Point:
    """One place on an axis, and what was measured there: results of each round, one a process."""

    series: str
    x: int
    label: str
    rounds: list[list[Result]] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """All updates by the longest of the clocks, which run at the same time."""
        return [
            sum(one.updates for one in results) / max(one.seconds for one in results)
            for results in self.rounds
        ]


Measure = Callable[[Bench, str, int, int], list[Result]]
"""Does one round: the bench, a new stream, the place on the axis, the number of the round."""


def _by_length(bench: Bench) -> Section:
    counts = [int(bench.count * times) for times in _LENGTHS]
    bounded, kept, read = (
        [_Point(series, count, f"{series} {count:,}") for count in counts]
        for series in ("produce", "produce, all kept", "consume")
    )
    for number in range(bench.rounds):
        for place, count in enumerate(counts):
            bench.tell(f"round {number + 1}: {count:,} updates out and in")
            with bench.stream("scale", keeps=_KEPT_BYTES) as stream:
                job = _produce(bench, stream, count, _SEED + number)
                bounded[place].rounds.append([run_job(job)])
            with bench.stream("scale") as stream:
                job = _produce(bench, stream, count, _SEED + number)
                kept[place].rounds.append([run_job(job)])
                read[place].rounds.append([run_job(_consume(bench, stream, count))])
    return _section(
        "Scale: length",
        "`produce` of so many updates into a stream that keeps the newest gigabyte, and into one"
        " that keeps them all, which shows from where on it is the disk or fresh memory that is"
        " measured; `consume first -e --format none` of the latter.",
        [point for points in zip(bounded, kept, read, strict=True) for point in points],
        ("updates", True),
    )


def _by_producers(bench: Bench) -> Section:
    return _section(
        "Scale: producers",
        "Producers at the same time on one stream, the updates shared out.",
        _rounds(bench, "producing", _PRODUCERS, _produce_together),
        ("producers", False),
    )


def _by_readers(bench: Bench) -> Section:
    return _section(
        "Scale: readers",
        "Readers at the same time, each of the whole stream; the rate is the sum.",
        _rounds(bench, "reading", _READERS, _read_together),
        ("readers", False),
    )


def _by_body_size(bench: Bench) -> Section:
    return _section(
        "Scale: size of bodies",
        "Bodies of random letters, published as sub-batches; no JSON is made or read.",
        _rounds(bench, "bytes", _BODY_SIZES, _publish_bodies),
        ("bytes of a body", True),
    )


_DIMENSIONS: dict[str, Callable[[Bench], Section]] = {
    "length": _by_length,
    "producers": _by_producers,
    "readers": _by_readers,
    "bodies": _by_body_size,
}


def _rounds(bench: Bench, series: str, axis: Sequence[int], measured: Measure) -> list[_Point]:
    points = [_Point(series, x, f"{x:,} {series}") for x in axis]
    for number in range(bench.rounds):
        for point in points:
            bench.tell(f"round {number + 1}: {point.label}")
            with bench.stream("scale") as stream:
                point.rounds.append(measured(bench, stream, point.x, number))
    return points


def _section(title: str, text: str, points: list[_Point], axis: tuple[str, bool]) -> Section:
    rows, figures = [], {}
    lines: dict[str, list[tuple[float, float]]] = {}
    for point in points:
        last, median = point.rounds[-1], statistics.median(point.rates)
        size = sum(result.facts.get("bytes", 0) for result in last)
        seconds = max(result.seconds for result in last)
        cpu = sum(r.cpu_seconds for r in last) / sum(r.updates for r in last) * 1e9
        peak = max(result.peak_bytes for results in point.rounds for result in results)
        rows.append(
            [
                point.label,
                f"{median:,.0f}",
                f"{min(point.rates):,.0f} – {max(point.rates):,.0f}",
                f"{size / seconds / 1e6:,.0f}" if size else "",
                f"{cpu:,.0f}",
                f"{peak / 1e6:,.0f}",
            ]
        )
        figures[point.label] = {
            "rates": point.rates,
            "cpu_ns_per_update": cpu,
            "peak_bytes": peak,
        }
        lines.setdefault(point.series, []).append((point.x, median))
    axes = (axis[0], "updates a second in all")
    return Section(title, text, _COLUMNS, rows, figures, lines=lines, axes=axes, log_x=axis[1])


def _together(jobs: list[Job]) -> list[Result]:
    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run_job, jobs))


def _produce(bench: Bench, stream: str, count: int, seed: int) -> Job:
    return bench.job("stocklog", "publish", stream, count, seed)


def _consume(bench: Bench, stream: str, count: int) -> Job:
    return bench.job("stocklog", "read", stream, count, 0, arguments=["--format", "none"])


def _produce_together(bench: Bench, stream: str, producers: int, number: int) -> list[Result]:
    seeds = range(_SEED + 10 * number, _SEED + 10 * number + producers)
    return _together([_produce(bench, stream, bench.count // producers, seed) for seed in seeds])


def _read_together(bench: Bench, stream: str, readers: int, number: int) -> list[Result]:
    run_job(_produce(bench, stream, bench.count, _SEED + number))
    return _together([_consume(bench, stream, bench.count)] * readers)


def _publish_bodies(bench: Bench, stream: str, size: int, number: int) -> list[Result]:
    count = min(bench.count, _BODY_BYTES // size)
    return [run_job(bench.job("bodies", "publish", stream, count, number, size=size))]

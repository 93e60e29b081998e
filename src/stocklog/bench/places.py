"""The same jobs on several brokers in turn: one node, a cluster, TLS, whatever is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stocklog.bench.job import Result, run_job
from stocklog.bench.report import Report, rates_section
from stocklog.bench.runner import Contender, interleave
from stocklog.bench.streams import Bench

__all__ = ["measure"]

_SEED = 6000
_JOBS: dict[str, tuple[str, int, list[Any]]] = {
    "produce": ("publish", 1, ["--name", "bench"]),
    "produce, lz4": ("publish", 1, ["--codec", "lz4", "--name", "bench"]),
    "produce, plain entries": ("publish", 4, ["--sub-batch", 1, "--name", "bench"]),
    "consume": ("read", 1, ["--format", "none"]),
}

_TEXT = (
    "The whole command, each job on one broker after the other; the last number is the rate as a "
    "multiple of the first broker's. On a cluster the stream has a replica on each node, and a "
    "confirm means that a majority has written it."
)


def measure(places: Mapping[str, Bench], report: Report) -> None:
    """Run every job at every place and add the table to the report.

    Args:
        places: a bench for each broker, by the name that stands in the table; the first is
            what the others are compared with. Count and rounds are the first one's.
        report: gets one section.
    """
    first, *_ = places.values()
    contenders = [
        _contender(job, place, next(iter(places)), bench, first.count)
        for job in _JOBS
        for place, bench in places.items()
    ]
    measured = interleave(contenders, first.rounds, first.tell)
    report.sections.append(rates_section("Places", _TEXT, measured, head=f"× {next(iter(places))}"))


def _contender(job: str, place: str, first: str, bench: Bench, count: int) -> Contender:
    verb, share, arguments = _JOBS[job]

    def run(number: int) -> Result:
        with bench.stream("places") as stream:
            if verb == "read":
                run_job(bench.job("stocklog", "publish", stream, count, _SEED + number))
            return run_job(
                bench.job(
                    "stocklog", verb, stream, count // share, _SEED + number, arguments=arguments
                )
            )

    return Contender(f"{job}@{place}", f"{job}, {place}", run, yardstick=f"{job}@{first}")

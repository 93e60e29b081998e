"""Whole updates into a stream: ours, the peers, and the bare wire as the limit."""

from __future__ import annotations

from typing import Any

from stocklog.bench.job import Job, Result, run_job
from stocklog.bench.report import Report, rates_section
from stocklog.bench.runner import Contender, interleave
from stocklog.bench.streams import Bench

__all__ = ["YARDSTICK", "measure"]

YARDSTICK = "rstream"
_SEED = 1000

_TEXT = (
    "Every contender makes its messages from the same simulated updates and waits until the "
    "broker has confirmed all of them (but for `pika, classic, no confirms`). rstream and pika "
    "get dicts that are ready in memory and do `json.dumps`; stocklog is the whole command, "
    "simulation included. The wire sends frames that were made before the clock started: "
    "no client can be faster on this machine. CPU is that of the whole process, imports and "
    "preparation included, without the broker's."
)


def measure(bench: Bench, report: Report) -> None:
    """Run all contenders and add their table to the report."""
    contenders = [
        _ours(bench, "stocklog", []),
        _ours(bench, "stocklog, lz4", ["--codec", "lz4"]),
        _ours(bench, "stocklog, plain entries, named", ["--sub-batch", 1, "--name", "bench"], 4),
        _peer(bench, "wire", "wire, sub-batches", 1, {}),
        _peer(bench, "wire", "wire, plain entries, named", 4, {"sub_batch": 1, "name": "bench"}),
        _peer(bench, "rstream", YARDSTICK, 10, {}),
    ]
    if bench.amqp_port:
        contenders += [
            _peer(bench, "pika", "pika, the same stream", 20, {"confirms": True}),
            _classic(bench, "pika, classic durable queue, confirms", {"confirms": True}),
            _classic(bench, "pika, classic durable queue, no confirms", {}),
        ]
    measured = interleave(contenders, bench.rounds, bench.tell)
    report.sections.append(rates_section("Intake", _TEXT, measured, YARDSTICK))


def _ours(bench: Bench, name: str, arguments: list[Any], share: int = 1) -> Contender:
    return _peer(bench, "stocklog", name, share, {"arguments": arguments})


def _peer(bench: Bench, peer: str, name: str, share: int, options: dict[str, Any]) -> Contender:
    def run(number: int) -> Result:
        with bench.stream("intake") as stream:
            return run_job(_job(bench, peer, stream, share, options, number))

    return Contender(name, run)


def _classic(bench: Bench, name: str, options: dict[str, Any]) -> Contender:
    def run(number: int) -> Result:
        queue = bench.classic("intake")
        try:
            return run_job(_job(bench, "pika", queue, 20, {"classic": True, **options}, number))
        finally:
            bench.delete_queue(queue)

    return Contender(name, run)


def _job(
    bench: Bench, peer: str, stream: str, share: int, options: dict[str, Any], number: int
) -> Job:
    count = max(1000, bench.count // share)
    return Job(peer, "publish", bench.uri, stream, count, _SEED + number, bench.amqp_port, options)

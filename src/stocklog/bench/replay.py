"""A stream back as typed columns: ours, the peers, and the bare wire as the limit."""

from __future__ import annotations

from typing import Any

from stocklog.bench.intake import YARDSTICK
from stocklog.bench.job import Job, Result, run_job
from stocklog.bench.report import Report, rates_section
from stocklog.bench.runner import Contender, interleave
from stocklog.bench.streams import Bench

__all__ = ["measure"]

_SEED = 2000

_TEXT = (
    "Streams are filled before the clock starts. `stocklog` is `consume first -e --format none`: "
    "every message received, its checksum verified, every field decoded into typed columns and "
    "validated. rstream and pika hand each message to a callback that does `json.loads`. "
    "`anyone's JSON` was written by rstream with the spaces of `json.dumps`. The wire receives "
    "chunks and drops them."
)


def measure(bench: Bench, report: Report) -> None:
    """Fill the streams, run all contenders and add their table to the report."""
    share = max(1000, bench.count // 10)
    own = _filled(bench, "stocklog", bench.count, {"arguments": []})
    lz4 = _filled(bench, "stocklog", bench.count, {"arguments": ["--codec", "lz4"]})
    plain = _filled(bench, "stocklog", share, {"arguments": ["--sub-batch", 1]})
    foreign = _filled(bench, "rstream", share, {"spaced": True})
    contenders = [
        _reader(bench, "stocklog", "stocklog", own, bench.count),
        _reader(bench, "stocklog", "stocklog, lz4", lz4, bench.count),
        _reader(bench, "stocklog", "stocklog, plain entries", plain, share),
        _reader(bench, "stocklog", "stocklog, anyone's JSON", foreign, share),
        _reader(bench, "wire", "wire", own, bench.count),
        _reader(bench, "rstream", YARDSTICK, plain, share),
    ]
    if bench.amqp_port:
        contenders.append(_reader(bench, "pika", "pika, AMQP 0-9-1", plain, share))
    measured = interleave(contenders, bench.rounds, bench.tell)
    report.sections.append(rates_section("Replay", _TEXT, measured, YARDSTICK))
    for stream in (own, lz4, plain, foreign):
        bench.drop(stream)


def _filled(bench: Bench, peer: str, count: int, options: dict[str, Any]) -> str:
    stream = bench.new_stream("replay")
    bench.tell(f"filling a stream with {count:,} updates by {peer}")
    run_job(Job(peer, "publish", bench.uri, stream, count, _SEED, bench.amqp_port, options))
    return stream


def _reader(bench: Bench, peer: str, name: str, stream: str, count: int) -> Contender:
    def run(number: int) -> Result:
        options = {"arguments": ["--format", "none"]} if peer == "stocklog" else {}
        result = run_job(
            Job(peer, "read", bench.uri, stream, count, _SEED, bench.amqp_port, options)
        )
        if result.updates != count:
            raise AssertionError(f"{name} read {result.updates} of {count} updates")
        return result

    return Contender(name, run)

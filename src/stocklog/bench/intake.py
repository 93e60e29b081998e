"""Whole updates into a stream: ours, the peers, and the bare wire as the limit."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from stocklog.bench.job import Job, Result, run_job
from stocklog.bench.report import Report, rates_section
from stocklog.bench.runner import Contender, chosen, interleave
from stocklog.bench.streams import Bench
from stocklog.bench.targets import INTAKE, targets_section
from stocklog.bench.updates import write_file
from stocklog.errors import StocklogError

__all__ = ["measure"]

_SEED = 1000
_NAME = "bench"
# `stocklog load` says with its status that a row was no update.
_REJECTS = 3

_TEXT = (
    "Every contender makes its messages from the same simulated updates and waits until the "
    "broker has confirmed all of them (but for `pika, classic, no confirms`). rstream and pika "
    "get dicts that are ready in memory and do `json.dumps`; `produce` and `load` are the whole "
    "command, simulation or reading included; the frame of strings is ready in memory, and each "
    "update of the row face is made, and so validated, on the way. Files are written anew for each "
    "round, with one invalid row in the middle that must be counted. The wire sends frames that "
    "were made before the clock started: no client can be faster on this machine. CPU is that of "
    "the whole process, imports and preparation included, without the broker's."
)


def measure(bench: Bench, report: Report) -> None:
    """Run all contenders and add their tables to the report."""
    contenders = chosen(_contenders(bench), bench.only)
    if any(each.name.startswith("pika") for each in contenders):
        bench.check_amqp()
    measured = interleave(contenders, bench.rounds, bench.tell)
    report.sections.append(rates_section("Intake", _TEXT, measured))
    report.sections.append(targets_section("Intake: targets", measured, INTAKE))


def _contenders(bench: Bench) -> list[Contender]:
    named, plain = ["--name", _NAME], ["--sub-batch", 1, "--name", _NAME]
    wire = {"sub_batch": 1, "name": _NAME}
    found = [
        _produce(bench, "default", "stocklog", named),
        _produce(bench, "lz4", "stocklog, lz4", ["--codec", "lz4", *named]),
        _produce(bench, "plain", "stocklog, plain entries, named", plain, 4, "wire-plain"),
        _python(bench, "frame", "stocklog, Polars frame of strings"),
        _load(bench, "parquet", "stocklog load, Parquet"),
        _load(bench, "csv", "stocklog load, CSV"),
        _load(bench, "jsonl", "stocklog load, JSON Lines"),
        _load(bench, "jsonl-nulls", "stocklog load, JSON Lines with nulls"),
        _python(bench, "rows", "stocklog, one update at a time"),
        _peer(bench, "wire", "wire", "wire, sub-batches", 1, {}),
        _peer(bench, "wire-plain", "wire", "wire, plain entries, named", 4, wire),
        _peer(bench, "rstream", "rstream", "rstream", 10, {}),
    ]
    if bench.amqp_port:
        confirms = {"confirms": True}
        found += [
            _peer(bench, "pika", "pika", "pika, the same stream", 20, confirms),
            _classic(bench, "classic", "pika, classic durable queue, confirms", confirms),
            _classic(bench, "classic-fast", "pika, classic durable queue, no confirms", {}),
        ]
    return found


def _produce(
    bench: Bench, key: str, name: str, arguments: list[Any], share: int = 1, limit: str = ""
) -> Contender:
    return _peer(bench, key, "stocklog", name, share, {"arguments": arguments}, limit)


def _peer(
    bench: Bench,
    key: str,
    peer: str,
    name: str,
    share: int,
    options: dict[str, Any],
    limit: str = "",
) -> Contender:
    def run(number: int) -> Result:
        with bench.stream("intake") as stream:
            return run_job(_job(bench, peer, "publish", stream, share, options, number))

    return Contender(key, name, run, limit=limit)


def _python(bench: Bench, key: str, name: str) -> Contender:
    def run(number: int) -> Result:
        with bench.stream("intake") as stream:
            return run_job(_job(bench, "python", key, stream, 1, {}, number))

    return Contender(key, name, run)


def _load(bench: Bench, key: str, name: str) -> Contender:
    form, _, nulls = key.partition("-")

    def run(number: int) -> Result:
        with (
            tempfile.TemporaryDirectory(prefix="stocklog-bench-") as folder,
            bench.stream("intake") as stream,
        ):
            file = Path(folder, f"updates.{form}")
            write_file(file, bench.count, _SEED + number, nulls=bool(nulls))
            options = {"arguments": [file], "status": _REJECTS}
            result = run_job(_job(bench, "stocklog", "load", stream, 1, options, number))
        if result.updates != bench.count or result.facts["rejects"] != 1:
            raise StocklogError(
                f"{name} found {result.facts['rejects']:,} rejects among {bench.count + 1:,} rows, "
                "of which one is none"
            )
        return result

    return Contender(key, name, run)


def _classic(bench: Bench, key: str, name: str, options: dict[str, Any]) -> Contender:
    def run(number: int) -> Result:
        queue = bench.classic("intake")
        try:
            wanted = {"classic": True, **options}
            return run_job(_job(bench, "pika", "publish", queue, 20, wanted, number))
        finally:
            bench.delete_queue(queue)

    return Contender(key, name, run)


def _job(
    bench: Bench,
    peer: str,
    verb: str,
    stream: str,
    share: int,
    options: dict[str, Any],
    number: int,
) -> Job:
    count = max(1000, bench.count // share)
    return bench.job(peer, verb, stream, count, _SEED + number, **options)

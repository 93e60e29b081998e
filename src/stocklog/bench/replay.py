"""A stream back as typed columns: ours, the peers, and the bare wire as the limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from stocklog.bench.job import Result, run_job
from stocklog.bench.report import Report, rates_section
from stocklog.bench.runner import Contender, chosen, interleave
from stocklog.bench.streams import Bench
from stocklog.bench.targets import REPLAY, targets_section
from stocklog.errors import StocklogError

__all__ = ["measure"]

_SEED = 2000
# A chunk for each message takes a round trip: some 5,000 a second.
_MOST_SINGLE = 50_000

_TEXT = (
    "Streams are filled before the clock starts, with one message in the middle that is no update "
    "and must be counted. `stocklog` is `consume first -e --format none`: every message received, "
    "its checksum verified, every field decoded into typed columns and validated; to a file it is "
    "the same with every row written. rstream and pika hand each message to a callback that does "
    "`json.loads`. `anyone's JSON` was written by rstream with spaces and escapes, each body's "
    "fields in an order of its own. In one-message chunks each update was confirmed before the "
    "next was sent; the yardstick is then rstream on the same stream, and the broker is the limit. "
    "The wire receives chunks and drops them."
)


def measure(bench: Bench, report: Report) -> None:
    """Fill the streams, run all contenders and add their tables to the report."""
    streams = _Streams(bench)
    contenders = chosen(_contenders(bench, streams), bench.only)
    if any(each.name.startswith("pika") for each in contenders):
        bench.check_amqp()
    measured = interleave(contenders, bench.rounds, bench.tell)
    report.sections.append(rates_section("Replay", _TEXT, measured))
    report.sections.append(targets_section("Replay: targets", measured, REPLAY))
    streams.drop()


def _contenders(bench: Bench, streams: _Streams) -> list[Contender]:
    ours = partial(_reader, bench, streams, "stocklog")
    found = [
        ours("own", "stocklog", "own"),
        ours("lz4", "stocklog, lz4", "lz4"),
        ours("plain", "stocklog, plain entries", "plain"),
        ours("foreign", "stocklog, anyone's JSON", "foreign"),
        ours(
            "single", "stocklog, one-message chunks", "single",
            yardstick="rstream-single", limit="wire-single",
        ),
        ours("to-jsonl", "stocklog, to JSON Lines", "own", form="jsonl"),
        ours("to-parquet", "stocklog, to Parquet", "own", form="parquet"),
        _reader(bench, streams, "wire", "wire", "wire", "own"),
        _reader(bench, streams, "rstream", "rstream", "rstream", "plain"),
        _reader(
            bench, streams, "rstream", "rstream-single", "rstream, one-message chunks", "single",
            yardstick="rstream-single",
        ),
        _reader(
            bench, streams, "wire", "wire-single", "wire, one-message chunks", "single",
            yardstick="rstream-single",
        ),
    ]  # fmt: skip
    if bench.amqp_port:
        found.append(_reader(bench, streams, "pika", "pika", "pika, AMQP 0-9-1", "plain"))
    return found


@dataclass(slots=True)
class _Filled:
    """A stream to read, and how many updates it holds besides the one that is none."""

    name: str
    count: int


@dataclass(slots=True)
class _Streams:
    """Streams by what is in them, each filled when it is first read."""

    bench: Bench
    _filled: dict[str, _Filled] = field(default_factory=dict)

    def get(self, kind: str) -> _Filled:
        """The stream of a kind: `own`, `lz4`, `plain`, `foreign` or `single`."""
        if kind not in self._filled:
            self._filled[kind] = self._fill(kind)
        return self._filled[kind]

    def _fill(self, kind: str) -> _Filled:
        bench, count = self.bench, self.bench.count
        kinds: dict[str, tuple[str, int, dict[str, Any]]] = {
            "own": ("stocklog", count, {"arguments": []}),
            "lz4": ("stocklog", count, {"arguments": ["--codec", "lz4"]}),
            "plain": ("stocklog", count // 10, {"arguments": ["--sub-batch", 1]}),
            "foreign": ("rstream", count, {"foreign": True}),
            "single": ("single", min(count // 10, _MOST_SINGLE), {}),
        }
        peer, share, options = kinds[kind]
        half = share // 2
        bench.tell(f"filling a stream with {2 * half:,} updates ({kind})")
        name = bench.new_stream("replay")
        run_job(bench.job(peer, "publish", name, half, _SEED, **options))
        bench.publish_broken(name)
        run_job(bench.job(peer, "publish", name, half, _SEED + 1, **options))
        return _Filled(name, 2 * half)

    def drop(self) -> None:
        """Delete them all."""
        for filled in self._filled.values():
            self.bench.drop(filled.name)


def _reader(
    bench: Bench,
    streams: _Streams,
    peer: str,
    key: str,
    name: str,
    kind: str,
    *,
    form: str = "none",
    yardstick: str = "rstream",
    limit: str = "",
) -> Contender:
    options: dict[str, Any] = {}
    if peer == "stocklog":
        options["arguments"] = ["--format", form]
    if form != "none":
        options["output"] = f"updates.{form}"
    check: Callable[[str, Result, int], None] = _check_ours if peer == "stocklog" else _check_theirs

    def run(number: int) -> Result:
        stream = streams.get(kind)
        job = bench.job(peer, "read", stream.name, stream.count + 1, _SEED, **options)
        result = run_job(job)
        check(name, result, stream.count)
        return result

    return Contender(key, name, run, yardstick, limit)


def _check_ours(name: str, result: Result, count: int) -> None:
    invalid = result.facts["invalid"]
    if (result.updates, invalid) != (count, 1):
        raise StocklogError(
            f"{name} read {result.updates:,} updates and {invalid:,} invalid messages, "
            f"not {count:,} and 1"
        )


def _check_theirs(name: str, result: Result, count: int) -> None:
    if result.updates != count + 1:
        raise StocklogError(f"{name} read {result.updates:,} of {count + 1:,} messages")

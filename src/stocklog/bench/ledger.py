"""What the ledger costs: from the broker into a store, and questions to it.

Each step is the command a user types, as a process of its own, so that its memory is its own;
questions are the Python face in this process.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from stocklog.bench.ledger_updates import LOCATIONS, publish, publish_late_counts
from stocklog.bench.processes import run_measured
from stocklog.bench.report import Column, Report, Section
from stocklog.bench.streams import Bench
from stocklog.errors import StocklogError
from stocklog.ledger.questions import Ledger, open_ledger

__all__ = ["LedgerPlan", "measure"]

_SEED = 7
_FLOOD_SHARE = 4
_MOST_FLOOD = 2_000_000
_COUNTED_SHARE = 0.78
_QUESTIONS = 3

_TEXT = (
    "`stocklog project --exit-at-end` into a new store, history and duplicates on, from the "
    "grocery simulator with dirt (1 % late, 0.5 % delivered twice, counts in sweeps) folded onto "
    "the keys. Then the same store gets the oldest updates once more, and a file of counts that "
    "happened in the middle of the history; `nothing new` is what opening a store takes. CPU is "
    "the projector's without the broker's; peak is its largest resident memory."
)
_QUESTION_TEXT = (
    "The first and the median of the next three, in one process that has just opened the store. "
    "`then` is the middle of the history, `as known` an offset at half of the log."
)


@dataclass(frozen=True, slots=True)
class LedgerPlan:
    """What is measured.

    Attributes:
        count: updates.
        keys: over how many keys.
        store: URI of a store that is not there yet; it is not deleted.
    """

    count: int
    keys: int
    store: str


@dataclass(frozen=True, slots=True)
class _Step:
    """One run of `stocklog project`."""

    name: str
    messages: int
    facts: dict[str, Any]
    wall: float
    cpu: float
    peak: int

    @property
    def rate(self) -> float:
        return self.messages / float(self.facts["seconds"])


def measure(bench: Bench, report: Report, plan: LedgerPlan) -> None:
    """Fill a stream, project it in steps, ask the store, and add the tables to the report.

    Args:
        bench: the broker.
        report: gets two sections.
        plan: what to measure.

    Raises:
        StocklogError: a step failed, or did not apply what it should have.
    """
    with bench.stream("ledger") as stream:
        client = bench.client
        begun = time.perf_counter()
        publish(client, stream, plan.count, plan.keys, _SEED)
        seconds = time.perf_counter() - begun
        bench.tell(f"{plan.count:,} updates are in the log ({plan.count / seconds:,.0f}/s)")
        steps = [_project(bench, stream, plan, "all of the log", plan.count)]
        flood = min(plan.count // _FLOOD_SHARE, _MOST_FLOOD)
        publish(client, stream, flood, plan.keys, _SEED)
        steps.append(_project(bench, stream, plan, "a flood of duplicates", flood))
        if steps[-1].facts["updates"]:
            raise StocklogError(f"{steps[-1].facts['updates']} duplicates were applied again")
        with open_ledger(plan.store, stream=stream) as ledger:
            then = _middle(ledger)
        counts = int(plan.keys // LOCATIONS * LOCATIONS * _COUNTED_SHARE)
        publish_late_counts(client, stream, counts, plan.keys, _SEED, then)
        steps.append(_project(bench, stream, plan, "a file of late counts", counts))
        steps.append(_project(bench, stream, plan, "nothing new", 0))
        report.sections.append(_steps_section(plan, steps))
        report.sections.append(_questions_section(bench, stream, plan, then))


def _project(bench: Bench, stream: str, plan: LedgerPlan, name: str, messages: int) -> _Step:
    with tempfile.TemporaryDirectory(prefix="stocklog-bench-") as folder:
        summary = Path(folder, "summary.json")
        words = ["project", "-e", "--stream", stream, "--store", plan.store]
        words += ["--summary", str(summary), "--quiet"]
        begun = time.perf_counter()
        command = [sys.executable, "-m", "stocklog", *words]
        used = run_measured(command, {**os.environ, "STOCKLOG_URI": bench.uri})
        wall = time.perf_counter() - begun
        if used.status:
            raise StocklogError(f"`stocklog project` ended with status {used.status}")
        facts = json.loads(summary.read_text())
    done = facts["updates"] + facts["duplicates"]
    if done != messages:
        raise StocklogError(f"{done:,} of {messages:,} updates of the step {name!r} were read")
    step = _Step(name, messages, facts, wall, used.cpu_seconds, used.peak_bytes)
    bench.tell(f"{name}: {step.rate:,.0f}/s" if messages else f"{name}: {wall:.1f} s")
    return step


def _steps_section(plan: LedgerPlan, steps: list[_Step]) -> Section:
    columns = [
        Column("step", right=False),
        Column("updates"),
        Column("updates/s"),
        Column("seconds"),
        Column("CPU ns/update"),
        Column("peak MB"),
    ]
    rows: list[list[str]] = []
    figures: dict[str, Any] = {}
    for step in steps:
        each = step.cpu / step.messages * 1e9 if step.messages else None
        rows.append(
            [
                step.name,
                f"{step.messages:,}",
                f"{step.rate:,.0f}" if step.messages else "",
                f"{step.wall:,.1f}",
                f"{each:,.0f}" if each else "",
                f"{step.peak / 1e6:,.0f}",
            ]
        )
        figures[step.name] = {
            "updates": step.messages,
            "rate": step.rate if step.messages else None,
            "seconds": step.wall,
            "cpu_ns_per_update": each,
            "peak_bytes": step.peak,
        }
    text = f"{_TEXT} {plan.count:,} updates over at most {plan.keys:,} keys."
    size = _size(plan.store)
    if size:
        text += f" The store takes {size / plan.count:.0f} bytes an update."
        figures["bytes_per_update"] = size / plan.count
    bars = [(step.name, step.rate) for step in steps if step.messages]
    return Section("Into the store", text, columns, rows, figures, bars)


def _size(store: str) -> int:
    """Bytes of the store's files; 0 for a server's."""
    if not store.startswith("sqlite:///"):
        return 0
    path = Path(store.removeprefix("sqlite:///"))
    files = [path, path.with_name(f"{path.name}-wal")]
    return sum(file.stat().st_size for file in files if file.exists())


def _middle(ledger: Ledger) -> int:
    """A time in the middle of the history, microseconds since 1970."""
    infos = [info for info in ledger.store.segments() if info.legs]
    ends = sorted(info.newest for info in infos)
    return ends[len(ends) // 2] if len(ends) > 1 else (infos[0].oldest + infos[0].newest) // 2


def _questions_section(bench: Bench, stream: str, plan: LedgerPlan, then: int) -> Section:
    rows, figures = [], {}
    with open_ledger(plan.store, stream=stream) as ledger:
        for name, ask in _questions(ledger, then).items():
            times, found = _timed(ask)
            first, median = times[0] * 1e3, statistics.median(times[1:]) * 1e3
            rows.append([name, f"{found.height:,}", f"{first:,.0f}", f"{median:,.0f}"])
            figures[name] = {"rows": found.height, "first_ms": first, "median_ms": median}
            bench.tell(f"{name}: {median:,.0f} ms")
    columns = [Column("question", right=False), Column("rows"), Column("first ms"), Column("ms")]
    return Section("Questions", _QUESTION_TEXT, columns, rows, figures)


def _questions(ledger: Ledger, then: int) -> dict[str, Callable[[], pl.DataFrame]]:
    moment = pl.Series([then]).cast(pl.Datetime("us", "UTC"))[0]
    known = ledger.position.last_offset // 2
    hot = _hottest(ledger)
    return {
        "stock, one key": lambda: ledger.stock(sku=hot[0], location=hot[1]),
        "stock, one key, then": lambda: ledger.stock(sku=hot[0], location=hot[1], at=moment),
        "stock, one key, then, as known": lambda: ledger.stock(
            sku=hot[0], location=hot[1], at=moment, as_known_at=known
        ),
        "why, the busiest key": lambda: ledger.why(*hot),
        "stock, all keys": ledger.stock,
        "stock, all keys, then": lambda: ledger.stock(at=moment),
        "stock, all keys, as known": lambda: ledger.stock(as_known_at=known),
        "stock, all keys, then, as known": lambda: ledger.stock(at=moment, as_known_at=known),
    }


def _hottest(ledger: Ledger) -> tuple[str, str]:
    """The key with most updates in one of the segments."""
    infos = ledger.store.segments()
    largest = max(infos, key=lambda info: info.legs)
    keys = pl.concat([pl.Series(legs.keys) for legs in ledger.store.blocks(largest.id)])
    key = keys.mode()[0]
    names = ledger.store.names()
    return names.skus[int(names.key_skus[key])], names.locations[int(names.key_locations[key])]


def _timed(ask: Callable[[], pl.DataFrame]) -> tuple[list[float], pl.DataFrame]:
    times = []
    for _ in range(1 + _QUESTIONS):
        begun = time.perf_counter()
        found = ask()
        times.append(time.perf_counter() - begun)
    return times, found

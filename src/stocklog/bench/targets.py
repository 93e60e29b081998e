"""What each job is held to, as multiples of rstream and as shares of the bare wire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stocklog.bench.report import Column, Section
from stocklog.bench.runner import Measured

__all__ = ["INTAKE", "REPLAY", "Target", "targets_section"]


@dataclass(frozen=True, slots=True)
class Target:
    """A row of the table of targets.

    Attributes:
        key: of the contender.
        job: what it does, in a few words.
        least: times its yardstick that it must reach.
        aim: times its yardstick that it should reach.
        wire_least: share of the bare wire that it must reach; 0 if it is not held to it.
        wire_aim: share of the bare wire that it should reach.
    """

    key: str
    job: str
    least: float
    aim: float
    wire_least: float = 0.0
    wire_aim: float = 0.0


INTAKE = (
    Target("default", "produce, default envelope, named", 15, 25),
    Target("lz4", "produce, lz4, named", 15, 25),
    Target("plain", "produce, plain entries, named", 3.5, 4.5, 0.8, 0.9),
    Target("frame", "publish a Polars frame of strings", 12, 18),
    Target("parquet", "load of Parquet", 12, 18),
    Target("csv", "load of CSV", 6, 10),
    Target("jsonl", "load of JSON Lines", 6, 10),
    Target("jsonl-nulls", "load of JSON Lines, absent fields as null", 6, 10),
    Target("rows", "one update at a time, row face", 2, 4),
)

REPLAY = (
    Target("own", "consume, our own form", 10, 17),
    Target("foreign", "consume, anyone's JSON", 6, 9),
    Target("single", "consume, one-message chunks", 1.5, 3),
    Target("to-jsonl", "consume --format jsonl to a file", 5, 8),
    Target("to-parquet", "consume --format parquet to a file", 5, 8),
)

_TEXT = (
    "Ratios of the medians above. A job is held to the multiple of its yardstick, and plain "
    "entries also to a share of the bare wire. `reached` says which of the two columns it meets."
)

_COLUMNS = [
    Column("job", right=False),
    Column("× rstream"),
    Column("at least"),
    Column("aim"),
    Column("of the wire"),
    Column("at least"),
    Column("aim"),
    Column("reached", right=False),
]


def targets_section(title: str, measured: Sequence[Measured], targets: Sequence[Target]) -> Section:
    """A table of what was to be reached and what was.

    Args:
        title: the section's.
        measured: contenders; targets whose contender or yardstick is not among them are left
            out.
        targets: the rows.
    """
    by_key = {one.contender.key: one for one in measured}
    rows, figures = [], {}
    for target in targets:
        one = by_key.get(target.key)
        base = by_key.get(one.contender.yardstick) if one else None
        if one is None or base is None:
            continue
        times = one.median / base.median
        limit = by_key.get(one.contender.limit)
        share = one.median / limit.median if limit else None
        reached = _reached(target, times, share)
        held = target.wire_least > 0
        rows.append(
            [
                target.job,
                f"{times:.1f}",
                f"{target.least:g}",
                f"{target.aim:g}",
                "" if share is None else f"{share:.2f}",
                f"{target.wire_least:g}" if held else "",
                f"{target.wire_aim:g}" if held else "",
                reached,
            ]
        )
        figures[target.key] = {
            "times": times,
            "least": target.least,
            "aim": target.aim,
            "wire_share": share,
            "reached": reached,
        }
    return Section(title, _TEXT, _COLUMNS, rows, figures)


def _reached(target: Target, times: float, share: float | None) -> str:
    """`aim`, `at least` or `neither`; a wire that was not measured holds nobody back."""
    if share is None or not target.wire_least:
        share = float("inf")
    if times >= target.aim and share >= target.wire_aim:
        return "aim"
    return "at least" if times >= target.least and share >= target.wire_least else "neither"

"""What a chaos run found, as a section of a report."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from stocklog.bench.chaos.checker import KINDS
from stocklog.bench.chaos.run import Findings
from stocklog.bench.report import Column, Section

__all__ = ["sections"]

_COLUMNS = (
    Column("fault", right=False),
    Column("counted"),
    Column("missed"),
    Column("unconfirmed, median"),
    Column("most"),
)


def sections(findings: Findings, seed: int, nodes: int) -> list[Section]:
    """The tables: faults, what was wrong, and how soon publishing went on."""
    return [_faults(findings, seed, nodes), _anomalies(findings), _times(findings)]


def _faults(findings: Findings, seed: int, nodes: int) -> Section:
    rows = []
    for kind in sorted({outcome.kind for outcome in findings.outcomes}):
        of_kind = [outcome for outcome in findings.outcomes if outcome.kind == kind]
        counted = [outcome.unconfirmed for outcome in of_kind if outcome.counts]
        middle = f"{statistics.median(counted):,.0f}" if counted else ""
        most = f"{max(counted):,}" if counted else ""
        rows.append([kind, str(len(counted)), str(len(of_kind) - len(counted)), middle, most])
    rows.append(
        ["all", str(findings.counted), str(len(findings.outcomes) - findings.counted), "", ""]
    )
    figures: dict[str, Any] = {
        "seed": seed,
        "nodes": nodes,
        "rabbitmq": findings.version,
        "counted": findings.counted,
        "missed": len(findings.outcomes) - findings.counted,
        "faults": [
            {
                "kind": outcome.kind,
                "target": outcome.target,
                "counts": outcome.counts,
                "unconfirmed": outcome.unconfirmed,
            }
            for outcome in findings.outcomes
        ],
    }
    return Section(
        f"Faults on {nodes} node{'s' if nodes > 1 else ''} of RabbitMQ {findings.version}, "
        f"seed {seed}",
        "A fault counts if it struck while messages were unconfirmed.",
        _COLUMNS,
        rows,
        figures,
    )


def _anomalies(findings: Findings) -> Section:
    named = [anomaly.kind for anomaly in findings.anomalies]
    kinds = [*KINDS, *sorted(set(named) - set(KINDS))]
    rows = [[kind, str(named.count(kind))] for kind in kinds]
    figures = {kind: named.count(kind) for kind in kinds} | {
        "messages": findings.messages,
        "found": [str(anomaly) for anomaly in findings.anomalies],
    }
    return Section(
        f"Anomalies in {findings.messages:,} messages",
        "After each fault, and of everything at the end of each stream.",
        (Column("anomaly", right=False), Column("found")),
        rows,
        figures,
    )


def _times(findings: Findings) -> Section:
    rows = [
        _row("lost connection to the next confirm", findings.again),
        _row("Metadata names a leader to the next confirm", findings.after_leader),
    ]
    return Section(
        "Seconds until publishing goes on",
        "Of each producer that a connection fault or a lost leader struck.",
        (Column("from", right=False), Column("times"), Column("median"), Column("most")),
        rows,
        {"again": findings.again, "after_leader": findings.after_leader},
    )


def _row(name: str, seconds: Sequence[float]) -> list[str]:
    if not seconds:
        return [name, "0", "", ""]
    return [name, str(len(seconds)), f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}"]

"""What a benchmark found: a table, Markdown, JSON and pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stocklog.bench.runner import Measured

__all__ = ["Column", "Report", "Section", "rates_section"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its head, and whether it holds numbers."""

    head: str
    right: bool = True


@dataclass(slots=True)
class Section:
    """One table of a report.

    Attributes:
        title: what was measured.
        text: how to read it, one short paragraph.
        columns: the table's columns.
        rows: texts, a list a row.
        figures: everything as numbers, for the JSON file.
        bars: name and updates a second, for a picture of bars; empty for none.
        lines: name to points (x, y), for a picture of lines; empty for none.
        axes: what x and y of the lines are.
        log_x: whether x is drawn by powers.
    """

    title: str
    text: str
    columns: Sequence[Column]
    rows: list[list[str]]
    figures: Any = None
    bars: list[tuple[str, float]] = field(default_factory=list)
    lines: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    axes: tuple[str, str] = ("", "")
    log_x: bool = False


@dataclass(slots=True)
class Report:
    """All that one command measured.

    Attributes:
        title: the benchmark's name.
        command: what was typed.
        machine: see `stocklog.bench.machine.describe`.
        sections: the tables.
    """

    title: str
    command: str
    machine: dict[str, str]
    sections: list[Section] = field(default_factory=list)

    def table(self) -> str:
        """For a terminal."""
        return "\n\n".join(
            f"{section.title}\n{_table(section, plain=True)}" for section in self.sections
        )

    def markdown(self) -> str:
        """For reading elsewhere."""
        lines = [f"# {self.title}", "", f"`{self.command}`", ""]
        lines += [f"- {name}: {value}" for name, value in self.machine.items()]
        for section in self.sections:
            lines += ["", f"## {section.title}", "", section.text, "", _table(section, plain=False)]
        return "\n".join(lines) + "\n"

    def write(self, folder: Path) -> list[Path]:
        """Write Markdown, JSON, and pictures if matplotlib is there.

        Args:
            folder: made if it is missing; files of the same names are replaced.

        Returns:
            What was written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        stem = self.title.replace(" ", "-")
        written = [folder / f"{stem}.md", folder / f"{stem}.json"]
        written[0].write_text(self.markdown())
        written[1].write_text(json.dumps(self._data(), indent=2) + "\n")
        try:
            from stocklog.bench.pictures import draw
        except ImportError:
            return written
        for number, section in enumerate(self.sections, 1):
            written += draw(section, folder / f"{stem}-{number}")
        return written

    def _data(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "command": self.command,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": self.machine,
            "sections": [
                {"title": section.title, "text": section.text, "figures": section.figures}
                for section in self.sections
            ],
        }


def _table(section: Section, *, plain: bool) -> str:
    heads = [column.head for column in section.columns]
    lines = [heads, *section.rows]
    widths = [max(len(row[i]) for row in lines) for i in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(cells, widths, section.columns, strict=True)
        ]
        return "  ".join(padded).rstrip() if plain else "| " + " | ".join(padded) + " |"

    rule = (
        "  ".join("-" * width for width in widths)
        if plain
        else "|"
        + "|".join(
            "-" * (width + 1) + (":" if column.right else "-")
            for width, column in zip(widths, section.columns, strict=True)
        )
        + "|"
    )
    return "\n".join([line(heads), rule, *(line(row) for row in section.rows)])


def rates_section(
    title: str, text: str, measured: Sequence[Measured], *, head: str = "× rstream"
) -> Section:
    """A table of rates, each as a multiple of its yardstick's.

    Args:
        title: the section's.
        text: how to read it.
        measured: the contenders.
        head: of the column of multiples: what the yardsticks are.
    """
    medians = {one.contender.key: one.median for one in measured}
    rows, figures = [], {}
    for one in measured:
        base = medians.get(one.contender.yardstick)
        times = one.median / base if base else None
        rows.append(
            [
                one.name,
                f"{one.median:,.0f}",
                f"{one.lowest:,.0f} – {one.highest:,.0f}",
                f"{times:.1f}" if times else "",
                f"{one.cpu_per_update:,.0f}",
                f"{one.peak_bytes / 1e6:,.0f}",
            ]
        )
        figures[one.name] = {
            "rates": one.rates,
            "median": one.median,
            "yardstick": one.contender.yardstick,
            "times": times,
            "cpu_ns_per_update": one.cpu_per_update,
            "peak_bytes": one.peak_bytes,
            "updates": one.results[0].updates,
        }
    columns = [
        Column("contender", right=False),
        Column("updates/s"),
        Column("spread"),
        Column(head),
        Column("CPU ns/update"),
        Column("peak MB"),
    ]
    return Section(
        title, text, columns, rows, figures, bars=[(one.name, one.median) for one in measured]
    )

"""Pictures of a report, as PNG and SVG. Needs matplotlib (`stocklog[bench]`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from stocklog.bench.report import Section

__all__ = ["draw"]

_OURS, _THEIRS = "#d9731a", "#8a8f98"


def draw(section: Section, stem: Path) -> list[Path]:
    """Draw a section's bars or lines.

    Args:
        section: what was measured.
        stem: the files' name without ending.

    Returns:
        The files written; none if the section has nothing to draw.
    """
    if not section.bars and not section.lines:
        return []
    height = 1.2 + 0.42 * len(section.bars) if section.bars else 4.5
    figure, axes = plt.subplots(figsize=(8, height), layout="constrained")
    if section.bars:
        _bars(axes, section.bars)
    else:
        _lines(axes, section)
    axes.set_title(section.title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    files = [stem.with_suffix(".png"), stem.with_suffix(".svg")]
    for file in files:
        figure.savefig(file, dpi=120, metadata=None if file.suffix == ".png" else {"Date": None})
    plt.close(figure)
    return files


def _bars(axes: Any, bars: list[tuple[str, float]]) -> None:
    names = [name for name, _ in bars][::-1]
    values = [value for _, value in bars][::-1]
    colours = [_OURS if name.startswith("stocklog") else _THEIRS for name in names]
    drawn = axes.barh(names, values, color=colours)
    axes.bar_label(drawn, [f"{value:,.0f}" for value in values], padding=4)
    axes.set_xlabel("updates a second")
    axes.set_xlim(0, max(values) * 1.18)
    axes.locator_params(axis="x", nbins=4)  # more of these long numbers would run together
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _lines(axes: Any, section: Section) -> None:
    for name, points in section.lines.items():
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
    axes.set_xlabel(section.axes[0])
    axes.set_ylabel(section.axes[1])
    if section.log_x:
        axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)

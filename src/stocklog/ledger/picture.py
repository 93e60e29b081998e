"""The ledger of a key as a picture: steps, counts, late arrivals. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from stocklog.errors import UsageError

__all__ = ["check_picture", "draw"]

_LINE, _COUNT, _LATE = "#d9731a", "#1f4e79", "#b3261e"
_ENDINGS = (".png", ".svg")


def check_picture(path: Path) -> None:
    """Refuse, before any work, a picture that could not be drawn.

    Raises:
        UsageError: the file's ending names no format, or matplotlib is not installed.
    """
    if path.suffix.lower() not in _ENDINGS:
        raise UsageError(f"{path} is no picture by its name", "End it with .png or .svg")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UsageError(
            "A picture needs matplotlib, which is not installed",
            "Install it with stocklog's extra: `uv sync --extra plot`, or leave --plot out",
        ) from None


def draw(lines: pl.DataFrame, title: str, path: Path) -> None:
    """Draw what was on hand as steps, counts as points, and mark what arrived late.

    Args:
        lines: an answer of `Ledger.why`.
        title: stands above it.
        path: `.png` or `.svg`; it is replaced.

    Raises:
        UsageError: see `check_picture`.
        OSError: it cannot be written.
    """
    check_picture(path)
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import dates
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    times, on_hand = lines["occurred_at"].to_numpy(), lines["on_hand"].to_numpy()
    axes.step(times, on_hand, where="post", color=_LINE, label="on hand")
    counts = lines.filter(pl.col("kind") == "count")
    late = lines.filter(pl.col("late_after").is_not_null())
    for part, marker, colour, name in (
        (counts, "o", _COUNT, "count"),
        (late, "x", _LATE, "arrived late"),
    ):
        if part.height:
            axes.plot(
                part["occurred_at"].to_numpy(),
                part["on_hand"].to_numpy(),
                linestyle="none",
                marker=marker,
                markersize=9 if marker == "x" else 6,
                color=colour,
                label=name,
            )
    if lines.height and int(on_hand.min()) < 0:
        axes.axhline(0, color="#8a8f98", linewidth=0.8)
    axes.set_title(title, loc="left", parse_math=False)
    axes.set_xlabel("when it happened, UTC")
    axes.set_ylabel("on hand")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    axes.xaxis.set_major_formatter(
        dates.ConciseDateFormatter(axes.xaxis.get_major_locator(), tz="UTC")  # type: ignore[no-untyped-call]
    )
    metadata = None if path.suffix.lower() == ".png" else {"Date": None}
    try:
        figure.savefig(path, dpi=120, metadata=metadata)
    finally:
        plt.close(figure)

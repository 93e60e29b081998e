"""`stocklog demo`: the exercise from end to end, and a day of a shop."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stocklog.cli.frames import text_lines
from stocklog.cli.options import (
    BrokerChoice,
    broker_options,
    example,
    report_options,
    writable,
)
from stocklog.cli.report import Report
from stocklog.cli.session import connected

if TYPE_CHECKING:
    import polars as pl

__all__ = ["demo"]

_WIDTH = 96
"""Columns of a sentence."""


@click.command(
    epilog=example(
        "stocklog demo",
        "stocklog demo --plot coffee.png",
    )
)
@click.option(
    "--plot",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=lambda ctx, param, value: writable(value, ctx, param),
    help="Where the picture goes, .svg or .png.  [default: demo.svg in the state directory]",
)
@broker_options
@report_options
def demo(*, plot: Path | None, broker: BrokerChoice, report: Report) -> None:
    """Show what a stream and a ledger can do, in under a minute.

    First the exercise: intake, replay, readers side by side. Then a day of a shop: a till
    that was offline, a count, what the stock is, was, and why, with a picture of it.

    On your broker the demo uses streams of its own and deletes them; with no broker it
    starts a private one and ends it again.
    """
    import platformdirs

    from stocklog.demo import Day, Demo, demo_stream
    from stocklog.ledger.picture import check_picture

    if plot is not None:
        check_picture(plot)
    picture = plot or Path(platformdirs.user_state_dir("stocklog")) / "demo.svg"
    begun, teller = time.monotonic(), _Teller()
    with connected(broker, report, start=True) as connection:
        client = connection.client
        try:
            with demo_stream(client) as stream:
                facts = Demo(client, stream, teller).run()
            with demo_stream(client) as stream:
                facts |= Day(client, stream, teller, picture).run()
        finally:
            if connection.started:
                _end_broker(report)
    seconds = time.monotonic() - begun
    report.finish(
        f"the demo took {seconds:.1f} s; next: `stocklog produce`, `stocklog consume first`",
        {**facts, "seconds": seconds},
    )


def _end_broker(report: Report) -> None:
    from stocklog import broker as private

    report.note("ending the private broker that the demo started")
    private.stop()


class _Teller:
    """Prints the demo: with colours on a terminal, plainly elsewhere."""

    def __init__(self) -> None:
        self._steps = count(1)

    def step(self, text: str) -> None:
        """A heading with its number."""
        lines = _wrap(f"{next(self._steps)}. {text}")
        self._print("\n" + "\n   ".join(lines), bold=True)

    def fact(self, text: str) -> None:
        """A line of what was seen."""
        # Short lines stay as they are: some have columns of their own.
        lines = [text] if len(text) < _WIDTH else _wrap(text)
        self._print("\n".join(f"   {line}" for line in lines), fg="green")

    def table(self, frame: pl.DataFrame) -> None:
        """The rows, moved in as facts are."""
        lines = "\n".join(text_lines(frame)).splitlines()
        self._print("\n".join(f"   {line}" for line in lines), fg="cyan")

    def _print(self, text: str, *, fg: str | None = None, bold: bool = False) -> None:
        # None: as stdout is a terminal or not.
        color = False if os.environ.get("NO_COLOR") else None
        click.secho(text, fg=fg, bold=bold, color=color)
        sys.stdout.flush()


def _wrap(text: str) -> list[str]:
    """Lines of a sentence; a path or an option is not torn apart."""
    return textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)

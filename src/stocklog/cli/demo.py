"""`stocklog demo`: the exercise from end to end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import click

from stocklog.cli.options import BrokerChoice, broker_options, example, report_options
from stocklog.cli.report import Report
from stocklog.cli.session import connected

__all__ = ["demo"]


@click.command(
    epilog=example(
        "stocklog demo",
    )
)
@broker_options
@report_options
def demo(*, broker: BrokerChoice, report: Report) -> None:
    """Show what a stream can do, in under a minute: intake, replay, readers side by side.

    On your broker the demo uses a stream of its own and deletes it; with no broker it
    starts a private one and ends it again.
    """
    from stocklog.demo import Demo, demo_stream

    begun = time.monotonic()
    with connected(broker, report, start=True) as connection:
        try:
            with demo_stream(connection.client) as stream:
                facts = Demo(connection.client, stream, _teller()).run()
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


def _teller() -> Callable[[str, str], None]:
    """What prints a line of the demo: with rich on a terminal, plainly elsewhere."""
    steps = iter(range(1, 100))
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        from rich.console import Console

        console = Console(highlight=False)

        def show(kind: str, text: str) -> None:
            if kind == "step":
                console.print(f"\n[bold]{next(steps)}. {text}[/bold]")
            else:
                console.print(f"   [green]{text}[/green]")

        return show

    def write(kind: str, text: str) -> None:
        line = f"\n{next(steps)}. {text}" if kind == "step" else f"   {text}"
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    return write

"""`stocklog project`: balances that follow the log."""

from __future__ import annotations

import contextlib

import click

from stocklog.cli.failures import DONE, GAP, INTERRUPTED
from stocklog.cli.interrupt import Interrupt
from stocklog.cli.options import (
    BrokerChoice,
    broker_options,
    example,
    report_options,
    stream_option,
)
from stocklog.cli.progress import Progress
from stocklog.cli.report import Report, counted, figure, no_updates
from stocklog.cli.session import connected
from stocklog.cli.store_options import store_option

__all__ = ["project"]


@click.command(
    epilog=example(
        "stocklog project --exit-at-end",
        "stocklog project --follow --store sqlite:///stock.db",
    )
)
@stream_option
@store_option
@click.option(
    "-e/-f",
    "--exit-at-end/--follow",
    "exit_at_end",
    default=False,
    help="End with the last message that is there now, or go on.  [default: go on]",
)
@click.option(
    "--accept-gap",
    is_flag=True,
    help="Go on where retention has cut what the store has not seen; it remembers the gap.",
)
@broker_options
@report_options
def project(
    *,
    stream: str,
    store: str | None,
    exit_at_end: bool,
    accept_gap: bool,
    broker: BrokerChoice,
    report: Report,
) -> int:
    """Keep the balances of a store current with the log.

    The store goes on from the offset it stands at; both change in one transaction, so the
    command can be ended in any way and started again. A store is of one stream and has one
    writer. Ask it with stock, why, diff and flags, also while this runs.
    """
    from stocklog.ledger.project import ProjectSummary
    from stocklog.ledger.project import project as follow
    from stocklog.stores.uri import open_store

    with (
        contextlib.closing(open_store(store, stream, writing=True)) as opened,
        connected(broker, report) as connection,
        Interrupt() as interrupt,
    ):
        summary = ProjectSummary(stream, opened.where)
        until = "to the end of now" if exit_at_end else "and on as new updates come; Ctrl-C ends"
        report.note(f"projecting '{stream}' into {opened.where}, {until}")
        try:
            with Progress("project", quiet=report.quiet) as progress:
                follow(
                    connection.client,
                    stream,
                    opened,
                    until_end=exit_at_end,
                    accept_gap=accept_gap,
                    on_tick=progress,
                    on_note=report.warn,
                    stop=interrupt.stop,
                    summary=summary,
                )
        except KeyboardInterrupt:
            summary.interrupted = True
        finally:
            report.finish(_line(summary), summary.facts())
    return INTERRUPTED if summary.interrupted else GAP if summary.gap else DONE


def _line(summary: object) -> str:
    from stocklog.ledger.project import ProjectSummary

    assert isinstance(summary, ProjectSummary)
    line = (
        f"{counted(summary.updates, 'update')} applied in {summary.seconds:.3f} s "
        f"({figure(summary.rate)}/s) to {summary.store}"
    )
    if summary.last_offset >= 0:
        line += f", which stands at offset {summary.last_offset}"
    if summary.duplicates:
        line += f"; {counted(summary.duplicates, 'duplicate')} left out"
    if summary.invalid:
        line += f"; {no_updates(summary.invalid)}"
    return line + (", interrupted" if summary.interrupted else "")

"""`stocklog reconcile`: a physical count against the book."""

from __future__ import annotations

import json
from pathlib import Path

import click

from stocklog.cli.failures import DONE, REJECTS
from stocklog.cli.frames import print_frame
from stocklog.cli.interrupt import Interrupt
from stocklog.cli.options import (
    BrokerChoice,
    broker_options,
    example,
    report_options,
    stream_option,
    table_option,
    writable,
)
from stocklog.cli.report import Report, figure
from stocklog.cli.session import connected
from stocklog.cli.store_options import store_option

__all__ = ["reconcile"]

_STATUSES = ("match", "variance", "not_counted")


@click.command(
    epilog=example(
        "stocklog reconcile counts.csv",
        "stocklog reconcile sheet.csv --map sku=article --set occurred_at=2026-11-24T20:00Z --post",
    )
)
@click.argument("file", metavar="COUNTS", type=click.Path(exists=True, path_type=Path))
@click.option("--post", "posting", is_flag=True, help="Publish the variances as counts, once.")
@click.option(
    "--all", "everything", is_flag=True, help="Also list the lines that match and did not move."
)
@click.option(
    "--map",
    "mapping",
    metavar="FIELD=EXPRESSION",
    multiple=True,
    help="Take FIELD from an SQL expression over the file's columns.",
)
@click.option(
    "--set",
    "constants",
    metavar="FIELD=VALUE",
    multiple=True,
    help="Give every row VALUE, such as the occurred_at of the whole count.",
)
@click.option("--timezone", metavar="ZONE", help="Of times that name none, e.g. Europe/Madrid.")
@click.option(
    "--rejects",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=lambda ctx, param, value: writable(value, ctx, param),
    help="JSON Lines file for the rows that are no counts, with the reasons.",
)
@table_option
@stream_option
@store_option
@broker_options
@report_options
def reconcile(
    *,
    file: Path,
    posting: bool,
    everything: bool,
    mapping: tuple[str, ...],
    constants: tuple[str, ...],
    timezone: str | None,
    rejects: Path | None,
    table_format: str,
    stream: str,
    store: str | None,
    broker: BrokerChoice,
    report: Report,
) -> int:
    """Hold a physical count (CSV, JSON Lines, Parquet) against the book.

    A row has sku, location_id, quantity and occurred_at, when it was counted. It is compared
    with what was on hand at that moment. Listed are variances, what was not counted at the
    locations of the file, and what has moved since it was counted.

    --post publishes the variances as counts. Their ids come from the file's content, so running
    it again writes nothing; the store has to be current with the log, or is waited for 30 s.
    """
    from stocklog.inventory.feeds import FeedOptions, parse_assignments
    from stocklog.ledger import reconcile as work
    from stocklog.stores.uri import open_store

    options = FeedOptions(
        mapping=parse_assignments(mapping, "--map"),
        constants={**work.COUNT_CONSTANTS, **parse_assignments(constants, "--set")},
        timezone=timezone,
    )
    counts = work.read_counts(file, options)
    opened = open_store(store, stream)
    sent = 0
    try:
        if posting:
            with connected(broker, report) as connection, Interrupt() as interrupt:
                work.wait_until_current(connection.client, stream, opened, stop=interrupt.stop)
                found = work.reconcile(opened, counts.updates)
                sent = work.post(connection.client, stream, found.updates)
        else:
            found = work.reconcile(opened, counts.updates)
    finally:
        opened.close()
    _print(found, table_format, everything=everything)
    _tell_rejects(counts, rejects, report)
    numbers = _numbers(found, len(counts.rejects), sent)
    report.finish(_line(numbers, posting=posting), numbers)
    return REJECTS if counts.rejects else DONE


def _print(found: object, table_format: str, *, everything: bool) -> None:
    import polars as pl

    from stocklog.ledger.reconcile import Reconciliation

    assert isinstance(found, Reconciliation)
    lines = found.lines
    if not everything:
        lines = lines.filter((pl.col("status") != "match") | (pl.col("moved") != 0))
    print_frame(lines, table_format)


def _numbers(found: object, rejects: int, sent: int) -> dict[str, int]:
    from stocklog.ledger.reconcile import Reconciliation

    assert isinstance(found, Reconciliation)
    status = found.lines["status"]
    return {
        **{name: int((status == name).sum()) for name in _STATUSES},
        "moved": int((found.lines["moved"].fill_null(0) != 0).sum()),
        "rejects": rejects,
        "posted": sent,
        "last_offset": found.last_offset,
    }


def _line(numbers: dict[str, int], *, posting: bool) -> str:
    line = (
        f"{figure(numbers['match'])} match, {figure(numbers['variance'])} variances, "
        f"{figure(numbers['not_counted'])} not counted, {figure(numbers['moved'])} moved since "
        f"counted; the store stands at offset {numbers['last_offset']}"
    )
    return line + (f"; {figure(numbers['posted'])} counts posted" if posting else "")


def _tell_rejects(counts: object, kept: Path | None, report: Report) -> None:
    from stocklog.ledger.reconcile import Counts
    from stocklog.ledger.write_errors import naming

    assert isinstance(counts, Counts)
    if kept is not None:
        lines = (json.dumps(one.to_dict(), ensure_ascii=False) + "\n" for one in counts.rejects)
        with naming(kept):
            kept.write_text("".join(lines), encoding="utf-8")
    if counts.rejects:
        first = counts.rejects[0]
        report.warn(
            f"{figure(len(counts.rejects))} rows are no counts, the first in line {first.line}: "
            f"{first.reason}",
            "--rejects FILE keeps them with their reasons",
        )

"""`stocklog diff` and `stocklog export`: stock between moments, and stock for other tools."""

from __future__ import annotations

from pathlib import Path

import click

from stocklog.cli.failures import DONE
from stocklog.cli.frames import print_frame
from stocklog.cli.options import (
    example,
    report_options,
    stream_option,
    table_option,
    writable,
)
from stocklog.cli.report import Report, counted
from stocklog.cli.store_options import moment_options, store_option

__all__ = ["diff", "export"]


@click.command(
    epilog=example(
        "stocklog diff 1d",
        "stocklog diff 2026-11-24T08:00Z 2026-11-24T20:00Z --format csv",
    )
)
@click.argument("before", metavar="A")
@click.argument("after", metavar="[B]", required=False)
@click.option(
    "--as-known-at",
    metavar="OFFSET|TIME",
    help="Only what the log held then: up to an offset, or as the broker had it at a time.",
)
@table_option
@stream_option
@store_option
@report_options
def diff(
    *,
    before: str,
    after: str | None,
    as_known_at: str | None,
    table_format: str,
    stream: str,
    store: str | None,
    report: Report,
) -> int:
    """Show what changed between the times A and B by key, the largest change first.

    Both are about when things happened; without B it is now.
    """
    from stocklog.ledger.questions import open_ledger

    with open_ledger(store, stream=stream) as ledger:
        found = ledger.diff(before, after, as_known_at=as_known_at)
    print_frame(found, table_format)
    report.finish(f"{counted(found.height, 'key')} changed", {"keys": found.height})
    return DONE


@click.command(
    epilog=example(
        "stocklog export --output stock.parquet",
        "stocklog export --at 2026-11-24T20:00Z --output evening.csv",
    )
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    callback=lambda ctx, param, value: writable(value, ctx, param),
    help="FILE.parquet, .csv, .jsonl or .arrow; it is replaced.",
)
@click.option("--sku", metavar="SKU", help="Only this SKU.")
@click.option("--location", metavar="LOCATION", help="Only at this location.")
@moment_options
@stream_option
@store_option
@report_options
def export(
    *,
    output: Path,
    sku: str | None,
    location: str | None,
    at: str | None,
    as_known_at: str | None,
    stream: str,
    store: str | None,
    report: Report,
) -> int:
    """Write the stock, now or at any moment, to a file for other tools.

    The columns are sku, location_id, on_hand, reserved, available.
    """
    from stocklog.ledger.export import check_export, write_export
    from stocklog.ledger.questions import open_ledger

    check_export(output)
    with open_ledger(store, stream=stream) as ledger:
        found = ledger.stock(sku=sku, location=location, at=at, as_known_at=as_known_at)
        position = ledger.position
    write_export(found, output)
    report.finish(
        f"{counted(found.height, 'key')} written to {output}; the store stands at offset "
        f"{position.last_offset}",
        {"keys": found.height, "last_offset": position.last_offset, "output": str(output)},
    )
    return DONE

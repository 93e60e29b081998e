"""`stocklog why`: the ledger of one key."""

from __future__ import annotations

import click

from stocklog.cli.failures import DONE
from stocklog.cli.frames import print_frame
from stocklog.cli.options import example, report_options, stream_option, table_option
from stocklog.cli.report import Report, figure
from stocklog.cli.store_options import store_option

__all__ = ["why"]


@click.command(
    epilog=example(
        "stocklog why 4711@L042",
        "stocklog why 4711@L042 --from 7d --format csv",
    )
)
@click.argument("key", metavar="SKU@LOCATION")
@click.option("--from", "start", metavar="TIME", help="Only what happened then or later.")
@click.option("--to", "end", metavar="TIME", help="Only what happened then or earlier.")
@click.option(
    "--as-known-at",
    metavar="OFFSET|TIME",
    help="Only what the log held then: up to an offset, or as the broker had it at a time.",
)
@table_option
@stream_option
@store_option
@report_options
def why(
    *,
    key: str,
    start: str | None,
    end: str | None,
    as_known_at: str | None,
    table_format: str,
    stream: str,
    store: str | None,
    report: Report,
) -> int:
    """Show every update of one SKU at one location, and the balance after each.

    Lines are in the order in which things happened. `corrected`: by how much a count
    changed the stock. `late after`: it arrived behind that offset, which happened later.
    """
    from stocklog.ledger.questions import check_key, open_ledger

    sku, location = check_key(key)
    with open_ledger(store, stream=stream) as ledger:
        lines = ledger.why(sku, location, start=start, end=end, as_known_at=as_known_at)
    print_frame(lines, table_format)
    late = lines["late_after"].count()
    report.finish(
        f"{figure(lines.height)} updates of {sku} at {location}, {figure(late)} of them late",
        {"updates": lines.height, "late": late},
    )
    return DONE

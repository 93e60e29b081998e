"""`stocklog why`: the ledger of one key."""

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
from stocklog.cli.report import Report, counted, figure
from stocklog.cli.store_options import store_option

__all__ = ["why"]


@click.command(
    epilog=example(
        "stocklog why 4711@L042",
        "stocklog why 4711@L042 --from 7d --format csv",
        "stocklog why 4711@L042 --plot 4711.png",
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
@click.option(
    "--plot",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=lambda ctx, param, value: writable(value, ctx, param),
    help="Also draw it: on hand as steps, counts as points, late arrivals marked (.png or .svg; "
    "needs matplotlib).",
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
    plot: Path | None,
    table_format: str,
    stream: str,
    store: str | None,
    report: Report,
) -> int:
    """Show every update of one SKU at one location, and the balance after each.

    Lines are in the order in which things happened. `corrected`: by how much a count
    changed the stock. `late after`: it arrived behind that offset, which happened later.
    """
    from stocklog.ledger.picture import check_picture, draw
    from stocklog.ledger.questions import check_key, open_ledger

    if plot is not None:
        check_picture(plot)
    sku, location = check_key(key)
    with open_ledger(store, stream=stream) as ledger:
        lines = ledger.why(sku, location, start=start, end=end, as_known_at=as_known_at)
    print_frame(lines, table_format)
    if plot is not None:
        draw(lines, key, plot)
        report.note(f"drawn to {plot}")
    late = lines["late_after"].count()
    report.finish(
        f"{counted(lines.height, 'update')} of {sku} at {location}, {figure(late)} of them late",
        {"updates": lines.height, "late": late},
    )
    return DONE

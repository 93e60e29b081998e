"""`stocklog stock`: what is there, now or then."""

from __future__ import annotations

import click

from stocklog.cli.failures import DONE, GAP
from stocklog.cli.frames import print_frame
from stocklog.cli.options import example, report_options, stream_option, table_option
from stocklog.cli.report import Report, counted
from stocklog.cli.store_options import moment_options, store_option

__all__ = ["stock"]


@click.command(
    epilog=example(
        "stocklog stock --location L042",
        "stocklog stock --sku 4711 --at 2026-11-24T13:00Z",
        "stocklog stock --at 2026-11-24T13:00Z --as-known-at 2026-11-24T14:05Z",
    )
)
@click.option("--sku", metavar="SKU", help="Only this SKU.")
@click.option("--location", metavar="LOCATION", help="Only at this location.")
@moment_options
@table_option
@stream_option
@store_option
@report_options
def stock(
    *,
    sku: str | None,
    location: str | None,
    at: str | None,
    as_known_at: str | None,
    table_format: str,
    stream: str,
    store: str | None,
    report: Report,
) -> int:
    """Show on hand, reserved and available by SKU and location, now or at any moment.

    --at is about when things happened, --as-known-at about what the log held. Both
    together answer what was believed at the one about the other.
    """
    from stocklog.ledger.questions import open_ledger

    with open_ledger(store, stream=stream) as ledger:
        found = ledger.stock(sku=sku, location=location, at=at, as_known_at=as_known_at)
        position = ledger.position
    print_frame(found, table_format)
    for gap in position.gaps:
        report.warn(
            f"offsets {gap.first} to {gap.last} were cut by retention before the store saw them: "
            "a key is right again from its next count on"
        )
    if position.first_offset > 0:
        report.warn(
            f"the store begins with offset {position.first_offset}, what came before was cut by "
            "retention: a key is right from its first count on"
        )
    report.finish(
        f"{counted(found.height, 'key')}; the store stands at offset {position.last_offset}",
        {"keys": found.height, "last_offset": position.last_offset, "gap": position.is_cut},
    )
    return GAP if position.gaps else DONE

"""`stocklog flags`: what is out of the ordinary."""

from __future__ import annotations

from pathlib import Path

import click

from stocklog.cli.failures import DONE
from stocklog.cli.frames import print_frame
from stocklog.cli.options import example, report_options, stream_option, table_option
from stocklog.cli.report import Report, figure
from stocklog.cli.store_options import store_option

__all__ = ["flags"]

_MEANINGS = """\b
FLAG is
  negative          there is less than nothing on hand; detail: how much
  late              more than 24 h older than its source's newest; detail: microseconds
  duplicate         delivered before; detail: the offset of the first delivery
  gap               numbers of the source are missing before it; detail: how many
  reordered         its number is not above those before; detail: how far below
  moved             a count whose book figure was another; detail: by how much
  unknown_sku       not in the list of --known-skus
  unknown_location  not in the list of --known-locations"""

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(
    epilog=_MEANINGS
    + "\n\n"
    + example(
        "stocklog flags negative moved",
        "stocklog flags --known-skus skus.txt --format csv",
    )
)
@click.argument("kinds", metavar="[FLAG]...", nargs=-1)
@click.option("--known-skus", metavar="FILE", type=_FILE, help="A list of SKUs, one a line.")
@click.option("--known-locations", metavar="FILE", type=_FILE, help="A list of locations.")
@table_option
@stream_option
@store_option
@report_options
def flags(
    *,
    kinds: tuple[str, ...],
    known_skus: Path | None,
    known_locations: Path | None,
    table_format: str,
    stream: str,
    store: str | None,
    report: Report,
) -> int:
    """List what is out of the ordinary: all of it, or the FLAGs that are named.

    Nothing of this was refused: every update is applied, duplicates once.
    """
    from stocklog.ledger.questions import open_ledger

    for kind, known in (("unknown_sku", known_skus), ("unknown_location", known_locations)):
        if kind in kinds and known is None:
            option = "--known-skus" if kind == "unknown_sku" else "--known-locations"
            raise click.UsageError(f"{kind} needs a list of what is known: {option} FILE")
    with open_ledger(store, stream=stream) as ledger:
        found = ledger.flags(
            kinds or None, skus=_lines(known_skus), locations=_lines(known_locations)
        )
    print_frame(found, table_format)
    counts = dict(found["flag"].value_counts(sort=True).iter_rows())
    words = ", ".join(f"{figure(count)} {kind}" for kind, count in counts.items())
    report.finish(words or "nothing is out of the ordinary", {"flags": found.height, **counts})
    return DONE


def _lines(path: Path | None) -> list[str] | None:
    """The lines of a file that are not empty."""
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{path} is not UTF-8 text: {error}") from None
    return [line for line in text.splitlines() if line]

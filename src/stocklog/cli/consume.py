"""`stocklog consume`: read the log, live or to its end."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stocklog.cli.failures import DONE, GAP, INTERRUPTED, silence_stdout
from stocklog.cli.interrupt import Interrupt
from stocklog.cli.options import (
    BrokerChoice,
    broker_options,
    example,
    report_options,
    stream_option,
    writable,
)
from stocklog.cli.progress import Progress
from stocklog.cli.report import Report, counted, figure, no_updates
from stocklog.cli.session import connected
from stocklog.cli.tuning import tune

if TYPE_CHECKING:
    from stocklog.ledger.consume import ConsumeSummary
    from stocklog.workers import Worker

__all__ = ["consume"]

_FORMATS = ("text", "jsonl", "csv", "parquet", "none")


_OFFSETS = """\b
OFFSET begins with
  next        what is written after attaching (the default)
  first       the oldest message that is kept
  last        exactly the last message; last:N the last N
  12345       that offset
  15m         what the broker wrote that long ago or later (s, m, h, d)
  2026-11-24T14:05Z   what it wrote then or later
  A..B        a range of these, both ends included, which ends the read"""


@click.command(
    epilog=_OFFSETS
    + "\n\n"
    + example(
        "stocklog consume last:10 --exit-at-end",
        "stocklog consume first -e --format parquet --output updates.parquet",
    )
)
@click.argument("offset", default="next")
@stream_option
@click.option(
    "-e", "--exit-at-end", is_flag=True, help="End with the last message that is there now."
)
@click.option(
    "-n",
    "--count",
    metavar="N",
    type=click.IntRange(min=1),
    help="End after N messages.",
)
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    default="text",
    show_default=True,
    help="none: decode and validate everything, print nothing.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=lambda ctx, param, value: writable(value, ctx, param),
    help="Write to FILE, which is replaced, instead of stdout.",
)
@click.option(
    "--name",
    metavar="NAME",
    help="Go on behind what the reader of this name has handled. OFFSET is for its first time; "
    "FILE is added to.",
)
@click.option("--reset", is_flag=True, help="With --name: begin at OFFSET all the same.")
@click.option(
    "--on-truncated",
    type=click.Choice(["first", "next", "fail"]),
    help="With --name, if retention has cut what comes next: go on with the first that is kept, "
    "with what is new, or end with an error.  [default: first]",
)
@click.option(
    "--connections",
    metavar="N",
    type=click.IntRange(1, 64),
    default=16,
    show_default=True,
    help="As many may read at the same time, where a long range is of tiny chunks.",
)
@broker_options
@report_options
def consume(
    *,
    offset: str,
    stream: str,
    exit_at_end: bool,
    count: int | None,
    form: str,
    output: Path | None,
    name: str | None,
    reset: bool,
    on_truncated: str | None,
    connections: int,
    broker: BrokerChoice,
    report: Report,
) -> int:
    """Read updates from OFFSET on, and then each new one as it comes.

    Reading removes nothing. Text is one line an update: offset, time, sku, location,
    quantity (+3, -3, a count =95, a transfer 3 -> TO), type, reason. Messages that are
    no updates are counted, and shown by text and jsonl. What retention has cut before it
    was read is named, and the exit status is then 4.
    """
    tune(keeps_memory=form != "parquet")  # whose row groups take the room
    from stocklog.ledger.consume import ConsumeSummary
    from stocklog.ledger.consume import consume as read
    from stocklog.ledger.memory import Memory
    from stocklog.ledger.pipeline import ignore
    from stocklog.ledger.register import Register
    from stocklog.ledger.streams import DEFAULT_RETENTION, ensure_stream
    from stocklog.ledger.writers import open_sink
    from stocklog.stream import parse_offset
    from stocklog.stream.arguments import check_reference

    parse_offset(offset)
    if form == "parquet" and output is None:
        raise click.UsageError("parquet cannot go to stdout: give a file with --output FILE")
    if name is None and (reset or on_truncated):
        raise click.UsageError("--reset and --on-truncated are for a reader with a --name")
    if name is not None:
        check_reference(name, "reader")
    shows_data = output is None and form != "none" and sys.stdout.isatty()
    summary = ConsumeSummary(stream, offset, name=name)
    with (
        _helper(form, offset, exit_at_end=exit_at_end) as helper,
        Register() if name is not None else nullcontext() as register,
        connected(broker, report, start=True) as connection,
        Interrupt() as interrupt,
    ):
        if ensure_stream(connection.client, stream):
            report.note(f"made the stream '{stream}', there was none; it keeps {DEFAULT_RETENTION}")
        intent = _intent(stream, offset, exit_at_end=exit_at_end, count=count, name=name)
        memory = None if name is None else Memory(connection.client, stream, name, register)
        sink = open_sink(form, output, append=name is not None and not reset)
        try:
            with Progress("consume", quiet=report.quiet, hidden=shows_data) as progress:
                read(
                    connection.client,
                    stream,
                    sink,
                    offset=offset,
                    until_end=exit_at_end,
                    count=count,
                    memory=memory,
                    reset=reset,
                    on_truncated=on_truncated or "first",
                    connections=connections,
                    on_tick=progress if progress.shows else ignore,
                    on_note=report.warn,
                    on_attached=lambda: report.note(intent),
                    stop=interrupt.stop,
                    summary=summary,
                    helper=helper,
                )
        except KeyboardInterrupt:
            summary.interrupted = True
        finally:
            sink.close()
            _finish(report, summary, form)
    if summary.reader_gone:
        silence_stdout()
    return INTERRUPTED if summary.interrupted else GAP if summary.gap else DONE


def _helper(form: str, offset: str, *, exit_at_end: bool) -> AbstractContextManager[Worker | None]:
    """Another process where it pays: much may come at once, and little of it goes to and fro."""
    from stocklog.workers import Worker

    follows = offset in {"next", "last"} and not exit_at_end
    worker = None if follows or form not in {"jsonl", "csv", "none"} else Worker.start()
    return worker or nullcontext()


def _intent(
    stream: str, offset: str, *, exit_at_end: bool, count: int | None, name: str | None
) -> str:
    """What the command is going to do, so that a silent terminal is no riddle."""
    ends = exit_at_end or ".." in offset
    until = "to the end of now" if ends else "and on as new ones come"
    if count is not None:
        until = f"{counted(count, 'message')} at most" + (", to the end of now" if ends else "")
    if name is not None:
        return f"reading '{stream}' as {name!r}, {until}" + ("" if ends else "; Ctrl-C ends")
    if offset == "next" and not ends:
        return f"waiting for new updates in '{stream}'; Ctrl-C ends"
    return f"reading '{stream}' from {offset}, {until}" + ("" if ends else "; Ctrl-C ends")


def _finish(report: Report, summary: ConsumeSummary, form: str) -> None:
    line = (
        f"{counted(summary.updates, 'update')} in {summary.seconds:.3f} s "
        f"({figure(summary.rate)}/s) from '{summary.stream}'"
    )
    if summary.first_offset is not None:
        line += f", offsets {summary.first_offset} to {summary.last_offset}"
    if summary.interrupted:
        line += ", interrupted"
    if summary.name is not None and summary.stored_offset is not None:
        line += f"; {summary.name!r} goes on behind offset {summary.stored_offset}"
    if summary.invalid:
        missing = "" if form in {"text", "jsonl"} else f", left out of {form}"
        line += f"; {no_updates(summary.invalid)}{missing}"
    report.finish(line, summary.facts())

"""`stocklog load`: real updates from files and pipes."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stocklog.cli.failures import DONE, INTERRUPTED, REJECTS
from stocklog.cli.interrupt import Interrupt
from stocklog.cli.options import (
    BrokerChoice,
    broker_options,
    envelope_options,
    example,
    report_options,
    writable,
    written_stream_option,
)
from stocklog.cli.progress import Progress
from stocklog.cli.report import Report, counted, figure
from stocklog.cli.session import connected
from stocklog.cli.tuning import tune

if TYPE_CHECKING:
    from stocklog.ledger.load import FileResult, LoadPlan, LoadSummary
    from stocklog.ledger.register import Register
    from stocklog.stream import StreamClient
    from stocklog.workers import Worker

__all__ = ["load"]

_REASONS_SHOWN = 20


@click.command(
    epilog=example(
        "stocklog load stock.csv --timezone Europe/Madrid --rejects bad.jsonl",
        'stocklog load sales.parquet --map sku=product_id --map "quantity=-quantity" \\',
        "    --set type=adjustment --set reason=sale --set source=till --dry-run",
        "tail -f moves.jsonl | stocklog load -",
    )
)
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@written_stream_option
@click.option(
    "--input-format",
    type=click.Choice(["csv", "jsonl", "parquet"]),
    help="What the files are.  [default: told by name and content]",
)
@click.option("--delimiter", metavar="C", help="CSV: what separates columns.  [default: found out]")
@click.option("--encoding", metavar="NAME", help="CSV, JSON Lines.  [default: UTF-8, or by mark]")
@click.option("--decimal-comma", is_flag=True, help="CSV: numbers are written 3,0 and 1.000.")
@click.option(
    "--map",
    "mapping",
    metavar="FIELD=EXPRESSION",
    multiple=True,
    help="Take FIELD from an SQL expression over the file's columns.",
)
@click.option(
    "--set", "constants", metavar="FIELD=VALUE", multiple=True, help="FIELD is VALUE in every row."
)
@click.option("--timezone", metavar="ZONE", help="Of times that name none, e.g. Europe/Madrid.")
@click.option("--keep-extra", is_flag=True, help="CSV, Parquet: keep the other columns too.")
@click.option(
    "--rejects",
    metavar="OUT",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=lambda ctx, param, value: writable(value, ctx, param),
    help="Write rows that are no updates to OUT as JSON Lines: file, line, reason, row. OUT is "
    "replaced.",
)
@click.option(
    "--again",
    is_flag=True,
    help="Load on purpose what is loaded already; made update ids carry a run number.",
)
@click.option("--dry-run", is_flag=True, help="Read, check and report; send nothing.")
@envelope_options
@broker_options
@report_options
def load(
    *,
    files: tuple[Path, ...],
    stream: str,
    mapping: tuple[str, ...],
    constants: tuple[str, ...],
    rejects: Path | None,
    again: bool,
    dry_run: bool,
    codec: str,
    sub_batch: int,
    name: str | None,
    broker: BrokerChoice,
    report: Report,
    **reading: Any,
) -> int:
    """Publish the rows of CSV, JSON Lines and Parquet files, or of stdin (-).

    Files may be packed with gzip or zstd. Columns named like a field of an update are
    taken as they are. Every good row goes in once; every bad one is counted, and kept with
    its reason by --rejects; the exit status is then 3. Rows without an update_id get one
    from the file's content and the row's number.

    A load that was interrupted goes on when it is run again, and a file that is loaded
    already is not loaded twice. A pipe goes on if it has a --name and comes again from its
    beginning.
    """
    tune()
    from stocklog.inventory.feeds import FeedOptions, parse_assignments
    from stocklog.ledger.load import LoadPlan, LoadSummary, check_files
    from stocklog.ledger.register import Register
    from stocklog.ledger.streams import ensure_stream

    options = FeedOptions(
        mapping=parse_assignments(mapping, "--map"),
        constants=parse_assignments(constants, "--set"),
        **reading,
    )
    plan = LoadPlan(files, options, rejects, codec, sub_batch, name, again)
    check_files(plan)
    summary = LoadSummary(stream)
    with contextlib.ExitStack() as stack:
        helper = stack.enter_context(_helper(plan))
        client = register = None
        if not dry_run:
            register = stack.enter_context(Register())
            client = stack.enter_context(connected(broker, report)).client
            if ensure_stream(client, stream):
                report.note(f"made the stream '{stream}', there was none")
        _run(client, stream, plan, register, helper, report, summary)
    if summary.interrupted:
        return INTERRUPTED
    return REJECTS if summary.rejects else DONE


def _helper(plan: LoadPlan) -> contextlib.AbstractContextManager[Worker | None]:
    """Another process where one has something to do: a file of JSON Lines is read."""
    from stocklog.inventory.feeds.detect import by_name
    from stocklog.ledger.load_plan import is_pipe
    from stocklog.workers import Worker

    told = plan.options.input_format
    is_used = any(
        (told or by_name(file.name)) in {"jsonl", None} and not is_pipe(file) for file in plan.files
    )
    return (Worker.start() if is_used else None) or contextlib.nullcontext()


def _run(
    client: StreamClient | None,
    stream: str,
    plan: LoadPlan,
    register: Register | None,
    helper: Worker | None,
    report: Report,
    summary: LoadSummary,
) -> None:
    from stocklog.ledger.load import load as publish

    def tell(result: FileResult) -> None:
        if len(plan.files) > 1:
            report.note(_file_line(result))

    with Interrupt() as interrupt:
        try:
            with Progress("load", quiet=report.quiet) as progress:
                publish(
                    client,
                    stream,
                    plan,
                    register=register,
                    on_tick=progress,
                    on_file=tell,
                    on_note=report.note,
                    stop=interrupt.stop,
                    summary=summary,
                    helper=helper,
                )
        except KeyboardInterrupt:
            summary.interrupted = True
        finally:
            _tell_rejects(report, summary, plan.rejects)
            report.finish(_line(summary), summary.facts())


def _file_line(result: FileResult) -> str:
    line = f"{result.file}: {figure(result.updates)} of {figure(result.read)} rows are updates"
    if result.already:
        return f"{line}, loaded before"
    return line if result.complete else line + ", not read to its end"


def _tell_rejects(report: Report, summary: LoadSummary, kept: Path | None) -> None:
    if not summary.rejects:
        return
    shown = list(summary.reasons.items())[:_REASONS_SHOWN]
    lines = [f"{figure(count):>10}  {reason}" for reason, count in shown]
    if len(summary.reasons) > len(shown):
        lines.append(f"{len(summary.reasons) - len(shown):>10}  further reasons")
    where = f"kept in {kept}" if kept else "--rejects OUT would keep them"
    rows = "row is no update" if summary.rejects == 1 else "rows are no updates"
    report.warn(f"{figure(summary.rejects)} {rows} ({where}):", "\n".join(lines))


def _line(summary: LoadSummary) -> str:
    if summary.nothing_to_do:
        files = "the file is" if len(summary.files) == 1 else "the files are"
        return (
            f"nothing was sent: {files} loaded already, {counted(summary.before, 'update')} in "
            f"'{summary.stream}'; --again loads on purpose"
        )
    if summary.dry_run:
        line = f"dry run: {figure(summary.updates)} of {figure(summary.read)} rows are updates"
        line += f", in {summary.seconds:.3f} s; nothing was sent"
    else:
        line = (
            f"{counted(summary.updates, 'update')} confirmed in {summary.seconds:.3f} s "
            f"({figure(summary.rate)}/s) to '{summary.stream}', of {figure(summary.read)} rows read"
        )
    if summary.before:
        line += f"; the log had {figure(summary.before)} before"
    if summary.unconfirmed:
        line += f", {figure(summary.unconfirmed)} sent without a confirm"
    return line + (", interrupted" if summary.interrupted else "")

"""`stocklog produce`: simulated updates into the stream."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime
from typing import TYPE_CHECKING

import click

from stocklog.cli.failures import DONE, INTERRUPTED
from stocklog.cli.interrupt import Interrupt
from stocklog.cli.options import (
    BrokerChoice,
    broker_options,
    envelope_options,
    example,
    report_options,
    written_stream_option,
)
from stocklog.cli.progress import Progress
from stocklog.cli.report import Report, counted, figure
from stocklog.cli.session import connected
from stocklog.cli.tuning import tune

if TYPE_CHECKING:
    from stocklog.ledger.produce import ProduceSummary

__all__ = ["produce"]

DEFAULT_COUNT = 100_000


def _moment(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise click.BadParameter(
            f"{value!r} is no time with a zone, such as 2026-11-24T14:05Z", ctx, param
        )
    return moment


@click.command(
    epilog=example(
        "stocklog produce --count 1000000 --profile fashion --codec lz4",
        "stocklog produce --forever --rate 500",
    )
)
@written_stream_option
@click.option(
    "-n",
    "--count",
    metavar="N",
    type=click.IntRange(min=1),
    help=f"How many updates.  [default: {DEFAULT_COUNT}]",
)
@click.option("--forever", is_flag=True, help="Go on until Ctrl-C.")
@click.option(
    "--rate",
    metavar="R",
    type=click.FloatRange(min=0, min_open=True),
    help="At most R updates a second.  [default: as fast as the broker takes them]",
)
@click.option(
    "--profile",
    type=click.Choice(["grocery", "fashion", "marketplace"]),
    default="grocery",
    show_default=True,
    help="Which kind of retailer is simulated.",
)
@click.option("--seed", metavar="S", type=click.IntRange(min=0), help="Same seed, same updates.")
@click.option(
    "--start",
    metavar="TIME",
    callback=_moment,
    help="When the simulated time starts.  [default: now; with --seed a fixed moment]",
)
@click.option("--dirt", is_flag=True, help="Late, doubled and unknown ones, as in real life.")
@envelope_options
@broker_options
@report_options
def produce(
    *,
    stream: str,
    count: int | None,
    forever: bool,
    rate: float | None,
    profile: str,
    seed: int | None,
    start: datetime | None,
    dirt: bool,
    codec: str,
    sub_batch: int,
    name: str | None,
    broker: BrokerChoice,
    report: Report,
) -> int:
    """Publish simulated inventory updates and wait until every one is confirmed.

    A stream that does not exist is made; it keeps the newest 20 GB, in segments of
    500 MB (`stocklog stream create` makes one otherwise). Ctrl-C waits for what is on
    its way, and says what is confirmed. With --name the count is the total under the
    name: what the log has counts, and the same command goes on from there.
    """
    tune()
    if forever and count is not None:
        raise click.UsageError("--count and --forever exclude each other")
    from stocklog.ledger.produce import ProducePlan, ProduceSummary
    from stocklog.ledger.produce import produce as publish
    from stocklog.ledger.register import Register
    from stocklog.ledger.streams import DEFAULT_RETENTION, ensure_stream

    plan = ProducePlan(
        count=None if forever else count or DEFAULT_COUNT,
        rate=rate,
        profile=profile,
        seed=seed,
        start=start,
        dirt=dirt,
        codec=codec,
        sub_batch=sub_batch,
        name=name,
    )
    summary = ProduceSummary(stream)
    with (
        Register() if name is not None else nullcontext() as register,
        connected(broker, report, start=True) as connection,
        Interrupt() as interrupt,
    ):
        if ensure_stream(connection.client, stream):
            report.note(f"made the stream '{stream}', there was none; it keeps {DEFAULT_RETENTION}")
        try:
            with Progress("produce", quiet=report.quiet) as progress:
                publish(
                    connection.client,
                    stream,
                    plan,
                    register=register,
                    on_tick=progress,
                    stop=interrupt.stop,
                    summary=summary,
                )
        except KeyboardInterrupt:
            summary.interrupted = True
        finally:
            report.finish(_line(summary), summary.facts())
    return INTERRUPTED if summary.interrupted else DONE


def _line(summary: ProduceSummary) -> str:
    line = (
        f"{counted(summary.updates, 'update')} confirmed in {summary.seconds:.3f} s "
        f"({figure(summary.rate)}/s) to '{summary.stream}'"
    )
    if summary.before:
        line += f"; the log had {figure(summary.before)} before"
    if summary.unconfirmed:
        line += f", {figure(summary.unconfirmed)} sent without a confirm"
    return line + (", interrupted" if summary.interrupted else "")

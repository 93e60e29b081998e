"""`stocklog verify`: is the store what the log says?"""

from __future__ import annotations

import contextlib

import click

from stocklog.cli.failures import DONE, INTERRUPTED, VERIFY
from stocklog.cli.frames import print_frame
from stocklog.cli.interrupt import Interrupt
from stocklog.cli.options import (
    BrokerChoice,
    broker_options,
    example,
    report_options,
    stream_option,
    table_option,
)
from stocklog.cli.progress import Progress
from stocklog.cli.report import Report, counted, figure
from stocklog.cli.session import connected
from stocklog.cli.store_options import store_option

__all__ = ["verify"]


@click.command(
    epilog=example(
        "stocklog verify",
        "stocklog verify --quick",
        "stocklog verify --store sqlite:///stock.db --format csv",
    )
)
@click.option(
    "--quick",
    is_flag=True,
    help="Only look at stretches of the log and 200 keys: seconds, and no proof.",
)
@table_option
@stream_option
@store_option
@broker_options
@report_options
def verify(
    *,
    quick: bool,
    table_format: str,
    stream: str,
    store: str | None,
    broker: BrokerChoice,
    report: Report,
) -> int:
    """Replay the log and compare it with the store, key by key.

    Prints the keys that differ; the exit status is 5 if there are any. The replay goes into
    a temporary file and changes nothing; `project` may go on meanwhile.

    --quick looks for 20 stretches of the log in the store's history, and makes 200 balances
    again from their history; the exit status is the same.
    """
    if quick:
        return _verify_sample(table_format, stream, store, broker, report)
    from stocklog.ledger.check import verify as check
    from stocklog.stores.uri import open_store

    with (
        contextlib.closing(open_store(store, stream)) as opened,
        connected(broker, report) as connection,
        Interrupt() as interrupt,
    ):
        with Progress("verify", quiet=report.quiet) as progress:
            found = check(
                connection.client,
                stream,
                opened,
                on_tick=progress,
                on_note=report.warn,
                stop=interrupt.stop,
            )
        where = opened.where
    if found.interrupted:
        report.finish("interrupted, nothing was compared", found.facts())
        return INTERRUPTED
    wrong = found.differences.height
    if wrong:
        print_frame(found.differences, table_format)
        report.warn(
            f"{figure(wrong)} of {figure(found.keys)} keys differ from the log",
            f"Build the store again: end `stocklog project`, delete {where} (its file, in "
            "PostgreSQL its schema), start it",
        )
    report.finish(
        f"{counted(found.keys, 'key')} compared at offset {found.last_offset}, "
        f"{figure(wrong)} differ; {figure(found.updates)} updates replayed in "
        f"{found.seconds:.3f} s",
        found.facts(),
    )
    return VERIFY if wrong else DONE


def _verify_sample(
    table_format: str, stream: str, store: str | None, broker: BrokerChoice, report: Report
) -> int:
    from stocklog.ledger.sampling import sample
    from stocklog.stores.uri import open_store

    with (
        contextlib.closing(open_store(store, stream)) as opened,
        connected(broker, report) as connection,
    ):
        found = sample(connection.client, stream, opened)
    wrong = found.differences.height
    if wrong:
        print_frame(found.differences, table_format)
        report.warn(
            f"{figure(wrong)} of what was looked at differ from the log",
            "`stocklog verify` compares every key",
        )
    report.finish(
        f"{figure(found.updates)} updates looked for in the history and {figure(found.keys)} "
        f"balances made again at offset {found.last_offset}, {figure(wrong)} differ",
        found.facts(),
    )
    return VERIFY if wrong else DONE

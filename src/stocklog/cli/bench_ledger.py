"""`stocklog bench ledger`: from the broker into a store, and questions to it."""

from __future__ import annotations

import shlex
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from stocklog.cli.failures import DONE
from stocklog.cli.options import BrokerChoice, broker_options, example
from stocklog.cli.report import Report
from stocklog.cli.session import connected

__all__ = ["ledger"]

COUNT, KEYS = 4_000_000, 500_000
# An update in the log (lz4) and in the store, each with room for the WAL.
_BYTES_AN_UPDATE = 250


@click.command(
    epilog=example(
        "stocklog bench ledger",
        "stocklog bench ledger --count 50000000 --output report/",
    )
)
@click.option(
    "--count", metavar="N", type=click.IntRange(min=100_000), default=COUNT, show_default=True,
    help="Updates.",
)  # fmt: skip
@click.option(
    "--keys", metavar="K", type=click.IntRange(1000, 5_000_000), default=KEYS, show_default=True,
    help="SKUs at locations that they are over.",
)  # fmt: skip
@click.option(
    "--store", metavar="URI",
    help="A store that is not there yet, which is kept.  [default: SQLite, deleted at the end]",
)  # fmt: skip
@click.option(
    "-o", "--output", metavar="FOLDER", type=click.Path(file_okay=False, path_type=Path),
    help="Also write the report there: Markdown, JSON, PNG and SVG.",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Only the tables, warnings and errors.")
@broker_options
def ledger(
    *,
    count: int,
    keys: int,
    store: str | None,
    output: Path | None,
    quiet: bool,
    broker: BrokerChoice,
) -> int:
    """Project a long log, a flood of duplicates and a file of late counts; ask the store.

    Takes about eight seconds a million. The stream gets a name of its own and is deleted at
    the end.
    """
    from stocklog.bench import machine
    from stocklog.bench.ledger import LedgerPlan, measure
    from stocklog.bench.report import Report as Findings
    from stocklog.bench.streams import Bench

    report = Report(quiet=quiet, summary=None)
    with ExitStack() as opened:
        connection = opened.enter_context(connected(broker, report, start=True))
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="stocklog-bench-")))
        node = connection.node
        machine.check_disk(folder, count * _BYTES_AN_UPDATE // 2)
        running = Bench(
            client=connection.client,
            uri=connection.client.uri.with_password(),
            amqp_port=0,
            folder=None if node is None else Path(node.dir),
            count=count,
            rounds=1,
            say=report.note,
        )
        findings = Findings(
            "bench ledger",
            shlex.join(["stocklog", *sys.argv[1:]]),
            machine.describe(connection.client.server_version),
        )
        try:
            plan = LedgerPlan(count, keys, store or f"sqlite:///{folder / 'ledger.db'}")
            measure(running, findings, plan)
        finally:
            running.close()
    click.echo(findings.table())
    if output is not None:
        for path in findings.write(output):
            report.note(f"wrote {path}")
    return DONE

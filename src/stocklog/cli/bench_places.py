"""`stocklog bench places`: the same jobs on several brokers in turn."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stocklog.cli.failures import DONE
from stocklog.cli.options import BrokerChoice, broker_options, example
from stocklog.cli.report import Report

if TYPE_CHECKING:
    from stocklog.bench.streams import Bench
    from stocklog.ledger.connect import Connection

__all__ = ["places"]

COUNT, ROUNDS = 1_000_000, 5
QUICK_COUNT, QUICK_ROUNDS = 200_000, 1
_BYTES_AN_UPDATE = 300


def _places(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for value in values:
        name, equals, uri = value.partition("=")
        if not equals or not name.strip() or "://" not in uri:
            # Not repeated: there may be a password in it.
            raise click.BadParameter("write it as NAME=URI", ctx, param)
        if name in found:
            raise click.BadParameter(f"the name {name!r} is given twice", ctx, param)
        found[name.strip()] = uri
    return found


@click.command(
    epilog=example(
        'stocklog bench places --beside "three nodes=$CLUSTER" --quick',
        'stocklog bench places --beside "TLS=$SECURE" --tls-ca ca.pem',
    )
)
@click.option(
    "--beside", metavar="NAME=URI", multiple=True, required=True, callback=_places,
    help="Another broker, such as a cluster or a listener with TLS. Can be repeated.",
)  # fmt: skip
@click.option(
    "--here", metavar="NAME", default="here", show_default=True,
    help="What the table calls the broker that the others stand beside.",
)  # fmt: skip
@click.option(
    "--count", metavar="N", type=click.IntRange(min=10_000),
    help=f"Updates of a run.  [default: {COUNT}]",
)  # fmt: skip
@click.option(
    "--rounds", metavar="N", type=click.IntRange(min=1),
    help=f"Counted rounds.  [default: {ROUNDS}]",
)  # fmt: skip
@click.option("--quick", is_flag=True, help="A first look in two minutes: one small round.")
@click.option(
    "-o", "--output", metavar="FOLDER", type=click.Path(file_okay=False, path_type=Path),
    help="Also write the report there: Markdown, JSON, PNG and SVG.",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Only the table, warnings and errors.")
@broker_options
def places(
    *,
    beside: dict[str, str],
    here: str,
    count: int | None,
    rounds: int | None,
    quick: bool,
    output: Path | None,
    quiet: bool,
    broker: BrokerChoice,
) -> int:
    """Produce and consume on several brokers in turn, figures side by side.

    What replication costs, or TLS: the first broker is found as always, the others are named.
    """
    from stocklog.bench import machine
    from stocklog.bench.places import measure
    from stocklog.bench.report import Report as Findings

    if here in beside:
        raise click.UsageError(f"--here and --beside both name {here!r}")
    report = Report(quiet=quiet, summary=None)
    size = count or (QUICK_COUNT if quick else COUNT), rounds or (QUICK_ROUNDS if quick else ROUNDS)
    with ExitStack() as opened:
        benches = {
            name: _bench(opened, report, size, broker.tls_ca, name, uri)
            for name, uri in {here: broker.uri, **beside}.items()
        }
        first = benches[here]
        if first.folder is not None:
            machine.check_disk(first.folder, size[0] * _BYTES_AN_UPDATE)
        findings = Findings(
            "bench places",
            machine.command_line(),
            machine.describe(first.client.server_version),
        )
        measure(benches, findings)
    click.echo(findings.table())
    if output is not None:
        for path in findings.write(output):
            report.note(f"wrote {path}")
    return DONE


def _bench(
    opened: ExitStack,
    report: Report,
    size: tuple[int, int],
    tls_ca: Path | None,
    name: str,
    uri: str | None,
) -> Bench:
    from stocklog.bench.streams import Bench

    secure = tls_ca if uri and uri.startswith("rabbitmq-stream+tls:") else None
    connection = _connect(report, name, uri, secure)
    opened.callback(connection.client.close)
    bench = Bench(
        client=connection.client,
        uri=connection.client.uri.with_password(),
        amqp_port=0,
        folder=None if connection.node is None else Path(connection.node.dir),
        count=size[0],
        rounds=size[1],
        say=report.note,
        tls_ca="" if secure is None else str(secure),
    )
    opened.callback(bench.close)
    return bench


def _connect(report: Report, name: str, uri: str | None, tls_ca: Path | None) -> Connection:
    from stocklog.ledger.connect import open_connection

    connection = open_connection(uri, origin=name, start=True, tls_ca=tls_ca, say=report.note)
    report.note(f"{name}: broker {connection.where}", "broker", connection.facts())
    return connection

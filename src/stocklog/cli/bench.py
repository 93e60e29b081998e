"""`stocklog bench`: what it costs here, beside the peers and the bare wire."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from stocklog.cli.bench_chaos import chaos
from stocklog.cli.bench_ledger import ledger
from stocklog.cli.failures import DONE
from stocklog.cli.options import BrokerChoice, broker_options, example
from stocklog.cli.report import Report
from stocklog.cli.session import connected
from stocklog.errors import UsageError

__all__ = ["bench"]

COUNT, ROUNDS = 1_000_000, 5
QUICK_COUNT, QUICK_ROUNDS = 200_000, 1
# The largest updates of the simulator, their envelope, and the broker's index.
_BYTES_AN_UPDATE = 300

_MEASURES = {
    "intake": ("Whole updates into a stream: ours, rstream, pika, and the bare wire.", 6),
    "replay": ("A stream back as typed columns: ours, rstream, pika, and the bare wire.", 3),
    "slow-reader": ("Fast readers with and without a slow one, on a stream and on queues.", 2),
    "scale": ("Rate, CPU and memory by length, producers, readers and body size.", 11),
    "latency": ("From publishing to the decoded row at 1,000 to 500,000 a second.", 4),
}


@click.group(
    epilog=example(
        "stocklog bench intake --quick",
        "stocklog bench replay --count 5000000 --output report/",
    )
)
def bench() -> None:
    """Measure, and write a report; or break things and see what is lost.

    Contenders run in turn (A B C A B C), once to warm up, then --rounds times; tables show
    medians and the spread. Needs the peers: `pip install 'stocklog[bench]'`. Streams and
    queues get names of their own and are deleted at the end.
    """


bench.add_command(chaos)
bench.add_command(ledger)


def _register(name: str, text: str, rooms: int) -> None:
    @bench.command(
        name,
        help=text,
        short_help=text,
        epilog=example(f"stocklog bench {name} --quick", f"stocklog bench {name} --output report/"),
    )
    @click.option(
        "--count",
        metavar="N",
        type=click.IntRange(min=10_000),
        help=f"Updates of our own runs; slower contenders take a part.  [default: {COUNT}]",
    )
    @click.option(
        "--rounds",
        metavar="N",
        type=click.IntRange(min=1),
        help=f"Counted rounds.  [default: {ROUNDS}]",
    )
    @click.option("--quick", is_flag=True, help="A first look in two minutes: one small round.")
    @click.option(
        "-o",
        "--output",
        metavar="FOLDER",
        type=click.Path(file_okay=False, path_type=Path),
        help="Also write the report there: Markdown, JSON, PNG and SVG.",
    )
    @click.option(
        "--amqp-port",
        metavar="PORT",
        type=click.IntRange(0, 65535),
        help="Of the same broker, for pika; 0 leaves pika out.  [default: as the node says, 5672]",
    )
    @click.option("-q", "--quiet", is_flag=True, help="Only the table, warnings and errors.")
    @broker_options
    def command(
        *,
        count: int | None,
        rounds: int | None,
        quick: bool,
        output: Path | None,
        amqp_port: int | None,
        quiet: bool,
        broker: BrokerChoice,
    ) -> int:
        counts = {
            "count": count or (QUICK_COUNT if quick else COUNT),
            "rounds": rounds or (QUICK_ROUNDS if quick else ROUNDS),
        }
        report = Report(quiet=quiet, summary=None)
        return _run(name, rooms, counts, output, amqp_port, broker, report)


for _name, (_text, _rooms) in _MEASURES.items():
    _register(_name, _text, _rooms)


def _run(
    name: str,
    rooms: int,
    counts: dict[str, int],
    output: Path | None,
    amqp_port: int | None,
    broker: BrokerChoice,
    report: Report,
) -> int:
    measure = _measure(name)
    from stocklog.bench import machine
    from stocklog.bench.report import Report as Findings
    from stocklog.bench.streams import Bench

    with connected(broker, report, start=True) as connection:
        node = connection.node
        if node is not None:
            machine.check_disk(Path(node.dir), counts["count"] * _BYTES_AN_UPDATE * rooms)
        findings = Findings(
            f"bench {name}",
            shlex.join(["stocklog", *sys.argv[1:]]),
            machine.describe(connection.client.server_version),
        )
        running = Bench(
            client=connection.client,
            uri=connection.client.uri.with_password(),
            amqp_port=_amqp_port(amqp_port, node),
            folder=None if node is None else Path(node.dir),
            count=counts["count"],
            rounds=counts["rounds"],
            say=report.note,
            node_pid=None if node is None else node.pid,
        )
        try:
            measure(running, findings)
        finally:
            running.close()
    click.echo(findings.table())
    if output is not None:
        for path in findings.write(output):
            report.note(f"wrote {path}")
    return DONE


def _measure(name: str) -> Callable[[Any, Any], None]:
    try:
        for peer in ("rstream", "pika"):
            import_module(peer)
    except ImportError as error:
        raise UsageError(
            f"`stocklog bench` measures beside other clients, and {error.name} is not installed",
            "Install them: pip install 'stocklog[bench]' (in a clone: uv sync --extra bench)",
        ) from error
    module = import_module(f"stocklog.bench.{name.replace('-', '_')}")
    measure: Callable[[Any, Any], None] = module.measure
    return measure


def _amqp_port(asked: int | None, node: Any) -> int:
    if asked is not None:
        return asked
    return 5672 if node is None else int(node.amqp_port)

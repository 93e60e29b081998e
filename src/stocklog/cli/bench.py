"""`stocklog bench`: what it costs here, beside the peers and the bare wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click

from stocklog.cli.bench_chaos import chaos
from stocklog.cli.bench_ledger import ledger
from stocklog.cli.bench_places import places
from stocklog.cli.failures import DONE
from stocklog.cli.options import BrokerChoice, broker_options, example
from stocklog.cli.report import Report
from stocklog.cli.session import connected
from stocklog.errors import UsageError

__all__ = ["bench"]

Function = TypeVar("Function", bound=Callable[..., Any])

COUNT, ROUNDS = 1_000_000, 5
QUICK_COUNT, QUICK_ROUNDS = 200_000, 1
# The largest updates of the simulator, their envelope, and the broker's index.
_BYTES_AN_UPDATE = 300


@dataclass(frozen=True)
class _Measure:
    """One of the measurements: its help, and what it needs.

    Attributes:
        text: the help.
        room: how many times --count updates lie on the disk at once.
        keys: what --only can name; empty: it has no parts.
    """

    text: str
    room: int
    keys: tuple[str, ...] = ()


_MEASURES = {
    "intake": _Measure(
        "Whole updates into a stream: ours, rstream, pika, and the bare wire.",
        3,
        ("default", "lz4", "plain", "frame", "parquet", "csv", "jsonl", "jsonl-nulls", "rows",
         "wire", "wire-plain", "rstream", "pika", "classic", "classic-fast"),
    ),
    "replay": _Measure(
        "A stream back as typed columns: ours, rstream, pika, and the bare wire.",
        4,
        ("own", "lz4", "plain", "foreign", "single", "to-jsonl", "to-parquet", "wire",
         "rstream", "rstream-single", "wire-single", "pika"),
    ),
    "slow-reader": _Measure(
        "Fast readers with and without a slow one, on a stream and on queues.", 2
    ),
    "scale": _Measure(
        "Rate, CPU and memory by length, producers, readers and body size.",
        50,
        ("length", "producers", "readers", "bodies"),
    ),
    "latency": _Measure("From publishing to the decoded row at 1,000 to 500,000 a second.", 4),
}  # fmt: skip


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
bench.add_command(places)


def _register(name: str, measure: _Measure) -> None:
    @bench.command(
        name,
        help=measure.text,
        short_help=measure.text,
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
    @_only_option(measure.keys)
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
        only: frozenset[str] = frozenset(),
    ) -> int:
        plan = _Plan(
            count or (QUICK_COUNT if quick else COUNT),
            rounds or (QUICK_ROUNDS if quick else ROUNDS),
            only,
            amqp_port,
        )
        return _run(name, measure, plan, output, broker, Report(quiet=quiet, summary=None))


def _only_option(keys: tuple[str, ...]) -> Callable[[Function], Function]:
    """`--only` of a measurement that has parts; nothing for one that has none."""

    def check(ctx: click.Context, param: click.Parameter, value: str | None) -> frozenset[str]:
        asked = frozenset(part.strip() for part in value.split(",")) if value else frozenset()
        if unknown := sorted(asked - set(keys)):
            raise click.BadParameter(
                f"there is no {unknown[0]!r}; there are {', '.join(keys)}", ctx, param
            )
        return asked

    if not keys:
        return lambda function: function
    text = f"Only these, and what they are measured by: {', '.join(keys)}."
    return click.option("--only", metavar="KEY,...", callback=check, help=text)


for _name, _measured in _MEASURES.items():
    _register(_name, _measured)


@dataclass(frozen=True)
class _Plan:
    """How much is measured, and of what."""

    count: int
    rounds: int
    only: frozenset[str]
    amqp_port: int | None


def _run(
    name: str,
    measured: _Measure,
    plan: _Plan,
    output: Path | None,
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
            machine.check_disk(Path(node.dir), plan.count * _BYTES_AN_UPDATE * measured.room)
        findings = Findings(
            f"bench {name}",
            machine.command_line(),
            machine.describe(connection.client.server_version),
        )
        running = Bench(
            client=connection.client,
            uri=connection.client.uri.with_password(),
            amqp_port=_amqp_port(plan.amqp_port, node),
            folder=None if node is None else Path(node.dir),
            count=plan.count,
            rounds=plan.rounds,
            say=report.note,
            node_pid=None if node is None else node.pid,
            only=plan.only,
            tls_ca="" if broker.tls_ca is None else str(broker.tls_ca),
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

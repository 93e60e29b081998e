"""`stocklog bench chaos`: faults by the hundred against a broker of its own."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import click

from stocklog.cli.failures import DONE, FAILED
from stocklog.cli.options import example
from stocklog.cli.report import Report

__all__ = ["chaos"]


@click.command(
    epilog=example(
        "stocklog bench chaos --faults 20",
        "stocklog bench chaos --nodes 3 --seed 7 --faults 60 --output report/",
    )
)
@click.option(
    "--seed", metavar="S", type=click.IntRange(min=0), default=1, show_default=True,
    help="Draws the faults, their targets and their times.",
)  # fmt: skip
@click.option(
    "--faults", metavar="N", type=click.IntRange(min=1), default=20, show_default=True,
    help="How many faults must count: strike while messages are unconfirmed.",
)  # fmt: skip
@click.option(
    "--nodes", metavar="N", type=click.IntRange(1, 9), default=1, show_default=True,
    help="Nodes of the broker; from 3 on the cluster's faults too.",
)  # fmt: skip
@click.option(
    "--rabbitmq-root", metavar="TREE", type=click.Path(path_type=Path),
    help="Take RabbitMQ out of a tree that debootstrap laid; root only.",
)  # fmt: skip
@click.option(
    "-o", "--output", metavar="FOLDER", type=click.Path(file_okay=False, path_type=Path),
    help="Also write the report there: Markdown and JSON.",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Only the tables, warnings and errors.")
def chaos(
    *,
    seed: int,
    faults: int,
    nodes: int,
    rabbitmq_root: Path | None,
    output: Path | None,
    quiet: bool,
) -> int:
    """Break things for a while: is anything lost, twice, or out of order?

    Starts a broker of its own in a folder of its own, never yours. Three producers (plain
    entries, blocks, lz4) and three readers (one that follows, one with a stored offset, one
    that reads ranges) run as processes behind proxies while faults strike: kill -9 of
    processes and nodes, nodes stopped, connections cut, frozen and slowed, old bytes let go
    late, a disk alarm; on a cluster also leaders killed and moved, and replicas taken away.

    About ten seconds a fault. Exit status 1 if anything was wrong; the histories are kept then.
    """
    from stocklog.bench import machine
    from stocklog.bench.chaos.run import Chaos
    from stocklog.bench.chaos.summary import sections
    from stocklog.bench.report import Report as Findings

    # So that the broker is stopped whoever ends us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = Report(quiet=quiet, summary=None)
    folder = Path(tempfile.mkdtemp(prefix="stocklog-chaos-"))
    try:
        running = Chaos(
            folder, seed=seed, wanted=faults, nodes=nodes, root=rabbitmq_root, say=report.note
        )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # its broker did not come up
        raise
    found = running.run()
    findings = Findings(
        "bench chaos", shlex.join(["stocklog", *sys.argv[1:]]), machine.describe(found.version)
    )
    findings.sections += sections(found, seed, nodes)
    click.echo(findings.table())
    if output is not None:
        for path in findings.write(output):
            report.note(f"wrote {path}")
    if found.anomalies:
        for anomaly in found.anomalies:
            report.warn(str(anomaly))
        report.warn(f"the histories are kept in {folder}")
        return FAILED
    shutil.rmtree(folder, ignore_errors=True)
    return DONE

"""The root of the command line: the group, its help, and `main`."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from stocklog._version import __version__
from stocklog.cli import logs
from stocklog.cli.failures import run
from stocklog.cli.lazy import LazyGroup

__all__ = ["cli", "main"]

_COMMANDS = {
    "demo": "stocklog.cli.demo:demo",
    "broker": "stocklog.cli.broker:broker",
    "produce": "stocklog.cli.produce:produce",
    "load": "stocklog.cli.load:load",
    "consume": "stocklog.cli.consume:consume",
    "project": "stocklog.cli.project:project",
    "stock": "stocklog.cli.stock:stock",
    "why": "stocklog.cli.why:why",
    "diff": "stocklog.cli.diff:diff",
    "export": "stocklog.cli.diff:export",
    "flags": "stocklog.cli.flags:flags",
    "reconcile": "stocklog.cli.reconcile:reconcile",
    "verify": "stocklog.cli.verify:verify",
    "stream": "stocklog.cli.stream:stream",
    "bench": "stocklog.cli.bench:bench",
    "completion": "stocklog.cli.completion:completion",
}

_EPILOG = """\b
Example:
  stocklog produce --count 100000
  stocklog consume first --exit-at-end

\b
The broker is found in this order: --uri or --uri-file, STOCKLOG_URI (each
rabbitmq-stream[+tls]://user:password@host:port/vhost), the private node of
`stocklog broker up`, localhost:5552 as guest. Prefer --uri-file or STOCKLOG_URI
for a URI with a password: options can be read in the list of processes.
produce, consume and demo start the private node if none of these answers.

\b
Data goes to stdout, everything else to stderr. Exit status:
  0    done
  1    failed
  2    wrong usage
  3    finished, with rows rejected
  4    finished, with a gap that retention cut
  5    verify found differences
  130  interrupted (Ctrl-C, SIGTERM)

STOCKLOG_DEBUG=1 or --debug shows the traceback of an error. NO_COLOR=1 turns
colours off.
"""


@click.group(
    cls=LazyGroup,
    lazy=_COMMANDS,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="stocklog", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--log-format",
    type=click.Choice(logs.FORMATS),
    default="text",
    show_default=True,
    is_eager=True,
    expose_value=False,
    callback=lambda ctx, param, value: None if ctx.resilient_parsing else logs.choose(value),
    help="What stderr gets: text, or one JSON object a line (time, level, event, message, ...).",
)
def cli(*, debug: bool) -> None:
    """Inventory updates by the million over RabbitMQ Streams: in, kept, and replayed."""
    if debug:
        os.environ["STOCKLOG_DEBUG"] = "1"


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        args: the words after `stocklog`; those of the process if left out.

    Returns:
        The exit status, as listed in `stocklog --help`.
    """
    return run(cli, args)

"""`stocklog stream`: the streams themselves."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from stocklog.cli.options import (
    BrokerChoice,
    broker_options,
    example,
    new_stream_name,
    report_options,
    table_option,
)
from stocklog.cli.report import Report, counted
from stocklog.cli.session import connected
from stocklog.cli.sizes import SIZE, in_words
from stocklog.cli.tables import print_facts, print_table

__all__ = ["stream"]

management_option = click.option(
    "--management",
    metavar="URL",
    envvar="STOCKLOG_MANAGEMENT",
    help="HTTP API of RabbitMQ's management plugin, http://user:password@host:15672. Not "
    "needed for the private node.",
)


@click.group(epilog=example("stocklog stream info inventory_updates", "stocklog stream list"))
def stream() -> None:
    """The stream itself: make it, look at it, delete it."""


@stream.command(
    epilog=example(
        "stocklog stream create inventory_updates --max-age 30D --max-length-bytes 50GB",
    )
)
@click.argument("name", callback=new_stream_name)
@click.option("--max-age", metavar="AGE", help="Keep so long, e.g. 7D (units Y M D h m s).")
@click.option(
    "--max-length-bytes",
    type=SIZE,
    help="Keep so much, e.g. 20GB.  [default: 20GB; no bound if --max-age is given]",
)
@click.option(
    "--segment-size", type=SIZE, default="500MB", show_default=True, help="Size of one file."
)
@click.option(
    "--replicas", metavar="N", type=click.IntRange(min=1), help="Copies.  [default: every node]"
)
@broker_options
@report_options
def create(
    *,
    name: str,
    max_age: str | None,
    max_length_bytes: int | None,
    segment_size: int,
    replicas: int | None,
    broker: BrokerChoice,
    report: Report,
) -> None:
    """Make a stream with a bounded retention.

    Retention drops whole segments, never the newest: a stream takes up to its bound plus
    one segment, on each node that has a copy. One that is there already is left as it is.
    """
    from stocklog.ledger.streams import DEFAULT_ARGUMENTS
    from stocklog.stream import StreamArguments

    if max_length_bytes is None and max_age is None:
        max_length_bytes = DEFAULT_ARGUMENTS.max_length_bytes
    arguments = StreamArguments(
        max_age=max_age,
        max_length_bytes=max_length_bytes,
        max_segment_size=segment_size,
        initial_cluster_size=replicas,
    )
    with connected(broker, report) as connection:
        made = connection.client.create_stream(name, arguments)
    kept = " and ".join(part for part in (in_words(max_length_bytes), max_age) if part)
    text = f"made the stream '{name}'; it keeps the newest {kept}"
    there = f"the stream '{name}' is there already; it was left as it is"
    report.finish(text if made else there, {"stream": name, "made": made})


@stream.command(
    epilog=example(
        "stocklog stream info inventory_updates",
    )
)
@click.argument("name")
@table_option
@management_option
@broker_options
@report_options
def info(
    *, name: str, table_format: str, management: str | None, broker: BrokerChoice, report: Report
) -> None:
    """Show offsets, size, retention and replicas, as far as the broker tells.

    `messages` is last offset - first offset + 1, as RabbitMQ counts: a reader's stored
    position takes an offset now and then. The stream protocol tells neither size nor
    retention: for those the private node is asked directly, any other broker through
    its management API.
    """
    from stocklog.ledger.inspect import beside, describe

    with connected(broker, report) as connection:
        facts = describe(connection.client, name, beside(connection, management))
    if table_format != "jsonl":
        facts["retention"] = _retention_in_words(facts["retention"])
    if table_format == "text":
        facts["size"] = in_words(facts["size"])
        facts["replicas"] = facts["replicas"] or "none besides the leader"
        if facts["first_offset"] is None:
            facts["first_offset"] = facts["last_offset"] = "none, the stream is empty"
    elif table_format == "csv":
        facts["replicas"] = " ".join(facts["replicas"])
    print_facts(facts, table_format)


@stream.command(
    "list",
    epilog=example(
        "stocklog stream list",
        "stocklog stream list --management http://user:password@localhost:15672",
    ),
)
@table_option
@management_option
@broker_options
@report_options
def list_streams(
    *, table_format: str, management: str | None, broker: BrokerChoice, report: Report
) -> None:
    """List the streams of the broker.

    The stream protocol cannot: the private node is asked by RabbitMQ's own command, any
    other broker through its management API (--management).
    """
    from stocklog.errors import UsageError
    from stocklog.ledger.inspect import beside

    with connected(broker, report) as connection:
        other = beside(connection, management)
        if other is None:
            raise UsageError(
                "RabbitMQ's stream protocol cannot list streams, and this broker is not ours",
                "Give its management API with --management http://user:password@host:15672, or "
                "ask on its machine: `rabbitmqctl list_queues name type`",
            )
        found = other.streams()
    rows: list[dict[str, Any]] = [
        {"stream": s.name, "segments": s.segments, "size": s.size, "retention": s.retention}
        for s in found
    ]
    if table_format != "jsonl":
        rows = [{**row, "retention": _retention_in_words(row["retention"])} for row in rows]
    if table_format == "text":
        rows = [{**row, "size": in_words(row["size"])} for row in rows]
    print_table(rows, ["stream", "segments", "size", "retention"], table_format)


@stream.command(
    epilog=example(
        "stocklog stream delete old_updates",
    )
)
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@broker_options
@report_options
def delete(*, name: str, yes: bool, broker: BrokerChoice, report: Report) -> None:
    """Delete a stream and everything in it, for good."""
    if not (yes or sys.stdin.isatty()):
        raise click.UsageError("stdin is no terminal to ask on: say --yes to delete")
    with connected(broker, report) as connection:
        client = connection.client
        if not yes:
            first, last = client.first_offset(name), client.last_offset(name)
            count = 0 if first is None or last is None else last - first + 1
            question = f"Delete '{name}' and its {counted(count, 'message')} at {client.uri}?"
            click.confirm(question, abort=True, err=True)
        client.delete_stream(name)
    report.finish(f"deleted the stream '{name}'", {"stream": name, "deleted": True})


def _retention_in_words(bounds: Mapping[str, Any] | None) -> str | None:
    if bounds is None:
        return None
    length = bounds["max_length_bytes"]
    kept = [part for part in (in_words(length), bounds["max_age"]) if part]
    text = f"the newest {' and '.join(kept)}" if kept else "everything, without a bound"
    segment = bounds["segment_bytes"]
    return text + (f", in segments of {in_words(segment)}" if segment else "")

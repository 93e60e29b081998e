"""Options that several commands share, each written once."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from stocklog.cli.report import Report

__all__ = [
    "CODECS",
    "DEFAULT_STREAM",
    "BrokerChoice",
    "broker_options",
    "envelope_options",
    "example",
    "new_stream_name",
    "report_options",
    "stream_option",
    "table_option",
    "writable",
    "written_stream_option",
]

DEFAULT_STREAM = "inventory_updates"
_LONGEST_URI = 65_536
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class BrokerChoice:
    """What the user said about the broker.

    Attributes:
        uri: `--uri`, what `--uri-file` holds, or STOCKLOG_URI; else `None`.
        origin: where the URI came from, for messages.
        tls_ca: certificates to trust besides the system's.
    """

    uri: str | None = field(repr=False)
    origin: str
    tls_ca: Path | None


def example(*lines: str) -> str:
    """The end of a command's help: how it is used, in lines that stay as they are."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def broker_options(function: Function) -> Function:
    """Add `--uri`, `--uri-file` and `--tls-ca`; the function gets `broker: BrokerChoice`."""

    @click.option(
        "--uri",
        metavar="URI",
        help="The broker, rabbitmq-stream[+tls]://user:password@host:port/vhost. "
        "With a password in it, --uri-file or STOCKLOG_URI is the better place.",
    )
    @click.option(
        "--uri-file",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="A file whose one line is the URI: other users see options, and not the file.",
    )
    @click.option(
        "--tls-ca",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        envvar="STOCKLOG_TLS_CA",
        help="PEM certificates to trust for rabbitmq-stream+tls, besides the system's.",
    )
    @functools.wraps(function)
    def wrapped(
        *args: Any, uri: str | None, uri_file: Path | None, tls_ca: Path | None, **kwargs: Any
    ) -> Any:
        choice = BrokerChoice(*_uri_and_origin(uri, uri_file), tls_ca)
        return function(*args, broker=choice, **kwargs)

    return wrapped  # type: ignore[return-value]


def _uri_and_origin(uri: str | None, file: Path | None) -> tuple[str | None, str]:
    if uri and file:
        raise click.UsageError("--uri and --uri-file exclude each other")
    if uri:
        return uri, "--uri"
    if file:
        return _read_uri(file), f"--uri-file {file}"
    variable = os.environ.get("STOCKLOG_URI")
    return (variable, "STOCKLOG_URI") if variable else (None, "")


def _read_uri(file: Path) -> str:
    """The one line of a file; what it holds is never shown."""
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read(_LONGEST_URI).strip()
    except UnicodeDecodeError:
        text = ""
    if not text or "\n" in text:
        raise click.UsageError(f"{file} is not a file of one line that is the broker's URI")
    return text


def report_options(function: Function) -> Function:
    """Add `--quiet` and `--summary`; the function gets them as `report: Report`."""

    @click.option("-q", "--quiet", is_flag=True, help="Only warnings and errors on stderr.")
    @click.option(
        "--summary",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        callback=lambda ctx, param, value: writable(value, ctx, param),
        help="Also write the summary line's figures to FILE as JSON.",
    )
    @functools.wraps(function)
    def wrapped(*args: Any, quiet: bool, summary: Path | None, **kwargs: Any) -> Any:
        return function(*args, report=Report(quiet=quiet, summary=summary), **kwargs)

    return wrapped  # type: ignore[return-value]


def stream_option(function: Function) -> Function:
    """Add `--stream`, which is `inventory_updates` unless said otherwise."""
    return _stream_option(_stream_name)(function)


def written_stream_option(function: Function) -> Function:
    """Add `--stream` of a command that makes the stream if there is none."""
    return _stream_option(new_stream_name)(function)


def _stream_option(
    check: Callable[[click.Context, click.Parameter, str], str],
) -> Callable[[Function], Function]:
    return click.option(
        "-s",
        "--stream",
        metavar="NAME",
        default=DEFAULT_STREAM,
        show_default=True,
        callback=check,
        help="The stream.",
    )


def _stream_name(ctx: click.Context, param: click.Parameter, value: str) -> str:
    from stocklog.stream.arguments import check_stream_name

    return value if value == DEFAULT_STREAM else check_stream_name(value)


def new_stream_name(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Refuse a name that no stream can be made with, before a broker is asked or started.

    No virtual host's name is shorter than `/`. In one with a longer name fewer bytes are
    left for the stream's, which `StreamClient.create_stream` checks.
    """
    from stocklog.stream.arguments import check_new_stream_name

    return value if value == DEFAULT_STREAM else check_new_stream_name(value, "/")


def table_option(function: Function) -> Function:
    """Add `--format text|jsonl|csv` of a command that prints a table, as `table_format`."""
    option = click.option(
        "--format",
        "table_format",
        type=click.Choice(["text", "jsonl", "csv"]),
        default="text",
        show_default=True,
        help="How the table is printed.",
    )
    return option(function)


def envelope_options(function: Function) -> Function:
    """Add `--codec`, `--sub-batch` and `--name` of commands that publish."""
    for option in (
        click.option(
            "--name",
            metavar="NAME",
            help="Publish under this name, at most 255 bytes: the broker then drops what it "
            "has already got from that name. Its sub-batches are all full, so the last lines of "
            "a pipe wait for more; with --sub-batch 1 each goes out as it comes.",
        ),
        click.option(
            "--sub-batch",
            metavar="N",
            type=click.IntRange(1, 65_535),
            default=500,
            show_default=True,
            help="Updates in one entry; 1 is plain entries, which every client can read.",
        ),
        click.option(
            "--codec",
            type=click.Choice(CODECS),
            default="none",
            show_default=True,
            help="Compression of the entries. AMQP 0-9-1 readers cannot read compressed ones.",
        ),
    ):
        function = option(function)
    return function


def writable(
    path: Path | None, ctx: click.Context | None = None, param: click.Parameter | None = None
) -> Path | None:
    """Refuse a file that could not be written, before any work is done.

    Args:
        path: the file, which need not exist.
        ctx: for the error message.
        param: for the error message.

    Returns:
        The same path.

    Raises:
        click.BadParameter: its folder does not exist, or it or its folder is not writable.
    """
    if path is None:
        return None
    folder = path.parent
    if not folder.is_dir():
        problem = f"the folder {folder} does not exist"
    elif path.is_dir():
        problem = f"{path} is a folder"
    elif not os.access(path if path.exists() else folder, os.W_OK):
        problem = f"{path if path.exists() else folder} is not writable"
    else:
        return path
    raise click.BadParameter(problem, ctx, param)

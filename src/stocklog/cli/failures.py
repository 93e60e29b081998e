"""From an exception to a line on stderr and an exit status."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Sequence

import click

from stocklog._version import __version__
from stocklog.cli import logs
from stocklog.cli.report import complain
from stocklog.errors import StocklogError, UsageError

__all__ = [
    "COMPLETE_VARIABLE",
    "DONE",
    "FAILED",
    "GAP",
    "INTERRUPTED",
    "PROGRAM",
    "REJECTS",
    "USAGE",
    "VERIFY",
    "run",
    "silence_stdout",
]

PROGRAM = "stocklog"
COMPLETE_VARIABLE = "_STOCKLOG_COMPLETE"
"""Set by the script of `stocklog completion` when the shell asks for words."""

DONE = 0
FAILED = 1
USAGE = 2
REJECTS = 3
GAP = 4
VERIFY = 5
INTERRUPTED = 130


def run(command: click.Command, args: Sequence[str] | None) -> int:
    """Run a click command and turn whatever happens into an exit status.

    Args:
        command: the root command; its functions return a status, or `None` for 0.
        args: the command line's words; those of the process if `None`.

    Returns:
        The exit status.
    """
    words = sys.argv[1:] if args is None else list(args)
    try:
        return _run(command, words)
    finally:
        logs.choose("text")


def _run(command: click.Command, words: list[str]) -> int:
    try:
        status = _invoke(command, words)
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        if sys.stderr.isatty() and not logs.speaks_json():
            sys.stderr.write("\n")  # the terminal has written ^C there
        complain("interrupted", kind=None, event="interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        silence_stdout()
        return DONE
    except Exception as error:
        return _explain(error)
    return status if isinstance(status, int) else DONE


def _invoke(command: click.Command, words: list[str]) -> object:
    """What click's own `main` does, without its ideas about errors and broken pipes."""
    if instruction := os.environ.get(COMPLETE_VARIABLE):
        from click.shell_completion import shell_complete

        return shell_complete(command, {}, PROGRAM, COMPLETE_VARIABLE, instruction)
    try:
        with command.make_context(PROGRAM, words) as context:
            return command.invoke(context)
    except click.exceptions.Exit as end:  # --help and --version
        return end.exit_code


def silence_stdout() -> None:
    """Let what is still buffered for a closed stdout go nowhere.

    Without this Python would complain about the broken pipe once more at exit.
    """
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _explain(error: Exception) -> int:
    if os.environ.get("STOCKLOG_DEBUG", "0") not in {"", "0"}:
        traceback.print_exception(error)
    if isinstance(error, click.UsageError):
        complain(_sentence(error.format_message()), _where_help_is(error))
        return USAGE
    if isinstance(error, click.ClickException):
        complain(_sentence(error.format_message()))
        return error.exit_code
    if isinstance(error, StocklogError):
        complain(error.what, error.remedy, facts={"error": type(error).__name__})
        return USAGE if isinstance(error, UsageError) else FAILED
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        complain(f"{where}{error.strerror or error}")
        return FAILED
    if isinstance(error, MemoryError):
        complain("out of memory", "Close other programs, or give a smaller job.")
        return FAILED
    complain(
        f"unexpected {type(error).__name__}: {error}",
        f"This is a defect of stocklog {__version__}. {_keep_traceback(error)}",
    )
    return FAILED


def _sentence(text: str) -> str:
    """Click's messages begin with a capital and end with a full stop; ours do not."""
    text = text.rstrip().rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _where_help_is(error: click.UsageError) -> str:
    return f"See `{error.ctx.command_path} --help`." if error.ctx else ""


def _keep_traceback(error: Exception) -> str:
    from tempfile import NamedTemporaryFile

    try:
        with NamedTemporaryFile(
            "w", prefix="stocklog-error-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(f"stocklog {__version__}, Python {sys.version}, {sys.platform}\n")
            traceback.print_exception(error, file=file)
    except OSError:
        return "Run it again with STOCKLOG_DEBUG=1 and report what that shows."
    return f"Please report it with the traceback in {file.name}."

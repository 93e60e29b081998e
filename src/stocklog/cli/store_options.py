"""Options of the commands that ask a store, and how they print."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["moment_options", "store_option"]

Function = TypeVar("Function", bound=Callable[..., Any])


def store_option(function: Function) -> Function:
    """Add `--store`, by default the stream's own in the user's state directory."""
    option = click.option(
        "--store",
        metavar="URI",
        envvar="STOCKLOG_STORE",
        help="The store: sqlite:///file.db (relative), sqlite:////folder/file.db or "
        "postgresql://user@host/database?schema=NAME.  "
        "[default: the stream's own, in the state directory]",
    )
    return option(function)


def moment_options(function: Function) -> Function:
    """Add `--at` and `--as-known-at`."""
    for option in (
        click.option(
            "--as-known-at",
            metavar="OFFSET|TIME",
            help="Only what the log held then: up to an offset, or as the broker had it at a time.",
        ),
        click.option(
            "--at",
            metavar="TIME",
            help="As of when things happened, e.g. 2026-11-24T14:05Z, or 2h for two hours ago.",
        ),
    ):
        function = option(function)
    return function

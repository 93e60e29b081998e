"""The command line: parse, call one function of the floors below, print.

Importing this package, and answering `--help` and `--version`, loads click and
nothing of the columns: every command imports its work inside its function.
"""

from __future__ import annotations

from stocklog.cli.app import cli, main

__all__ = ["cli", "main"]

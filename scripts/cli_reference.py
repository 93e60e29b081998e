#!/usr/bin/env python3
"""Writes docs/cli.md out of the commands' own --help.

python scripts/cli_reference.py            write it
python scripts/cli_reference.py --check    exit 1 if it is not what --help says now
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from stocklog.cli import cli

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
WIDTH = 90
HEAD = """\
<!-- Written by scripts/cli_reference.py out of --help: change the help, not this page. -->

# The command line

"""


def walk(command: click.Command, parent: click.Context | None) -> Iterator[click.Context]:
    """Yields a context for a command and for each command below it, in the help's order."""
    name = command.name if parent else "stocklog"
    context = click.Context(command, parent, info_name=name, terminal_width=WIDTH, color=False)
    yield context
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None and not found.hidden:
                yield from walk(found, context)


def page() -> str:
    """Returns the whole page: a list of links, then each command's help as it is printed."""
    contexts = list(walk(cli, None))
    links = [f"- [`{one.command_path}`](#{one.command_path.replace(' ', '-')})" for one in contexts]
    parts = [
        f"## {one.command_path}\n\n```text\n{one.command.get_help(one).rstrip()}\n```\n"
        for one in contexts
    ]
    return HEAD + "\n".join(links) + "\n\n" + "\n".join(parts)


def main(arguments: list[str]) -> int:
    """Does what the arguments say; returns the exit status."""
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    wanted = page()
    if not arguments:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    kept = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if kept == wanted:
        return 0
    changes = difflib.unified_diff(kept.splitlines(), wanted.splitlines(), "docs/cli.md", "--help")
    print("\n".join(list(changes)[:40]), file=sys.stderr)
    print("docs/cli.md is stale. Run: python scripts/cli_reference.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

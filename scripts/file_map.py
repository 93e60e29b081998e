#!/usr/bin/env python3
"""Writes the file map of docs/internals.md out of the modules' first sentences.

python scripts/file_map.py            write it
python scripts/file_map.py --check    exit 1 if it is not what the modules say now
"""

from __future__ import annotations

import ast
import sys
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "stocklog"
PAGE = ROOT / "docs" / "internals.md"
BEGIN = (
    "<!-- Below: written by scripts/file_map.py; change the module's first sentence instead. -->"
)
END = "<!-- End of the file map. -->"


def sentence(path: Path) -> str:
    """Returns the first sentence of a module, as the map shows it."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not docstring:
        sys.exit(f"file_map.py: {path.relative_to(ROOT)} has no docstring: say what lives there")
    first = " ".join(docstring.split("\n\n")[0].split())
    return first.replace("``", "`").replace("|", "\\|")


def file_map() -> str:
    """Returns one table a folder, one row a module."""
    modules = sorted(PACKAGE.rglob("*.py"), key=lambda path: (str(path.parent), path.name))
    parts = []
    for folder, paths in groupby(modules, key=lambda path: path.parent):
        rows = [f"| `{path.name}` | {sentence(path)} |" for path in paths]
        name = f"src/{folder.relative_to(PACKAGE.parent)}"
        parts.append(
            "\n".join([f"### {name}", "", "| file | what lives there |", "|---|---|", *rows])
        )
    return "\n\n".join(parts)


def main(arguments: list[str]) -> int:
    """Does what the arguments say; returns the exit status."""
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    kept = PAGE.read_text(encoding="utf-8")
    head, begin, rest = kept.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        sys.exit(f"file_map.py: {PAGE.name} lacks the lines between which the map stands")
    wanted = f"{head}{BEGIN}\n\n{file_map()}\n\n{END}{tail}"
    if not arguments:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    if kept == wanted:
        return 0
    print("docs/internals.md is stale. Run: python scripts/file_map.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Small tables on stdout: aligned text, JSON Lines, or CSV."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["print_facts", "print_table"]


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], form: str) -> None:
    """Print one line a row.

    Args:
        rows: the rows; a value of `None` is unknown: `unknown` in text, null in JSON Lines,
            empty in CSV.
        columns: the columns, in their order.
        form: `text`, `jsonl` or `csv`.
    """
    if form == "jsonl":
        for row in rows:
            sys.stdout.write(json.dumps({c: row.get(c) for c in columns}, default=str) + "\n")
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([row.get(column) for column in columns] for row in rows)
    else:
        _print_aligned([[_text(row.get(column)) for column in columns] for row in rows], columns)
    sys.stdout.flush()


def print_facts(facts: Mapping[str, Any], form: str) -> None:
    """Print what is known about one thing: a line a fact in text, else a table of one row.

    Args:
        facts: name -> value, in their order.
        form: `text`, `jsonl` or `csv`.
    """
    if form != "text":
        print_table([facts], list(facts), form)
        return
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        sys.stdout.write(f"{name.replace('_', ' '):<{width}}  {_text(value)}\n")
    sys.stdout.flush()


def _print_aligned(cells: list[list[str]], columns: Sequence[str]) -> None:
    heads = [column.replace("_", " ") for column in columns]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for line in (heads, *cells):
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def _text(value: object) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)

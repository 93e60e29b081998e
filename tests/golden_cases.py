"""Reads the table of golden cases out of docs/ledger.md.

A line of the log is `13:10 -3` (an adjustment), `13:30 =95` (a count), `13:40 >2` (a
transfer to the other place), `13:50 r+2` (a reservation); `#x` behind it is its id. Results
are on hand and, behind a bar, reserved: `93`, `7|2`; of the other place after `other`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent.parent / "docs" / "ledger.md"
HERE, OTHER = ("SKU", "shop"), ("SKU", "other")
_LINE = re.compile(r"(\d\d:\d\d) (r?[-+]|=|>)(\d+)(?: #(\w+))?")


@dataclass(frozen=True)
class Case:
    """A golden case: the log, the stock after it, and the stock at earlier moments."""

    name: str
    log: list[dict[str, Any]]
    stock: dict[tuple[str, str], tuple[int, int]]
    then: dict[int, dict[tuple[str, str], tuple[int, int]]]


def micros(text: str) -> int:
    """A time of the day of the cases, in microseconds since 1970."""
    moment = datetime.fromisoformat(f"2026-11-24T{text}").replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000


def cases() -> list[Case]:
    """Every row of the table, which begins with the column `golden case`."""
    table = PAGE.read_text(encoding="utf-8").split("| golden case |")[1].splitlines()[2:]
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        for line in takewhile(lambda line: line.startswith("|"), table)
    ]
    return [_case(*row) for row in rows]


def _case(name: str, log: str, stock: str, then: str) -> Case:
    updates = []
    for offset, line in enumerate(re.findall(r"`([^`]+)`", log)):
        found = _LINE.fullmatch(line)
        assert found, line
        moment, verb, number, name_of = found.groups()
        updates.append(_update(offset, micros(moment), verb, int(number), name_of))
    moments = {
        micros(moment): _stock(text)
        for moment, text in re.findall(r"at (\d\d:\d\d): `([^`]+)`", then)
    }
    return Case(name, updates, _stock(stock.strip("`")), moments)


def _update(offset: int, moment: int, verb: str, number: int, name: str | None) -> dict[str, Any]:
    kind = {"=": "count", ">": "transfer"}.get(verb, "reservation" if "r" in verb else "adjustment")
    update = {
        "offset": offset,
        "update_id": name or f"line-{offset}",
        "type": kind,
        "sku": HERE[0],
        "location_id": HERE[1],
        "quantity": -number if "-" in verb else number,
        "occurred_at": moment,
        "reason": "other",
        "source": "till",
    }
    return {**update, "to_location_id": OTHER[1]} if verb == ">" else update


def _stock(text: str) -> dict[tuple[str, str], tuple[int, int]]:
    found = {}
    for part, key in zip(text.split(" other "), (HERE, OTHER), strict=False):
        on_hand, _, reserved = part.partition("¦")
        found[key] = (int(on_hand), int(reserved or 0))
    return found

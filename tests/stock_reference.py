"""What stock is, said as plainly as can be: dictionaries and loops, nothing of stocklog's.

An update here is a dictionary with `offset`, `update_id`, `source`, `type`, `sku`,
`location_id`, `quantity`, `occurred_at` (microseconds, any integer) and, for transfers,
`to_location_id`. A key is (sku, location).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Update = dict[str, Any]
Key = tuple[str, str]


def applied(log: Iterable[Update]) -> list[Update]:
    """The updates that count: of those with one source and id only the first in the log."""
    seen = set()
    kept = []
    for update in sorted(log, key=lambda one: one["offset"]):
        name = (update["source"], update["update_id"])
        if name not in seen:
            seen.add(name)
            kept.append(update)
    return kept


def effects(update: Update) -> list[tuple[Key, str, int]]:
    """What an update does: to which key, whether it adds, sets or reserves, and how much."""
    here = (update["sku"], update["location_id"])
    if update["type"] == "transfer":
        there = (update["sku"], update["to_location_id"])
        return [(here, "add", -update["quantity"]), (there, "add", update["quantity"])]
    verb = {"adjustment": "add", "count": "set", "reservation": "reserve"}[update["type"]]
    return [(here, verb, update["quantity"])]


def ledger(
    log: Iterable[Update], at: int | None = None, known: int | None = None
) -> dict[Key, list[tuple[Update, str, int, int, int]]]:
    """For each key its updates in event order, with verb, quantity, on hand, reserved after.

    `at`: only what happened at that time or before; `known`: only offsets up to this one.
    """
    by_key: dict[Key, list[tuple[int, int, Update, str, int]]] = {}
    for update in applied(log):
        if known is not None and update["offset"] > known:
            continue
        if at is not None and update["occurred_at"] > at:
            continue
        for key, verb, quantity in effects(update):
            entry = (update["occurred_at"], update["offset"], update, verb, quantity)
            by_key.setdefault(key, []).append(entry)
    result = {}
    for key, entries in by_key.items():
        on_hand = reserved = 0
        lines = []
        for _, _, update, verb, quantity in sorted(entries, key=lambda entry: entry[:2]):
            if verb == "add":
                on_hand += quantity
            elif verb == "set":
                on_hand = quantity
            else:
                reserved += quantity
            lines.append((update, verb, quantity, on_hand, reserved))
        result[key] = lines
    return result


def stock(
    log: Iterable[Update], at: int | None = None, known: int | None = None
) -> dict[Key, tuple[int, int]]:
    """On hand and reserved of each key that has any update by then."""
    lines = ledger(log, at, known)
    return {key: (of_key[-1][3], of_key[-1][4]) for key, of_key in lines.items()}

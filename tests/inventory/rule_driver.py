"""Runs the vectorised rule over updates given as dictionaries, with a history of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from stocklog.inventory import legs as kinds
from stocklog.inventory.balances import Balances
from stocklog.inventory.legs import Legs, is_delta


class Driver:
    """Gives out keys, keeps all legs, and applies batches."""

    def __init__(self) -> None:
        self.keys: dict[tuple[str, str], int] = {}
        self.balances = Balances()
        self.history = Legs.none()
        self.looks = 0

    def legs(self, updates: list[dict[str, Any]]) -> Legs:
        rows = []
        for one in updates:
            places = [(one["location_id"], _kind(one["type"]), one["quantity"])]
            if one["type"] == "transfer":
                places = [
                    (one["location_id"], kinds.OUT, -one["quantity"]),
                    (one["to_location_id"], kinds.IN, one["quantity"]),
                ]
            for place, kind, value in places:
                key = self.keys.setdefault((one["sku"], place), len(self.keys))
                rows.append((key, one["occurred_at"], one["offset"], kind, value, 0, 0))
        columns = list(zip(*rows, strict=True)) or [()] * 7
        types = [np.int64] * 3 + [np.uint8, np.int64, np.uint8, np.int64]
        return Legs(*(np.array(c, t) for c, t in zip(columns, types, strict=True)))

    def take(self, updates: list[dict[str, Any]]) -> list[int]:
        legs = self.legs(updates)
        self.balances.grow(len(self.keys))
        changed = self.balances.apply(legs, self._deltas_after)
        self.history = Legs.joined([self.history, legs])
        return changed.tolist()

    def _deltas_after(self, keys: Any, times: Any) -> Any:
        self.looks += len(keys)
        sums = []
        for key, time in zip(keys, times, strict=True):
            h = self.history
            sums.append(h.values[(h.keys == key) & is_delta(h.kinds) & (h.times > time)].sum())
        return np.array(sums, np.int64)

    def stock(self) -> dict[tuple[str, str], tuple[int, int]]:
        b = self.balances
        return {key: (int(b.on_hand[n]), int(b.reserved[n])) for key, n in self.keys.items()}


def _kind(name: str) -> int:
    return kinds.KINDS.index(name) if name != "transfer" else kinds.OUT

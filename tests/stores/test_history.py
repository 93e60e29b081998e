"""Looking into the history of a store: blocks in their order, sums of what happened later."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from examples import examples
from stock_histories import START, logs, moments
from stocklog.stores import packing, segments
from stocklog.stores.history import deltas_after
from stocklog.stores.segments import Block
from stocklog.stores.uri import open_store
from store_driver import project

Stores = Callable[[], AbstractContextManager[str]]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "BLOCK", 3)


def sums_of(log: list[dict[str, Any]], time: int) -> dict[tuple[str, str], int]:
    """What was added to each key later than a time; the first of the same ids counts."""
    sums: dict[tuple[str, str], int] = {}
    seen = set()
    for one in log:
        if (one["source"], one["update_id"]) in seen:
            continue
        seen.add((one["source"], one["update_id"]))
        added = {"adjustment": 1, "transfer": -1}.get(one["type"], 0) * one["quantity"]
        later = one["occurred_at"] > time
        key = one["sku"], one["location_id"]
        sums[key] = sums.get(key, 0) + added * later
        if one["type"] == "transfer":
            key = one["sku"], one["to_location_id"]
            sums[key] = sums.get(key, 0) + one["quantity"] * later
    return sums


@settings(
    max_examples=examples(30),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(logs().filter(bool), st.integers(1, 25), moments(), moments())
@pytest.mark.usefixtures("small_blocks")
def test_what_happened_later_is_summed_for_each_key_by_its_own_time(
    stores: Stores, log: list[dict[str, Any]], size: int, one_time: int, other_time: int
) -> None:
    with stores() as uri:
        project(uri, log, size)
        store = open_store(uri, "s")
        try:
            names = store.names()
            count = len(names.key_skus)
            keys = np.arange(count)[::-1]
            times = np.where(keys % 2, one_time, other_time)
            found = deltas_after(store, store.segments(), count, keys, times)
        finally:
            store.close()
    for key, time, total in zip(keys, times, found, strict=True):
        place = names.skus[int(names.key_skus[key])], names.locations[int(names.key_locations[key])]
        assert sums_of(log, time)[place] == total


@pytest.mark.usefixtures("small_blocks")
def test_blocks_come_as_they_were_written_also_those_of_one_key(store: str) -> None:
    log = [
        {
            "offset": n, "update_id": f"u{n}", "type": "adjustment", "sku": "ABC"[n % 5 // 2],
            "location_id": "here", "quantity": n, "occurred_at": START - n * 7 % 11,
            "reason": "other", "source": "till",
        }
        for n in range(60)
    ]  # fmt: skip
    project(store, log)
    opened = open_store(store, "s")
    try:
        (info,) = opened.segments()
        legs = [
            leg
            for block in opened.blocks(info.id)
            for leg in zip(block.keys, block.times, block.offsets, strict=True)
        ]
        of_second = [block.keys for block in opened.blocks(info.id, (1, 1))]
        packed = [(block.first_key, block.last_key) for block in opened.packed(info.id, (1, 1))]
    finally:
        opened.close()
    assert len(legs) == 60
    assert legs == sorted(legs)
    assert all((keys == 1).any() for keys in of_second)
    assert sum(int((keys == 1).sum()) for keys in of_second) == 24
    assert packed == [(keys[0], keys[-1]) for keys in of_second]


def test_a_block_gives_its_columns_one_by_one() -> None:
    log = np.array([5, 3, 9])
    block = Block(0, 2, 3, packing.pack_many([log, log + 1, log + 2]), b"")
    assert [packing.least(part) for part in block.places_of()] == [3, 4, 5]
    assert [packing.unpack(part).tolist() for part in block.places_of()] == [
        [5, 3, 9],
        [6, 4, 10],
        [7, 5, 11],
    ]

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
from stocklog.errors import StoreError
from stocklog.inventory.legs import ADJUSTMENT, COUNT, IN, OUT, RESERVATION, Legs
from stocklog.stores import history, packing, segments, sums
from stocklog.stores.history import deltas_after
from stocklog.stores.segments import Block
from stocklog.stores.sums import Sums
from stocklog.stores.uri import open_store
from store_driver import project

Stores = Callable[[], AbstractContextManager[str]]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "BLOCK", 3)
    monkeypatch.setattr(sums, "_EARLY", 3)


@pytest.fixture(params=["sums", "blocks", "either"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"sums": 0.0, "blocks": 1e9, "either": history._FEW_BLOCKS}
    monkeypatch.setattr(history, "_FEW_BLOCKS", few[request.param])


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
@pytest.mark.usefixtures("small_blocks", "way")
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


def assert_same_legs(left: Legs, right: Legs) -> None:
    for name in ("keys", "times", "offsets", "kinds", "values", "reasons", "sources"):
        assert getattr(left, name).tolist() == getattr(right, name).tolist()
        assert getattr(left, name).dtype == getattr(right, name).dtype


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
        packed = list(opened.packed(info.id, (1, 1)))
        of_key = list(opened.packed_of_key([info.id, info.id + 1], 1))
        none = list(opened.packed_of_key([], 1))
    finally:
        opened.close()
    assert len(legs) == 60
    assert legs == sorted(legs)
    of_second = [block.unpack() for block in packed]
    assert sum(int((block.keys == 1).sum()) for block in of_second) == 24
    assert all((block.keys == 1).any() for block in of_second)
    assert [(b.first_key, b.last_key) for b in packed] == [
        (block.keys[0], block.keys[-1]) for block in of_second
    ]
    assert sorted(block.places for block in of_key) == sorted(block.places for block in packed)
    assert not none
    for block, whole in zip(packed, of_second, strict=True):
        rows = whole.keys == 1
        assert_same_legs(block.unpack_key(1), whole[rows])
        assert len(block.unpack_key(9)) == 0


def test_a_block_gives_its_columns_one_by_one() -> None:
    log = np.array([5, 3, 9])
    block = Block(0, 2, 3, packing.pack_many([log, log + 1, log + 2]), b"")
    assert [packing.unpack(part).tolist() for part in block.places_of()] == [
        [5, 3, 9],
        [6, 4, 10],
        [7, 5, 11],
    ]


# -- what a segment's deltas come to ------------------------------------------------------------


def legs_of(rows: list[tuple[int, int, int, int]]) -> Legs:
    """Legs of keys, times, kinds and values, in event order."""
    keys, times, kinds, values = (np.array([row[at] for row in rows], np.int64) for at in range(4))
    nothing = np.zeros(len(rows), np.uint8)
    offsets = np.arange(len(rows))
    legs = Legs(
        keys, times, offsets, kinds.astype(np.uint8), values, nothing, nothing.astype(np.int64)
    )
    return legs.in_event_order


kinds = st.sampled_from([ADJUSTMENT, COUNT, OUT, IN, RESERVATION])
rows = st.tuples(st.integers(0, 4), st.integers(0, 30), kinds, st.integers(-(2**63), 2**63 - 1))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rows, max_size=40), st.lists(st.integers(-1, 31), min_size=5, max_size=5))
@pytest.mark.usefixtures("small_blocks")
def test_sums_tell_what_came_after_any_moment_before_their_own(
    rows: list[tuple[int, int, int, int]], moments: list[int]
) -> None:
    legs = legs_of(rows)
    before = Sums.of(legs)
    of_segment = Sums.unpack(before.since, *before.pack())
    found = np.zeros(5, np.int64)
    of_segment.add_after(np.array(moments), found)
    again = np.zeros(5, np.int64)
    of_segment.add_after(np.array(moments), again, max(moments))
    assert again.tolist() == found.tolist()
    for key, moment in enumerate(moments):
        later = sum(
            value
            for its, time, kind, value in rows
            if its == key and kind in (ADJUSTMENT, OUT, IN) and time > moment
        )
        told = later if moment < of_segment.since else 0
        assert (int(found[key]) - told) % (1 << 64) == 0


def test_sums_are_for_all_moments_before_the_first_of_64_parts_of_the_deltas() -> None:
    rows = [(n % 7, n, ADJUSTMENT, 1) for n in range(6400)]
    found = Sums.of(legs_of(rows))
    assert found.since == 100
    assert sorted(found.early_times) == list(range(100))
    assert found.totals.sum() == 6400


def test_keys_that_are_not_wanted_do_not_change_what_the_others_get() -> None:
    found = Sums.of(legs_of([(key, 10 + n, ADJUSTMENT, 1) for n in range(64) for key in (0, 1)]))
    sums = np.zeros(2, np.int64)
    found.add_after(np.array([5, np.iinfo(np.int64).max]), sums, 5)
    assert sums[0] == 64


def test_a_segment_without_deltas_has_nothing_to_add_whatever_is_asked() -> None:
    found = Sums.of(legs_of([(0, 5, COUNT, 9), (1, 6, RESERVATION, 2)]))
    sums = np.zeros(2, np.int64)
    Sums.unpack(found.since, *found.pack()).add_after(np.array([0, 10]), sums)
    assert sums.tolist() == [0, 0]
    assert found.since > 10


def test_damaged_sums_are_a_store_error() -> None:
    totals, early = Sums.of(legs_of([(0, 5, ADJUSTMENT, 9), (3, 6, OUT, -2)])).pack()
    with pytest.raises(StoreError, match="damaged"):
        Sums.unpack(0, totals[:-1], early)

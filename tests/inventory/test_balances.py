"""The rule, held against plain dictionaries over random histories."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_driver import Driver

import stock_reference
from examples import examples
from stock_histories import logs
from stocklog.inventory.balances import NEVER, Balances, last_of_each, running
from stocklog.inventory.legs import Legs, event_order


@settings(max_examples=examples(300), deadline=None)
@given(logs(), st.integers(1, 20))
def test_stock_is_that_of_the_reference_however_the_log_is_cut(
    log: list[dict[str, Any]], size: int
) -> None:
    driver = Driver()
    updates = stock_reference.applied(log)
    for first in range(0, len(updates), size):
        driver.take(updates[first : first + size])
    assert driver.stock() == stock_reference.stock(log)


@settings(max_examples=examples(200), deadline=None)
@given(logs())
def test_running_balances_are_those_of_the_reference_line_by_line(
    log: list[dict[str, Any]],
) -> None:
    driver = Driver()
    lines = running(driver.legs(stock_reference.applied(log)))
    names = {number: key for key, number in driver.keys.items()}
    found: dict[Any, list[Any]] = {}
    for row, key in enumerate(lines.legs.keys.tolist()):
        line = (lines.legs.offsets[row], lines.on_hand[row], lines.reserved[row])
        found.setdefault(names[key], []).append(line)
    wanted = {
        key: [(update["offset"], on_hand, held) for update, _, _, on_hand, held in of_key]
        for key, of_key in stock_reference.ledger(log).items()
    }
    assert found == wanted
    same = lines.legs.keys[1:] == lines.legs.keys[:-1]
    assert (lines.before[1:][same] == lines.on_hand[:-1][same]).all()


def test_the_past_is_looked_at_only_for_counts_that_come_behind_newer_deltas() -> None:
    driver = Driver()
    base = {"type": "adjustment", "sku": "A", "location_id": "here", "quantity": 1}
    updates = [{**base, "offset": n, "occurred_at": n} for n in range(50)]
    updates += [{**base, "type": "count", "offset": 50, "occurred_at": 60}]
    for update in updates:
        driver.take([update])
    assert driver.looks == 0
    driver.take([{**base, "offset": 51, "occurred_at": 70}])
    driver.take([{**base, "type": "count", "quantity": 9, "offset": 52, "occurred_at": 65}])
    assert driver.looks == 1
    assert driver.stock() == {("A", "here"): (10, 0)}


def test_only_keys_that_were_touched_are_said_to_have_changed() -> None:
    driver = Driver()
    base = {"type": "adjustment", "sku": "A", "quantity": 1, "occurred_at": 0}
    driver.take([{**base, "offset": n, "location_id": f"L{n}"} for n in range(5)])
    assert driver.take([{**base, "offset": 9, "location_id": "L3"}]) == [3]


def test_a_sum_that_leaves_int64_and_comes_back_is_right() -> None:
    driver = Driver()
    base = {"type": "adjustment", "sku": "A", "location_id": "here", "occurred_at": 0}
    big = 2**63 - 1
    for offset, quantity in enumerate([big, 5, -big]):
        driver.take([{**base, "offset": offset, "quantity": quantity}])
    assert driver.stock() == {("A", "here"): (5, 0)}


def test_new_keys_begin_empty_and_old_ones_keep_what_they_have() -> None:
    balances = Balances(2)
    balances.on_hand[1] = 7
    balances.grow(5000)
    assert len(balances) == 5000
    assert balances.on_hand[1] == 7
    assert balances.on_hand[2:5000].sum() == 0
    assert (balances.count_time[:5000] == NEVER).all()


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.one_of(st.integers(-9, 9), st.integers(-(2**62), 2**62))),
        max_size=40,
    ),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_event_order_is_by_key_then_time_then_offset(
    rows: list[tuple[int, int]], random: Any, in_log_order: bool
) -> None:
    offsets = list(range(len(rows)))
    if not in_log_order:
        random.shuffle(offsets)
    keys, times = (np.array([row[n] for row in rows], np.int64) for n in (0, 1))
    order = event_order(keys, times, np.array(offsets, np.int64)).tolist()
    wanted = sorted(range(len(rows)), key=lambda n: (rows[n][0], rows[n][1], offsets[n]))
    assert order == wanted


@pytest.mark.parametrize("last", [(2, 8, 4), (2, 7, 4), (2, 7, 2), (0, 9, 9), (2, 6, 9)])
def test_rows_in_order_stay_and_one_out_of_order_is_seen(last: tuple[int, int, int]) -> None:
    rows = [(0, 9, 1), (1, 5, 2), (2, 7, 3), last]
    keys, times, offsets = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    wanted = sorted(range(len(rows)), key=rows.__getitem__)
    assert event_order(keys, times, offsets).tolist() == wanted


def test_keys_too_large_to_be_packed_are_ordered_all_the_same() -> None:
    keys = np.array([2**61, 3, 2**61], np.int64)
    times = np.array([5, 9, 4], np.int64)
    assert event_order(keys, times, np.arange(3)).tolist() == [1, 2, 0]


@pytest.mark.parametrize("size", [0, 1])
def test_nothing_and_a_single_leg_are_histories_too(size: int) -> None:
    legs = Driver().legs([])
    if size:
        legs = Driver().legs(
            [{"type": "count", "sku": "A", "location_id": "h", "quantity": 4, "occurred_at": 1,
              "offset": 0}]
        )  # fmt: skip
    assert running(legs).on_hand.tolist() == [4] * size
    assert len(last_of_each(legs.keys, legs.times, legs.offsets)) == size
    assert len(Legs.none()) == 0

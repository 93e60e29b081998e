"""Files of counts that happened long before they came, and keys that share a row of a store."""

from __future__ import annotations

from typing import Any

import pytest

import stock_reference
from stock_histories import START
from stocklog.ledger.questions import open_ledger
from stocklog.stores import history
from stocklog.stores.uri import open_store
from store_driver import project, stock_of

KEYS, UPDATES = 70, 900
MIDDLE = START + UPDATES // 2


def update(offset: int, key: int, kind: str, time: int, quantity: int) -> dict[str, Any]:
    return {
        "offset": offset, "update_id": f"u{offset}", "type": kind, "sku": f"SKU-{key % 35:02}",
        "location_id": f"shop-{key // 35}", "quantity": quantity, "occurred_at": time,
        "reason": "other", "source": "till",
        **({"to_location_id": f"shop-{1 - key // 35}"} if kind == "transfer" else {}),
    }  # fmt: skip


def past() -> list[dict[str, Any]]:
    """Sales, transfers, reservations and counts in their order, some of them late."""
    kinds = ["adjustment"] * 6 + ["transfer", "reservation", "count"]
    times = [START + n - n % 50 * (n % 17 == 3) for n in range(UPDATES)]
    return [
        update(n, n * 11 % KEYS, kinds[n % len(kinds)], times[n], 1 + n % 9) for n in range(UPDATES)
    ]


@pytest.fixture(params=["sums", "blocks", "either"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"sums": 0.0, "blocks": 1e9, "either": history._FEW_BLOCKS}
    monkeypatch.setattr(history, "_FEW_BLOCKS", few[request.param])


# Times of the counts of a key, from the middle on.
FILES = {
    "one of each key": lambda key: [0],
    "one of a few keys": lambda key: [key] if key % 30 == 5 else [],
    "older than all there is": lambda key: [-2 * UPDATES],
    "newer than all there is": lambda key: [2 * UPDATES],
    "several of each key, not in their order": lambda key: [300, -400, 440, 7 * key - 200, 300],
}


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("size", [25, 1000])
@pytest.mark.parametrize("times", FILES.values(), ids=FILES)
def test_a_file_of_late_counts_is_right_and_what_comes_after_it_too(
    store: str, times: Any, size: int
) -> None:
    log = past()
    project(store, log, size)
    counts = [(key, MIDDLE + time) for key in range(KEYS) for time in times(key)]
    for key, time in counts:
        log.append(update(len(log), key, "count", time, 100 + len(log) % 23))
    project(store, log[UPDATES:])
    assert stock_of(store) == stock_reference.stock(log)
    counted = len(log)
    log += [update(counted + n, n, "transfer", MIDDLE + 200 + n, 3) for n in range(KEYS)]
    project(store, log[counted:])
    assert stock_of(store) == stock_reference.stock(log)


@pytest.mark.parametrize("first", [1, 31, 32, 33, 64, 69])
def test_keys_come_and_change_in_any_pieces_of_the_rows_that_they_share(
    store: str, first: int
) -> None:
    log = [update(n, n, "count", START + n, n) for n in range(KEYS)]
    log += [update(KEYS + n, n * 7 % KEYS, "adjustment", START + KEYS, -n) for n in range(40)]
    for part in (log[:first], log[first : first + 1], log[first + 1 :]):
        project(store, part, 13)
    assert stock_of(store) == stock_reference.stock(log)
    opened = open_store(store, "s")
    try:
        every = opened.balances()
        assert every.shape == (5, KEYS)
        for key in range(KEYS):
            assert opened.balances(key).tolist() == every[:, key : key + 1].tolist()
        assert opened.balances(KEYS).shape == (5, 0)
        assert opened.stock().tolist() == every[:2].tolist()
    finally:
        opened.close()
    with open_ledger(store) as ledger:
        assert ledger.stock().height == KEYS

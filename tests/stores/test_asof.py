"""Stock at any moment, by event time and by what was known, held against the reference."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stock_reference
from examples import examples
from golden_cases import HERE, OTHER, Case, cases
from stock_histories import START, logs, moments
from stocklog.errors import StoreError, UsageError
from stocklog.ledger.questions import open_ledger
from stocklog.stores import asof
from store_driver import moment, project

Stores = Callable[[], AbstractContextManager[str]]


def rows_of(frame: Any) -> dict[tuple[str, str], tuple[int, int]]:
    assert (frame["available"] == frame["on_hand"] - frame["reserved"]).all()
    return {
        (row["sku"], row["location_id"]): (row["on_hand"], row["reserved"])
        for row in frame.to_dicts()
    }


@settings(max_examples=examples(30), deadline=None)
@given(logs().filter(bool), st.integers(1, 25), moments(), st.data())
def test_every_answer_is_that_of_the_reference(
    stores: Stores, log: list[dict[str, Any]], size: int, at: int, data: st.DataObject
) -> None:
    # What lay before the first message may have been cut: asking for it is refused.
    known = data.draw(st.integers(log[0]["offset"], log[-1]["offset"]))
    with stores() as store, pytest.MonkeyPatch.context() as patch:
        # However few legs of a block are wanted: all are unpacked, or those alone.
        patch.setattr(asof, "_SPARSE", data.draw(st.sampled_from([0, 4])))
        project(store, log, size)
        with open_ledger(store) as ledger:
            for when, then in ((None, None), (at, None), (None, known), (at, known)):
                asked = {
                    "at": None if when is None else moment(when),
                    "as_known_at": then,
                }
                wanted = stock_reference.stock(log, when, then)
                assert rows_of(ledger.stock(**asked)) == wanted
                for sku, place in wanted:
                    one = rows_of(ledger.stock(sku=sku, location=place, **asked))
                    assert one == {(sku, place): wanted[sku, place]}
                for sku in {key[0] for key in wanted}:
                    of_sku = rows_of(ledger.stock(sku=sku, **asked))
                    assert of_sku == {key: wanted[key] for key in wanted if key[0] == sku}


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_golden_case_is_right_in_a_store_now_and_then(case: Case, store: str) -> None:
    project(store, case.log, 2)
    with open_ledger(store) as ledger:
        asked = [(None, case.stock), *((moment(when), then) for when, then in case.then.items())]
        for at, wanted in asked:
            found = rows_of(ledger.stock(at=at))
            assert {key: found.get(key, (0, 0)) for key in (HERE, OTHER) if key in wanted} == wanted


def update(offset: int, **others: Any) -> dict[str, Any]:
    return {
        "offset": offset, "update_id": f"u{offset}", "type": "adjustment", "sku": "A",
        "location_id": "here", "quantity": 1, "occurred_at": START, "reason": "other",
        "source": "till", **others,
    }  # fmt: skip


def test_a_time_of_the_brokers_clock_is_the_last_offset_it_had_written_by_then(
    store: str,
) -> None:
    log = [update(n, recorded_at=1_790_000_000_000 + n // 2 * 1000) for n in range(8)]
    project(store, log, 3)
    with open_ledger(store) as ledger:
        for milliseconds, wanted in ((0, 2), (999, 2), (1000, 4), (2500, 6), (9999, 8)):
            when = moment((1_790_000_000_000 + milliseconds) * 1000)
            assert ledger.stock(as_known_at=when)["on_hand"].to_list() == [wanted]
        before = moment(1_789_999_999_999_000)
        assert ledger.stock(as_known_at=before).is_empty()


def test_what_retention_cut_before_the_store_began_is_refused_with_the_reason(
    store: str,
) -> None:
    log = [update(n, recorded_at=1_790_000_000_000 + n) for n in range(5000, 5003)]
    project(store, log)
    with open_ledger(store) as ledger:
        with pytest.raises(StoreError, match="begins with offset 5000"):
            ledger.stock(as_known_at=4999)
        with pytest.raises(StoreError, match="cut by retention"):
            ledger.stock(at=moment(1_790_000_004_999_000))
        with pytest.raises(StoreError, match="cut by retention"):
            ledger.stock(as_known_at=moment(1_790_000_004_999_000))
        assert ledger.stock(at=moment(1_790_000_005_000_000))["on_hand"].to_list() == [3]


def test_what_the_store_does_not_know_yet_is_refused_and_not_guessed(store: str) -> None:
    project(store, [update(0)])
    with (
        open_ledger(store) as ledger,
        pytest.raises(StoreError, match="stands at offset 0"),
    ):
        ledger.stock(as_known_at=1)


@pytest.mark.parametrize("asked", [{"at": "yesterday"}, {"at": "12"}, {"at": "2026-01-01T00:00"},
                                   {"as_known_at": "next"}, {"as_known_at": "1..2"},
                                   {"as_known_at": "last"}])  # fmt: skip
def test_a_moment_that_cannot_be_meant_is_wrong_usage(asked: dict[str, Any], store: str) -> None:
    project(store, [update(0)])
    with open_ledger(store) as ledger, pytest.raises(UsageError):
        ledger.stock(**asked)


def test_a_key_that_is_not_there_has_no_row(store: str) -> None:
    project(store, [update(0)])
    with open_ledger(store) as ledger:
        for sku, place in (("A", "there"), ("B", "here")):
            assert ledger.stock(sku=sku, location=place).is_empty()
            assert ledger.stock(sku=sku, location=place, at=moment(START)).is_empty()
        assert ledger.stock(location="there").is_empty()

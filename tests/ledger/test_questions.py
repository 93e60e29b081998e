"""Why, what changed, what is out of the ordinary: held against the plain reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stock_reference
from examples import examples
from stock_histories import HOUR, START, logs, moments
from stocklog.errors import StoreError, UsageError
from stocklog.ledger.export import write_export
from stocklog.ledger.flagged import FLAGS_SCHEMA
from stocklog.ledger.questions import DIFF_SCHEMA, STOCK_SCHEMA, Ledger, check_key, open_ledger
from stocklog.ledger.why import WHY_SCHEMA
from stocklog.stores.uri import open_store
from store_driver import moment, project

Make = Callable[..., Ledger]
Stores = Callable[[], AbstractContextManager[str]]


@pytest.fixture
def ledger_of(store: str) -> Iterator[Make]:
    opened: list[Ledger] = []

    def make(log: list[dict[str, Any]], size: int = 3) -> Ledger:
        project(store, log, size)
        opened.append(open_ledger(store))
        return opened[-1]

    yield make
    for ledger in opened:
        ledger.close()


def update(offset: int, **others: Any) -> dict[str, Any]:
    return {
        "offset": offset, "update_id": f"u{offset}", "type": "adjustment", "sku": "A",
        "location_id": "here", "quantity": 1, "occurred_at": START + offset * HOUR,
        "reason": "sale", "source": "till", **others,
    }  # fmt: skip


@settings(max_examples=examples(30), deadline=None)
@given(logs().filter(bool), st.integers(1, 25), moments(), moments())
def test_why_is_the_ledger_of_the_reference_line_by_line(
    stores: Stores, log: list[dict[str, Any]], size: int, first: int, last: int
) -> None:
    with stores() as store:
        project(store, log, size)
        with open_ledger(store) as ledger:
            for key, lines in stock_reference.ledger(log, at=last).items():
                found = ledger.why(*key, start=moment(first), end=moment(last))
                assert dict(found.schema) == WHY_SCHEMA
                rows = found.select(
                    "offset", "on_hand", "reserved", "update_id", "source", "occurred_at"
                ).rows()
                assert rows == [
                    (one["offset"], on_hand, held, one["update_id"], one["source"],
                     moment(one["occurred_at"]))
                    for one, _, _, on_hand, held in lines
                    if one["occurred_at"] >= first
                ]  # fmt: skip


def test_why_says_what_a_count_corrected_and_what_came_late(ledger_of: Make) -> None:
    log = [
        update(0, type="count", quantity=100),
        update(1, quantity=-3, occurred_at=START + 10),
        update(2, type="count", quantity=95, occurred_at=START + 30),
        update(3, quantity=-2, occurred_at=START + 20, source="offline"),
    ]
    found = ledger_of(log).why("A", "here")
    assert found["offset"].to_list() == [0, 1, 3, 2]
    assert found["kind"].to_list() == ["count", "adjustment", "adjustment", "count"]
    assert found["on_hand"].to_list() == [100, 97, 95, 95]
    assert found["corrected"].to_list() == [100, None, None, 0]
    assert found["late_after"].to_list() == [None, None, 2, None]
    assert found["source"].to_list() == ["till", "till", "offline", "till"]
    assert found["reason"].to_list() == ["sale"] * 4


def test_why_of_a_key_that_was_never_there_says_so(ledger_of: Make) -> None:
    with pytest.raises(StoreError, match="no update of 'a' at 'here'"):
        ledger_of([update(0)]).why("a", "here")


@settings(max_examples=examples(30), deadline=None)
@given(logs().filter(bool), moments(), moments())
def test_diff_is_the_difference_of_two_stocks_largest_first(
    stores: Stores, log: list[dict[str, Any]], first: int, last: int
) -> None:
    before, after = (stock_reference.stock(log, at=when) for when in (first, last))
    with stores() as store:
        project(store, log)
        with open_ledger(store) as ledger:
            found = ledger.diff(moment(first), moment(last))
            assert dict(found.schema) == DIFF_SCHEMA
    wanted = {
        (*key, *before.get(key, (0, 0)), *after.get(key, (0, 0)))
        for key in {*before, *after}
        if before.get(key, (0, 0)) != after.get(key, (0, 0))
    }
    columns = ["sku", "location_id", "on_hand_before", "reserved_before", "on_hand_after",
               "reserved_after"]  # fmt: skip
    assert set(found.select(columns).rows()) == wanted
    sizes = found["on_hand_change"].abs().to_list()
    assert sizes == sorted(sizes, reverse=True)
    assert (found["on_hand_after"] - found["on_hand_before"] == found["on_hand_change"]).all()


def flags(found: pl.DataFrame, kind: str) -> list[tuple[Any, ...]]:
    assert dict(found.schema) == FLAGS_SCHEMA
    chosen = found.filter(pl.col("flag") == kind)
    return chosen.select("offset", "sku", "location_id", "source", "update_id", "detail").rows()


@pytest.mark.parametrize("size", [1, 2, 100])
def test_late_is_more_than_24_hours_behind_the_newest_of_its_source(
    size: int, ledger_of: Make
) -> None:
    day = 24 * HOUR
    log = [
        update(0, occurred_at=START),
        update(1, occurred_at=START - day),
        update(2, occurred_at=START - day - 1),
        update(3, occurred_at=START - 9 * day, source="other"),
        update(4, occurred_at=START - 12 * day, source="other", location_id="there"),
    ]
    found = ledger_of(log, size).flags(["late"])
    assert flags(found, "late") == [
        (2, "A", "here", "till", "u2", day + 1),
        (4, "A", "there", "other", "u4", 3 * day),
    ]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_duplicates_name_the_first_delivery_however_far_apart(size: int, ledger_of: Make) -> None:
    log = [
        update(0, update_id="x"),
        update(1, update_id="x", source="other"),
        update(2, update_id="x", quantity=9),
        *[update(n) for n in range(3, 40)],
        update(40, update_id="x", sku="never seen before"),
        update(41, update_id="u39"),
    ]
    ledger = ledger_of(log, size)
    assert flags(ledger.flags(["duplicate"]), "duplicate") == [
        (2, None, None, "till", "x", 0),
        (40, None, None, "till", "x", 0),
        (41, None, None, "till", "u39", 39),
    ]
    assert ledger.position.duplicates == 3
    assert ledger.stock().rows() == [("A", "here", 39, 0, 39)]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_gaps_and_reorderings_are_told_by_source(size: int, ledger_of: Make) -> None:
    numbers = [(0, "a", 7), (1, "a", 8), (2, "b", 1), (3, "a", 11), (4, "a", 9), (5, "b", 2),
               (6, "a", 11), (7, "a", None), (8, "a", 12)]  # fmt: skip
    log = [update(n, source=source, source_seq=seq) for n, source, seq in numbers]
    found = ledger_of(log, size).flags(["gap", "reordered"])
    assert flags(found, "gap") == [(3, "A", "here", "a", "u3", 2)]
    assert flags(found, "reordered") == [
        (4, "A", "here", "a", "u4", 2),
        (6, "A", "here", "a", "u6", 0),
    ]


def test_a_count_whose_book_figure_is_not_the_books_has_moved(ledger_of: Make) -> None:
    log = [
        update(0, type="count", quantity=10),
        update(1, quantity=-2),
        update(2, type="count", quantity=8, expected_quantity=10),
        update(3, type="count", quantity=5, expected_quantity=8),
        update(4, type="count", quantity=5, location_id="there", expected_quantity=3),
    ]
    assert flags(ledger_of(log).flags(["moved"]), "moved") == [
        (2, "A", "here", None, None, -2),
        (4, "A", "there", None, None, -3),
    ]


def test_negative_stock_is_a_flag_and_unknown_names_are_against_a_list(ledger_of: Make) -> None:
    log = [update(0, quantity=-4), update(1, sku="B"), update(2, location_id="there")]
    ledger = ledger_of(log)
    found = ledger.flags(skus=["A"], locations=["here", "nowhere"])
    assert flags(found, "negative") == [(None, "A", "here", None, None, -4)]
    assert flags(found, "unknown_sku") == [(None, "B", None, None, None, None)]
    assert flags(found, "unknown_location") == [(None, None, "there", None, None, None)]
    assert ledger.flags(["late", "gap", "duplicate", "reordered", "moved"]).is_empty()


def test_stock_is_in_the_order_of_the_names(ledger_of: Make) -> None:
    keys = [("b", "x"), ("é", "x"), ("a", "y"), ("B", "x"), ("a", "x"), ("10", "x"), ("9", "x")]
    log = [update(n, sku=sku, location_id=place) for n, (sku, place) in enumerate(keys)]
    found = ledger_of(log).stock().select("sku", "location_id").rows()
    assert found == sorted(keys)


def test_a_flag_that_does_not_exist_is_wrong_usage(ledger_of: Make) -> None:
    with pytest.raises(UsageError, match="no flag 'lat'"):
        ledger_of([update(0)]).flags(["lat"])


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl", "arrow"])
def test_an_export_reads_back_as_the_same_stock(
    ending: str, ledger_of: Make, tmp_path: Path
) -> None:
    log = [update(0), update(1, sku='B, "quoted"', type="reservation")]
    stock = ledger_of(log).stock()
    path = tmp_path / f"stock.{ending}"
    write_export(stock, path)
    read = {"parquet": pl.read_parquet, "jsonl": pl.read_ndjson, "arrow": pl.read_ipc,
            "csv": pl.read_csv}[ending](path)  # fmt: skip
    assert read.equals(stock)
    assert dict(read.schema) == STOCK_SCHEMA
    assert sorted(p.name for p in tmp_path.iterdir() if "stock" in p.name) == [path.name]


def test_an_export_without_a_known_ending_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not known by its name"):
        write_export(pl.DataFrame(), tmp_path / "stock.xlsx")


def test_a_key_is_divided_at_its_last_at_sign() -> None:
    assert check_key("a@b@c") == ("a@b", "c")
    for text in ("a", "@b", "a@"):
        with pytest.raises(UsageError, match="names no key"):
            check_key(text)


def test_a_store_that_was_never_filled_says_so(store: str) -> None:
    open_store(store, "s", writing=True).close()
    with open_ledger(store) as ledger:
        with pytest.raises(StoreError, match="is empty"):
            ledger.stock()
        assert ledger.flags().is_empty()

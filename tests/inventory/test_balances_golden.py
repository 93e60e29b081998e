"""The golden cases of docs/ledger.md: the table is the contract, and it is run here."""

from __future__ import annotations

from typing import Any

import pytest
from rule_driver import Driver

import stock_reference
from golden_cases import Case, cases

CASES = cases()


def test_the_page_has_the_cases_that_simple_projections_get_wrong() -> None:
    names = " ".join(case.name for case in CASES)
    for word in ("offline till", "late count", "transfer", "reservation", "twice"):
        assert word in names


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_golden_case_ends_with_its_stock_however_it_is_cut_into_batches(
    case: Case, size: int
) -> None:
    driver = Driver()
    for first in range(0, len(case.log), size):
        driver.take(stock_reference.applied(case.log)[first : first + size])
    assert_equal(case.stock, driver.stock())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_reference_agrees_with_the_golden_cases_now_and_then(case: Case) -> None:
    assert_equal(case.stock, stock_reference.stock(case.log))
    for moment, wanted in case.then.items():
        found = stock_reference.stock(case.log, at=moment)
        assert_equal(wanted, found)


def assert_equal(wanted: dict[Any, Any], found: dict[Any, Any]) -> None:
    for key, balances in wanted.items():
        assert found.get(key, (0, 0)) == balances, key

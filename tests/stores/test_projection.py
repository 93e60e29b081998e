"""A store follows the log, however it is cut into commits, and is right after each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import stock_reference
from examples import examples
from stock_histories import logs
from store_driver import project, stock_of

Stores = Callable[[], AbstractContextManager[str]]


@settings(max_examples=examples(30), deadline=None)
@given(logs(), st.integers(1, 25))
def test_balances_are_those_of_the_reference_however_the_log_is_cut(
    stores: Stores, log: list[dict[str, Any]], size: int
) -> None:
    with stores() as store:
        project(store, log, size)
        assert stock_of(store) == stock_reference.stock(log)


@settings(max_examples=examples(25), deadline=None)
@given(logs(), st.integers(0, 60), st.integers(0, 60))
def test_a_store_that_is_opened_again_goes_on_where_it_stood(
    stores: Stores, log: list[dict[str, Any]], first: int, second: int
) -> None:
    first, second = sorted((first, second))
    with stores() as store:
        for part in (log[:first], log[first:second], log[second:]):
            project(store, part, 10)
        assert stock_of(store) == stock_reference.stock(log)

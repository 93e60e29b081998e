"""A store follows the log, however it is cut into commits, and is right after each."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import stock_reference
from examples import examples
from stock_histories import logs
from store_driver import project, stock_of


@settings(max_examples=examples(30), deadline=None)
@given(logs(), st.integers(1, 25))
def test_balances_are_those_of_the_reference_however_the_log_is_cut(
    log: list[dict[str, Any]], size: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.db"
        project(path, log, size)
        assert stock_of(path) == stock_reference.stock(log)


@settings(max_examples=examples(25), deadline=None)
@given(logs(), st.integers(0, 60), st.integers(0, 60))
def test_a_store_that_is_opened_again_goes_on_where_it_stood(
    log: list[dict[str, Any]], first: int, second: int
) -> None:
    first, second = sorted((first, second))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.db"
        for part in (log[:first], log[first:second], log[second:]):
            project(path, part, 10)
        assert stock_of(path) == stock_reference.stock(log)

"""Work in two threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from stocklog.ledger.pipeline import ahead


def test_items_come_in_order_and_all_of_them() -> None:
    assert list(ahead(range(1000))) == list(range(1000))


def test_items_are_made_in_another_thread() -> None:
    makers: list[int] = []

    def make() -> Iterator[int]:
        makers.append(threading.get_ident())
        yield 1

    assert list(ahead(make())) == [1]
    assert makers != [threading.get_ident()]


def test_an_error_is_raised_after_the_items_before_it() -> None:
    def make() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("broken")

    items = ahead(make())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(items)


def test_no_more_than_the_depth_is_made_ahead() -> None:
    made: list[int] = []

    def make() -> Iterator[int]:
        for item in range(100):
            made.append(item)
            yield item

    items = ahead(make(), depth=2)
    assert next(items) == 0
    time.sleep(0.3)
    assert len(made) == 4  # the one in use, two that wait, one in the maker's hand
    assert list(items) == list(range(1, 100))


def test_stop_ends_it_while_the_maker_is_blocked() -> None:
    stop, release = threading.Event(), threading.Event()

    def make() -> Iterator[int]:
        yield 1
        release.wait(30)

    items = ahead(make(), stop=stop)
    assert next(items) == 1
    threading.Timer(0.1, stop.set).start()
    begun = time.monotonic()
    assert list(items) == []
    assert time.monotonic() - begun < 5
    release.set()


def test_whoever_leaves_early_ends_the_maker_and_closes_the_items() -> None:
    closed = threading.Event()

    def make() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    for _ in ahead(make()):
        break
    assert closed.wait(5)

"""Work in several threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from stocklog.ledger.pipeline import ahead, mapped


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


def test_it_begins_before_the_first_item_is_asked_for_and_ends_when_closed() -> None:
    begun, closed = threading.Event(), threading.Event()

    def make() -> Iterator[int]:
        try:
            begun.set()
            while True:
                yield 1
        finally:
            closed.set()

    items = ahead(make())
    assert begun.wait(5)
    items.close()
    assert closed.wait(5)
    assert list(items) == []


def test_results_keep_the_order_of_the_items_whichever_is_done_first() -> None:
    def slow_for_even(item: int) -> int:
        time.sleep(0.002 * (item % 2 == 0))
        return item * 10

    assert list(mapped(range(60), slow_for_even, workers=3)) == [10 * n for n in range(60)]


def test_a_result_is_handed_over_while_the_source_waits() -> None:
    more = threading.Event()

    def make() -> Iterator[int]:
        yield 1
        assert more.wait(10)
        yield 2

    results = mapped(make(), str, workers=2)
    assert next(results) == "1"
    more.set()
    assert next(results) == "2"


def test_the_functions_error_comes_in_its_place_and_ends_the_work() -> None:
    made: list[int] = []

    def make() -> Iterator[int]:
        for item in range(1000):
            made.append(item)
            yield item

    def fail_at_three(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item

    results = mapped(make(), fail_at_three, workers=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert len(made) < 20


def test_the_sources_error_comes_after_the_results_before_it() -> None:
    def make() -> Iterator[int]:
        yield 1
        raise ValueError("source")

    results = mapped(make(), str)
    assert next(results) == "1"
    with pytest.raises(ValueError, match="source"):
        next(results)


def test_few_items_are_in_work_while_a_result_is_used() -> None:
    begun: list[int] = []

    def note(item: int) -> int:
        begun.append(item)
        return item

    results = mapped(range(100), note, workers=2)
    assert next(results) == 0
    time.sleep(0.3)
    assert len(begun) <= 5
    assert list(results) == list(range(1, 100))


def test_whoever_stops_taking_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())
    results = mapped(range(100), str, workers=2)
    next(results)
    results.close()
    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not set(threading.enumerate()) - before

"""What is in flight: counted down once each, whatever order and rubbish the confirms come in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stocklog.stream.inflight import InFlight, SentFrame


def frame(ids: list[int], messages: list[int] | None = None, size: int = 100) -> SentFrame:
    counts = messages or [1] * len(ids)
    return SentFrame(np.array(ids, np.uint64), np.array(counts, np.int64), size, (b"",))


def answer(flight: InFlight, *ids: int) -> int:
    return flight.answer(np.array(ids, np.uint64))


def counts(flight: InFlight) -> tuple[int, int, int, int]:
    return len(flight), flight.entries, flight.size, flight.messages


@pytest.fixture
def flight() -> InFlight:
    flight = InFlight()
    flight.add(frame([500, 1000, 1500], [500, 500, 500]))
    flight.add(frame([2000, 2100], [500, 100], size=40))
    return flight


def test_what_is_added_is_counted(flight: InFlight) -> None:
    assert counts(flight) == (2, 5, 140, 2100)


def test_confirms_in_order_empty_it(flight: InFlight) -> None:
    assert answer(flight, 500, 1000, 1500) == 1500
    assert counts(flight) == (1, 2, 40, 600)
    assert answer(flight, 2000, 2100) == 600
    assert counts(flight) == (0, 0, 0, 0)


def test_one_confirm_may_span_frames_and_come_in_any_order(flight: InFlight) -> None:
    assert answer(flight, 2100, 500, 1500, 2000) == 1600
    assert counts(flight) == (2, 1, 140, 500)
    assert answer(flight, 1000) == 500
    assert counts(flight) == (0, 0, 0, 0)


def test_a_confirm_that_comes_twice_counts_once(flight: InFlight) -> None:
    assert answer(flight, 500, 500) == 500
    assert answer(flight, 500) == 0
    assert counts(flight) == (2, 4, 140, 1600)


def test_a_whole_later_frame_confirmed_twice_counts_once(flight: InFlight) -> None:
    # Seen before the fix: -2 entries and -600 messages in flight.
    assert answer(flight, 2000, 2100) == 600
    assert answer(flight, 2000, 2100) == 0
    assert counts(flight) == (2, 3, 140, 1500)


def test_unknown_ids_count_nothing(flight: InFlight) -> None:
    assert answer(flight, 0, 1, 499, 501, 1501, 1999, 2101, (1 << 64) - 1) == 0
    assert counts(flight) == (2, 5, 140, 2100)


def test_as_many_ids_as_entries_are_not_taken_for_those_entries(flight: InFlight) -> None:
    # Seen before the fix: 1000 was struck out, although 501 was confirmed.
    assert answer(flight, 500, 501, 1500) == 1000
    assert counts(flight) == (2, 3, 140, 1100)


def test_nothing_in_flight_takes_any_answer() -> None:
    assert answer(InFlight(), 1, 2, 3) == 0


def test_frames_that_await_an_answer_come_oldest_first(flight: InFlight) -> None:
    assert [int(sent.ids[0]) for sent in flight.frames()] == [500, 2000]
    answer(flight, 500, 1000, 1500)
    assert [int(sent.ids[0]) for sent in flight.frames()] == [2000]


@given(st.data())
def test_any_answers_count_each_entry_once(data: st.DataObject) -> None:
    flight, model, next_id = InFlight(), {}, 0
    for _ in range(data.draw(st.integers(1, 6))):
        ids, messages = [], []
        for _ in range(data.draw(st.integers(1, 5))):
            next_id += data.draw(st.integers(1, 3))
            ids.append(next_id)
            messages.append(data.draw(st.integers(1, 9)))
        flight.add(frame(ids, messages))
        model.update(zip(ids, messages, strict=True))
    for _ in range(data.draw(st.integers(0, 6))):
        ids = data.draw(st.lists(st.integers(0, next_id + 2), max_size=12))
        expected = sum(model.pop(number, 0) for number in set(ids))
        assert answer(flight, *ids) == expected
        assert (flight.entries, flight.messages) == (len(model), sum(model.values()))
    answer(flight, *range(next_id + 1))
    assert counts(flight) == (0, 0, 0, 0)

"""Several connections read a long range of tiny chunks: the same messages, in the same order."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logpeer import Chunk, LogPeer, make_log, random_shapes
from peer import Peer, peer

from examples import examples
from stocklog.errors import ConnectionLostError, StreamNotFoundError
from stocklog.stream import Subscriber, parse_offset, stripes, subscriber
from stocklog.stream.reading import Seen
from stocklog.stream.stripes import share_out

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def eager() -> Iterator[None]:
    """Several connections pay from a few hundred chunks on: else each test would take minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stripes, "_WORTH", 200)
        patch.setattr(stripes, "_SHORTEST", 20)
        patch.setattr(subscriber, "ENOUGH_CHUNKS", 20)
        yield


def tiny(count: int) -> LogPeer:
    return LogPeer(make_log(["one"] * count))


def open_reader(
    served: Peer,
    text: str = "first",
    *,
    connections: int = 4,
    max_bytes: int = 1 << 20,
    until_end: bool = True,
    recover: bool = True,
) -> Subscriber:
    return Subscriber(
        served.connect,
        "s",
        parse_offset(text),
        until_end=until_end,
        connections=connections,
        max_bytes=max_bytes,
        recover=recover,
    )


def offsets(reader: Subscriber) -> list[int]:
    return [offset for block in reader for offset in block.offsets.tolist()]


def wanted(log: list[Chunk], first: int, last: int) -> list[int]:
    found = [number for chunk in log if not chunk.kind for number in range(chunk.first, chunk.end)]
    return [number for number in found if first <= number <= last]


# -- the same as over one connection --------------------------------------------------------


@settings(max_examples=examples(12))
@given(
    seed=st.integers(0, 1 << 30),
    first=st.integers(0, 2_000),
    end=st.none() | st.integers(2_000, 5_000),
    max_bytes=st.sampled_from([100_000, 1 << 20, 4 << 20]),
    connections=st.integers(2, 5),
)
def test_any_log_comes_whole_in_order_and_once(
    seed: int, first: int, end: int | None, max_bytes: int, connections: int
) -> None:
    log = make_log(random_shapes(seed, 1_500))
    text = str(first) if end is None else f"{first}..{end}"
    last = log[-1].end - 1 if end is None else end
    with (
        peer(LogPeer(log).script) as served,
        open_reader(served, text, connections=connections, max_bytes=max_bytes) as reader,
    ):
        assert offsets(reader) == wanted(log, first, last)
        assert (reader.gaps, reader.notes, reader.ended) == ([], [], True)


def test_tiny_chunks_are_read_over_several_connections_and_each_once() -> None:
    told = tiny(4_000)
    with peer(told.script) as served, open_reader(served) as reader:
        assert offsets(reader) == list(range(4_000))
    assert told.subscriptions == 4
    # Hardly more is delivered than is wanted: the broker pays for each chunk.
    assert told.delivered <= 1.05 * sum(len(chunk.data) for chunk in told.log)


def test_each_block_holds_the_messages_of_its_offsets() -> None:
    told = LogPeer(make_log(random_shapes(7, 2_000)))
    with peer(told.script) as served, open_reader(served) as reader:
        for block in reader:
            for row in (0, len(block) - 1):
                assert block.message(row).endswith(b"%d" % block.offsets[row])


@pytest.mark.parametrize(
    ("text", "until_end", "connections"),
    [("first", False, 4), ("next", False, 4), ("last:5", True, 4), ("first", True, 1)],
)
def test_who_follows_or_wants_few_or_one_connection_gets_one(
    text: str, until_end: bool, connections: int
) -> None:
    told = tiny(2_000)
    with (
        peer(told.script) as served,
        open_reader(served, text, until_end=until_end, connections=connections) as reader,
    ):
        while (block := reader.next(0.2)) is not None:
            assert block.offsets[-1] < 2_000
    assert told.subscriptions == 1


def test_ordinary_chunks_are_read_over_one_connection() -> None:
    told = LogPeer(make_log(["many"] * 300))
    with peer(told.script) as served, open_reader(served) as reader:
        assert len(offsets(reader)) == 300 * 200
    assert told.subscriptions == 1


def test_where_chunks_become_large_one_connection_goes_on() -> None:
    told = LogPeer(make_log(["one"] * 1_000 + ["many"] * 500 + ["one"] * 30))
    with peer(told.script) as served, open_reader(served) as reader:
        assert offsets(reader) == list(range(1_000 + 500 * 200 + 30))
    assert 5 <= told.subscriptions <= 9


def test_a_range_that_ends_behind_the_log_waits_for_the_rest() -> None:
    told = tiny(2_000)
    with peer(told.script) as served, open_reader(served, "0..5000", until_end=False) as reader:
        got: list[int] = []
        while (block := reader.next(1.0)) is not None:
            got += block.offsets.tolist()
        assert got == list(range(2_000))
        assert not reader.ended
    assert told.subscriptions >= 4


def test_ranges_are_cut_so_that_all_connections_have_the_same_to_do() -> None:
    seen = Seen(chunks=300, messages=300, size=300 * 261)
    for left in (1_000, 50_000, 1_000_000):
        size = share_out(seen, left, 4, 16 << 20)
        assert size is not None
        assert -(-left // size.offsets) % 4 == 0 or left % size.offsets
        assert size.offsets * 300 <= size.max_bytes == 4 << 20
    assert share_out(seen, 50_000, 4, 10_000) is None
    assert share_out(Seen(300, 300, 300 * 5_000), 50_000, 4, 16 << 20) is None
    assert share_out(Seen(300, 3_000, 300 * 261), 50_000, 4, 16 << 20) is None
    assert share_out(Seen(), 50_000, 4, 16 << 20) is None


# -- what goes wrong ------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_connection_that_breaks_inside_a_stripe_costs_nothing(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    told = tiny(3_000)
    told.break_at = {number: 300}
    with (
        caplog.at_level(logging.WARNING, "stocklog.stream"),
        peer(told.script) as served,
        open_reader(served) as reader,
    ):
        assert offsets(reader) == list(range(3_000))
        assert reader.gaps == []
    assert len(caplog.records) == 1
    assert "going on at offset" in caplog.text


def test_all_connections_that_break_at_once_cost_nothing() -> None:
    told = tiny(4_000)
    told.break_at = {1: 500, 2: 10, 3: 500, 4: 0}
    with peer(told.script) as served, open_reader(served) as reader:
        assert offsets(reader) == list(range(4_000))


def test_who_must_not_connect_again_gets_the_loss_behind_what_had_come() -> None:
    told = tiny(3_000)
    told.breaks_before = 2_500
    got: list[int] = []

    def read(reader: Subscriber) -> None:
        for block in reader:
            got.extend(block.offsets.tolist())

    with (
        peer(told.script) as served,
        open_reader(served, recover=False) as reader,
        pytest.raises(ConnectionLostError),
    ):
        read(reader)
    assert got == list(range(2_500))


def test_a_broker_that_allows_one_connection_is_read_over_one() -> None:
    told = tiny(6_000)
    told.refuses = lambda count: count >= 1
    with peer(told.script) as served, open_reader(served) as reader:
        assert offsets(reader) == list(range(6_000))
    assert told.turned_away < 20


def test_retention_that_cuts_over_stripes_is_one_gap() -> None:
    told = tiny(4_000)
    told.on_subscribe = lambda number: told.retain(2_500) if number == 2 else None
    with peer(told.script) as served, open_reader(served) as reader:
        got = offsets(reader)
        kept = got.index(2_500)
        assert got == [*range(kept), *range(2_500, 4_000)]
        assert reader.gaps == [(kept, 2_499)]
        assert len(reader.notes) == 1
        assert f"Offsets {kept} to 2499 are gone" in reader.notes[0]


def test_retention_that_cuts_all_to_the_end_is_a_gap_too() -> None:
    told = tiny(4_001)
    told.on_subscribe = lambda number: told.retain(4_000) if number == 2 else None
    with peer(told.script) as served, open_reader(served, "0..3999") as reader:
        got = offsets(reader)
        assert got == list(range(len(got)))
        assert reader.gaps == [(len(got), 3_999)]
        assert reader.ended


def test_a_deleted_stream_is_an_error_behind_what_had_come() -> None:
    told = tiny(40_000)
    got: list[int] = []

    def read(reader: Subscriber) -> None:
        for block in reader:
            got.extend(block.offsets.tolist())
            if told.subscriptions > 3 and told.exists:
                told.delete()

    with (
        peer(told.script) as served,
        open_reader(served, max_bytes=200_000) as reader,
        pytest.raises(StreamNotFoundError),
    ):
        read(reader)
    assert got == list(range(len(got)))
    assert 0 < len(got) < 40_000


# -- whoever does not take ---------------------------------------------------------------------


def reading_ahead() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "stripe" in thread.name]


def test_a_slow_caller_holds_a_bounded_number_of_bytes() -> None:
    told = tiny(40_000)
    bound = 400_000
    with peer(told.script) as served, open_reader(served, max_bytes=bound) as reader:
        taken = 0
        while told.subscriptions < 4:
            block = reader.next(5)
            assert block is not None
            taken += len(block)
        time.sleep(1)
        held = told.delivered - taken * len(told.log[0].data)
        assert bound / 4 < held < 2 * bound
        time.sleep(0.3)
        assert told.delivered - taken * len(told.log[0].data) == held
        assert taken + len(offsets(reader)) == 40_000


def test_close_ends_those_that_read_ahead_whatever_they_wait_for() -> None:
    told = tiny(40_000)
    with peer(told.script) as served:
        reader = open_reader(served, max_bytes=400_000)
        while told.subscriptions < 4:
            assert reader.next(5) is not None
        time.sleep(0.3)
        begun = time.monotonic()
        reader.close()
        assert time.monotonic() - begun < 3
        assert reading_ahead() == []
        assert reader.next() is None
        assert reader.ended


def test_close_wakes_whoever_waits_for_a_stripe() -> None:
    told = tiny(4_000)
    hold = threading.Event()
    told.on_subscribe = lambda number: None if number == 1 else (hold.wait(20), None)[1]
    with peer(told.script) as served:
        reader = open_reader(served)
        got: list[int] = []
        thread = threading.Thread(target=lambda: got.extend(offsets(reader)))
        thread.start()
        time.sleep(0.5)
        assert thread.is_alive()
        closer = threading.Thread(target=reader.close)
        closer.start()
        thread.join(3)
        assert not thread.is_alive()
        hold.set()
        closer.join(10)
        assert not closer.is_alive()
        assert got == list(range(len(got)))
        assert 0 < len(got) < 4_000

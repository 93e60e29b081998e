"""How far a reader is behind, as ticks tell it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

import stocklog
from stocklog.broker import NodeInfo
from stocklog.inventory.simulate import Simulator
from stocklog.ledger import lag
from stocklog.ledger.consume import consume
from stocklog.ledger.pipeline import Tick
from stocklog.ledger.writers import open_sink

COUNT = 100_000


def fill(client: stocklog.Client, stream: str, *counts: int) -> None:
    """Updates in as many writes, each confirmed before the next."""
    simulator = Simulator("grocery", 5)
    with client.producer(stream) as producer:
        for count in counts:
            producer.send(simulator.batch(count))
            producer.flush()


def comes_to_be(found: Callable[[], object], wanted: object) -> bool:
    end = time.monotonic() + 10
    while found() != wanted and time.monotonic() < end:
        time.sleep(0.01)
    return found() == wanted


def test_a_read_with_an_end_counts_down_to_it(one_broker: NodeInfo, stream_name: str) -> None:
    ticks: list[Tick] = []
    with stocklog.connect(one_broker.uri) as client:
        fill(client, stream_name, COUNT)
        sink = open_sink("none", None)
        stream = client.stream_client
        consume(stream, stream_name, sink, offset="first", until_end=True, on_tick=ticks.append)
    assert [tick.lag for tick in ticks] == [COUNT - tick.updates for tick in ticks]
    assert [tick.fraction for tick in ticks] == [tick.updates / COUNT for tick in ticks]
    assert ticks[-1].lag == 0


def test_of_an_end_and_a_count_the_nearer_one_is_the_whole(
    one_broker: NodeInfo, stream_name: str
) -> None:
    ticks: list[Tick] = []
    with stocklog.connect(one_broker.uri) as client:
        fill(client, stream_name, COUNT)
        consume(
            client.stream_client, stream_name, open_sink("none", None), offset="first",
            until_end=True, count=COUNT // 2, on_tick=ticks.append,
        )  # fmt: skip
    assert ticks[-1].fraction == 1.0
    assert ticks[-1].lag == COUNT // 2


def test_a_read_without_an_end_sees_the_log_grow(
    broker: NodeInfo, stream_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag, "_EVERY", 0.05)
    with stocklog.connect(broker.uri) as client:
        # The last write is one message, so that where its chunk begins is where the log ends.
        fill(client, stream_name, 999, 1)
        stream = client.stream_client
        with (
            stream.subscriber(stream_name, "first") as subscriber,
            lag.Lag(stream, subscriber, asks=True) as watched,
        ):
            assert watched.behind(None) is None
            assert comes_to_be(lambda: watched.behind(99), 900)
            fill(client, stream_name, 499, 1)
            assert comes_to_be(lambda: watched.behind(99), 1400)
            assert watched.behind(5000) == 0


def test_nobody_is_asked_when_nobody_wants_to_know(
    one_broker: NodeInfo, stream_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag, "_EVERY", 0.01)
    with stocklog.connect(one_broker.uri) as client:
        fill(client, stream_name, 10)
        stream = client.stream_client
        with (
            stream.subscriber(stream_name, "first") as subscriber,
            lag.Lag(stream, subscriber, asks=False) as watched,
        ):
            time.sleep(0.2)
            assert watched.behind(1) is None

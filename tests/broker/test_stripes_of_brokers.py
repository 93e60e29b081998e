"""Ranges of one-message chunks on real brokers: several connections read what one reads."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest
from numbered import Tracker, numbers, send_numbers

from stocklog.bench.chaos.proxy import LOOPBACK, Proxy, ProxyLoop
from stocklog.broker import NodeInfo
from stocklog.errors import StreamNotFoundError
from stocklog.protocol.chunk import MessageBlock
from stocklog.stream import StreamClient, StreamURI, Subscriber, stripes, subscriber

_COUNT = 1_500


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripes, "_WORTH", 200)
    monkeypatch.setattr(stripes, "_SHORTEST", 20)
    monkeypatch.setattr(subscriber, "ENOUGH_CHUNKS", 20)


@pytest.fixture
def direct(broker: NodeInfo) -> Iterator[StreamClient]:
    with StreamClient(broker.uri) as made:
        yield made


@pytest.fixture
def stream(direct: StreamClient, stream_name: str) -> str:
    """One message a chunk, records of the broker's own, and now and then a hundred messages."""
    direct.create_stream(stream_name)
    tracker = Tracker(direct.uri, stream_name)
    fill(direct, stream_name, tracker)
    tracker.close()
    return stream_name


def fill(client: StreamClient, stream_name: str, tracker: Tracker | None = None) -> None:
    with client.publisher(stream_name, sub_batch=1) as publisher:
        number = 1
        while number <= _COUNT:
            count = min(100 if number % 401 == 0 else 1, _COUNT - number + 1)
            send_numbers(publisher, number, count)
            publisher.flush(10)
            number += count
            if tracker is not None and number % 97 == 0:
                tracker.store(2)


def spreads(reader: Subscriber) -> bool:
    return len(reader._sources) > 1


def test_messages_and_the_brokers_own_records_come_as_over_one_connection(
    direct: StreamClient, stream: str
) -> None:
    found: list[tuple[list[int], list[int]]] = []
    for connections in (1, 4):
        with direct.subscriber(stream, "first", until_end=True, connections=connections) as reader:
            blocks: list[MessageBlock] = []
            spread = False
            for block in reader:
                blocks.append(block)
                spread = spread or spreads(reader)
            assert spread == (connections == 4)
            assert reader.gaps == []
        found.append(
            (
                [number for block in blocks for number in numbers(block)],
                [offset for block in blocks for offset in block.offsets.tolist()],
            )
        )
    assert found[0] == found[1]
    assert found[1][0] == list(range(1, _COUNT + 1))


def test_a_range_that_ends_in_the_middle_or_behind_the_log_is_exact(
    direct: StreamClient, stream: str
) -> None:
    with direct.subscriber(stream, "100..1100") as reader:
        got = [offset for block in reader for offset in block.offsets.tolist()]
    with direct.subscriber(stream, "100..1100", connections=1) as reader:
        assert got == [offset for block in reader for offset in block.offsets.tolist()]
    with direct.subscriber(stream, "5..90000") as reader:
        last = 0
        while (block := reader.next(1.0)) is not None:
            last = numbers(block)[-1]
        assert last == _COUNT
        with direct.publisher(stream, sub_batch=1) as publisher:
            send_numbers(publisher, _COUNT + 1, 1)
        block = reader.next(10)
        assert block is not None
        assert numbers(block) == [_COUNT + 1]
        assert not reader.ended


def test_connections_that_are_cut_cost_nothing(broker: NodeInfo, stream: str) -> None:
    own = StreamURI.parse(broker.uri)
    with contextlib.ExitStack() as stack:
        loop = ProxyLoop()
        stack.callback(loop.close)
        proxy = Proxy(loop, broker.stream_port)
        stack.callback(proxy.close)
        uri = StreamURI(((LOOPBACK, proxy.port),), own.user, own.password)
        client = stack.enter_context(StreamClient(uri, load_balancer=True, rpc_timeout=5.0))
        # So little that nobody has all of its part when it is cut.
        reader = stack.enter_context(
            client.subscriber(stream, "first", until_end=True, max_bytes=60_000)
        )
        got: list[int] = []
        cuts = 0
        for block in reader:
            got += numbers(block)
            if spreads(reader) and cuts < 2:
                time.sleep(0.05)
                cuts += proxy.cut() > 1
        assert cuts
        assert got == list(range(1, _COUNT + 1))
        assert reader.gaps == []


def test_a_stream_that_is_deleted_meanwhile_is_an_error(direct: StreamClient, stream: str) -> None:
    got: list[int] = []

    def read(reader: Subscriber) -> None:
        deleted = False
        for block in reader:
            got.extend(numbers(block))
            if spreads(reader) and not deleted:
                direct.delete_stream(stream)
                deleted = True

    with (
        # So little that no connection can have all of its part by then.
        direct.subscriber(stream, "first", until_end=True, max_bytes=40_000) as reader,
        pytest.raises(StreamNotFoundError),
    ):
        read(reader)
    assert got == list(range(1, len(got) + 1))
    assert len(got) < _COUNT


def test_replicas_of_a_cluster_give_out_stripes(cluster: NodeInfo, stream_name: str) -> None:
    with StreamClient(cluster.uri) as client:
        client.create_stream(stream_name)
        fill(client, stream_name)
        with client.subscriber(stream_name, "first", until_end=True) as reader:
            got: list[int] = []
            spread = False
            for block in reader:
                got += numbers(block)
                spread = spread or spreads(reader)
            assert spread
            assert got == list(range(1, _COUNT + 1))
            assert reader.gaps == []

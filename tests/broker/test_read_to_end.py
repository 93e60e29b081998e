"""Read to the end and stop: the end is the last message committed when the read began."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest
from numbered import KINDS, BusyProducer, Tracker, numbers, open_connection, ready, send_numbers

from stocklog.broker import NodeInfo
from stocklog.stream import StreamClient, StreamURI, Subscriber, parse_offset
from stocklog.stream.connection import Connection

RUNS = 15


@pytest.fixture
def client(broker: NodeInfo) -> Iterator[StreamClient]:
    with StreamClient(StreamURI.parse(broker.uri)) as client:
        yield client


@pytest.fixture
def stream(client: StreamClient, stream_name: str) -> Iterator[str]:
    client.create_stream(stream_name)
    yield stream_name
    client.delete_stream(stream_name)


def read_all(client: StreamClient, stream: str, offset: str) -> list[int]:
    with client.subscriber(stream, offset, until_end=True) as reader:
        got = [number for block in reader for number in numbers(block)]
        assert reader.ended
        return got


def read_over(connection: Connection, stream: str, offset: str, uri: StreamURI) -> Subscriber:
    spec = parse_offset(offset)
    return Subscriber(ready(connection, uri), stream, spec, until_end=True, recover=False)


@pytest.mark.parametrize("kind", KINDS)
def test_beside_a_busy_producer_the_end_is_the_one_at_attaching(
    client: StreamClient, stream: str, kind: str
) -> None:
    with client.publisher(stream, **KINDS[kind]) as publisher:
        send_numbers(publisher, 1, 1000)
        publisher.flush(10)
        with BusyProducer(publisher, 1001) as producer:
            producer.before = 0
            for run in range(RUNS):
                connection = open_connection(client.uri)
                low = producer.confirmed
                begin = max(1, low - 500) if run else 1
                reader = read_over(connection, stream, str(begin - 1), client.uri)
                high = producer.sent
                got = [number for block in reader for number in numbers(block)]
                reader.close()
                assert got == list(range(begin, got[-1] + 1))
                assert low <= got[-1] <= high


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_n_beside_a_busy_producer_are_n(
    client: StreamClient, stream: str, kind: str
) -> None:
    choose = random.Random(kind)
    with client.publisher(stream, **KINDS[kind]) as publisher:
        send_numbers(publisher, 1, 3000)
        publisher.flush(10)
        with BusyProducer(publisher, 3001) as producer:
            producer.before = 0
            for _ in range(RUNS):
                count = choose.choice((1, 2, 99, 1000, 2999))
                connection = open_connection(client.uri)
                low = producer.confirmed
                reader = read_over(connection, stream, f"last:{count}", client.uri)
                high = producer.sent
                got = [number for block in reader for number in numbers(block)]
                reader.close()
                assert len(got) == count
                assert got == list(range(got[0], got[0] + count))
                assert low <= got[-1] <= high


@pytest.mark.parametrize(
    "offset", ["first", "last", "last:9", "next", "0", "77", "1h", "..", "3..9"]
)
@pytest.mark.parametrize("tracking", [0, 4], ids=["empty", "only-tracking-chunks"])
def test_without_messages_it_ends_at_once(
    client: StreamClient, stream: str, offset: str, tracking: int
) -> None:
    tracker = Tracker(client.uri, stream)
    tracker.store(tracking)
    begun = time.monotonic()
    assert read_all(client, stream, offset) == []
    assert time.monotonic() - begun < 5
    tracker.close()


def test_next_ends_at_once_also_where_there_are_messages(client: StreamClient, stream: str) -> None:
    with client.publisher(stream) as publisher:
        send_numbers(publisher, 1, 10)
    assert read_all(client, stream, "next") == []


@pytest.mark.parametrize("kind", ["plain", "none", "lz4"])
def test_tracking_chunks_at_the_end_and_between_are_neither_awaited_nor_counted(
    client: StreamClient, stream: str, kind: str
) -> None:
    tracker, sent = Tracker(client.uri, stream), 0
    with client.publisher(stream, **KINDS[kind]) as publisher:
        for count in (1, 250, 3, 100, 7):
            send_numbers(publisher, sent + 1, count)
            sent += count
            publisher.flush(10)
            tracker.store(3)
            assert read_all(client, stream, "first") == list(range(1, sent + 1))
    for count in (1, 7, 8, 100, 107, 108, 360, 361, 5000):
        expected = list(range(max(1, sent - count + 1), sent + 1))
        assert read_all(client, stream, f"last:{count}") == expected
    tracker.close()


def test_the_last_n_and_then_the_new_ones(client: StreamClient, stream: str) -> None:
    with client.publisher(stream, sub_batch=1) as publisher:
        send_numbers(publisher, 1, 100)
        publisher.flush(10)
        with client.subscriber(stream, "last:30") as reader:
            send_numbers(publisher, 101, 20)
            publisher.flush(10)
            got: list[int] = []
            while len(got) < 50:
                got += numbers(reader.next(10))
    assert got == list(range(71, 121))


def test_reading_again_gives_the_same_again(client: StreamClient, stream: str) -> None:
    with client.publisher(stream) as publisher:
        send_numbers(publisher, 1, 1234)
    assert read_all(client, stream, "first") == read_all(client, stream, "first")
    assert client.last_offset(stream) == 1233
    assert client.first_offset(stream) == 0

"""Numbers, times and ranges mean what they say, also where the log has gaps or has been cut."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from numbered import (
    KINDS,
    BusyProducer,
    Tracker,
    numbers,
    open_connection,
    read_numbers,
    send_bodies,
    send_numbers,
)

from stocklog.broker import NodeInfo
from stocklog.stream import StreamArguments, StreamClient, StreamURI, Subscriber, parse_offset
from stocklog.stream.connection import Connection


@pytest.fixture
def client(broker: NodeInfo) -> Iterator[StreamClient]:
    with StreamClient(StreamURI.parse(broker.uri)) as client:
        yield client


@pytest.fixture
def stream(client: StreamClient, stream_name: str) -> Iterator[str]:
    client.create_stream(stream_name)
    yield stream_name
    client.delete_stream(stream_name)


def now() -> str:
    return at(time.time())


def at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def read_all(client: StreamClient, stream: str, offset: str, **options: bool) -> list[int]:
    with client.subscriber(stream, offset, **options) as reader:
        return [number for block in reader for number in numbers(block)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_range_of_offsets_is_exact_inside_chunks_and_sub_batches(
    client: StreamClient, stream: str, kind: str
) -> None:
    with client.publisher(stream, **KINDS[kind]) as publisher:
        send_numbers(publisher, 1, 1000)
    for first, last in [(0, 0), (0, 999), (123, 123), (99, 100), (150, 849), (999, 999)]:
        expected = list(range(first + 1, last + 2))
        assert read_all(client, stream, f"{first}..{last}") == expected
        assert read_all(client, stream, f"{first}..{last}", until_end=True) == expected
    assert read_all(client, stream, "..9") == list(range(1, 11))
    assert read_all(client, stream, "990..end") == list(range(991, 1001))
    assert read_all(client, stream, "990..5000", until_end=True) == list(range(991, 1001))
    assert read_all(client, stream, "1000..", until_end=True) == []


def test_a_range_that_ends_behind_the_log_waits_for_the_rest(
    client: StreamClient, stream: str
) -> None:
    with client.publisher(stream, sub_batch=1) as publisher:
        send_numbers(publisher, 1, 10)
        publisher.flush(10)
        with client.subscriber(stream, "5..14") as reader:
            assert read_numbers(reader, 5) == [6, 7, 8, 9, 10]
            assert reader.next(0.2) is None
            assert not reader.ended
            send_numbers(publisher, 11, 100)
            assert [n for block in reader for n in numbers(block)] == [11, 12, 13, 14, 15]
            assert reader.ended


def test_an_offset_in_a_gap_begins_with_the_next_message(client: StreamClient, stream: str) -> None:
    tracker = Tracker(client.uri, stream)
    with client.publisher(stream, sub_batch=1) as publisher:
        send_numbers(publisher, 1, 1)
        publisher.flush(10)
        tracker.store(3)  # offsets 1, 2, 3
        send_numbers(publisher, 2, 1)
        publisher.flush(10)
    for offset, expected in [("0", [1, 2]), ("1", [2]), ("2", [2]), ("3", [2]), ("4", [2])]:
        assert read_all(client, stream, offset, until_end=True) == expected
    assert read_all(client, stream, "1..3", until_end=True) == []
    assert read_all(client, stream, "0..2") == [1]
    assert read_all(client, stream, "5", until_end=True) == []
    tracker.close()


@pytest.mark.parametrize("kind", ["plain", "lz4"])
def test_a_range_that_ends_in_the_brokers_own_records_at_the_tail_ends(
    client: StreamClient, stream: str, kind: str
) -> None:
    # Only messages are handed out, so a range that waits for one never saw its end pass.
    tracker = Tracker(client.uri, stream)
    with client.publisher(stream, **KINDS[kind]) as publisher:
        send_numbers(publisher, 1, 10)
        publisher.flush(10)
        tracker.store(3)  # offsets 10, 11, 12
        for text, expected in [
            ("5..10", [6, 7, 8, 9, 10]),
            ("0..12", list(range(1, 11))),
            ("9..11", [10]),
            ("10..12", []),
            ("12..12", []),
            ("1h..12", list(range(1, 11))),
            ("first..11", list(range(1, 11))),
        ]:
            begun = time.monotonic()
            assert read_all(client, stream, text) == expected
            assert time.monotonic() - begun < 5
        with client.subscriber(stream, "8..14") as reader:
            assert read_numbers(reader, 2) == [9, 10]
            assert reader.next(0.2) is None
            assert not reader.ended
            tracker.store(1)
            assert reader.next(0.2) is None
            assert not reader.ended
            tracker.store(1)  # offset 14, written while the reader waits
            assert reader.next(10) is None
            assert reader.ended
        with client.subscriber(stream, "8..16") as reader:
            send_numbers(publisher, 11, 1)
            publisher.flush(10)
            tracker.store(1)
            assert [n for block in reader for n in numbers(block)] == [9, 10, 11]
    tracker.close()


def test_many_gaps_of_the_brokers_own_are_no_loss_and_cost_one_question_a_block(
    client: StreamClient, stream: str
) -> None:
    # Seen before the fix: a connection for each gap, 24 ms each, where readers store offsets.
    tracker = Tracker(client.uri, stream)
    with client.publisher(stream, sub_batch=1) as publisher:
        for number in range(1, 201):
            send_numbers(publisher, number, 1)
            publisher.flush(10)
            tracker.store(1)
    tracker.close()
    opened: list[Connection] = []

    def connect() -> Connection:
        opened.append(open_connection(client.uri))
        return opened[-1]

    with Subscriber(connect, stream, parse_offset("first"), until_end=True) as reader:
        blocks = list(reader)
        assert [n for block in blocks for n in numbers(block)] == list(range(1, 201))
        assert reader.gaps == []
    assert len(opened) <= 1 + len(blocks) < 100


def test_an_offset_beyond_the_end_is_waited_for(client: StreamClient, stream: str) -> None:
    with client.publisher(stream, sub_batch=7) as publisher:
        send_numbers(publisher, 1, 10)
        publisher.flush(10)
        with client.subscriber(stream, "55") as reader:
            for first in range(11, 51, 10):
                send_numbers(publisher, first, 10)
                publisher.flush(10)
            assert reader.next(0.3) is None
            send_numbers(publisher, 51, 20)
            publisher.flush(10)
            assert read_numbers(reader, 15) == list(range(56, 71))


def test_a_log_that_begins_with_a_record_of_the_brokers_own_has_lost_nothing(
    client: StreamClient, stream: str
) -> None:
    client.store_offset("early", stream, 7)
    deadline = time.monotonic() + 5
    while client.query_offset("early", stream) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with client.publisher(stream, sub_batch=1) as publisher:
        send_numbers(publisher, 1, 10)
        publisher.flush(10)
    assert (client.begin_offset(stream), client.first_offset(stream)) == (0, 1)
    for text in ("0", "0..4", "first"):
        with client.subscriber(stream, text, until_end=True) as reader:
            got = [offset for block in reader for offset in block.offsets.tolist()]
            assert got == list(range(1, 5 if text == "0..4" else 11))
            assert (reader.gaps, reader.notes) == ([], [])


def test_an_offset_that_retention_has_cut_begins_with_what_is_kept_and_says_so(
    client: StreamClient, stream_name: str
) -> None:
    client.create_stream(
        stream_name, StreamArguments(max_length_bytes=200_000, max_segment_size=50_000)
    )
    try:
        with client.publisher(stream_name, sub_batch=1) as publisher:
            for first in range(0, 2000, 20):
                send_bodies(publisher, [b"%0500d" % n for n in range(first, first + 20)])
                publisher.flush(10)
        deadline = time.monotonic() + 10
        while not (first_kept := client.first_offset(stream_name)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with client.subscriber(stream_name, "1", until_end=True) as reader:
            (note,) = reader.notes
            got = [number for block in reader for number in numbers(block)]
        assert "Offset 1 " in note
        assert f"begins with offset {first_kept}" in note
        assert got == list(range(first_kept, 2000))
        assert client.last_offset(stream_name) == 1999
        assert read_all(client, stream_name, "last:5000", until_end=True) == got
    finally:
        client.delete_stream(stream_name)


@pytest.mark.parametrize("kind", ["plain", "zstd"])
def test_times_part_the_log_between_chunks(client: StreamClient, stream: str, kind: str) -> None:
    moments = [now()]
    with client.publisher(stream, **KINDS[kind]) as publisher:
        for first in (1, 101, 201):
            time.sleep(0.06)
            send_numbers(publisher, first, 100)
            publisher.flush(10)
            time.sleep(0.06)
            moments.append(now())
    begin, after_first, after_second, end = moments
    for offset, expected in [
        (begin, range(1, 301)),
        (after_first, range(101, 301)),
        (after_second, range(201, 301)),
        (end, range(0)),
        (f"{begin}..{after_first}", range(1, 101)),
        (f"{after_first}..{after_second}", range(101, 201)),
        (f"{after_first}..end", range(101, 301)),
        (f"{after_first}..149", range(101, 151)),
        (f"250..{end}", range(251, 301)),
        (f"{end}..end", range(0)),
        ("1h", range(1, 301)),
    ]:
        assert read_all(client, stream, offset, until_end=True) == list(expected), offset
    # A range that has passed ends by itself.
    assert read_all(client, stream, f"{after_first}..{after_second}") == list(range(101, 201))


def test_a_time_in_the_future_waits_and_then_begins(client: StreamClient, stream: str) -> None:
    with client.publisher(stream, sub_batch=1) as publisher:
        send_numbers(publisher, 1, 5)
        publisher.flush(10)
        time.sleep(0.01)  # or the time would lie within the chunk's own millisecond
        with client.subscriber(stream, now()) as reader:
            assert reader.next(0.2) is None
            send_numbers(publisher, 6, 3)
            publisher.flush(10)
            assert read_numbers(reader, 3) == [6, 7, 8]


def test_a_range_that_ends_in_a_moment_ends_then_with_what_came_until_then(
    client: StreamClient, stream: str
) -> None:
    with client.publisher(stream, sub_batch=1) as publisher:
        send_numbers(publisher, 1, 5)
        publisher.flush(10)
        begun = time.time()
        late = threading.Timer(0.7, send_numbers, (publisher, 6, 5))
        late.start()
        got = read_all(client, stream, f"..{at(begun + 1.5)}")
        took = time.time() - begun
        late.join()
    assert got == list(range(1, 11))
    assert 1.5 <= took < 8


def test_a_range_that_ends_in_a_moment_ends_also_beside_a_busy_producer(
    client: StreamClient, stream: str
) -> None:
    with client.publisher(stream, sub_batch=1) as publisher, BusyProducer(publisher) as producer:
        end = time.time() + 1.2
        with client.subscriber(stream, f"..{at(end)}") as reader:
            got, latest = [], 0
            for block in reader:
                got += numbers(block)
                latest = max(latest, int(block.timestamps.max()))
        low = producer.sent
        assert time.time() - end < 8
    assert got == list(range(1, len(got) + 1))
    assert latest <= end * 1000
    assert 0 < len(got) <= low

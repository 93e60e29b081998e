"""Messages go out and come back as they were: all envelopes, all sizes, every broker."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest
from numbered import KINDS, bodies_of, numbers, read_numbers, send_bodies, send_numbers

from stocklog.broker import NodeInfo, control
from stocklog.errors import (
    CommandError,
    MessageTooLargeError,
    StreamError,
    StreamNotFoundError,
    UsageError,
)
from stocklog.protocol import amqp, frames
from stocklog.protocol.frames import Key
from stocklog.stream import PublisherOptions, StreamClient, StreamURI, Subscriber
from stocklog.stream.packing import Packer


@pytest.fixture
def client(broker: NodeInfo) -> Iterator[StreamClient]:
    with StreamClient(StreamURI.parse(broker.uri)) as client:
        yield client


@pytest.fixture
def stream(client: StreamClient, stream_name: str) -> Iterator[str]:
    client.create_stream(stream_name)
    yield stream_name
    if client.stream_exists(stream_name):
        client.delete_stream(stream_name)


def read_bodies(reader: Subscriber) -> list[bytes]:
    return [body for block in reader for body in bodies_of(block)]


@pytest.mark.parametrize("name", [None, "till-7"], ids=["unnamed", "named"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_envelope_comes_back_in_order_with_offsets_and_times(
    client: StreamClient, stream: str, kind: str, name: str | None
) -> None:
    before = int(time.time() * 1000)
    with client.publisher(stream, name=name, **KINDS[kind]) as publisher:
        for first in range(1, 5001, 1000):
            send_numbers(publisher, first, 1000)
        publisher.flush(20)
        assert (publisher.sent, publisher.confirmed, publisher.unconfirmed) == (5000, 5000, 0)
    after = int(time.time() * 1000)
    with client.subscriber(stream, "first", until_end=True) as reader:
        blocks = list(reader)
    assert [n for block in blocks for n in numbers(block)] == list(range(1, 5001))
    assert [o for block in blocks for o in block.offsets.tolist()] == list(range(5000))
    times = [t for block in blocks for t in block.timestamps.tolist()]
    assert times == sorted(times)
    assert before - 5 <= times[0] <= times[-1] <= after + 5


@pytest.mark.parametrize("kind", KINDS)
def test_bodies_of_all_sizes_in_pieces_of_all_sizes(
    client: StreamClient, stream: str, kind: str
) -> None:
    choose = random.Random(11)
    sizes = [1, 2, 127, 128, 255, 256, 65_535, 65_536, 500_000, 1_000_000]
    bodies = [choose.randbytes(choose.choice(sizes[:6])) for _ in range(900)]
    bodies += [choose.randbytes(size) for size in sizes] + [b"", b"x" * 300_000]
    choose.shuffle(bodies)
    with client.publisher(stream, **KINDS[kind]) as publisher:
        left = list(bodies)
        while left:
            count = choose.choice((1, 2, 50, 333))
            send_bodies(publisher, left[:count])
            left = left[count:]
    with client.subscriber(stream, "first", until_end=True) as reader:
        assert read_bodies(reader) == bodies


@pytest.mark.parametrize(("kind", "overhead"), [("plain", 9 + 20), ("none", 9 + 19 + 12)])
def test_the_largest_body_that_fits_goes_through_and_one_byte_more_is_refused(
    client: StreamClient, stream: str, kind: str, overhead: int
) -> None:
    largest = (1 << 20) - overhead
    with client.publisher(stream, **KINDS[kind]) as publisher:
        with pytest.raises(MessageTooLargeError, match=f"at most {largest} fit"):
            send_bodies(publisher, [b"a", b"x" * (largest + 1)])
        send_bodies(publisher, [b"y" * largest])
        publisher.flush(20)
    with client.subscriber(stream, "first", until_end=True) as reader:
        assert read_bodies(reader) == [b"y" * largest]


def test_a_name_goes_on_where_it_was_and_what_is_sent_again_enters_once(
    client: StreamClient, stream: str
) -> None:
    with client.publisher(stream, name="p", sub_batch=10) as publisher:
        assert publisher.last_sequence == 0
        send_numbers(publisher, 1, 57)
    with client.publisher(stream, name="p", sub_batch=10) as publisher:
        assert publisher.last_sequence == 57
        send_numbers(publisher, 58, 43)
        publisher.flush(10)
        assert (publisher.sent, publisher.confirmed) == (43, 43)
    # The same messages under the same numbers once more, straight to the socket.
    options = PublisherOptions(name="p", sub_batch=10)
    with client.publisher(stream, name="p", sub_batch=10) as publisher:
        packer = Packer(options, 1 << 20, 0)
        rows = amqp.frame_bodies([b"%d" % number for number in range(1, 101)])
        for frame in packer.add(*rows):
            publisher._link.connection.send(frame.pieces)
        send_numbers(publisher, 101, 1)
    with client.subscriber(stream, "first", until_end=True) as reader:
        assert read_numbers(reader, 1000) == list(range(1, 102))


def test_an_empty_stream_is_read_to_its_end_at_once_and_closes_quietly(
    client: StreamClient, stream: str
) -> None:
    with client.publisher(stream) as publisher:
        publisher.flush(1)
        assert (publisher.sent, publisher.confirmed) == (0, 0)
    with client.subscriber(stream, "first", until_end=True) as reader:
        assert list(reader) == []
        assert reader.ended
    assert client.first_offset(stream) is None
    assert client.last_offset(stream) is None


@pytest.mark.parametrize("sub_batch", [1, 20])
def test_what_is_unconfirmed_stays_within_its_bounds(
    client: StreamClient, stream: str, sub_batch: int
) -> None:
    with client.publisher(
        stream, sub_batch=sub_batch, max_unconfirmed_bytes=50_000, max_unconfirmed_entries=100
    ) as publisher:
        highest = [0, 0]
        done = threading.Event()

        def watch() -> None:
            flight = publisher._in_flight
            while not done.is_set():
                highest[0] = max(highest[0], flight.size)
                highest[1] = max(highest[1], flight.entries)

        watcher = threading.Thread(target=watch)
        watcher.start()
        send_numbers(publisher, 1, 30_000)
        publisher.flush(60)
        done.set()
        watcher.join()
        assert publisher.confirmed == 30_000
    assert 0 < highest[0] <= 50_000
    assert 0 < highest[1] <= 100


def test_a_stream_deleted_while_publishing_is_an_error_and_the_unknown_are_counted(
    client: StreamClient, stream: str
) -> None:
    publisher = client.publisher(stream, sub_batch=1)
    send_numbers(publisher, 1, 100)
    publisher.flush(10)
    deleter = threading.Timer(0.1, client.delete_stream, (stream,))
    deleter.start()

    def send_for_ever() -> None:
        while True:
            send_numbers(publisher, 101, 5000)

    begun = time.monotonic()
    with pytest.raises(StreamError) as raised:
        send_for_ever()
    assert time.monotonic() - begun < 15
    deleter.join()
    assert stream in str(raised.value)
    unknown = publisher.unconfirmed
    assert publisher.confirmed >= 100
    assert publisher.confirmed + unknown <= publisher.sent
    if unknown:
        with pytest.raises(StreamError) as last:
            publisher.close()
        assert str(unknown) in str(last.value) or getattr(last.value, "unconfirmed", 0) >= unknown
    else:
        publisher.close(timeout=0)
    with pytest.raises(UsageError, match="closed"):
        send_numbers(publisher, 1, 1)


def test_a_stream_deleted_while_it_is_read_is_an_error(client: StreamClient, stream: str) -> None:
    with client.publisher(stream) as publisher:
        send_numbers(publisher, 1, 10)
    with client.subscriber(stream, "first") as reader:
        assert read_numbers(reader, 10) == list(range(1, 11))
        client.delete_stream(stream)
        with pytest.raises(StreamNotFoundError):
            reader.next(20)


def test_publishing_to_and_reading_what_is_not_there(
    client: StreamClient, stream_name: str
) -> None:
    for open_it in (client.publisher, client.subscriber):
        with pytest.raises(StreamNotFoundError, match=f"{stream_name}.*stream create"):
            open_it(stream_name)


def test_waiting_with_a_time_limit_gives_nothing_when_nothing_comes(
    client: StreamClient, stream: str
) -> None:
    with client.subscriber(stream, "next") as reader:
        begun = time.monotonic()
        assert reader.next(0.2) is None
        assert 0.15 < time.monotonic() - begun < 2
        assert reader.next(0) is None
        assert not reader.ended


def test_closing_wakes_whoever_waits_for_messages(client: StreamClient, stream: str) -> None:
    reader = client.subscriber(stream, "next")
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.append(reader.next()))
    thread.start()
    time.sleep(0.1)
    reader.close()
    thread.join(5)
    assert got == [None]
    assert reader.ended


def test_a_slow_reader_makes_nothing_grow_beyond_its_bound(
    client: StreamClient, stream: str
) -> None:
    bound = 1 << 20
    with client.publisher(stream, sub_batch=1) as publisher:
        for first in range(1, 200_001, 2000):
            send_bodies(publisher, [b"%0100d" % n for n in range(first, first + 2000)])
            publisher.push()
    with client.subscriber(stream, "first", max_bytes=bound) as reader:
        got, sizes = [], []
        feed = reader._sources[0]._feed
        assert feed is not None

        def waiting() -> int:
            return sum(map(len, tuple(feed._chunks)))

        for _ in range(8):
            got += numbers(reader.next(10))
            time.sleep(0.05)
            sizes.append(waiting())
        # Seen before the fix: 21 MB, since the log's first chunk was tiny.
        largest = max(map(len, tuple(feed._chunks)), default=0)
        assert max(sizes) <= 2 * bound + max(largest, bound)
        time.sleep(0.5)
        settled = waiting()
        time.sleep(0.5)
        assert waiting() == settled
        assert len(got) < 200_000
        got += read_numbers(reader, 200_000 - len(got))
    assert got == list(range(1, 200_001))


def test_independent_readers_each_get_the_whole_of_their_own_range(
    client: StreamClient, stream: str
) -> None:
    with client.publisher(stream, sub_batch=50) as publisher:
        send_numbers(publisher, 1, 20_000)
    wanted = {"first": 1, "last:5000": 15_001, "7777": 7778, "first ": 1, "last": 20_000}
    got: dict[str, list[int]] = {}

    def read(text: str) -> None:
        with client.subscriber(stream, text, until_end=True) as reader:
            got[text] = [n for block in reader for n in numbers(block)]

    for _ in range(2):  # and reading has removed nothing
        got.clear()
        threads = [threading.Thread(target=read, args=(text,)) for text in wanted]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert {text: (n[0], n[-1], len(n)) for text, n in got.items()} == {
            text: (first, 20_000, 20_001 - first) for text, first in wanted.items()
        }
        assert all(n == list(range(n[0], 20_001)) for n in got.values())


# -- permissions ----------------------------------------------------------------------------


@pytest.fixture
def as_user(broker: NodeInfo, client: StreamClient) -> Iterator[StreamClient]:
    """A user who may write and read `test-` streams, not configure them; nothing else."""
    control(["add_user", "clerk", "let-me-in"], broker.dir)
    control(["set_permissions", "clerk", "^$", "^test-", "^test-"], broker.dir)
    uri = client.uri
    try:
        with StreamClient(StreamURI(uri.hosts, "clerk", "let-me-in", uri.vhost)) as other:
            yield other
    finally:
        control(["delete_user", "clerk"], broker.dir)


def test_rights_are_needed_only_for_what_is_done(
    client: StreamClient, stream: str, as_user: StreamClient
) -> None:
    # An existing stream works without the right to configure it.
    assert as_user.create_stream(stream) is False
    with as_user.publisher(stream) as publisher:
        send_numbers(publisher, 1, 10)
    with as_user.subscriber(stream, "first", until_end=True) as reader:
        assert read_numbers(reader, 10) == list(range(1, 11))
    with pytest.raises(CommandError, match=r"access refused.*set_permissions"):
        as_user.create_stream(stream + "-new")
    with pytest.raises(CommandError, match="access refused"):
        as_user.delete_stream(stream)
    client.create_stream("private-" + stream)
    try:
        for open_it in (as_user.publisher, as_user.subscriber):
            with pytest.raises(CommandError, match="access refused"):
                open_it("private-" + stream)
    finally:
        client.delete_stream("private-" + stream)


# -- the table of commands --------------------------------------------------------------------


def test_the_broker_lists_the_commands_that_we_can_send(client: StreamClient) -> None:
    commands = client._connection().agreed.commands
    if not commands:
        assert client.server_version.startswith("3.10.")
        return
    only_the_broker_sends = {Key.METADATA_UPDATE, Key.TUNE}
    # Part of the handshake: the broker's list leaves these out.
    in_the_handshake = {
        Key.PEER_PROPERTIES,
        Key.SASL_HANDSHAKE,
        Key.SASL_AUTHENTICATE,
        Key.OPEN,
        Key.EXCHANGE_COMMAND_VERSIONS,
    }
    ours = set(frames.LAYOUTS) - only_the_broker_sends - in_the_handshake | {Key.PUBLISH}
    missing = {key.name for key in ours if commands.get(key, 0) < 1}
    assert missing == set()

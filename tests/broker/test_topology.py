"""Streams made, seen and deleted; logins refused."""

from __future__ import annotations

from collections.abc import Iterator

import pika
import pytest
from numbered import send_numbers

from stocklog.broker import NodeInfo, control
from stocklog.errors import AuthenticationError, CommandError, StreamNotFoundError, UsageError
from stocklog.stream import StreamArguments, StreamClient, StreamURI


@pytest.fixture
def client(broker: NodeInfo) -> Iterator[StreamClient]:
    with StreamClient(StreamURI.parse(broker.uri)) as client:
        yield client


def test_a_stream_is_made_once_found_and_deleted(client: StreamClient, stream_name: str) -> None:
    assert not client.stream_exists(stream_name)
    assert client.create_stream(stream_name) is True
    assert client.create_stream(stream_name) is False
    # Also when it is asked for in another form than it has.
    assert client.create_stream(stream_name, StreamArguments(max_age="7D")) is False
    assert client.stream_exists(stream_name)
    client.delete_stream(stream_name)
    assert not client.stream_exists(stream_name)
    with pytest.raises(StreamNotFoundError, match=stream_name):
        client.delete_stream(stream_name)
    # Made again at once, it is empty.
    assert client.create_stream(stream_name) is True
    assert client.last_offset(stream_name) is None
    client.delete_stream(stream_name)


def test_the_first_host_may_be_down(client: StreamClient, stream_name: str) -> None:
    uri = client.uri
    hosts = (("127.0.0.1", 9), ("no-such-host.invalid", 5552), *uri.hosts)
    with StreamClient(StreamURI(hosts, uri.user, uri.password, uri.vhost)) as other:
        other.create_stream(stream_name)
        with other.publisher(stream_name, sub_batch=1) as publisher:
            send_numbers(publisher, 1, 3)
        assert other.last_offset(stream_name) == 2
        other.delete_stream(stream_name)


@pytest.mark.parametrize("name", ["a b/ñ%é.日本", "x" * 233, "ñ" * 116])
def test_odd_names_work(client: StreamClient, name: str) -> None:
    assert client.create_stream(name)
    try:
        with client.publisher(name) as publisher:
            send_numbers(publisher, 1, 1)
        assert client.last_offset(name) == 0
    finally:
        client.delete_stream(name)


@pytest.mark.parametrize("name", ["", "amq.x", "a\nb", "x" * 234, "x" * 256])
def test_names_that_cannot_be_are_refused_before_the_broker_sees_them(
    client: StreamClient, name: str
) -> None:
    with pytest.raises(UsageError):
        client.create_stream(name)


def test_metadata_of_what_is_there_and_what_is_not(client: StreamClient, stream_name: str) -> None:
    client.create_stream(stream_name)
    found = client.metadata([stream_name, "no-" + stream_name])
    assert found[stream_name].code == 1
    assert found[stream_name].leader == client.uri.hosts[0]
    assert found[stream_name].replicas == ()
    assert (found["no-" + stream_name].code, found["no-" + stream_name].leader) == (2, None)
    assert client.metadata([]) == {}
    client.delete_stream(stream_name)


def test_stats_are_the_brokers_where_it_has_any(client: StreamClient, stream_name: str) -> None:
    client.create_stream(stream_name)
    empty = client.stats(stream_name)
    with client.publisher(stream_name) as publisher:
        send_numbers(publisher, 1, 10)
    stats = client.stats(stream_name)
    if client.server_version.startswith("3.10."):
        assert empty == stats == {}
    else:
        assert empty["first_chunk_id"] == empty["committed_chunk_id"] == -1
        assert stats["first_chunk_id"] == 0
        assert stats["committed_chunk_id"] == 0
        with pytest.raises(StreamNotFoundError):
            client.stats("no-" + stream_name)
    assert (client.first_offset(stream_name), client.last_offset(stream_name)) == (0, 9)
    client.delete_stream(stream_name)


def test_arguments_reach_the_broker(
    broker: NodeInfo, client: StreamClient, stream_name: str
) -> None:
    client.create_stream(stream_name, StreamArguments(1_000_000, "12h", 100_000, 1, "client-local"))
    listed = control(["list_queues", "--quiet", "name", "arguments"], broker.dir)
    (line,) = [line for line in listed.splitlines() if line.startswith(stream_name)]
    for word in ("1000000", "12h", "100000", "client-local", "x-initial-cluster-size"):
        assert word in line
    client.delete_stream(stream_name)


def test_an_ordinary_queue_is_no_stream(
    broker: NodeInfo, client: StreamClient, stream_name: str
) -> None:
    uri = client.uri
    credentials = pika.PlainCredentials(uri.user, uri.password)
    parameters = pika.ConnectionParameters("127.0.0.1", broker.nodes[0].amqp_port, "/", credentials)
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.queue_declare(stream_name, durable=True)
        try:
            assert not client.stream_exists(stream_name)
            with pytest.raises(StreamNotFoundError):
                client.subscriber(stream_name)
            with pytest.raises(CommandError, match=stream_name):
                client.create_stream(stream_name)
        finally:
            channel.queue_delete(stream_name)


@pytest.mark.parametrize(
    ("user", "password", "vhost", "says"),
    [
        (None, "wr0ng-zk8w", None, "password"),
        ("nobody-zk8w", "wr0ng-zk8w", None, "Logging in as 'nobody-zk8w'"),
        (None, None, "no-such-vhost", "Opening vhost 'no-such-vhost'"),
    ],
    ids=["password", "user", "vhost"],
)
def test_a_refused_login_says_what_was_refused_and_not_the_password(
    broker: NodeInfo, user: str | None, password: str | None, vhost: str | None, says: str
) -> None:
    uri = StreamURI.parse(broker.uri)
    wrong = StreamURI(uri.hosts, user or uri.user, password or uri.password, vhost or uri.vhost)
    with pytest.raises(AuthenticationError, match=says) as raised:
        StreamClient(wrong)
    assert raised.value.remedy
    assert wrong.password not in str(raised.value)

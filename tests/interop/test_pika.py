"""AMQP 0-9-1 beside us on the same stream, by pika: what it writes we read, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pika
import pytest
from interop_helpers import publish_bodies, read_bodies, read_messages

from stocklog.broker import NodeInfo
from stocklog.protocol import amqp
from stocklog.stream import StreamClient, StreamURI

pytestmark = pytest.mark.interop


@pytest.fixture
def client(broker: NodeInfo) -> Iterator[StreamClient]:
    with StreamClient(StreamURI.parse(broker.uri)) as client:
        yield client


@pytest.fixture
def stream(client: StreamClient, stream_name: str) -> Iterator[str]:
    client.create_stream(stream_name)
    yield stream_name
    client.delete_stream(stream_name)


@pytest.fixture
def channel(broker: NodeInfo, client: StreamClient) -> Iterator[Any]:
    credentials = pika.PlainCredentials(client.uri.user, client.uri.password)
    connection = pika.BlockingConnection(
        pika.ConnectionParameters("127.0.0.1", broker.nodes[0].amqp_port, "/", credentials)
    )
    channel = connection.channel()
    channel.confirm_delivery()
    yield channel
    # Not `cancel()`: it nacks, and 3.10.8 answers that with 540.
    if connection.is_open:
        connection.close()


def consume(channel: Any, stream: str, offset: object, count: int) -> list[tuple[int, bytes]]:
    """`count` messages from an x-stream-offset on: each one's own x-stream-offset and body."""
    channel.basic_qos(prefetch_count=100)
    got: list[tuple[int, bytes]] = []
    for method, properties, body in channel.consume(
        stream, arguments={"x-stream-offset": offset}, inactivity_timeout=10
    ):
        assert method is not None, f"{len(got)} of {count} messages came"
        got.append((properties.headers["x-stream-offset"], body))
        channel.basic_ack(method.delivery_tag)
        if len(got) == count:
            return got
    raise AssertionError("unreachable")


BODIES = [b"x", b"{}", bytes(range(256)), b"y" * 300, b"z" * 70_000, "ñ €".encode()]


def test_bodies_published_by_amqp_are_read_exactly(
    client: StreamClient, stream: str, channel: Any
) -> None:
    bodies = BODIES + [b"%d" % number for number in range(300)]
    for body in bodies:
        channel.basic_publish("", stream, body)
    assert read_bodies(client, stream, len(bodies)) == bodies


def test_headers_and_properties_do_not_hide_the_body(
    client: StreamClient, stream: str, channel: Any
) -> None:
    channel.basic_publish(
        "",
        stream,
        b'{"sku":"1"}',
        pika.BasicProperties(
            content_type="application/json",
            content_encoding="utf-8",
            message_id="m-1",
            correlation_id="c-1",
            timestamp=1_764_000_000,
            type="stock",
            app_id="till",
            priority=3,
            delivery_mode=2,
            reply_to="desk",
            headers={
                "shop": "Vigo",
                "shelf": 7,
                "x-origin": "pos",
                "nested": {"a": 1},
                "list": [1, "two"],
                "yes": True,
                "nothing": None,
            },
        ),
    )
    channel.basic_publish("", stream, b"second", pika.BasicProperties(headers={}))
    ((whole, body), (_, second)) = read_messages(client, stream, 2)
    assert (body, second) == (b'{"sku":"1"}', b"second")
    parsed = amqp.parse_message(whole)
    assert parsed.properties is not None
    assert str(parsed.properties.message_id) == "m-1"
    assert parsed.application_properties is not None
    assert parsed.application_properties["shop"] == "Vigo"
    assert parsed.application_properties["shelf"] == 7


@pytest.mark.parametrize("sub_batch", [1, 50], ids=["plain", "uncompressed sub-batches"])
def test_what_we_publish_is_consumed_by_amqp_with_exact_bodies_and_offsets(
    client: StreamClient, stream: str, channel: Any, sub_batch: int
) -> None:
    bodies = BODIES + [b"%d" % number for number in range(300)]
    publish_bodies(client, stream, bodies, sub_batch=sub_batch)
    assert consume(channel, stream, "first", len(bodies)) == list(enumerate(bodies))


@pytest.mark.parametrize("sub_batch", [1, 50], ids=["plain", "uncompressed sub-batches"])
@pytest.mark.parametrize("offset", [0, 1, 49, 50, 77, 305])
def test_a_numeric_offset_is_exact_also_inside_a_sub_batch(
    client: StreamClient, stream: str, channel: Any, sub_batch: int, offset: int
) -> None:
    bodies = [b"%d" % number for number in range(306)]
    publish_bodies(client, stream, bodies, sub_batch=sub_batch)
    count = len(bodies) - offset
    assert consume(channel, stream, offset, count) == list(enumerate(bodies))[offset:]


@pytest.mark.parametrize("sub_batch", [1, 50], ids=["plain", "uncompressed sub-batches"])
def test_next_gives_amqp_readers_what_comes_after_attaching(
    client: StreamClient, stream: str, channel: Any, sub_batch: int
) -> None:
    publish_bodies(client, stream, [b"before"] * 10, sub_batch=sub_batch)
    channel.basic_qos(prefetch_count=100)
    got: list[tuple[int, bytes]] = []

    def on_message(_: Any, method: Any, properties: Any, body: bytes) -> None:
        got.append((properties.headers["x-stream-offset"], body))
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(stream, on_message, arguments={"x-stream-offset": "next"})
    publish_bodies(
        client, stream, [b"after %d" % number for number in range(60)], sub_batch=sub_batch
    )
    for _ in range(100):
        channel.connection.process_data_events(0.1)
        if len(got) == 60:
            break
    assert got == [(10 + number, b"after %d" % number) for number in range(60)]


def test_both_kinds_of_writers_share_one_log(
    client: StreamClient, stream: str, channel: Any
) -> None:
    publish_bodies(client, stream, [b"1", b"2"])
    channel.basic_publish("", stream, b"3")
    publish_bodies(client, stream, [b"4"], sub_batch=1)
    assert read_bodies(client, stream, 4) == [b"1", b"2", b"3", b"4"]
    assert consume(channel, stream, "first", 4) == list(enumerate([b"1", b"2", b"3", b"4"]))

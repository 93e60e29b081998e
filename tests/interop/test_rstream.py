"""rstream, another Python client of the stream protocol: it writes and we read, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest
import rstream
from interop_helpers import publish_bodies, read_bodies, read_messages
from rstream import AMQPMessage, CompressionType, ConsumerOffsetSpecification, OffsetType

from stocklog.broker import NodeInfo
from stocklog.protocol import amqp
from stocklog.stream import StreamClient, StreamURI

pytestmark = pytest.mark.interop

BODIES = [b"", b"x", b"{}", bytes(range(256)), b"\x00\x53\x75", b"y" * 255, b"z" * 70_000] + [
    b'{"sku":"%d"}' % number for number in range(300)
]


@pytest.fixture
def client(broker: NodeInfo) -> Iterator[StreamClient]:
    with StreamClient(StreamURI.parse(broker.uri)) as client:
        yield client


@pytest.fixture
def stream(client: StreamClient, stream_name: str) -> Iterator[str]:
    client.create_stream(stream_name)
    yield stream_name
    client.delete_stream(stream_name)


def login(client: StreamClient) -> dict[str, object]:
    (host, port), *_ = client.uri.hosts
    return {
        "host": host,
        "port": port,
        "username": client.uri.user,
        "password": client.uri.password,
    }


def write(
    client: StreamClient,
    count: int,
    action: Callable[[rstream.Producer, object], Awaitable[object]],
) -> None:
    """Runs the action with a producer and waits for `count` confirmed publishing ids."""

    async def run() -> None:
        confirmed: list[int] = []
        done = asyncio.Event()

        async def on_confirm(status: rstream.ConfirmationStatus) -> None:
            assert status.is_confirmed
            confirmed.append(status.message_id)
            if len(confirmed) == count:
                done.set()

        async with rstream.Producer(**login(client)) as producer:
            await action(producer, on_confirm)
            await asyncio.wait_for(done.wait(), 20)

    asyncio.run(run())


def test_raw_bytes_without_any_section_are_bodies(client: StreamClient, stream: str) -> None:
    # What is no AMQP 1.0 message at all; its first byte must not look like a section.
    bodies = [b"x", b"{}", b"plain text", b"z" * 70_000]
    write(client, 4, lambda p, done: p.send_batch(stream, bodies, on_publish_confirm=done))
    assert read_bodies(client, stream, 4) == bodies


def test_messages_with_properties_are_read_whole(client: StreamClient, stream: str) -> None:
    def message(number: int) -> AMQPMessage:
        return AMQPMessage(
            body=b"body %d" % number,
            properties=rstream.Properties(
                message_id=f"id-{number}", content_type="application/json", subject="stock"
            ),
            application_properties={"shop": "Vigo", "shelf": number, "ratio": 0.5},
        )

    sent = [message(number) for number in range(200)]
    write(client, 200, lambda p, done: p.send_batch(stream, sent, on_publish_confirm=done))
    for number, (whole, body) in enumerate(read_messages(client, stream, 200)):
        assert body == b"body %d" % number
        parsed = amqp.parse_message(whole)
        assert parsed.properties is not None
        assert parsed.properties.message_id == f"id-{number}"
        assert parsed.properties.subject == "stock"
        assert parsed.application_properties == {"shop": "Vigo", "shelf": number, "ratio": 0.5}


@pytest.mark.parametrize("compression", [CompressionType.No, CompressionType.Gzip])
def test_sub_batches_of_its_codecs_are_unpacked(
    client: StreamClient, stream: str, compression: CompressionType
) -> None:
    messages = [AMQPMessage(body=body) for body in BODIES[1:]]

    async def action(producer: rstream.Producer, done: object) -> None:
        for begin in range(0, len(messages), 100):
            await producer.send_sub_entry(
                stream,
                messages[begin : begin + 100],
                compression_type=compression,
                on_publish_confirm=done,  # type: ignore[arg-type]
            )

    write(client, -(-len(messages) // 100), action)
    assert read_bodies(client, stream, len(messages)) == BODIES[1:]


def test_single_messages_and_batches_mix(client: StreamClient, stream: str) -> None:
    async def action(producer: rstream.Producer, done: object) -> None:
        for number in range(5):
            await producer.send(stream, AMQPMessage(body=b"%d" % number), on_publish_confirm=done)  # type: ignore[arg-type]

    write(client, 5, action)
    assert read_bodies(client, stream, 5) == [b"0", b"1", b"2", b"3", b"4"]


# -- back -----------------------------------------------------------------------------------


def consume(client: StreamClient, stream: str, count: int) -> list[tuple[int, bytes]]:
    """The first `count` messages as rstream reads them: offset and body."""

    async def run() -> list[tuple[int, bytes]]:
        got: list[tuple[int, bytes]] = []
        consumer = rstream.Consumer(**login(client))

        async def on_message(message: AMQPMessage, context: rstream.MessageContext) -> None:
            body = message.body
            got.append((context.offset, b"".join(body) if isinstance(body, list) else body))
            if len(got) == count:
                consumer.stop()

        await consumer.start()
        await consumer.subscribe(
            stream,
            on_message,
            decoder=rstream.amqp_decoder,
            offset_specification=ConsumerOffsetSpecification(OffsetType.FIRST, None),
        )
        await asyncio.wait_for(consumer.run(), 20)
        await consumer.close()
        return got

    return asyncio.run(run())


@pytest.mark.parametrize(
    "how",
    [{"sub_batch": 1}, {"sub_batch": 100}, {"sub_batch": 100, "codec": "gzip"}],
    ids=["plain", "none", "gzip"],
)
def test_it_reads_what_we_write(client: StreamClient, stream: str, how: dict[str, object]) -> None:
    bodies = [*BODIES, "ñandú €".encode()]
    publish_bodies(client, stream, bodies, **how)
    assert consume(client, stream, len(bodies)) == list(enumerate(bodies))

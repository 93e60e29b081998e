"""The Python face on a real broker: connect, send, read."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

import stocklog
from stocklog.broker import NodeInfo
from stocklog.errors import InvalidUpdateError, StreamError, UsageError
from stocklog.inventory.simulate import Simulator
from stocklog.inventory.update import to_frame

WHEN = datetime(2026, 11, 24, 14, 5, tzinfo=UTC)


def update(number: int) -> stocklog.Update:
    return stocklog.Update(
        update_id=f"a/{number}",
        type="adjustment",
        sku="S",
        location_id="L",
        quantity=1,
        occurred_at=WHEN,
        reason="sale",
        source="till",
    )


@pytest.fixture
def client(one_broker: NodeInfo) -> Iterator[stocklog.Client]:
    with stocklog.connect(one_broker.uri) as client:
        yield client


def read(client: stocklog.Client, stream: str) -> pl.DataFrame:
    parts = [batch.to_polars() for batch in client.consumer(stream, offset="first", until_end=True)]
    return pl.concat(parts) if parts else pl.DataFrame()


def test_a_table_goes_in_and_comes_back(client: stocklog.Client, stream_name: str) -> None:
    table = Simulator("grocery", 5).batch(25_001)
    with client.producer(stream_name) as producer:
        producer.send(table)
        producer.flush()
        assert producer.confirmed == producer.sent == 25_001
    found = read(client, stream_name)
    assert found["offset"].to_list() == list(range(25_001))
    assert found.drop("offset", "recorded_at").equals(to_frame(table))


def test_what_was_read_can_be_sent_on_as_polars_and_as_arrow(
    client: stocklog.Client, stream_name: str
) -> None:
    with client.producer(stream_name) as producer:
        producer.send([update(n) for n in range(3)])
    batch = next(iter(client.consumer(stream_name, offset="first")))
    with client.producer(stream_name) as producer:
        producer.send(batch.to_polars())
        producer.send(batch.to_arrow())
    assert read(client, stream_name)["update_id"].to_list() == ["a/0", "a/1", "a/2"] * 3


def test_a_single_update_is_out_within_a_moment_without_a_flush(
    client: stocklog.Client, stream_name: str
) -> None:
    consumer = client.consumer(stream_name, offset="first")
    with client.producer(stream_name) as producer:
        producer.send(update(1))
        batch = consumer.next(timeout=30)
        assert batch is not None
        assert batch.updates["update_id"].to_list() == ["a/1"]


def test_a_short_table_is_out_within_a_moment_without_a_flush(
    client: stocklog.Client, stream_name: str
) -> None:
    consumer = client.consumer(stream_name, offset="first")
    with client.producer(stream_name) as producer:
        producer.send([update(n) for n in range(7)])
        batch = consumer.next(timeout=30)
        assert batch is not None
        assert len(batch) == 7


def test_single_updates_and_tables_keep_their_order(
    client: stocklog.Client, stream_name: str
) -> None:
    with client.producer(stream_name) as producer:
        for number in range(2500):
            producer.send(update(number))
        producer.send([update(number) for number in range(2500, 2600)])
        producer.send(update(2600))
    wanted = [f"a/{number}" for number in range(2601)]
    assert read(client, stream_name)["update_id"].to_list() == wanted


def test_a_table_with_an_invalid_row_is_refused_whole(
    client: stocklog.Client, stream_name: str
) -> None:
    frame = to_frame([update(0), update(1), update(2)]).with_columns(
        quantity=pl.Series([1, 0, 1], dtype=pl.Int64)
    )
    with client.producer(stream_name) as producer:
        with pytest.raises(InvalidUpdateError, match=r"1 of 3 updates are not valid; row 1: "):
            producer.send(frame)
        assert producer.sent == 0
    assert client.stream_client.last_offset(stream_name) is None


def test_a_name_that_sends_blocks_takes_no_single_updates(
    client: stocklog.Client, stream_name: str
) -> None:
    with client.producer(stream_name, name="wms") as producer:
        producer.send([update(0)])
        with pytest.raises(UsageError, match="sends blocks of 500"):
            producer.send(update(1))


def test_a_closed_producer_says_so(client: stocklog.Client, stream_name: str) -> None:
    producer = client.producer(stream_name)
    producer.send(update(0))
    producer.close()
    producer.close()
    with pytest.raises(UsageError, match="closed"):
        producer.send(update(1))
    assert read(client, stream_name).height == 1


def test_a_lost_stream_is_an_error_at_the_next_call(
    client: stocklog.Client, stream_name: str
) -> None:
    producer = client.producer(stream_name)
    producer.send([update(0)])
    producer.flush()
    client.stream_client.delete_stream(stream_name)

    def go_on() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            producer.send(update(1))
            producer.flush(1)

    with pytest.raises(StreamError):
        go_on()
    with contextlib.suppress(StreamError):  # raised if the last update's fate is unknown
        producer.close()
    producer.close()


def test_next_and_last_attach_before_consumer_returns(
    client: stocklog.Client, stream_name: str
) -> None:
    with client.producer(stream_name) as producer:
        producer.send([update(n) for n in range(10)])
        producer.flush()
        new, last = (client.consumer(stream_name, offset=word) for word in ("next", "last"))
        producer.send([update(10), update(11)])
        producer.flush()
        for consumer, wanted in ((new, ["a/10", "a/11"]), (last, ["a/9", "a/10", "a/11"])):
            found: list[str] = []
            while len(found) < len(wanted):
                batch = consumer.next(timeout=30)
                assert batch is not None
                found += batch.updates["update_id"].to_list()
            assert found == wanted


def test_a_batch_has_offsets_and_times(client: stocklog.Client, stream_name: str) -> None:
    with client.producer(stream_name) as producer:
        producer.send([update(n) for n in range(10)])
    (batch,) = client.consumer(stream_name, offset="4", until_end=True)
    assert batch.offsets.tolist() == [4, 5, 6, 7, 8, 9]
    assert batch.offsets.dtype == np.int64
    assert batch.recorded_at.dtype == np.dtype("datetime64[ms]")
    assert abs(batch.recorded_at[0] - np.datetime64("now")) < np.timedelta64(1, "h")
    assert batch.invalid == ()


def test_a_timeout_is_none_and_not_the_end(client: stocklog.Client, stream_name: str) -> None:
    consumer = client.consumer(stream_name)
    assert consumer.next(timeout=0.05) is None
    with client.producer(stream_name) as producer:
        producer.send(update(1))
    assert consumer.next(timeout=30) is not None


def test_the_client_names_the_broker_without_its_password(
    client: stocklog.Client, one_broker: NodeInfo
) -> None:
    secret = one_broker.uri.split(":")[2].split("@")[0]
    for shown in (client.broker, repr(client)):
        assert one_broker.version in shown
        assert secret not in shown


def test_every_public_name_can_be_had() -> None:
    assert {name for name in stocklog.__all__ if getattr(stocklog, name) is None} == set()
    assert set(stocklog.__all__) <= set(dir(stocklog))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = stocklog.nothing  # type: ignore[attr-defined]


def test_a_program_ends_though_it_closed_nothing(one_broker: NodeInfo, stream_name: str) -> None:
    code = (
        "import stocklog, sys\n"
        f"client = stocklog.connect({one_broker.uri!r})\n"
        f"producer = client.producer({stream_name!r})\n"
        f"consumer = client.consumer({stream_name!r})\n"
        "producer.send([])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    assert done.returncode == 0


@pytest.mark.parametrize("linger", [-0.001, float("nan"), float("inf")])
def test_a_linger_that_is_no_time_is_refused(
    client: stocklog.Client, stream_name: str, linger: float
) -> None:
    with pytest.raises(UsageError, match="linger is"):
        client.producer(stream_name, linger=linger)

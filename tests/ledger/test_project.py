"""The projector on a real broker: current, killed, doubled, and on the wrong stream."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

import stock_reference
import stocklog
from stock_histories import START
from stocklog.broker import NodeInfo
from stocklog.errors import StoreError, StreamNotFoundError
from stocklog.ledger.project import ProjectSummary, project
from stocklog.ledger.questions import open_ledger
from stocklog.protocol import amqp
from stocklog.stores.uri import open_store
from stocklog.stream import StreamArguments
from store_driver import moment, stock_of


@pytest.fixture
def client(one_broker: NodeInfo) -> Iterator[stocklog.Client]:
    with stocklog.connect(one_broker.uri) as connected:
        yield connected


def log_of(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """A log with everything in it, offsets as the broker will give them."""
    rng = random.Random(seed)
    log: list[dict[str, Any]] = []
    for number in range(count):
        kind = rng.choice(["adjustment"] * 6 + ["count", "count", "transfer", "reservation"])
        places = rng.sample(["L1", "L2", "L3", "L4"], 2)
        update = {
            "offset": number,
            "update_id": f"u{seed}-{number if rng.random() > 0.05 else number // 2}",
            "type": kind,
            "sku": f"SKU-{int(rng.paretovariate(0.5)) % 300}",
            "location_id": places[0],
            "quantity": rng.randint(1, 50) * (1 if kind != "adjustment" else rng.choice([1, -1])),
            "occurred_at": START + number * 1000 - rng.choice([0] * 9 + [10**8]),
            "reason": "other",
            "source": rng.choice(["till", "wms"]),
        }
        if kind == "transfer":
            update["to_location_id"] = places[1]
        log.append(update)
    return log


def publish(client: stocklog.Client, stream: str, log: list[dict[str, Any]]) -> None:
    rows = [{**one, "occurred_at": moment(one["occurred_at"])} for one in log]
    for row in rows:
        del row["offset"]
    with client.producer(stream, sub_batch=50) as producer:
        producer.send(rows)


def follow(client: stocklog.Client, stream: str, store: str, **options: Any) -> ProjectSummary:
    with contextlib.closing(open_store(store, stream, writing=True)) as opened:
        return project(client.stream_client, stream, opened, until_end=True, **options)


def test_a_store_follows_the_log_from_run_to_run(
    client: stocklog.Client, stream_name: str, store: str
) -> None:
    log = log_of(3000)
    for first in range(0, 3000, 1000):
        publish(client, stream_name, log[first : first + 1000])
        summary = follow(client, stream_name, store, commit_rows=170)
        assert summary.last_offset == first + 999
        assert summary.updates + summary.duplicates == 1000
        assert stock_of(store) == stock_reference.stock(log[: first + 1000])
    assert summary.duplicates > 0
    again = follow(client, stream_name, store)
    assert (again.updates, again.commits, again.last_offset) == (0, 0, 2999)


def test_a_projection_that_ends_leaves_a_store_that_finds_one_key_by_an_index(
    client: stocklog.Client, stream_name: str, store: str
) -> None:
    client.stream_client.create_stream(stream_name)
    follow(client, stream_name, store)
    with contextlib.closing(open_store(store, stream_name)) as opened:
        assert not opened._is_indexed  # with nothing in it, what comes first would be slow
    publish(client, stream_name, log_of(500))
    for _ in range(2):
        follow(client, stream_name, store)
        with contextlib.closing(open_store(store, stream_name)) as opened:
            assert opened._is_indexed
        assert stock_of(store) == stock_reference.stock(log_of(500))


def test_messages_that_are_no_updates_move_the_offset_and_nothing_else(
    client: stocklog.Client, stream_name: str, store: str
) -> None:
    log = log_of(10)
    publish(client, stream_name, log)
    publisher = client.stream_client.publisher(stream_name, sub_batch=1)
    publisher.send(*amqp.frame_bodies([b"not an update"] * 3, plain=True))
    publisher.flush(20.0)
    publisher.close()
    summary = follow(client, stream_name, store)
    assert (summary.invalid, summary.last_offset) == (3, 12)
    assert stock_of(store) == stock_reference.stock(log)
    assert follow(client, stream_name, store).last_offset == 12


def test_a_stream_made_again_under_its_name_is_refused(
    client: stocklog.Client, stream_name: str, store: str
) -> None:
    log = log_of(100)
    publish(client, stream_name, log)
    follow(client, stream_name, store)
    before = stock_of(store)
    client.stream_client.delete_stream(stream_name)
    with pytest.raises(StreamNotFoundError, match="There is no stream"):
        follow(client, stream_name, store)
    publish(client, stream_name, log[:50])
    with pytest.raises(StoreError, match="ends with offset 49"):
        follow(client, stream_name, store)
    publish(client, stream_name, log[50:])
    # The very same bodies at the same offsets: only the broker's clock tells.
    with pytest.raises(StoreError, match="has another message") as refused:
        follow(client, stream_name, store)
    assert "--store" in refused.value.remedy
    assert stock_of(store) == before


def test_a_store_of_another_stream_is_refused(
    client: stocklog.Client, stream_name: str, store: str
) -> None:
    publish(client, stream_name, log_of(10))
    follow(client, stream_name, store)
    other = f"{stream_name}-other"
    publish(client, other, log_of(10))
    with pytest.raises(StoreError, match=f"of the stream '{stream_name}'"):
        follow(client, other, store)


def test_what_retention_cut_is_refused_until_the_gap_is_accepted(
    client: stocklog.Client, stream_name: str, store: str
) -> None:
    streams = client.stream_client
    streams.create_stream(
        stream_name, StreamArguments(max_length_bytes=200_000, max_segment_size=50_000)
    )
    publish(client, stream_name, log_of(100))
    follow(client, stream_name, store)
    sent = 0
    while streams.first_offset(stream_name) in (None, *range(101)):
        publish(client, stream_name, log_of(2000, seed=2 + sent))
        sent += 1
        assert sent < 60, "retention does not cut"
        time.sleep(0.05)
    first = streams.begin_offset(stream_name)
    assert first is not None
    with pytest.raises(StoreError, match="Retention has cut offsets 100 to"):
        follow(client, stream_name, store)
    summary = follow(client, stream_name, store, accept_gap=True)
    assert summary.gap
    assert summary.last_offset == streams.last_offset(stream_name)
    # It is remembered, and does not stand in the way again.
    assert follow(client, stream_name, store).gap
    with open_ledger(store) as ledger:
        position = ledger.position
    assert [(gap.first, gap.last >= first - 1) for gap in position.gaps] == [(100, True)]


def test_the_second_writer_is_refused_and_readers_are_not(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stocklog.stores.postgres.WAIT", 0.3)
    writer = open_store(store, "s", writing=True)
    writer.claim("s")
    with pytest.raises(StoreError, match="Another `stocklog project`"):
        open_store(store, "s", writing=True)
    with open_ledger(store) as ledger:
        assert ledger.position.stream == "s"
    writer.close()
    open_store(store, "s", writing=True).close()


KILLS = int(os.environ.get("STOCKLOG_TEST_KILLS", "8"))
"""How often a projector is killed; the promise was checked with 50."""

_CHILD = """
import sys
from stocklog.ledger.project import project
from stocklog.stores import seen
from stocklog.stores.uri import open_store
from stocklog.stream import StreamClient
seen._FILED = 300  # so that the files of hashes are in play too
uri, stream, store = sys.argv[1:]
with StreamClient(uri) as client:
    opened = open_store(store, stream, writing=True)
    print("ready", flush=True)
    project(client, stream, opened, until_end=True, commit_rows=40,
            on_tick=lambda tick: print(tick.updates, flush=True))
"""


@pytest.mark.slow
@pytest.mark.timeout(120 + 10 * KILLS)
def test_killed_at_any_moment_and_started_again_it_is_right(
    one_broker: NodeInfo, client: stocklog.Client, stream_name: str, store: str
) -> None:
    log = log_of(900 * KILLS)
    publish(client, stream_name, log)
    words = [sys.executable, "-c", _CHILD, one_broker.uri, stream_name, store]
    rng = random.Random(3)
    kills, stands = 0, -1
    while kills < KILLS:
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            for _ in range(rng.randint(2, 8)):  # with the second the first is written
                child.stdout.readline()
            time.sleep(rng.random() * 0.02)
            child.send_signal(signal.SIGKILL)
            assert child.wait() == -signal.SIGKILL, "it was through: the log is too short"
        # A server may be at work on the last thing that the killed one asked for.
        with open_ledger(store) as ledger, ledger.store.snapshot():
            now, stock = ledger.position.last_offset, ledger.stock()
        assert now >= stands
        found = {(row[0], row[1]): (row[2], row[3]) for row in stock.rows()}
        assert found == stock_reference.stock(log[: now + 1])
        # Only those count that struck between its first and its last transaction.
        kills += stands < now < len(log) - 1
        stands = now
    assert follow(client, stream_name, store).duplicates > 0
    assert stock_of(store) == stock_reference.stock(log)
    with open_ledger(store) as ledger:
        position = ledger.position
    assert position.updates + position.duplicates == len(log)

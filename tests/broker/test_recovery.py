"""Publishers and subscribers when the connection, the leader or the stream goes away."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from helpers import wait_until
from numbered import numbers, read_numbers, send_numbers

from nodes import Nodes, root_for
from stocklog import broker as private_broker
from stocklog.bench.chaos import bodies
from stocklog.bench.chaos.checker import Anomaly, check
from stocklog.bench.chaos.flow import MidFrameCut
from stocklog.bench.chaos.history import ProducerHistory
from stocklog.bench.chaos.logcopy import LogCopy
from stocklog.bench.chaos.proxy import LOOPBACK, Proxy, ProxyLoop
from stocklog.broker import NodeInfo
from stocklog.errors import (
    AuthenticationError,
    ProducerConflictError,
    StreamError,
    StreamNotFoundError,
    UnconfirmedError,
    UsageError,
)
from stocklog.inventory.feeds import FeedOptions
from stocklog.ledger.batch import decode
from stocklog.ledger.load import LoadPlan, load
from stocklog.ledger.register import Register
from stocklog.protocol.frames import Key
from stocklog.stream import Publisher, StreamClient, StreamURI


@pytest.fixture
def proxies() -> Iterator[ProxyLoop]:
    loop = ProxyLoop()
    yield loop
    loop.close()


@pytest.fixture
def proxy(proxies: ProxyLoop, broker: NodeInfo) -> Iterator[Proxy]:
    made = Proxy(proxies, broker.stream_port)
    yield made
    made.close()


@pytest.fixture
def client(broker: NodeInfo, proxy: Proxy) -> Iterator[StreamClient]:
    """A client of either broker that sees it through the proxy only."""
    with through(broker, proxy, rpc_timeout=3.0) as made:
        yield made


@pytest.fixture
def direct(broker: NodeInfo) -> Iterator[StreamClient]:
    with StreamClient(broker.uri) as made:
        yield made


@pytest.fixture
def stream(direct: StreamClient, stream_name: str) -> str:
    direct.create_stream(stream_name)
    return stream_name


def through(info: NodeInfo, *ways: Proxy, **options: Any) -> StreamClient:
    own = StreamURI.parse(info.uri)
    uri = StreamURI(tuple((LOOPBACK, way.port) for way in ways), own.user, own.password)
    return StreamClient(uri, load_balancer=True, **options)


def send_own(publisher: Publisher, first: int, count: int) -> None:
    """Messages that say that they are producer 0's."""
    publisher.send(*bodies.build(0, first, count, publisher.lead))


def publish(publisher: Publisher, first: int, count: int) -> None:
    send_own(publisher, first, count)
    publisher.flush(30)


def anomalies(client: StreamClient, stream: str, sent: int, confirmed: int) -> list[Anomaly]:
    kept = ProducerHistory(0, sent=sent, confirmed=[(0.0, 1, confirmed)] if confirmed else [])
    return check(LogCopy(stream).update(client), [kept], [])


def has_sequence(client: StreamClient, stream: str, name: str, least: int) -> bool:
    """Whether the log's last number under a name is at least so high."""
    asking = client.publisher(stream, name=name)
    try:
        return asking.last_sequence >= least
    finally:
        asking.close(timeout=0)  # at once: who lives on under the name sends meanwhile


# -- the trap -----------------------------------------------------------------------------

FLUSHED, HELD, ALL = 2_500, 30_000, 40_000


def spring_the_trap(
    proxy: Proxy,
    direct: StreamClient,
    stream: str,
    first: Publisher,
    go_on: Callable[[], Publisher],
    least_held: int,
) -> list[Anomaly]:
    """What a connection sent enters the log only after its successor has asked for the last number.

    Args:
        proxy: between the producer and the broker.
        direct: beside it.
        stream: the stream.
        first: the producer, named "wms".
        go_on: goes on up to message `ALL` when the connection is lost.
        least_held: bytes that must have been held back, else nothing was proven.
    """
    send_own(first, 1, FLUSHED)
    first.flush(20)
    proxy.hold(new=Key.PUBLISH)
    send_own(first, FLUSHED + 1, HELD - FLUSHED)
    wait_until(lambda: proxy.held > least_held)
    proxy.reset_clients()
    second = go_on()
    assert not has_sequence(direct, stream, "wms", FLUSHED + 1)
    proxy.release(gone=True)
    wait_until(lambda: has_sequence(direct, stream, "wms", HELD))
    proxy.release()
    second.flush(20)
    second.close()
    return anomalies(direct, stream, ALL, ALL)


@pytest.mark.parametrize(
    ("options", "least_held"),
    [
        ({"sub_batch": 500}, 2_000_000),
        ({"sub_batch": 500, "codec": "lz4"}, 50_000),
        ({"sub_batch": 1}, 2_000_000),
    ],
    ids=["blocks", "lz4", "plain"],
)
def test_megabytes_of_an_old_connection_that_enter_late_double_nothing(
    client: StreamClient,
    direct: StreamClient,
    proxy: Proxy,
    stream: str,
    options: dict[str, Any],
    least_held: int,
) -> None:
    with client.publisher(stream, name="wms", **options) as publisher:

        def go_on() -> Publisher:
            send_own(publisher, HELD + 1, ALL - HELD)
            publisher.push()
            return publisher

        assert spring_the_trap(proxy, direct, stream, publisher, go_on, least_held) == []


def another_process(
    broker: NodeInfo, proxy: Proxy, direct: StreamClient, stream: str, sub_batch: int
) -> list[Anomaly]:
    """As above, but what goes on is a producer that knows the last number and nothing else."""
    with through(broker, proxy, recover=False) as dying, through(broker, proxy) as living:
        first = dying.publisher(stream, name="wms", sub_batch=500)

        def go_on() -> Publisher:
            second = living.publisher(stream, name="wms", sub_batch=sub_batch)
            known = second.last_sequence
            assert known == FLUSHED
            send_own(second, known + 1, ALL - known)
            second.push()
            return second

        found = spring_the_trap(proxy, direct, stream, first, go_on, 2_000_000)
        with pytest.raises(StreamError):
            first.close()
    return found


def test_another_process_with_the_same_borders_doubles_nothing(
    broker: NodeInfo, proxy: Proxy, direct: StreamClient, stream: str
) -> None:
    assert another_process(broker, proxy, direct, stream, 500) == []


def test_a_producer_that_cuts_anew_behind_the_last_number_doubles(
    broker: NodeInfo, proxy: Proxy, direct: StreamClient, stream: str
) -> None:
    # Blocks of 333: the one that ends with 30,303 holds 30 messages that are in the log.
    found = another_process(broker, proxy, direct, stream, 333)
    assert [(one.kind, one.count) for one in found] == [("duplicate", 30)]


@pytest.mark.parametrize("sub_batch", [500, 1], ids=["blocks", "plain"])
def test_a_load_that_goes_on_before_its_old_bytes_enter_doubles_nothing(
    broker: NodeInfo,
    proxies: ProxyLoop,
    direct: StreamClient,
    stream: str,
    tmp_path: Path,
    sub_batch: int,
) -> None:
    """Its process dies with all of it on the way; the same command is run again."""
    feed = tmp_path / "f.csv"
    rows = "".join(f"S{n},L,1,2026-11-24T10:00:00Z\n" for n in range(30_250))
    feed.write_text(f"sku,location_id,quantity,occurred_at\n{rows}")
    constants = {"type": "adjustment", "reason": "sale", "source": "till"}
    plan = LoadPlan([feed], FeedOptions(constants=constants), sub_batch=sub_batch)
    way = Proxy(proxies, broker.stream_port)
    way.hold(new=Key.PUBLISH)
    with Register(tmp_path / "r") as register:
        with through(broker, way, recover=False) as dying:
            first = threading.Thread(
                target=lambda: _ignoring(lambda: load(dying, stream, plan, register=register))
            )
            first.start()
            wait_until(lambda: way.held > 2_000_000)
            way.reset_clients()
            first.join(20)
        old = way.held
        name = register.entries("load", stream)[0].facts.name
        assert direct.query_sequence(name, stream) == 0
        with through(broker, way) as living:
            second = threading.Thread(target=load, args=(living, stream, plan))
            second.start()  # without a register: it knows what the broker says, and no more
            wait_until(lambda: way.held > old + 1_000_000)
            way.release(gone=True)
            wait_until(lambda: direct.query_sequence(name, stream) > 10_000)
            way.release()
            second.join(30)
            assert not second.is_alive()
    with direct.subscriber(stream, "first", until_end=True) as subscriber:
        found = [sku for block in subscriber for sku in decode(block).updates["sku"].to_list()]
    assert found == [f"S{n}" for n in range(30_250)]
    way.close()


# -- connections ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_publishing_goes_on_within_a_second(
    client: StreamClient, direct: StreamClient, proxy: Proxy, stream: str, how: Any
) -> None:
    publisher = client.publisher(stream, name="wms", sub_batch=100)
    sent, slowest = 0, 0.0
    for _ in range(5):
        send_own(publisher, sent + 1, 5_050)
        sent += 5_050
        assert proxy.cut(how) >= 1
        before, begun = publisher.confirmed, time.monotonic()
        # All of the above may be confirmed already.
        send_own(publisher, sent + 1, 100)
        sent += 100
        wait_until(lambda before=before: publisher.confirmed > before)
        slowest = max(slowest, time.monotonic() - begun)
    publisher.flush(20)
    publisher.close()
    assert anomalies(direct, stream, sent, sent) == []
    assert slowest < 1.0


@pytest.mark.parametrize("share", [0.001, 0.3, 0.999])
def test_a_frame_of_which_the_broker_got_a_part_enters_once(
    client: StreamClient, direct: StreamClient, proxy: Proxy, stream: str, share: float
) -> None:
    publisher = client.publisher(stream, name="wms", sub_batch=100)
    send_own(publisher, 1, 1_000)
    publisher.flush(20)
    proxy.cut_in_frame(MidFrameCut(share, 10_000), "broker")
    send_own(publisher, 1_001, 30_000)
    publisher.flush(20)
    publisher.close()
    assert proxy.accepted > 2
    assert anomalies(direct, stream, 31_000, 31_000) == []


def test_a_reader_that_is_cut_again_and_again_gets_everything_once(
    client: StreamClient, direct: StreamClient, proxy: Proxy, stream: str
) -> None:
    with direct.publisher(stream, sub_batch=50) as publisher:
        for piece in range(100):
            send_numbers(publisher, piece * 200, 200)
            publisher.flush(20)  # a chunk or more of its own
    choose, got = random.Random(5), []
    with client.subscriber(stream, "first", max_bytes=20_000) as subscriber:
        while len(got) < 20_000:
            if choose.random() < 0.3:
                proxy.cut_in_frame(MidFrameCut(choose.random(), 500), "client")
            got += numbers(subscriber.next(10))
        assert subscriber.next(0.3) is None
    assert got == list(range(20_000))
    assert proxy.accepted > 5


def test_a_silent_peer_is_given_up_after_two_heartbeats(
    broker: NodeInfo, direct: StreamClient, proxies: ProxyLoop, proxy: Proxy, stream: str
) -> None:
    other = Proxy(proxies, broker.stream_port)
    try:
        with through(broker, proxy, other, heartbeat=1, rpc_timeout=1.0) as client:
            publisher = client.publisher(stream, name="wms")
            send_own(publisher, 1, 500)
            publisher.flush(20)
            proxy.freeze()
            begun = time.monotonic()
            send_own(publisher, 501, 500)
            publisher.flush(20)  # through the second host
            taken = time.monotonic() - begun
            publisher.close()
        assert 1.5 < taken < 12
        assert anomalies(direct, stream, 1_000, 1_000) == []
    finally:
        other.close()


# -- the end ------------------------------------------------------------------------------


def test_closing_ends_within_seconds_when_the_broker_reads_nothing(
    client: StreamClient, proxy: Proxy, stream: str
) -> None:
    publisher = client.publisher(stream, name="wms", max_unconfirmed_bytes=60_000, sub_batch=100)
    send_own(publisher, 1, 100)
    publisher.flush(20)
    proxy.freeze()
    send_own(publisher, 101, 750)  # the last fifty fill up no block, and there is no room for it
    begun = time.monotonic()
    with pytest.raises(UnconfirmedError) as told:
        publisher.close(1.0)
    assert time.monotonic() - begun < 8
    assert told.value.unconfirmed == 750
    proxy.thaw()


def test_closing_ends_within_seconds_when_the_broker_is_gone(
    client: StreamClient, proxies: ProxyLoop, proxy: Proxy, stream: str
) -> None:
    publisher = client.publisher(stream, name="wms", sub_batch=100)
    subscriber = client.subscriber(stream, "first")
    proxy.hold()
    send_own(publisher, 1, 250)
    proxy.target = 1  # nobody listens there
    proxy.cut("rst")
    waits = threading.Thread(target=lambda: _ignoring(lambda: send_own(publisher, 251, 9_000)))
    waits.start()
    begun = time.monotonic()
    with pytest.raises(StreamError):
        publisher.close(1.0)
    subscriber.close()
    assert time.monotonic() - begun < 5
    waits.join(5)
    assert not waits.is_alive()


def _ignoring(what: Callable[[], None]) -> None:
    with contextlib.suppress(StreamError, UsageError):
        what()


def test_a_deleted_stream_is_an_error_and_counts_what_is_unknown(
    client: StreamClient, direct: StreamClient, proxy: Proxy, stream: str
) -> None:
    publisher = client.publisher(stream, name="wms", sub_batch=100)
    subscriber = client.subscriber(stream, "first")
    send_own(publisher, 1, 1_000)
    publisher.flush(20)
    proxy.hold()
    send_own(publisher, 1_001, 1_000)
    direct.delete_stream(stream)
    with pytest.raises(StreamNotFoundError):
        publisher.flush(20)
    assert publisher.unconfirmed == 1_000
    with pytest.raises(UnconfirmedError) as told:
        publisher.close()
    assert told.value.unconfirmed == 1_000
    with pytest.raises(StreamNotFoundError):
        list(subscriber)
    subscriber.close()


def test_credentials_that_are_refused_meanwhile_are_an_error(
    one_broker: NodeInfo, proxies: ProxyLoop, stream_name: str
) -> None:
    user = f"u{os.getpid()}"
    private_broker.control(["add_user", user], one_broker.dir, text="secret\n")
    private_broker.control(["set_permissions", user, ".*", ".*", ".*"], one_broker.dir)
    way = Proxy(proxies, one_broker.stream_port)
    try:
        uri = StreamURI(((LOOPBACK, way.port),), user, "secret")
        with StreamClient(uri, load_balancer=True) as client:
            client.create_stream(stream_name)
            publisher = client.publisher(stream_name, name="wms")
            subscriber = client.subscriber(stream_name, "first")
            private_broker.control(["delete_user", user], one_broker.dir)
            way.cut("rst")
            with pytest.raises(AuthenticationError):
                subscriber.next(30)
            with pytest.raises(AuthenticationError):
                publish(publisher, 1, 600)
            publisher.close()
            subscriber.close()
    finally:
        way.close()


def test_a_second_live_producer_of_the_name_is_noticed_when_connecting_again(
    client: StreamClient, direct: StreamClient, proxy: Proxy, stream: str
) -> None:
    publisher = client.publisher(stream, name="wms", sub_batch=100)
    send_own(publisher, 1, 500)
    publisher.flush(20)
    with direct.publisher(stream, name="wms", sub_batch=100) as other:
        send_own(other, other.last_sequence + 1, 500)
    proxy.cut("rst")
    time.sleep(0.2)  # so that the reset is noticed before the next message is sent
    with pytest.raises(ProducerConflictError, match=r"the log is at 1000, we are at 500"):
        publish(publisher, 501, 100)
    with pytest.raises(ProducerConflictError):
        send_own(publisher, 601, 100)
    _ignoring(publisher.close)


def test_a_second_live_producer_of_the_name_is_noticed_at_the_end(
    client: StreamClient, direct: StreamClient, stream: str
) -> None:
    publisher = client.publisher(stream, name="wms", sub_batch=100)
    publish(publisher, 1, 500)
    publisher.check_alone()
    with direct.publisher(stream, name="wms", sub_batch=100) as other:
        send_own(other, 501, 500)
    publish(publisher, 501, 300)  # each is confirmed, and none is in the log
    with pytest.raises(ProducerConflictError, match=r"the log is at 1000, we are at 800"):
        publisher.close()
    assert direct.query_sequence("wms", stream) == 1_000
    assert direct.query_sequence("nobody", stream) == 0


def test_a_run_that_stops_under_a_name_leaves_no_short_block(
    client: StreamClient, direct: StreamClient, stream: str
) -> None:
    publisher = client.publisher(stream, name="wms", sub_batch=100)
    send_own(publisher, 1, 250)
    publisher.drain(20)
    publisher.close(timeout=0)
    assert (publisher.confirmed, publisher.unconfirmed) == (200, 0)
    with direct.publisher(stream, name="wms", sub_batch=100) as other:
        assert other.last_sequence == 200
        send_own(other, 201, 250)
    assert anomalies(direct, stream, 450, 450) == []


# -- offsets stored by name ----------------------------------------------------------------


def test_a_stored_offset_is_found_again_and_survives_a_lost_connection(
    client: StreamClient, proxy: Proxy, stream: str
) -> None:
    assert client.query_offset("billing", stream) is None
    client.store_offset("billing", stream, 4_711)
    proxy.cut("rst")
    assert client.query_offset("billing", stream) == 4_711
    client.store_offset("billing", stream, 17)
    assert client.query_offset("billing", stream) == 17
    assert client.query_offset("other", stream) is None


def test_a_readers_name_has_at_most_255_bytes(client: StreamClient, stream: str) -> None:
    client.store_offset("ä" * 127 + "x", stream, 1)
    for name in ("", "ä" * 128):
        with pytest.raises(UsageError):
            client.store_offset(name, stream, 1)
        with pytest.raises(UsageError):
            client.query_offset(name, stream)


def test_an_offset_of_no_stream_is_an_error(client: StreamClient) -> None:
    with pytest.raises(StreamNotFoundError):
        client.query_offset("billing", "there-is-none")


# -- a cluster ----------------------------------------------------------------------------


class Balancer(Proxy):
    """Leads each new connection to the next node."""

    def __init__(self, loop: ProxyLoop, ports: list[int]) -> None:
        self._ports, self._turn = ports, 0
        super().__init__(loop, ports[0])

    def took(self, line: Any) -> None:
        self._turn += 1
        self.target = self._ports[self._turn % len(self._ports)]
        super().took(line)


def leader_of(client: StreamClient, cluster: NodeInfo, stream: str) -> int:
    found: list[int] = []

    def named() -> bool:
        leader = client.metadata([stream])[stream].leader
        found.extend(
            n for n, node in enumerate(cluster.nodes) if leader and node.stream_port == leader[1]
        )
        return bool(found)

    wait_until(named)
    return found[0]


def test_a_balancer_is_asked_until_the_leader_answers(
    cluster: NodeInfo, proxies: ProxyLoop, stream_name: str
) -> None:
    way = Balancer(proxies, [node.stream_port for node in cluster.nodes])
    try:
        with StreamClient(cluster.uri) as direct, through(cluster, way) as client:
            direct.create_stream(stream_name)
            leader = leader_of(direct, cluster, stream_name)
            for number in range(4):
                publisher = client.publisher(stream_name, name=f"wms-{number}")
                assert publisher._link.connection.agreed.advertised is not None
                reached = publisher._link.connection.agreed.advertised[1]
                assert reached == cluster.nodes[leader].stream_port
                send_numbers(publisher, 1, 100)
                publisher.close()
            with client.subscriber(stream_name, "first", until_end=True) as subscriber:
                assert len(read_numbers(subscriber, 400)) == 400
    finally:
        way.close()


@pytest.fixture
def own_cluster(nodes: Nodes, folder: Path) -> NodeInfo:
    """Three nodes of a test's own, which it may stop and kill."""
    return private_broker.start(folder, nodes=3, rabbitmq_root=root_for("4.0.5"))


# Stops the stream's replicas, and nothing else of their nodes; until the suspender is killed.
SUSPEND_REPLICAS = """
{{ok, Queue}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{stream}">>)),
#{{name := Id}} = amqqueue:get_type_state(Queue),
{{ok, Members}} = rabbit_stream_coordinator:members(Id),
length([spawn(Node, fun() ->
            register(stocklog_suspender, self()),
            erlang:suspend_process(Pid),
            timer:sleep(infinity)
        end) || {{Node, {{Pid, replica}}}} <- maps:to_list(Members), is_pid(Pid), {which}]).
"""
RESUME_REPLICAS = """
length([exit(Pid, kill) || Node <- [node() | nodes()],
        Pid <- [rpc:call(Node, erlang, whereis, [stocklog_suspender])], is_pid(Pid)]).
"""


def suspend(cluster: NodeInfo, stream: str, which: str = "true") -> int:
    """Suspends replicas of a stream; how many."""
    text = SUSPEND_REPLICAS.format(stream=stream, which=which)
    return int(private_broker.control(["eval", text], cluster.dir))


def resume(cluster: NodeInfo) -> None:
    private_broker.control(["eval", RESUME_REPLICAS], cluster.dir)


def test_what_only_the_leader_has_is_not_taken_for_confirmed(
    own_cluster: NodeInfo, proxies: ProxyLoop, stream_name: str
) -> None:
    """Seen when the last number confirmed: 1,000 messages that no replica had."""
    ways = [Proxy(proxies, node.stream_port) for node in own_cluster.nodes]
    with (
        through(own_cluster, *ways) as client,
        StreamClient(own_cluster.uri) as direct,
    ):
        direct.create_stream(stream_name)
        publisher = client.publisher(stream_name, name="wms", sub_batch=100)
        publish(publisher, 1, 1_000)
        leader = leader_of(direct, own_cluster, stream_name)
        assert suspend(own_cluster, stream_name) == 2
        send_own(publisher, 1_001, 1_000)
        time.sleep(0.5)
        assert publisher.confirmed == 1_000
        accepted = ways[leader].accepted
        assert ways[leader].cut("rst") >= 1
        wait_until(lambda: ways[leader].accepted > accepted)
        wait_until(lambda: publisher._up)
        time.sleep(0.5)
        assert publisher.confirmed == 1_000
        # Nor does another process go on behind it.
        with pytest.raises(StreamError, match="not committed"):
            direct.publisher(stream_name, name="wms", sub_batch=100)
        killed = psutil.Process(own_cluster.nodes[leader].pid)
        killed.kill()
        killed.wait(10)
        resume(own_cluster)
        publisher.flush(60)
        publisher.close()
        assert publisher.confirmed == 2_000
        assert anomalies(direct, stream_name, 2_000, 2_000) == []
    for way in ways:
        way.close()


def test_a_reader_to_the_end_on_a_replica_that_is_behind_reads_to_the_leaders_end(
    own_cluster: NodeInfo, stream_name: str
) -> None:
    """Seen when the replica was asked where the end is: a range ended before its last message."""
    with StreamClient(own_cluster.uri) as client:
        client.create_stream(stream_name)
        publisher = client.publisher(stream_name, name="wms", sub_batch=100)
        publish(publisher, 1, 1_000)
        # Readers go to the first replica that Metadata names.
        wait_until(lambda: len(client.metadata([stream_name])[stream_name].replicas) == 2)
        port = client.metadata([stream_name])[stream_name].replicas[0][1]
        name = next(node.name for node in own_cluster.nodes if node.stream_port == port)
        assert suspend(own_cluster, stream_name, f"Node =:= '{name}'") == 1
        publish(publisher, 1_001, 1_000)  # two of three have them
        publisher.close()
        with client.subscriber(stream_name, "first", until_end=True) as subscriber:
            got = 0
            while (block := subscriber.next(1.0)) is not None:
                got += len(block.offsets)
            assert (got, subscriber.ended) == (1_000, False)
            resume(own_cluster)
            assert got + sum(len(block.offsets) for block in subscriber) == 2_000

"""TLS: verified unless told otherwise, and as whole as plain TCP under load in both directions."""

from __future__ import annotations

import random
import ssl
import threading
from collections.abc import Iterator

import pytest
import trustme
from numbered import bodies_of, read_numbers, send_bodies, send_numbers

from nodes import VERSIONS, Nodes
from stocklog.errors import AuthenticationError, ConnectionLostError
from stocklog.protocol.frames import Key
from stocklog.stream import StreamClient, StreamURI
from stocklog.stream.connection import Connection
from tls_nodes import Secure, secure_node


@pytest.fixture(scope="module", params=VERSIONS)
def secure(nodes: Nodes, request: pytest.FixtureRequest) -> Iterator[Secure]:
    with secure_node(nodes, request.param) as found:
        yield found


def test_a_verified_connection_works_for_everything(
    secure: Secure, stream_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with secure.client() as client:
        assert client.server_version == secure.version
        client.create_stream(stream_name)
        # Brokers advertise the plain listener's host with the port of TLS.
        advertised = ("127.0.0.1", secure.uri.hosts[0][1])
        assert client.metadata([stream_name])[stream_name].leader == advertised
        with client.publisher(stream_name, sub_batch=100) as publisher:
            send_numbers(publisher, 1, 5000)
            publisher.flush(20)
            with client.subscriber(stream_name, "last") as reader:
                assert read_numbers(reader, 1) == [5000]
        with client.subscriber(stream_name, "first", until_end=True) as reader:
            assert read_numbers(reader, 5001) == list(range(1, 5001))
        client.delete_stream(stream_name)
    # The certificate is not made for that host, so the URI's was used, and that was said.
    assert "The broker advertises 127.0.0.1" in caplog.text


def test_an_unknown_authority_is_refused_unless_told_otherwise(secure: Secure) -> None:
    # The system's authorities, as without any option.
    with pytest.raises(
        AuthenticationError, match=r"certificate of localhost:.*does not hold"
    ) as raised:
        StreamClient(secure.uri)
    assert "authority that signed it" in raised.value.remedy
    assert secure.uri.password not in str(raised.value)
    other = ssl.create_default_context()
    trustme.CA().configure_trust(other)
    with pytest.raises(AuthenticationError):
        StreamClient(secure.uri, ssl_context=other)


def test_another_host_name_is_refused(secure: Secure) -> None:
    uri = StreamURI(
        (("127.0.0.1", secure.uri.hosts[0][1]),), secure.uri.user, secure.uri.password, tls=True
    )
    with pytest.raises(AuthenticationError, match=r"does not hold.*127\.0\.0\.1") as raised:
        StreamClient(uri, ssl_context=secure.context())
    assert "host name" in raised.value.remedy


def test_a_plain_listener_and_a_tls_one_are_told_apart(secure: Secure) -> None:
    user, password = secure.uri.user, secure.uri.password
    with pytest.raises(ConnectionLostError) as raised:
        StreamClient(
            StreamURI((("localhost", secure.plain_port),), user, password, tls=True),
            ssl_context=secure.context(),
            rpc_timeout=1.0,
        )
    assert "TLS" in str(raised.value)
    plain = StreamURI(secure.uri.hosts, user, password)
    with pytest.raises(Exception, match="TLS"):
        StreamClient(plain, rpc_timeout=3.0)


def test_a_wrong_password_is_refused_over_tls_too(secure: Secure) -> None:
    wrong = StreamURI(secure.uri.hosts, secure.uri.user, "wr0ng-zk8w", tls=True)
    with pytest.raises(AuthenticationError, match="user or the password is wrong"):
        StreamClient(wrong, ssl_context=secure.context())


@pytest.mark.parametrize("how", [{"sub_batch": 1}, {"sub_batch": 50, "codec": "lz4"}], ids=str)
def test_large_transfers_both_ways_at_once_arrive_byte_by_byte(
    secure: Secure, stream_name: str, how: dict[str, object]
) -> None:
    choose = random.Random(3)
    sizes = (1, 100, 5000, 20_000, 300_000, 1_000_000)
    bodies = [choose.randbytes(choose.choice(sizes[:4])) for _ in range(3000)]
    bodies += [choose.randbytes(size) for size in sizes for _ in range(4)]
    choose.shuffle(bodies)
    with secure.client() as client:
        client.create_stream(stream_name)
        got: dict[int, list[bytes]] = {0: [], 1: []}

        def read(number: int) -> None:
            with client.subscriber(stream_name, "first") as reader:
                while len(got[number]) < len(bodies):
                    block = reader.next(20)
                    assert block is not None
                    got[number] += bodies_of(block)

        threads = [threading.Thread(target=read, args=(number,)) for number in got]
        for thread in threads:
            thread.start()
        with client.publisher(stream_name, **how) as publisher:
            for begin in range(0, len(bodies), 37):
                send_bodies(publisher, bodies[begin : begin + 37])
        for thread in threads:
            thread.join(60)
        client.delete_stream(stream_name)
    assert got[0] == bodies
    assert got[1] == bodies


def test_one_connection_is_written_and_read_by_two_threads_at_once(secure: Secure) -> None:
    host, port = secure.uri.hosts[0]
    connection = Connection(host, port, secure.uri, ssl_context=secure.context())

    # Names of 30 kB go out and come back, from four threads, over one TLS state.
    def ask(number: int) -> None:
        for turn in range(100):
            names = [f"{number}-{turn}-{index}" + "x" * 200 for index in range(150)]
            frame = connection.request(Key.METADATA, streams=names)
            answers.append({stream[0] for stream in frame.values["streams"]} == set(names))

    answers: list[bool] = []
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    connection.close()
    assert answers == [True] * 400

"""The handshake: one step at a time, and a clear end with every peer that is no broker."""

from __future__ import annotations

import logging
import socket
import struct
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peer import (
    HANDSHAKE,
    SECRET,
    URI,
    Line,
    Script,
    failing,
    framed,
    peer,
    shown,
    wait_for_end,
)

from examples import examples
from stocklog.errors import (
    AuthenticationError,
    CommandError,
    ConnectionLostError,
    ProtocolError,
    StreamError,
)
from stocklog.protocol import frames
from stocklog.protocol.frames import Key
from stocklog.stream.connection import Connection

ASKED = tuple(key for key in HANDSHAKE if key != Key.TUNE)


def refused(script: Script, kind: type[Exception], timeout: float = 5.0) -> str:
    """Connects to a peer that must be refused; returns all that the error shows."""
    with peer(script) as served:
        begun = time.monotonic()
        with pytest.raises(kind) as raised:
            served.connect(timeout=timeout)
        assert time.monotonic() - begun < timeout + 3
        text = shown(raised.value)
        assert f"127.0.0.1:{served.port}" in str(raised.value)
    assert SECRET not in text
    return text


# -- the right way --------------------------------------------------------------------------


def test_what_was_agreed() -> None:
    def script(line: Line) -> None:
        line.greet(
            version="4.0.5",
            frame_max=70_000,
            heartbeat=7,
            opened={"advertised_host": "rabbit", "advertised_port": "5552"},
        )
        wait_for_end(line)

    with peer(script) as served:
        connection = served.connect()
        agreed = connection.agreed
        connection.close()
    assert (agreed.frame_max, agreed.heartbeat, agreed.version) == (70_000, 7, "4.0.5")
    assert agreed.advertised == ("rabbit", 5552)
    assert agreed.commands == {Key.STREAM_STATS: 1}
    assert agreed.at_least(4, 0)
    assert agreed.at_least(3, 11)
    assert not agreed.at_least(4, 1)


def test_no_limit_of_one_side_is_the_limit_of_the_other() -> None:
    def script(line: Line) -> None:
        line.greet(frame_max=0, heartbeat=0)
        wait_for_end(line)

    with peer(script) as served:
        connection = served.connect(heartbeat=9)
        assert connection.agreed.frame_max == 1 << 20
        assert connection.agreed.heartbeat == 9
        connection.close()


def test_each_frame_travels_alone_and_is_answered_before_the_next() -> None:
    seen: list[list[int]] = []

    def script(line: Line) -> None:
        answers = iter(
            [
                ({"properties": {"version": "3.11.0"}}, b""),
                ({"mechanisms": ["PLAIN"]}, b""),
                ({}, frames.encode(Key.TUNE, frame_max=1 << 20, heartbeat=60)),
                ({"properties": {}}, b""),
                ({"commands": []}, b""),
            ]
        )
        for values, extra in answers:
            time.sleep(0.02)  # whatever else was sent early would be in this read too
            keys, data = [], line.read_bytes()
            while data:
                (size,) = struct.unpack_from(">I", data)
                frame = frames.decode(data[4 : 4 + size])
                keys.append(frame.key)
                data = data[4 + size :]
            seen.append(keys)
            line.send(frames.encode(frame.key, frame.correlation_id, answer=1, **values) + extra)
        wait_for_end(line)

    with peer(script) as served:
        served.connect().close()
    assert seen == [
        [Key.PEER_PROPERTIES],
        [Key.SASL_HANDSHAKE],
        [Key.SASL_AUTHENTICATE],
        [Key.TUNE, Key.OPEN],
        [Key.EXCHANGE_COMMAND_VERSIONS],
    ]


def test_3_10_is_not_asked_for_its_command_versions() -> None:
    def script(line: Line) -> None:
        line.greet(version="3.10.8")
        assert line.read_request().key == Key.CLOSE

    with peer(script) as served:
        connection = served.connect()
        assert connection.agreed.commands == {}
        connection.close()


def test_the_login_is_plain_and_the_peer_learns_our_name() -> None:
    def script(line: Line) -> None:
        properties = line.read().values["properties"]
        assert properties["product"] == "stocklog"
        assert properties["connection_name"] == "till 7"
        line.send(frames.encode(Key.PEER_PROPERTIES, 1, answer=1, properties={"version": "3.10.8"}))
        line.answer(line.read(), mechanisms=["PLAIN"])
        login = line.read()
        assert login.values == {"mechanism": "PLAIN", "data": f"\0ana\0{SECRET}".encode()}
        line.answer(login)
        line.send(frames.encode(Key.TUNE, frame_max=0, heartbeat=0))
        line.read()
        opening = line.read()
        assert opening.values == {"vhost": "shop"}
        line.answer(opening, properties={})
        wait_for_end(line)

    with peer(script) as served:
        served.connect(name="till 7").close()


def test_answers_may_arrive_one_byte_at_a_time_and_heartbeats_between_them() -> None:
    def script(line: Line) -> None:
        whole = line.send

        def slowly(data: bytes) -> None:
            whole(frames.encode(Key.HEARTBEAT))
            for index in range(len(data)):
                whole(data[index : index + 1])

        line.send = slowly  # type: ignore[method-assign]
        line.greet()
        wait_for_end(line)

    with peer(script) as served:
        served.connect().close()


# -- peers that stop ------------------------------------------------------------------------


@pytest.mark.parametrize("step", HANDSHAKE, ids=lambda key: key.name)
def test_a_peer_that_falls_silent_at_any_step_is_given_up(step: Key) -> None:
    def script(line: Line) -> None:
        line.greet(step)
        wait_for_end(line)

    text = refused(script, ConnectionLostError, timeout=0.3)
    assert "did not answer the handshake within 0.3 s" in text
    assert "5552" in text


@pytest.mark.parametrize("step", HANDSHAKE, ids=lambda key: key.name)
def test_a_peer_that_closes_at_any_step(step: Key) -> None:
    assert "during the handshake" in refused(lambda line: line.greet(step), ConnectionLostError)


@pytest.mark.parametrize("cut", [1, 3, 4, 8, 15])
def test_a_peer_that_closes_in_the_middle_of_an_answer(cut: int) -> None:
    whole = frames.encode(Key.PEER_PROPERTIES, 1, answer=1, properties={"version": "3.13.0"})

    def script(line: Line) -> None:
        line.read()
        line.send(whole[:cut])

    refused(script, ConnectionLostError)


def test_endless_heartbeats_are_no_answer() -> None:
    def script(line: Line) -> None:
        while True:
            line.send(frames.encode(Key.HEARTBEAT))
            time.sleep(0.01)

    assert "did not answer" in refused(script, ConnectionLostError, timeout=0.3)


# -- peers that say no ----------------------------------------------------------------------


@pytest.mark.parametrize("step", ASKED, ids=lambda key: key.name)
@pytest.mark.parametrize("code", [2, 7, 8, 9, 10, 11, 12, 15, 16, 17, 999])
def test_a_code_at_any_step_is_its_error(step: Key, code: int) -> None:
    def script(line: Line) -> None:
        request = line.greet(step)
        assert request is not None
        line.send(failing(step, request.correlation_id or 0, code))
        wait_for_end(line)

    kind = AuthenticationError if code in {7, 8, 9, 11, 12} else CommandError
    assert f"response code {code}" in refused(script, kind)


@pytest.mark.parametrize(
    ("step", "code", "says"),
    [
        (Key.SASL_AUTHENTICATE, 8, "Logging in as 'ana'.*Check the URI's user and password"),
        (Key.SASL_AUTHENTICATE, 11, "own machine.*rabbitmqctl add_user"),
        (Key.OPEN, 12, "Opening vhost 'shop'.*list_permissions"),
    ],
)
def test_a_refused_login_says_who_where_and_what_to_do(step: Key, code: int, says: str) -> None:
    def script(line: Line) -> None:
        request = line.greet(step)
        assert request is not None
        line.send(failing(step, request.correlation_id or 0, code))
        wait_for_end(line)

    with peer(script) as served, pytest.raises(AuthenticationError, match=says):
        served.connect()


def test_a_broker_without_plain_is_refused_and_its_offer_named() -> None:
    def script(line: Line) -> None:
        request = line.greet(Key.SASL_HANDSHAKE)
        assert request is not None
        line.answer(request, mechanisms=["EXTERNAL", None])
        wait_for_end(line)

    assert "EXTERNAL" in refused(script, AuthenticationError)


@pytest.mark.parametrize("step", HANDSHAKE, ids=lambda key: key.name)
def test_a_close_frame_at_any_step_gives_its_reason(step: Key) -> None:
    def script(line: Line) -> None:
        line.greet(step)
        line.send(frames.encode(Key.CLOSE, 1, code=13, reason="unknown frame"))
        wait_for_end(line)

    assert "unknown frame (code 13)" in refused(script, ConnectionLostError)


# -- peers that are something else ------------------------------------------------------------


@pytest.mark.parametrize("step", HANDSHAKE, ids=lambda key: key.name)
@pytest.mark.parametrize(
    "wrong",
    [
        frames.encode(Key.METADATA_UPDATE, code=6, stream="x"),
        frames.encode(Key.DELETE, 1, answer=1),
        framed(0x7777, b""),
        framed(Key.DELIVER, bytes(60)),
        framed(0x8011, b"", version=2),
        framed(0x8011, b"\0"),
        struct.pack(">I", 2) + bytes(2),
    ],
    ids=["update", "other answer", "unknown", "deliver", "version", "cut", "tiny"],
)
def test_another_frame_than_the_one_due_is_a_protocol_error(step: Key, wrong: bytes) -> None:
    def script(line: Line) -> None:
        line.greet(step)
        line.send(wrong)
        wait_for_end(line)

    assert "stream listener" in refused(script, ProtocolError)


def respond(data: bytes) -> Script:
    def script(line: Line) -> None:
        line.read_bytes()
        line.send(data)
        wait_for_end(line)

    return script


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
        b"AMQP\x00\x00\x09\x01",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"-ERR unknown command\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",  # a TLS alert
        b"\xff" * 100,
        b"\0" * 100,
    ],
    ids=["http", "amqp", "ssh", "redis", "tls", "ones", "zeros"],
)
def test_a_server_of_another_protocol_is_a_protocol_error(data: bytes) -> None:
    assert "stream listener" in refused(respond(data), ProtocolError)


def test_a_server_that_echoes_is_no_broker() -> None:
    # Seen before the fix: KeyError 'mechanisms'.
    def script(line: Line) -> None:
        while data := line.read_bytes():
            line.send(data)

    refused(script, ProtocolError)


def test_a_peer_that_repeats_itself_for_ever_ends_at_once() -> None:
    def script(line: Line) -> None:
        line.read()
        while True:
            line.send(
                frames.encode(Key.PEER_PROPERTIES, 1, answer=1, properties={"version": "4.0.5"})
            )

    refused(script, ProtocolError)


def test_a_handshake_frame_without_end_is_refused_by_its_size() -> None:
    def script(line: Line) -> None:
        line.read()
        line.send(struct.pack(">IHH", 100 << 20, 0x8011, 1))
        while True:
            line.send(bytes(65536))

    assert "limit" in refused(script, ProtocolError)


@pytest.mark.parametrize("version", [None, "", "x", "9" * 6000, "3", "3.13.x+beta"])
@pytest.mark.parametrize(
    "opened",
    [
        {"advertised_host": None, "advertised_port": None},
        {"advertised_host": "h", "advertised_port": "²"},
        {"advertised_host": "h", "advertised_port": "9" * 5000},
    ],
    ids=["null", "odd digit", "long"],
)
def test_odd_properties_do_no_harm(version: str | None, opened: dict[str, str | None]) -> None:
    def script(line: Line) -> None:
        if line.greet(version=version, opened=opened) is None:  # else that was the goodbye
            wait_for_end(line)

    with peer(script) as served:
        connection = served.connect()
        assert connection.agreed.advertised is None
        connection.close()


@settings(max_examples=examples(40))
@given(st.lists(st.binary(max_size=60), max_size=6), st.sampled_from([None, *HANDSHAKE]))
def test_any_bytes_at_any_step_end_in_one_of_our_errors(
    pieces: list[bytes], step: Key | None
) -> None:
    def script(line: Line) -> None:
        if step is not None:
            line.greet(step)
        for piece in pieces:
            line.send(piece)

    text = ""
    with peer(script) as served:
        try:
            served.connect(timeout=2.0).close()
        except (StreamError, ProtocolError) as error:
            text = shown(error)
    assert SECRET not in text


# -- nobody there -----------------------------------------------------------------------------


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("127.0.0.1", closed_port),
        ("no-such-host.invalid", lambda: 5552),
        ("127.0.0.1", lambda: 70_000),
        ("x" * 80, lambda: 5552),
        ("a..b", lambda: 5552),
        ("a\0b", lambda: 5552),
    ],
    ids=["refused", "unknown", "port", "long", "empty label", "null"],
)
def test_where_nobody_is_the_error_says_where(host: str, port: Callable[[], int]) -> None:
    with pytest.raises(ConnectionLostError, match="No connection to ") as raised:
        Connection(host, port(), URI, timeout=5)
    assert SECRET not in shown(raised.value)


def test_a_refused_connection_leaves_no_socket_open() -> None:
    ended: list[bool] = []

    def script(line: Line) -> None:
        line.read()
        line.send(failing(Key.PEER_PROPERTIES, 1, 15))
        wait_for_end(line)
        ended.append(True)

    refused(script, CommandError)
    assert ended == [True]


def test_the_password_is_in_no_log_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def script(line: Line) -> None:
        request = line.greet(Key.OPEN)
        assert request is not None
        line.send(failing(Key.OPEN, request.correlation_id or 0, 12))

    refused(script, AuthenticationError)
    assert SECRET not in caplog.text

"""Which broker is taken when nobody names one."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from stocklog import broker
from stocklog.broker import NodeInfo
from stocklog.errors import BrokerNotFoundError, UsageError
from stocklog.ledger import connect


def free_port() -> int:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(autouse=True)
def nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(connect.URI_VARIABLE, raising=False)
    find = broker.find_running
    # Those of the tests themselves are asked for by their folders.
    monkeypatch.setattr(broker, "find_running", lambda *where: find(*where) if where else None)
    monkeypatch.setattr(connect, "_STREAM_PORT", free_port())
    monkeypatch.setattr(connect, "_AMQP_PORT", free_port())


@pytest.fixture
def amqp_alone(monkeypatch: pytest.MonkeyPatch, one_broker: NodeInfo) -> None:
    """A real broker's AMQP port is where it would be by default, its stream port is not."""
    monkeypatch.setattr(connect, "_AMQP_PORT", one_broker.amqp_port)


def test_without_any_broker_the_error_says_how_to_start_one_and_how_to_name_one() -> None:
    with pytest.raises(BrokerNotFoundError, match="stocklog broker up") as caught:
        connect.open_connection()
    assert connect.URI_VARIABLE in caught.value.remedy
    assert "rabbitmq-plugins" not in caught.value.remedy


def test_where_amqp_answers_and_streams_do_not_the_error_says_how_to_enable_them(
    amqp_alone: None,
) -> None:
    with pytest.raises(BrokerNotFoundError, match="rabbitmq-plugins enable rabbitmq_stream"):
        connect.open_connection()


def test_a_broker_that_is_named_is_the_only_one_that_is_tried() -> None:
    uri = f"rabbitmq-stream://guest:secret@127.0.0.1:{free_port()}"
    with pytest.raises(BrokerNotFoundError) as caught:
        connect.open_connection(uri, start=True)
    assert "secret" not in str(caught.value)


def test_the_variable_names_the_broker_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(connect.URI_VARIABLE, "rabbitmq-stream://guest@127.0.0.1")
    with pytest.raises(UsageError, match="password"):
        connect.open_connection()

"""Several hosts: whatever one of them does wrong, the next is asked; refused is refused."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import ExitStack, closing
from typing import Any

import pytest
import trustme
from peer import URI, Line, Script, failing, peer, wait_for_end

from stocklog.errors import (
    AuthenticationError,
    CertificateError,
    CommandError,
    ConnectionLostError,
    ProtocolError,
)
from stocklog.protocol.frames import Key
from stocklog.stream import StreamClient, StreamURI
from stocklog.stream.nodes import Address

TIMEOUT = 1.0


def good(line: Line) -> None:
    line.greet()
    wait_for_end(line)


def closes(line: Line) -> None:
    line.greet(Key.SASL_HANDSHAKE)


def refuses(key: Key, code: int) -> Script:
    def script(line: Line) -> None:
        request = line.greet(key)
        assert request is not None
        line.send(failing(key, request.correlation_id, code))
        wait_for_end(line)

    return script


def speaks_http(line: Line) -> None:
    line.read_bytes()
    line.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def dead_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port: int = probe.getsockname()[1]
        return port


WRONG: dict[str, Script | Address] = {
    "refused": ("127.0.0.1", 0),
    "not resolved": ("no-such-host.invalid", 5552),
    "silent": lambda line: line.idle(),
    "closes": closes,
    "still starting, user unknown": refuses(Key.SASL_AUTHENTICATE, 8),
    "still starting, vhost unknown": refuses(Key.OPEN, 12),
    "internal error": refuses(Key.OPEN, 15),
    "no broker": speaks_http,
}


class Hosts:
    """Peers and addresses in an order, and how often each peer was asked."""

    def __init__(self, stack: ExitStack, *wanted: Script | Address) -> None:
        self.addresses: list[Address] = []
        self.peers: list[Any] = []
        for one in wanted:
            if isinstance(one, tuple):
                self.addresses.append((one[0], one[1] or dead_port()))
            else:
                self.peers.append(stack.enter_context(peer(one)))
                self.addresses.append(("127.0.0.1", self.peers[-1].port))

    def client(self, *, tls: bool = False, **options: Any) -> StreamClient:
        uri = StreamURI(tuple(self.addresses), URI.user, URI.password, URI.vhost, tls)
        return StreamClient(uri, rpc_timeout=TIMEOUT, **options)

    def asked(self) -> list[int]:
        return [len(one.lines) for one in self.peers]


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_the_next_host_is_asked_whatever_is_wrong_with_one(wrong: Script | Address) -> None:
    with ExitStack() as stack:
        hosts = Hosts(stack, wrong, good)
        begun = time.monotonic()
        with hosts.client() as client:
            assert client.server_version == "3.13.0"
        assert time.monotonic() - begun < 4 * TIMEOUT
        assert set(hosts.asked()) == {1}


def test_a_host_whose_certificate_does_not_hold_keeps_nobody_from_the_next() -> None:
    trusted, stranger = trustme.CA(), trustme.CA()
    context = ssl.create_default_context()
    trusted.configure_trust(context)

    def presents(authority: trustme.CA) -> Script:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(server)

        def script(line: Line) -> None:
            line.sock = server.wrap_socket(line.sock, server_side=True)
            good(line)

        return script

    with ExitStack() as stack:
        hosts = Hosts(stack, presents(stranger), presents(trusted))
        with hosts.client(tls=True, ssl_context=context) as client:
            assert client.server_version == "3.13.0"
    with ExitStack() as stack:
        hosts = Hosts(stack, presents(stranger), presents(stranger))
        with pytest.raises(CertificateError, match="does not hold"):
            hosts.client(tls=True, ssl_context=context)
        assert hosts.asked() == [1, 1]


def test_refused_credentials_are_asked_once_a_host_and_end_it() -> None:
    refusing = refuses(Key.SASL_AUTHENTICATE, 8)
    with ExitStack() as stack:
        hosts = Hosts(stack, ("127.0.0.1", 0), refusing, refusing)
        with pytest.raises(AuthenticationError, match="the user or the password is wrong"):
            hosts.client()
        assert hosts.asked() == [1, 1]


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (("closes", "refused"), ConnectionLostError),
        (("no broker", "refused"), ConnectionLostError),
        (("no broker", "no broker"), ProtocolError),
        (("internal error", "no broker"), CommandError),
    ],
    ids=str,
)
def test_when_no_host_lets_us_in_the_error_says_whether_later_may_help(
    wrong: tuple[str, ...], kind: type[Exception]
) -> None:
    with ExitStack() as stack:
        hosts = Hosts(stack, *(WRONG[name] for name in wrong))
        with pytest.raises(kind) as caught:
            hosts.client()
        if kind is ConnectionLostError:
            for host, port in hosts.addresses:
                assert f"{host}:{port}" in str(caught.value)

"""A peer that feeds TLS byte by byte: always something new, never a whole record."""

from __future__ import annotations

import ssl
import time

import pytest
import trustme
from peer import Line, peer

from stocklog.errors import ConnectionLostError

PAUSE = 0.2
TIMEOUT = 1.0


def drip(line: Line, data: bytes) -> None:
    """Sends a byte every now and then until the client has gone or the test is over."""
    for byte in data:
        if line.closing.wait(PAUSE):
            return
        line.send(bytes([byte]))


def in_tls(line: Line, context: ssl.SSLContext, plain: bytes) -> bytes:
    """Agrees on keys with the client, and returns what `plain` is on the wire after that."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            line.send(outgoing.read())
            incoming.write(line.read_bytes())
        else:
            line.send(outgoing.read())
            break
    tls.write(plain)
    return outgoing.read()


def test_a_tls_handshake_that_drips_ends_in_time() -> None:
    def script(line: Line) -> None:
        line.read_bytes()
        drip(line, b"\x16\x03\x03\x3f\xff" + bytes(200))

    with peer(script) as served:
        begun = time.monotonic()
        with pytest.raises(ConnectionLostError, match=r"No TLS with .*no answer in time"):
            served.connect(timeout=TIMEOUT, ssl_context=ssl.create_default_context())
        assert time.monotonic() - begun < 3 * TIMEOUT


def test_an_answer_whose_tls_record_drips_ends_in_time() -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)

    def script(line: Line) -> None:
        drip(line, in_tls(line, server, bytes(300)))

    with peer(script) as served:
        begun = time.monotonic()
        with pytest.raises(ConnectionLostError, match="did not answer the handshake within 1 s"):
            served.connect(timeout=TIMEOUT, ssl_context=client)
        assert time.monotonic() - begun < 3 * TIMEOUT

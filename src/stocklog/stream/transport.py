"""Sockets, plain and TLS, behind one small face that two threads may use.

One thread reads, any number write under the connection's lock. Sockets block,
with a receive timeout set in the kernel (SO_RCVTIMEO), because Python's own
timeouts make the socket non-blocking and MSG_WAITALL useless.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, TypeAlias

from stocklog.errors import CertificateError, ConnectionLostError

__all__ = ["Piece", "PlainTransport", "TlsTransport", "Transport", "open_transport"]

Piece: TypeAlias = bytes | bytearray | memoryview
"""Anything with bytes in it that a socket can send as it is."""
# Linux takes at most 1,024 pieces a call (UIO_MAXIOV).
_MOST_PIECES = 1000
_TLS_PIECE = 64 * 1024
_SOCKET_BUFFER = 1 << 20


class PlainTransport:
    """A TCP socket.

    Args:
        sock: connected and blocking.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def receive_into(self, view: memoryview, *, wait_all: bool) -> int | None:
        """Fill `view` with what has come.

        Args:
            view: where to.
            wait_all: wait until the view is full (or the receive timeout is over).

        Returns:
            How many bytes came, 0 at the end of the stream, None when the receive
            timeout was over first.
        """
        try:
            return self._sock.recv_into(view, len(view), socket.MSG_WAITALL if wait_all else 0)
        except BlockingIOError:
            return None

    def send(self, pieces: Sequence[Piece]) -> None:
        """Send all pieces one behind the other; blocks while the peer does not read."""
        for start in range(0, len(pieces), _MOST_PIECES):
            self._send_some(list(pieces[start : start + _MOST_PIECES]))

    def _send_some(self, pieces: list[Piece]) -> None:
        if len(pieces) == 1:
            self._sock.sendall(pieces[0])
            return
        sent = self._sock.sendmsg(pieces)
        for index, piece in enumerate(pieces):
            size = memoryview(piece).nbytes
            if sent < size:
                self._sock.sendall(memoryview(piece).cast("B")[sent:])
                for rest in pieces[index + 1 :]:
                    self._sock.sendall(rest)
                return
            sent -= size

    def can_send(self, timeout: float) -> bool:
        """Whether a few bytes can be sent without blocking, now or within `timeout` seconds."""
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        return bool(poll.poll(timeout * 1000))

    def set_receive_timeout(self, seconds: float) -> None:
        """Let a receive without any byte end after so many seconds."""
        set_receive_timeout(self._sock, seconds)

    def abort(self) -> None:
        """End both directions at once; wakes whoever is blocked in a call."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket back. Only once no thread uses it any more."""
        self._sock.close()


class TlsTransport(PlainTransport):
    """TLS over a TCP socket, with the TLS state apart from the waiting.

    OpenSSL's state may not be used by two threads at once, and a lock held while
    waiting for bytes would keep the writer out. So bytes pass through memory
    (`ssl.MemoryBIO`): the lock is held for the arithmetic only.

    A peer may send a record byte by byte, and each byte is news to the socket. So the
    receive timeout is counted here too, until there is something readable.

    Args:
        sock: connected and blocking.
        context: verifies the peer.
        host: the name that the certificate must be made for.
        timeout: seconds for the handshake, and for each receive until it is set otherwise.
    """

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, host: str, timeout: float
    ) -> None:
        super().__init__(sock)
        self._timeout = timeout
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._lock = threading.Lock()
        self._raw = bytearray(_SOCKET_BUFFER // 4)

    def handshake(self) -> None:
        """Agree on keys; raises `ssl.SSLError` and `OSError`."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                count = self._more()
                if count is None or time.monotonic() > deadline:
                    raise TimeoutError from None
                if not count:
                    raise ssl.SSLEOFError("the peer closed during the TLS handshake") from None
            except ssl.SSLError:
                self._flush()  # tells the peer why
                raise
            else:
                self._flush()
                return

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            self._sock.sendall(data)

    def _more(self) -> int | None:
        count = super().receive_into(memoryview(self._raw), wait_all=False)
        with self._lock:
            if count:
                self._incoming.write(memoryview(self._raw)[:count])
            elif count == 0:
                self._incoming.write_eof()
        return count

    def receive_into(self, view: memoryview, *, wait_all: bool) -> int | None:
        """As the plain one; `wait_all` is a hint that TLS cannot use."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                with self._lock:
                    count: Any = self._tls.read(len(view), view)  # typeshed forgets the buffer
                return int(count)
            except ssl.SSLWantReadError:
                if self._more() is None or time.monotonic() > deadline:
                    return None  # a record that has begun goes on with the next call
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return 0

    def set_receive_timeout(self, seconds: float) -> None:
        """Let a receive without anything readable end after so many seconds."""
        super().set_receive_timeout(seconds)
        self._timeout = seconds

    def send(self, pieces: Sequence[Piece]) -> None:
        """As the plain one; the caller holds the connection's send lock."""
        for piece in pieces:
            view = memoryview(piece).cast("B")
            while view:
                with self._lock:
                    count = self._tls.write(view[:_TLS_PIECE])  # one record at a time
                    data = self._outgoing.read()
                self._sock.sendall(data)
                view = view[count:]


Transport: TypeAlias = PlainTransport | TlsTransport
"""Either of the two."""


def set_receive_timeout(sock: socket.socket, seconds: float) -> None:
    """Set SO_RCVTIMEO. `struct timeval` is two longs on Linux and fits macOS too."""
    whole = int(seconds)
    value = struct.pack("@ll", whole, int((seconds - whole) * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)


def open_transport(
    host: str, port: int, *, timeout: float, context: ssl.SSLContext | None
) -> Transport:
    """Connect, and agree on TLS if a context is given.

    Args:
        host: name or address.
        port: TCP port.
        timeout: seconds for each of the two steps.
        context: verifies the peer; its check of the host name applies to `host`.

    Raises:
        ConnectionLostError: nobody answers, or the name is unknown.
        CertificateError: the peer's certificate does not hold.
    """
    where = f"{host}:{port}"
    try:
        sock = socket.create_connection((host, port), timeout)
    except OSError as error:
        raise ConnectionLostError(f"No connection to {where}: {_reason(error)}") from error
    except (ValueError, OverflowError) as error:  # a name or a port that cannot be one
        raise ConnectionLostError(f"No connection to {where}: {error}") from error
    try:
        _tune(sock, timeout)
        if context is None:
            return PlainTransport(sock)
        transport = TlsTransport(sock, context, host, timeout)
        transport.handshake()
    except ssl.SSLCertVerificationError as error:
        sock.close()
        raise CertificateError(
            f"The certificate of {where} does not hold: {error.verify_message}",
            "Give the authority that signed it (--tls-ca FILE), and the host name it was made for",
        ) from error
    except OSError as error:  # ssl.SSLError is one
        sock.close()
        raise ConnectionLostError(
            f"No TLS with {where}: {_reason(error)}", "Is it the TLS port (5551 by default)?"
        ) from error
    except BaseException:
        sock.close()
        raise
    return transport


def _reason(error: OSError) -> str:
    if isinstance(error, BlockingIOError | TimeoutError):
        return "no answer in time"
    return error.strerror or str(error) or type(error).__name__


def _tune(sock: socket.socket, timeout: float) -> None:
    sock.settimeout(None)
    set_receive_timeout(sock, timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
    # SO_RCVBUF is left alone on Linux: setting it ends the kernel's own growth of
    # the window at net.core.rmem_max, which is smaller (Go client issue 293).
    if sys.platform == "darwin":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER)

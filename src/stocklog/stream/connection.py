"""One connection: a thread that reads, callers that write, requests and their answers.

Frames that nobody asked for (Deliver, PublishConfirm, PublishError,
MetadataUpdate) go to handlers on the reading thread, which must be quick and
must not send requests. When the connection ends, for whatever reason, every
waiting request and every handler is told once, with the same error.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from stocklog.errors import ConnectionLostError, ProtocolError, StocklogError, StreamError
from stocklog.protocol import codes, frames
from stocklog.protocol.frames import Frame, Key
from stocklog.protocol.reader import FrameReader
from stocklog.stream.handshake import (
    HANDSHAKE_FRAME_MAX,
    HEARTBEAT,
    Handshake,
    Negotiated,
)
from stocklog.stream.transport import Piece, open_transport
from stocklog.stream.uri import StreamURI

__all__ = ["Connection", "ConnectionHandler"]

log = logging.getLogger(__name__)

RPC_TIMEOUT = 10.0
"""Seconds to wait for an answer. Brokers from 4.0 on answer a failed login after 3 s only."""
WAKE_UP = 0.25
"""Longest wait of a caller's thread in one piece, in seconds. Polars, once imported, replaces
SIGINT's handler by one that restarts system calls (seen with 2.1.0): a thread that waits
without end then never comes to see Ctrl-C."""
_CLOSE_TIMEOUT = 2.0
_LARGEST_FRAME = 16 << 20
_LARGEST_CHUNK = 1 << 30
_WRONG_PORT = (
    "Is it the stream listener's port (5552 by default), and do both sides agree about TLS?"
)


class ConnectionHandler(Protocol):
    """What a publisher or a subscriber hears from its connection, on the reading thread."""

    def on_frames(self, key: int, bodies: list[memoryview]) -> None:
        """Take one or more frames of one command that came one behind the other."""

    def on_stream_unavailable(self, stream: str) -> None:
        """The broker dropped everything that this connection had on the stream."""

    def on_connection_lost(self, error: StreamError) -> None:
        """The connection has ended."""


class _Waiter:
    """One request that awaits its answer."""

    __slots__ = ("answer", "done", "error", "on_answer")

    def __init__(self, on_answer: Callable[[], None] | None) -> None:
        self.done = threading.Event()
        self.answer: Frame | None = None
        self.error: StreamError | None = None
        self.on_answer = on_answer


class Connection:
    """An open connection to one node.

    Args:
        host: name or address of the node.
        port: its stream port.
        uri: user, password and virtual host.
        name: the connection's name in the broker's management.
        ssl_context: speak TLS with this context; None for plain TCP.
        timeout: seconds for connecting and for each answer.
        heartbeat: seconds that we propose; the smaller of both sides' counts.

    Raises:
        ConnectionLostError: nobody answers, or the connection ends during the handshake.
        AuthenticationError: user, password or virtual host are refused.
        ProtocolError: the peer does not speak the stream protocol.
    """

    def __init__(
        self,
        host: str,
        port: int,
        uri: StreamURI,
        *,
        name: str = "stocklog",
        ssl_context: ssl.SSLContext | None = None,
        timeout: float = RPC_TIMEOUT,
        heartbeat: int = HEARTBEAT,
    ) -> None:
        self.host, self.port = host, port
        self.where = f"{host}:{port}"
        self.timeout = timeout
        self.handler: ConnectionHandler | None = None
        self._transport = open_transport(host, port, timeout=timeout, context=ssl_context)
        self._send_lock = threading.Lock()
        self._state_lock = threading.Lock()
        self._waiters: dict[int, _Waiter] = {}
        self._next_correlation = 100
        self._error: StreamError | None = None
        self._closing = False
        self._last_sent = time.monotonic()
        self._reader = FrameReader(max_frame=HANDSHAKE_FRAME_MAX, max_chunk=HANDSHAKE_FRAME_MAX)
        self._early: list[memoryview] = []
        try:
            self.agreed: Negotiated = self._handshake(Handshake(uri, self.where, name, heartbeat))
        except BaseException:
            self._transport.close()
            raise
        self._reader.max_frame, self._reader.max_chunk = _LARGEST_FRAME, _LARGEST_CHUNK
        self._tick = max(0.05, min(1.0, self.agreed.heartbeat / 4 or 1.0))
        self._transport.set_receive_timeout(self._tick)
        self._thread = threading.Thread(
            target=self._read_loop, name=f"stocklog-{self.where}", daemon=True
        )
        self._thread.start()

    # -- the handshake ------------------------------------------------------------------

    def _handshake(self, steps: Handshake) -> Negotiated:
        try:
            for data, _ in steps:
                if data is not None:
                    self._send_now([data])
                steps.answer(self._handshake_frame())
        except ProtocolError as error:
            what = error.what if self.where in error.what else f"{self.where}: {error.what}"
            raise ProtocolError(what, _WRONG_PORT) from error
        return steps.agreed

    def _handshake_frame(self) -> Frame:
        deadline = time.monotonic() + self.timeout
        while True:
            while self._early:
                frame = frames.decode(self._early.pop(0))
                if frame.key == Key.CLOSE and not frame.is_answer:
                    raise self._closed_by_peer(frame)
                if frame.key != Key.HEARTBEAT:
                    return frame
            count = self._receive(self._reader)
            if not count or time.monotonic() > deadline:
                happened = (
                    "closed the connection during the handshake"
                    if count == 0
                    else f"did not answer the handshake within {self.timeout:g} s"
                )
                raise ConnectionLostError(f"{self.where} {happened}", _WRONG_PORT)
            self._early.extend(self._reader.received(count))

    def _receive(self, reader: FrameReader) -> int | None:
        try:
            return self._transport.receive_into(reader.buffer(), wait_all=reader.wants_all())
        except OSError as error:
            raise ConnectionLostError(
                f"The connection to {self.where} broke: {error.strerror or error}"
            ) from error

    # -- sending ------------------------------------------------------------------------

    def send(self, pieces: Sequence[Piece]) -> None:
        """Send bytes that are whole frames.

        Blocks while the broker does not read (its own flow control, a disk alarm);
        `close()` and a lost connection end the wait.

        Raises:
            ConnectionLostError: the connection has ended.
        """
        with self._send_lock:
            if self._error is not None:
                raise self._lost()
            self._send_now(pieces)

    def _send_now(self, pieces: Sequence[Piece]) -> None:
        try:
            self._transport.send(pieces)
        except OSError as error:
            lost = ConnectionLostError(
                f"The connection to {self.where} broke while sending: {error.strerror or error}"
            )
            self._transport.abort()
            raise lost from error
        self._last_sent = time.monotonic()

    def request(self, key: Key, **values: Any) -> Frame:
        """Ask, and wait for the answer; its code may be an error's.

        Raises:
            ConnectionLostError: no answer in time, or the connection has ended.
        """
        return self.pipeline([(key, values)])[0]

    def pipeline(
        self,
        requests: Sequence[tuple[Key, dict[str, Any]]],
        on_last: Callable[[], None] | None = None,
    ) -> list[Frame]:
        """Ask several things in one send, and wait for all answers.

        Args:
            requests: command and its fields, one behind the other.
            on_last: called on the reading thread at the very place in the order of
                frames where the last answer stands. What was delivered before it
                was in the log when the broker came to that request.
        """
        waiters, data = [], []
        with self._state_lock:
            if self._error is not None:
                raise self._lost()
            for index, (key, values) in enumerate(requests):
                number = self._next_correlation
                self._next_correlation += 1
                last = index == len(requests) - 1
                waiter = _Waiter(on_last if last else None)
                data.append(frames.encode(key, number, **values))
                self._waiters[number] = waiter
                waiters.append(waiter)
        self.send([b"".join(data)])
        return [
            self._await(waiter, key) for waiter, (key, _) in zip(waiters, requests, strict=True)
        ]

    def _await(self, waiter: _Waiter, key: Key) -> Frame:
        if not waiter.done.wait(self.timeout):
            raise ConnectionLostError(
                f"{self.where} did not answer {key.name} within {self.timeout:g} s",
                "The broker may be overloaded or blocked by a disk alarm; its log says which",
            )
        if waiter.answer is None:
            raise self._lost()
        if waiter.answer.key != key:
            raise ProtocolError(f"{self.where} answered {key.name} with {waiter.answer.key.name}")
        return waiter.answer

    def checked(self, key: Key, doing: str, **values: Any) -> Frame:
        """As `request`, raising the error that the answer's code stands for.

        Args:
            key: the command.
            doing: what is being tried, for the error's text.
            values: the command's fields.
        """
        frame = self.request(key, **values)
        if frame.code != codes.OK:
            raise codes.error_for(frame.code, f"{doing} at {self.where}")
        return frame

    # -- the reading thread -------------------------------------------------------------

    def _read_loop(self) -> None:
        try:
            self._read_frames()
        except StreamError as error:
            self._end(error)
        except StocklogError as error:
            self._end(ConnectionLostError(f"{self.where} broke the protocol: {error}"))
        except Exception as error:  # a defect of ours must not leave callers waiting
            log.exception("the reading thread of %s failed", self.where)
            self._end(ConnectionLostError(f"Reading from {self.where} failed: {error!r}"))

    def _read_frames(self) -> None:
        reader, last_received = self._reader, time.monotonic()
        self._dispatch(self._early)
        while True:
            count = self._receive(reader)
            if count == 0:
                raise ConnectionLostError(f"{self.where} closed the connection")
            self.beat()
            if count is None:
                self._check_silence(time.monotonic() - last_received)
                continue
            self._dispatch(reader.received(count))
            # Not before: a handler may hold this thread back, and that is no silence.
            last_received = time.monotonic()

    def beat(self) -> None:
        """Send a heartbeat if one is due. For the reading thread; never blocks."""
        heartbeat, now = self.agreed.heartbeat, time.monotonic()
        # A writer that holds the lock is sending anyway. Where nothing can be sent there is
        # enough on the way, and this thread must go on reading.
        if (
            heartbeat
            and now - self._last_sent > heartbeat / 2
            and self._send_lock.acquire(blocking=False)
        ):
            try:
                if self._transport.can_send(0):
                    self._send_now([frames.encode(Key.HEARTBEAT)])
            finally:
                self._send_lock.release()

    def _check_silence(self, seconds: float) -> None:
        heartbeat = self.agreed.heartbeat
        if heartbeat and seconds > 2 * heartbeat:
            raise ConnectionLostError(
                f"{self.where} has been silent for {seconds:.0f} s (heartbeat {heartbeat} s)"
            )

    def _dispatch(self, received: list[memoryview]) -> None:
        index = 0
        while index < len(received):
            key = received[index][1]
            end = index + 1
            if key in _HOT and received[index][0] == 0:
                while end < len(received) and received[end][1] == key and received[end][0] == 0:
                    end += 1
                if self.handler is not None:
                    self.handler.on_frames(key, received[index:end])
            else:
                self._dispatch_one(frames.decode(received[index]))
            index = end

    def _dispatch_one(self, frame: Frame) -> None:
        if frame.is_answer and frame.correlation_id is not None:
            self._answered(frame.correlation_id, frame)
        elif frame.key == Key.CLOSE and not frame.is_answer:
            raise self._closed_by_peer(frame)
        elif frame.key == Key.METADATA_UPDATE and self.handler is not None:
            self.handler.on_stream_unavailable(frame.values["stream"])
        elif frame.key not in (Key.HEARTBEAT, Key.CREDIT, Key.METADATA_UPDATE, Key.TUNE):
            raise ProtocolError(f"{self.where} sent {frame.key.name}, which nobody expects")

    def _closed_by_peer(self, frame: Frame) -> ConnectionLostError:
        code = frame.values.get("code", frame.code)
        reason = frame.values.get("reason") or codes.describe(code).text
        return ConnectionLostError(f"{self.where} closed the connection: {reason} (code {code})")

    def _answered(self, correlation_id: int, frame: Frame) -> None:
        with self._state_lock:
            waiter = self._waiters.pop(correlation_id, None)
        if waiter is None:
            return  # its caller gave up waiting
        waiter.answer = frame
        if waiter.on_answer is not None:
            waiter.on_answer()
        waiter.done.set()

    # -- the end ------------------------------------------------------------------------

    def _end(self, error: StreamError) -> None:
        with self._state_lock:
            if self._error is None:
                self._error = error
            waiters, self._waiters = list(self._waiters.values()), {}
            closing = self._closing
        self._transport.abort()
        for waiter in waiters:
            waiter.done.set()
        if self.handler is not None and not closing:
            self.handler.on_connection_lost(self._error)

    def _lost(self) -> StreamError:
        """A fresh error a caller, since tracebacks grow on one that is raised twice."""
        error = self._error
        assert error is not None
        fresh = ConnectionLostError(error.what, error.remedy)
        fresh.__cause__ = error
        return fresh

    @property
    def is_open(self) -> bool:
        """Whether the connection can still be used."""
        return self._error is None

    def abort(self) -> None:
        """Cut the line; whoever waits for this connection is told at once."""
        self._transport.abort()

    def close(self) -> None:
        """End the connection politely if the broker answers, else all the same; never long."""
        with self._state_lock:
            if self._closing:
                return
            self._closing = True
            is_open = self._error is None
        if is_open:
            self._say_goodbye()
        self._end(ConnectionLostError(f"The connection to {self.where} was closed by us"))
        if threading.current_thread() is not self._thread:
            self._thread.join(_CLOSE_TIMEOUT)
        self._transport.close()

    def _say_goodbye(self) -> None:
        # A writer that is blocked holds the lock; cutting the line is then the only way.
        if not self._send_lock.acquire(timeout=_CLOSE_TIMEOUT):
            return
        try:
            if not self._transport.can_send(_CLOSE_TIMEOUT):
                return  # the peer does not read
            waiter = _Waiter(None)
            with self._state_lock:
                number = self._next_correlation
                self._next_correlation += 1
                self._waiters[number] = waiter
            self._send_now([frames.encode(Key.CLOSE, number, code=codes.OK, reason="OK")])
        except StreamError:
            return
        finally:
            self._send_lock.release()
        waiter.done.wait(_CLOSE_TIMEOUT)


_HOT = frozenset({Key.DELIVER, Key.PUBLISH_CONFIRM, Key.PUBLISH_ERROR})

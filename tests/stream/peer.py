"""A peer on a socket that misbehaves as it is told to.

It plays no broker: for what brokers do there are real ones.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import traceback
from collections.abc import Callable, Iterator

from stocklog.protocol import frames
from stocklog.protocol.frames import Frame, Key
from stocklog.stream import StreamURI
from stocklog.stream.connection import Connection

SECRET = "s3cr3t-zk8w"
URI = StreamURI((("127.0.0.1", 1),), "ana", SECRET, "shop")

HANDSHAKE = (
    Key.PEER_PROPERTIES,
    Key.SASL_HANDSHAKE,
    Key.SASL_AUTHENTICATE,
    Key.TUNE,
    Key.OPEN,
    Key.EXCHANGE_COMMAND_VERSIONS,
)
"""What a client awaits, in this order."""


def framed(key: int, body: bytes, version: int = 1) -> bytes:
    """Any frame at all."""
    return struct.pack(">IHH", len(body) + 4, key, version) + body


def failing(key: Key, correlation_id: int, code: int) -> bytes:
    """An answer that says no; it ends with its code."""
    return framed(key | 0x8000, struct.pack(">IH", correlation_id, code))


class Line:
    """One accepted connection, from the peer's side."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.closing = threading.Event()

    def read_bytes(self) -> bytes:
        """What one read gives; nothing at the end."""
        return self.sock.recv(65536)

    def idle(self) -> None:
        """Neither reads nor sends until the test is over."""
        self.closing.wait(30)

    def read(self) -> Frame:
        """The next frame; raises ConnectionError at the end."""
        size = int.from_bytes(self._exactly(4), "big")
        return frames.decode(self._exactly(size))

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.sock.recv(count - len(data))
            if not piece:
                raise ConnectionError
            data += piece
        return data

    def read_request(self) -> Frame:
        """The next frame that is no heartbeat."""
        while True:
            frame = self.read()
            if frame.key != Key.HEARTBEAT:
                return frame

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self, request: Frame, **values: object) -> None:
        self.send(frames.encode(request.key, request.correlation_id, answer=1, **values))

    def greet(
        self,
        until: Key | None = None,
        *,
        version: str | None = "3.13.0",
        frame_max: int = 1 << 20,
        heartbeat: int = 60,
        opened: dict[str, str | None] | None = None,
    ) -> Frame | None:
        """Plays the handshake.

        Args:
            until: the answer that is not given any more; the request for it is returned
                (the one before it for Tune, which is not asked for).
        """
        for due in HANDSHAKE:
            if due == Key.TUNE:
                if until == Key.TUNE:
                    return None
                self.send(frames.encode(Key.TUNE, frame_max=frame_max, heartbeat=heartbeat))
                assert self.read().key == Key.TUNE
                continue
            if due == Key.EXCHANGE_COMMAND_VERSIONS and (version or "").startswith("3.10"):
                break
            request = self.read()
            if request.key == Key.CLOSE:
                return request  # a version that is not asked for its commands
            assert request.key == due
            if due == until:
                return request
            self.answer(request, **_values(due, version, opened))
        return None


def _values(
    key: Key, version: str | None, opened: dict[str, str | None] | None
) -> dict[str, object]:
    return {
        Key.PEER_PROPERTIES: {"properties": {"version": version}},
        Key.SASL_HANDSHAKE: {"mechanisms": ["AMQPLAIN", "PLAIN"]},
        Key.OPEN: {"properties": opened or {}},
        Key.EXCHANGE_COMMAND_VERSIONS: {"commands": [(Key.STREAM_STATS, 1, 1)]},
    }.get(key, {})


Script = Callable[[Line], None]


class Peer:
    """Listens on 127.0.0.1 and runs the script for every connection, each on a thread."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.lines: list[Line] = []
        self.problems: list[str] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(20)
            line = Line(sock)
            self.lines.append(line)
            thread = threading.Thread(target=self._run, args=(line,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, line: Line) -> None:
        try:
            self._script(line)
        except AssertionError:
            self.problems.append(traceback.format_exc())
        except OSError:
            pass  # the client has gone, or this peer was closed
        finally:
            line.sock.close()

    def connect(self, **options: object) -> Connection:
        options.setdefault("timeout", 5.0)
        return Connection("127.0.0.1", self.port, URI, **options)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in self.lines:
            line.closing.set()
            with contextlib.suppress(OSError):
                line.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        assert not any(thread.is_alive() for thread in self._threads)


@contextlib.contextmanager
def peer(script: Script) -> Iterator[Peer]:
    """A peer while the block lasts; what it found wrong with us fails the test."""
    served = Peer(script)
    try:
        yield served
    finally:
        served.close()
        assert not served.problems, served.problems[0]


def wait_for_end(line: Line) -> None:
    """Reads until the client has gone or says goodbye."""
    goodbye = Key.CLOSE.to_bytes(2, "big") + b"\0\1"
    while (data := line.read_bytes()) and goodbye not in data:
        pass


def shown(error: BaseException) -> str:
    """All that a log or a terminal may show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error) + str(error)

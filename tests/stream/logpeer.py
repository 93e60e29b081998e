"""A peer that hands out a log: chunks as they are told, over any number of connections.

For what real brokers do only by chance: retention that cuts at a given moment, a connection
that breaks behind a given chunk, one that is refused.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from chunk_reference import Batch, encode_chunk
from peer import Line, framed, wait_for_end

from stocklog.protocol import frames
from stocklog.protocol.frames import Frame, Key, Offset

USER, TRACKING = 0, 1
_NO_SUCH_STREAM = 2


@dataclass(frozen=True)
class Chunk:
    """One chunk of the log.

    Attributes:
        first: its first offset.
        records: how many offsets it takes.
        data: the chunk.
        kind: `USER` or `TRACKING`.
    """

    first: int
    records: int
    data: bytes
    kind: int = USER

    @property
    def end(self) -> int:
        return self.first + self.records


def body(offset: int) -> bytes:
    """The message at an offset: AMQP 1.0 with the number as its data."""
    text = b"%d" % offset
    return b"\x00\x53\x75\xa0" + bytes([len(text)]) + text


def make_log(shapes: list[str]) -> list[Chunk]:
    """Chunks of these shapes: `one`, `some`, `many`, `batch`, `large` or `tracking`."""
    chunks: list[Chunk] = []
    offset = 0
    for shape in shapes:
        count = {"some": 3, "many": 200, "batch": 40}.get(shape, 1)
        messages = [body(number) for number in range(offset, offset + count)]
        if shape == "tracking":
            data = encode_chunk([], offset, data=b"\x00" * 16, records=1, kind=TRACKING)
        elif shape == "batch":
            data = encode_chunk([Batch(tuple(messages))], offset)
        else:
            filling = b"\x00\x53\x74\xd1\0\0\x40\x04\0\0\0\0" + bytes(16_384)
            data = encode_chunk(
                [filling + message if shape == "large" else message for message in messages], offset
            )
        kind = TRACKING if shape == "tracking" else USER
        chunks.append(Chunk(offset, count, data, kind))
        offset += count
    return chunks


def random_shapes(seed: int, count: int) -> list[str]:
    """Shapes in stretches of random lengths, most of them of tiny chunks."""
    choose = random.Random(seed)
    shapes: list[str] = []
    while len(shapes) < count:
        usual = choose.choice(("one", "one", "one", "some", "many", "batch"))
        shapes += [
            choose.choice(("one", "tracking", "batch", "some")) if choose.random() < 0.05 else usual
            for _ in range(choose.randrange(1, 400))
        ]
    return [*shapes[: count - 1], "one"]


@dataclass
class LogPeer:
    """Serves a log. `script` is for `peer`.

    Attributes:
        log: its chunks; `retain` cuts the oldest.
        on_subscribe: called with the number of each subscription that reads, from 1 on.
        break_at: subscription number -> chunks after which its connection breaks.
        breaks_before: an offset; a connection that is about to send it to a reader breaks.
        refuses: says of a connection, by how many are open, whether it is turned away.
        delivered: bytes of chunks that were sent to readers.
        subscriptions: how many have read (the questions where the log ends do not count).
        turned_away: connections that were refused.
    """

    log: list[Chunk]
    on_subscribe: Callable[[int], None] = lambda number: None
    break_at: dict[int, int] = field(default_factory=dict)
    breaks_before: int | None = None
    refuses: Callable[[int], bool] = lambda count: False
    delivered: int = 0
    subscriptions: int = 0
    turned_away: int = 0
    exists: bool = True

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[Line] = []

    def retain(self, first: int) -> None:
        """Retention: nothing below this offset is kept."""
        self.log = [chunk for chunk in self.log if chunk.first >= first]

    def delete(self) -> None:
        """The stream is deleted; all who read it are told."""
        self.exists = False
        told = frames.encode(Key.METADATA_UPDATE, code=6, stream="s")
        for line in list(self._open):
            # One that just ended has nobody to tell.
            with contextlib.suppress(OSError):
                line.send(told)

    def script(self, line: Line) -> None:
        """Plays one connection."""
        with self._lock:
            refused = self.refuses(len(self._open))
            self.turned_away += refused
            if not refused:
                self._open.append(line)
        if refused:
            return
        try:
            line.greet()
            _Session(self, line).run()
        except ConnectionError:
            pass
        finally:
            self._open.remove(line)


class _Session:
    """One connection: at most one subscription at a time."""

    def __init__(self, served: LogPeer, line: Line) -> None:
        self._served, self._line = served, line
        self._at: int | None = None
        self._sees_all = False
        self._left: int | None = None

    def run(self) -> None:
        while True:
            frame = self._line.read_request()
            if frame.key == Key.CLOSE:
                self._line.answer(frame)
                return
            if frame.key == Key.CREDIT:
                if not self._deliver(frame.values["subscription_id"], frame.values["credit"]):
                    # Closing at once would take back what the client has not read yet.
                    self._line.sock.shutdown(socket.SHUT_WR)
                    wait_for_end(self._line)
                    return
            elif frame.key == Key.SUBSCRIBE:
                self._subscribe(frame)
            elif frame.key == Key.METADATA:
                number = (frame.correlation_id or 0).to_bytes(4, "big")
                self._line.send(framed(Key.METADATA | 0x8000, number + bytes(8)))
            elif frame.key == Key.STREAM_STATS:
                self._line.answer(frame, stats=[])
            else:
                assert frame.key == Key.UNSUBSCRIBE, frame
                self._line.answer(frame)
                self._at = None

    def _subscribe(self, frame: Frame) -> None:
        served = self._served
        if not served.exists:
            key, number = Key.SUBSCRIBE | 0x8000, frame.correlation_id or 0
            self._line.send(framed(key, number.to_bytes(4, "big") + bytes([0, _NO_SUCH_STREAM])))
            return
        values = frame.values
        self._sees_all = bool(values["properties"])
        reads = values["subscription_id"] == 0
        if reads:
            with served._lock:
                served.subscriptions += 1
                number = served.subscriptions
            served.on_subscribe(number)
            self._left = served.break_at.get(number)
        self._at = self._place(values["offset"])
        self._line.answer(frame)
        self._deliver(values["subscription_id"], values["credit"])

    def _place(self, offset: Offset) -> int:
        log = [chunk for chunk in self._served.log if chunk.kind == USER]
        if offset.kind == 2:
            return log[-1].first
        return offset.value or 0 if offset.kind == 4 else 0

    def _deliver(self, subscription: int, credit: int) -> bool:
        """Sends chunks as far as credit goes; False when the connection is to break."""
        if self._at is None:
            return True
        due = self._next(credit)
        if subscription == 0:
            self._served.delivered += sum(len(chunk.data) for chunk in due)
            left = self._left_of(due)
            if left is not None:
                self._send(subscription, due[:left])
                return len(due) < left
        self._send(subscription, due)
        return True

    def _left_of(self, due: list[Chunk]) -> int | None:
        """Of these chunks so many are sent before the connection breaks; None: it holds."""
        breaks = [n for n, chunk in enumerate(due) if chunk.first == self._served.breaks_before]
        if breaks:
            return breaks[0]
        if self._left is None:
            return None
        left, self._left = self._left, max(0, self._left - len(due))
        return left

    def _send(self, subscription: int, due: list[Chunk]) -> None:
        self._line.send(b"".join(_deliver_frame(subscription, chunk) for chunk in due))

    def _next(self, count: int) -> list[Chunk]:
        assert self._at is not None
        log, low, high = self._served.log, 0, len(self._served.log)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if log[middle].end <= self._at else (low, middle)
        due: list[Chunk] = []
        while low < len(log) and len(due) < count:
            if log[low].kind == USER or self._sees_all:
                due.append(log[low])
            low += 1
        if due:
            self._at = due[-1].end
        return due


def _deliver_frame(subscription: int, chunk: Chunk) -> bytes:
    return framed(Key.DELIVER, bytes([subscription]) + chunk.data)

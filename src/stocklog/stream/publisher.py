"""Sending messages and knowing what became of them.

A publisher numbers its messages 1, 2, 3 …; an entry (a message, or a sub-batch)
carries the number of its last message as its publishing id. Sub-batches begin
at multiples of their size whatever pieces the caller hands over, so that the
borders depend on the number alone; only a flush makes a shorter one.

What is sent and not confirmed is bounded in bytes and in entries, and with it
the size of the broker's chunks and the memory of every reader: a producer
without a bound makes chunks of 60 MB, one with 8 MB none above 5 MB.
"""

from __future__ import annotations

import logging
import threading
import time

import numpy as np
import numpy.typing as npt

from stocklog.errors import ConnectionLostError, StreamError, UnconfirmedError, UsageError
from stocklog.protocol import amqp, codes, frames
from stocklog.protocol.frames import Key
from stocklog.stream.connection import Connection
from stocklog.stream.inflight import InFlight, SentFrame
from stocklog.stream.options import PublisherOptions
from stocklog.stream.packing import Packer

__all__ = ["Publisher"]

log = logging.getLogger(__name__)

_PUBLISHER_ID = 0


class Publisher:
    """Publishes to one stream over a connection of its own, which it closes at the end.

    Use one from one thread at a time; `confirmed` and the like may be read from any.

    Args:
        connection: to the stream's leader; nothing else uses it.
        stream: the stream's name.
        options: how to send.

    Raises:
        StreamNotFoundError, CommandError: the broker refuses the publisher.
    """

    def __init__(self, connection: Connection, stream: str, options: PublisherOptions) -> None:
        self.stream = stream
        self.options = options
        self.last_sequence = 0
        self._connection = connection
        self._changed = threading.Condition()
        self._in_flight = InFlight()
        self._error: StreamError | None = None
        self._confirmed = 0
        self._closed = False
        connection.handler = self
        self._declare()
        self._packer = Packer(options, connection.agreed.frame_max, self.last_sequence)

    def _declare(self) -> None:
        name = self.options.name
        self._connection.checked(
            Key.DECLARE_PUBLISHER,
            f"Publishing to stream {self.stream!r}",
            publisher_id=_PUBLISHER_ID,
            reference=name or "",
            stream=self.stream,
        )
        if name is not None:
            answer = self._connection.checked(
                Key.QUERY_PUBLISHER_SEQUENCE,
                f"Asking for the last number of producer {name!r} in stream {self.stream!r}",
                reference=name,
                stream=self.stream,
            )
            self.last_sequence = answer.values["sequence"]

    # -- sending ------------------------------------------------------------------------

    @property
    def lead(self) -> bytes:
        """What must stand in front of each body handed to `send`: 12 bytes, or 20 if plain."""
        return amqp.lead(self.options.plain)

    @property
    def sent(self) -> int:
        """Messages handed over so far, those that still fill up a sub-batch included."""
        return self._packer.number - self.last_sequence

    @property
    def confirmed(self) -> int:
        """Messages that the broker has confirmed so far."""
        return self._confirmed

    @property
    def unconfirmed_bytes(self) -> int:
        """Bytes that are sent and not yet confirmed."""
        return self._in_flight.size

    def send(self, data: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64]) -> None:
        """Send messages; blocks while the bound of unconfirmed bytes is reached.

        Args:
            data: bodies one behind the other, each behind room of `lead`'s size; the
                room is filled in place. The array is kept until it is confirmed and
                must not be changed by the caller after this. uint8[size].
            starts: where each message's room begins, and the end of the last, int64[n + 1].

        Raises:
            MessageTooLargeError: a message cannot fit a frame; nothing of this call was sent.
            ConnectionLostError, CommandError: the connection ended, or the broker refused
                entries; what was confirmed until then is confirmed.
        """
        self._check_usable()
        for frame in self._packer.add(data, starts):
            self._send_frame(frame)

    def _send_frame(self, frame: SentFrame) -> None:
        with self._changed:
            self._wait_for_room(frame)
            self._in_flight.add(frame)
        self._connection.send(frame.pieces)

    def _wait_for_room(self, frame: SentFrame) -> None:
        options, in_flight = self.options, self._in_flight
        while in_flight.entries and (
            in_flight.size + frame.size > options.max_unconfirmed_bytes
            or in_flight.entries + len(frame.ids) > options.max_unconfirmed_entries
        ):
            self._raise_error()
            self._changed.wait()
        self._raise_error()

    def _check_usable(self) -> None:
        if self._closed:
            raise UsageError(f"The publisher of stream {self.stream!r} is closed")
        with self._changed:
            self._raise_error()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def push(self) -> None:
        """Send what still fills up a sub-batch, without waiting for its confirm.

        Raises:
            ConnectionLostError, CommandError: as for `send`.
        """
        self._check_usable()
        for frame in self._packer.flush():
            self._send_frame(frame)

    def flush(self, timeout: float | None = None) -> None:
        """Send what still fills up a sub-batch, and wait until everything is confirmed.

        Args:
            timeout: seconds to wait for the confirms; None: as long as the connection lives.

        Raises:
            UnconfirmedError: the time was over first.
            ConnectionLostError, CommandError: as for `send`.
        """
        self.push()
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while self._in_flight.entries:
                self._raise_error()
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise self._unconfirmed(f"within {timeout:g} s")
                self._changed.wait(left)
            self._raise_error()

    def _unconfirmed(self, when: str) -> UnconfirmedError:
        count = self._in_flight.messages
        return UnconfirmedError(
            f"The broker did not confirm {count} messages to stream {self.stream!r} {when}",
            "They may be in the log or not. A disk alarm blocks publishers: see the broker's log",
            unconfirmed=count,
        )

    # -- what the connection tells, on its thread -----------------------------------------

    def on_frames(self, key: int, bodies: list[memoryview]) -> None:
        """Confirms and refusals."""
        if key == Key.PUBLISH_CONFIRM:
            for body in bodies:
                _, ids = frames.confirmed_ids(body)
                with self._changed:
                    self._confirmed += self._in_flight.answer(ids)
                    self._changed.notify_all()
        elif key == Key.PUBLISH_ERROR:
            for body in bodies:
                _, ids, reasons = frames.refused_ids(body)
                self._refused(ids, int(reasons[0]) if len(reasons) else codes.OK)

    def _refused(self, ids: npt.NDArray[np.uint64], code: int) -> None:
        with self._changed:
            count = self._in_flight.answer(ids)
            if self._error is None:
                doing = f"Publishing {count} messages to stream {self.stream!r}"
                self._error = codes.error_for(code, f"{doing} at {self._connection.where}")
            self._changed.notify_all()

    def on_stream_unavailable(self, stream: str) -> None:
        """The stream was deleted, or its leader has gone."""
        if stream == self.stream:
            self._fail(
                ConnectionLostError(
                    f"Stream {stream!r} was deleted, or its leader has gone",
                    "Entries that were not confirmed may be in the log or not",
                )
            )

    def on_connection_lost(self, error: StreamError) -> None:
        """The connection has ended."""
        self._fail(error)

    def _fail(self, error: StreamError) -> None:
        with self._changed:
            if self._error is None:
                self._error = error
            self._changed.notify_all()

    # -- the end ------------------------------------------------------------------------

    @property
    def unconfirmed(self) -> int:
        """Messages that were sent and neither confirmed nor refused."""
        return self._in_flight.messages

    def close(self, timeout: float | None = 10.0) -> None:
        """Flush and end the connection. Always ends.

        Args:
            timeout: seconds to wait for confirms; 0 gives up what is not confirmed.

        Raises:
            UnconfirmedError: some messages have an unknown outcome; it says how many.
        """
        if self._closed:
            return
        try:
            if self._error is None and timeout != 0:
                self.flush(timeout)
            elif self._in_flight.entries:
                raise self._unconfirmed("before the connection ended")
        finally:
            self._closed = True
            self._connection.close()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.close()
            return
        # The first error is the one to see.
        try:
            self.close(timeout=0)
        except StreamError as second:
            log.debug("closing after %r: %s", error, second)

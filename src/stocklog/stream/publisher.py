"""Sending messages and knowing what became of them, whatever happens to the connection.

A publisher numbers its messages 1, 2, 3 …; an entry (a message, or a sub-batch)
carries the number of its last message as its publishing id. Sub-batches begin
at multiples of their size whatever pieces the caller hands over, so that the
borders depend on the number alone; only a flush makes a shorter one.

What is sent and not confirmed is bounded in bytes and in entries, and with it
the size of the broker's chunks and the memory of every reader: a producer
without a bound makes chunks of 60 MB, one with 8 MB none above 5 MB. It is kept
until it is confirmed. When the connection is lost, a thread opens another and
sends all of it again, entry by entry with the borders that it had: bytes of the
old connection that the broker has not read yet can still enter after it was asked
for the last number, and only an equal entry is then dropped as known. The last
number confirms nothing either: a leader also counts what only it has. A known
entry that is sent again is confirmed once it is committed.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from stocklog.errors import (
    ConnectionLostError,
    StocklogError,
    StreamError,
    UnconfirmedError,
    UsageError,
)
from stocklog.protocol import amqp, codes
from stocklog.stream import outcomes
from stocklog.stream.closing import ClosesItself
from stocklog.stream.connection import WAKE_UP, Connection
from stocklog.stream.inflight import InFlight, SentFrame
from stocklog.stream.link import PublisherLink
from stocklog.stream.options import PublisherOptions
from stocklog.stream.packing import Packer
from stocklog.stream.recovery import Attempts, Resent

__all__ = ["Publisher"]

log = logging.getLogger(__name__)

_CLOSE_TIMEOUT = 5.0


class Publisher(ClosesItself):
    """Publishes to one stream over a connection of its own.

    Use one from one thread at a time; `confirmed` and the like may be read from any.

    Args:
        connect: opens a connection to the stream's leader.
        stream: the stream's name.
        options: how to send.
        recover: connect again when the connection is lost, and send again what was not
            confirmed. With a name nothing enters twice; without one, what was on its way
            may.

    Raises:
        StreamNotFoundError, CommandError: the broker refuses the publisher.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        stream: str,
        options: PublisherOptions,
        *,
        recover: bool = True,
    ) -> None:
        self.stream = stream
        self.options = options
        self._connect = connect
        self._recovers = recover
        self._changed = threading.Condition()
        self._in_flight = InFlight()
        self._error: StreamError | None = None
        self._confirmed = 0
        self._highest = 0
        self._closed = False
        self._told = False
        self._closing = threading.Event()
        self._up = True
        self._attempts: Attempts | None = None
        self._link = self._open(settle=True)
        self.last_sequence = self._link.sequence
        self._highest = self.last_sequence
        frame_max = self._link.connection.agreed.frame_max
        self._packer = Packer(options, frame_max, self.last_sequence)

    def _open(self, *, settle: bool = False) -> PublisherLink:
        connection = self._connect()
        try:
            return PublisherLink(connection, self.stream, self.options.name, self, settle=settle)
        except BaseException:
            connection.close()
            raise

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
    def unconfirmed(self) -> int:
        """Messages that were sent and neither confirmed nor refused."""
        return self._in_flight.messages

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
            StreamError: the broker refused entries, or the connection ended for good; what
                was confirmed until then is confirmed, `unconfirmed` counts the rest.
        """
        self._check_usable()
        for frame in self._packer.add(data, starts):
            self._send_frame(frame)

    def _send_frame(self, frame: SentFrame) -> None:
        with self._changed:
            self._wait_for_room(frame)
            self._in_flight.add(frame)
            self._highest = int(frame.ids[-1])
            link = self._link
        try:
            link.connection.send(frame.pieces)
        except ConnectionLostError as error:
            # The frame is kept: the next link sends it, or the error says that it is unknown.
            self.went_down(link, error)

    def _wait_for_room(self, frame: SentFrame) -> None:
        while not (self._up and self._in_flight.has_room(frame, self.options)):
            self._raise_error()
            self._changed.wait(WAKE_UP)
        self._raise_error()

    def _check_usable(self) -> None:
        if self._closed:
            raise UsageError(f"The publisher of stream {self.stream!r} is closed")
        with self._changed:
            self._raise_error()

    def _raise_error(self) -> None:
        if self._error is not None:
            self._told = True
            raise self._error

    def push(self) -> None:
        """Send what still fills up a sub-batch, without waiting for its confirm.

        Raises:
            StreamError: as for `send`.
        """
        self._check_usable()
        for frame in self._packer.flush():
            self._send_frame(frame)

    def flush(self, timeout: float | None = None) -> None:
        """Send what still fills up a sub-batch, and wait until everything is confirmed.

        Args:
            timeout: seconds to wait for the confirms; None: for as long as it takes.

        Raises:
            UnconfirmedError: the time was over first.
            StreamError: as for `send`.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if deadline is not None and not self._wait_until_up(deadline):
            raise self._unconfirmed(f"within {timeout:g} s")
        self.push()
        self._wait_for_confirms(deadline, timeout)

    def drain(self, timeout: float | None = None) -> None:
        """Wait until all that was sent is confirmed; a sub-batch that is not full stays here.

        For a run under a name that stops before its end: whoever goes on keeps the borders.

        Args:
            timeout: as for `flush`.

        Raises:
            UnconfirmedError: the time was over first.
            StreamError: as for `send`.
        """
        self._check_usable()
        self._wait_for_confirms(None if timeout is None else time.monotonic() + timeout, timeout)

    def _wait_for_confirms(self, deadline: float | None, timeout: float | None) -> None:
        with self._changed:
            while self._in_flight.entries:
                self._raise_error()
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise self._unconfirmed(f"within {timeout:g} s")
                self._changed.wait(WAKE_UP if left is None else min(left, WAKE_UP))
            self._raise_error()

    def _wait_until_up(self, deadline: float) -> bool:
        with self._changed:
            return self._changed.wait_for(
                lambda: self._up or self._error is not None, deadline - time.monotonic()
            )

    def _unconfirmed(self, when: str) -> UnconfirmedError:
        return outcomes.unconfirmed(self.stream, self.sent - self._confirmed, when)

    # -- what the link tells, on the connection's thread -----------------------------------

    def confirmed_ids(self, ids: npt.NDArray[np.uint64]) -> None:
        """Strike out confirmed entries; see `LinkEvents`."""
        with self._changed:
            self._confirmed += self._in_flight.answer(ids)
            self._attempts = None
            self._changed.notify_all()

    def refused(self, ids: npt.NDArray[np.uint64], code: int) -> None:
        """Strike out refused entries and remember why; see `LinkEvents`."""
        with self._changed:
            count = self._in_flight.answer(ids)
            if self._error is None:
                doing = f"Publishing {count} messages to stream {self.stream!r}"
                self._error = codes.error_for(code, f"{doing} at {self._link.connection.where}")
            self._changed.notify_all()

    def went_down(self, link: PublisherLink, error: StreamError) -> None:
        """Begin to recover, unless that has begun; see `LinkEvents`."""
        with self._changed:
            if not self._up or self._closed or link is not self._link:
                return
            self._up = False
            self._changed.notify_all()
        if not self._recovers:
            self._fail(error)
            return
        threading.Thread(
            target=self._recover, args=(error,), name=f"stocklog-recover-{self.stream}", daemon=True
        ).start()

    def _fail(self, error: StreamError) -> None:
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    # -- recovery, on a thread of its own ---------------------------------------------------

    def _recover(self, cause: StreamError) -> None:
        try:
            self._try_again(cause)
        except StocklogError as error:  # the peer speaks no protocol that we know
            self._fail(StreamError(error.what, error.remedy))
        except Exception as error:  # a defect of ours must not leave callers waiting
            log.exception("recovering the publisher of %s failed", self.stream)
            self._fail(StreamError(f"Publishing to {self.stream!r} again failed: {error!r}"))

    def _try_again(self, cause: StreamError) -> None:
        # A connection that is lost again before any confirm goes on with the longer waits.
        attempts = self._attempts = self._attempts or Attempts()
        doing = f"publishing to {self.stream}"
        facts = {"stream": self.stream, "publisher": self.options.name}
        self._link.connection.close()
        while not self._closing.wait(attempts.wait()):
            try:
                resent = self._resume(self._open())
            except StreamError as error:
                if not attempts.is_worth_another(error):
                    self._fail(error)
                    return
                attempts.tell_failed(log, doing, error, **facts)
                continue
            outcome = f"sent {resent.messages} messages again"
            where = self._link.connection.where
            attempts.tell_mended(log, doing, cause, where, outcome, **facts, **resent.facts())
            return

    def _resume(self, link: PublisherLink) -> Resent:
        """Send again what is not confirmed, and open the way for new messages."""
        try:
            return self._send_again(link)
        except BaseException:
            link.connection.close()
            raise

    def _send_again(self, link: PublisherLink) -> Resent:
        resent = Resent()
        with self._changed:
            if self._closed:
                link.connection.close()
                return resent
            self._check_alone(link.sequence)
            self._link = link
            waiting = self._in_flight.frames()
        for frame in waiting:
            if self._closing.is_set():
                break
            pieces = frame.pieces_left()
            resent.count(frame, pieces)
            link.connection.send(pieces)
        with self._changed:
            if link.lost is not None or not link.connection.is_open:
                raise link.lost or ConnectionLostError(f"{link.connection.where} was lost again")
            self._up = True
            self._changed.notify_all()
        return resent

    def check_alone(self) -> None:
        """Ask whether the log's number under our name rose by what we sent, and nothing else.

        For the end of a run: a connection that is made again asks by itself, and so does
        `close`. It finds another producer that is ahead of us, not one that is behind.

        Raises:
            ProducerConflictError: it is higher: another producer uses the name.
            CommandError: the broker refuses to say.
        """
        if self.options.name is not None and self._up:
            with contextlib.suppress(ConnectionLostError):
                self._check_alone(self._link.ask_sequence())

    def _check_alone(self, sequence: int) -> None:
        """The number under a name rises by what we send, and by nothing else."""
        name = self.options.name
        if name is not None and sequence > self._highest:
            raise outcomes.conflict(self.stream, name, sequence, self._highest)

    # -- the end ------------------------------------------------------------------------

    def close(self, timeout: float | None = _CLOSE_TIMEOUT) -> None:
        """Flush and end the connection. Always ends, broker or not.

        Args:
            timeout: seconds to wait for confirms; 0 gives up what is not confirmed.

        Raises:
            UnconfirmedError: some messages have an unknown outcome; it says how many.
            StreamError: an error that ended publishing and was not raised before.
        """
        if self._closed:
            return
        watchdog = threading.Timer(timeout or 0.0, self.give_up, (timeout,))
        watchdog.daemon = True
        try:
            if self._error is None and timeout != 0:
                if timeout is not None:
                    watchdog.start()
                self.flush(timeout)
                self.check_alone()
            elif self._in_flight.entries:
                raise self._unconfirmed("before the connection ended") from self._error
            elif timeout != 0 and not self._told:
                self._raise_error()  # a refusal that came behind the last `send`
        finally:
            watchdog.cancel()
            self._closed = True
            self._closing.set()
            with self._changed:
                link = self._link
                closed = f"The publisher of stream {self.stream!r} was closed meanwhile"
                # For a thread that still waits in `send`.
                self._error = self._error or ConnectionLostError(closed)
                self._changed.notify_all()
            link.connection.close()

    def give_up(self, timeout: float) -> None:
        """Wake a flush that waits for room, or in a send that a silent broker does not take."""
        self._fail(self._unconfirmed(f"within {timeout:g} s"))
        self._link.connection.abort()

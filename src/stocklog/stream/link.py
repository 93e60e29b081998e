"""One publisher as one connection knows it; the next connection gets a new one."""

from __future__ import annotations

import logging
from typing import Protocol

import numpy as np
import numpy.typing as npt

from stocklog.errors import CommandError, ConnectionLostError, StreamError
from stocklog.protocol import codes, frames
from stocklog.protocol.frames import Key
from stocklog.stream import tracking
from stocklog.stream.connection import Connection
from stocklog.stream.positions import Probe

__all__ = ["LinkEvents", "PublisherLink"]

log = logging.getLogger(__name__)

_PUBLISHER_ID = 0


class LinkEvents(Protocol):
    """What a publisher hears from its link, on the connection's thread."""

    def confirmed_ids(self, ids: npt.NDArray[np.uint64]) -> None:
        """Entries are in the log; publishing ids, uint64[n]."""

    def refused(self, ids: npt.NDArray[np.uint64], code: int) -> None:
        """Entries were refused with a response code."""

    def went_down(self, link: PublisherLink, error: StreamError) -> None:
        """Nothing can be sent over this link any more."""


class PublisherLink:
    """Declares the publisher and passes on what the broker says.

    Args:
        connection: to the stream's leader; nothing else uses it.
        stream: the stream's name.
        name: the producer's name, or None.
        events: the publisher.
        settle: wait until what `sequence` counts is committed. On a cluster the broker also
            counts what only the leader has, and that is lost with the leader.

    Attributes:
        sequence: the highest publishing id that the log has under the name; 0 for none.
        lost: why nothing can be sent any more, None while it can.

    Raises:
        StreamNotFoundError, CommandError: the broker refuses the publisher.
        ConnectionLostError: the connection ended meanwhile. Right after a node's start
            the query may close it without a word.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        name: str | None,
        events: LinkEvents,
        *,
        settle: bool = False,
    ) -> None:
        self.connection = connection
        self.sequence = 0
        self.lost: StreamError | None = None
        self._stream = stream
        self._name = name or ""
        self._events = events
        connection.handler = self
        connection.checked(
            Key.DECLARE_PUBLISHER,
            f"Publishing to stream {stream!r}",
            publisher_id=_PUBLISHER_ID,
            reference=name or "",
            stream=stream,
        )
        if name is not None:
            self.sequence = self.ask_sequence()
            if settle and self.sequence:
                self._settle()

    def ask_sequence(self) -> int:
        """The highest publishing id that the log has under the name now; 0 for none."""
        return tracking.query_sequence(self.connection, self._name, self._stream)

    def _settle(self) -> None:
        """Wait until the last message of the leader's log, or a later one, is committed."""
        try:
            Probe(self.connection, self._stream).last()
        except CommandError as error:
            if error.code != codes.STREAM_NOT_AVAILABLE:
                raise
            # A node without a replica, because the leader advertises what we cannot reach.
            log.debug("cannot see whether the log of %s is committed: %s", self._stream, error)
        finally:
            self.connection.handler = self

    def on_frames(self, key: int, bodies: list[memoryview]) -> None:
        """Confirms and refusals."""
        for body in bodies:
            if key == Key.PUBLISH_CONFIRM:
                self._events.confirmed_ids(frames.confirmed_ids(body)[1])
            elif key == Key.PUBLISH_ERROR:
                _, ids, reasons = frames.refused_ids(body)
                if len(ids):
                    self._refused(ids, int(reasons[0]))

    def _refused(self, ids: npt.NDArray[np.uint64], code: int) -> None:
        if code == codes.PUBLISHER_DOES_NOT_EXIST:
            # The broker forgot the publisher because the leader went; what it did not take
            # is sent again over the next link.
            self.on_stream_unavailable(self._stream)
        else:
            self._events.refused(ids, code)

    def on_stream_unavailable(self, stream: str) -> None:
        """The stream was deleted, or its leader has gone."""
        if stream == self._stream:
            self._down(
                ConnectionLostError(f"Stream {stream!r} was deleted, or its leader has gone")
            )

    def on_connection_lost(self, error: StreamError) -> None:
        """The connection has ended."""
        self._down(error)

    def _down(self, error: StreamError) -> None:
        if self.lost is None:
            self.lost = error
            self._events.went_down(self, error)

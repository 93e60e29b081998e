"""When to try again, how soon, and what is said of it: once, for publishers and subscribers.

What is said goes to the loggers `stocklog.stream.*` as warnings. Each record carries its facts
as attributes too (`event`, `stream`, `cause`, ...), for a handler that writes structured lines.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stocklog.errors import (
    AuthenticationError,
    CommandError,
    ConnectionLostError,
    StreamError,
    StreamNotFoundError,
)
from stocklog.protocol import codes
from stocklog.stream.inflight import SentFrame
from stocklog.stream.transport import Piece

__all__ = ["BACKOFF", "Attempts", "Backoff", "Resent"]

# A node that comes up knows its users and virtual hosts only after it listens.
_REFUSALS_TAKEN_FOR_START_UP = 3
_SAY_EVERY = 20  # attempts between two warnings of one loss
# Our own: who seeds `random` for a simulation gets the same numbers whatever the network does.
_jitter = random.Random()  # noqa: S311 - no secret


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between attempts: doubling, and of a random length up to that (full jitter).

    Attributes:
        first: seconds that the first wait may take.
        most: seconds that no wait exceeds while the loss is fresh.
        fresh: attempts until waits may grow on.
        longest: seconds that no wait exceeds at all.
    """

    first: float = 0.05
    most: float = 0.25
    fresh: int = 120
    longest: float = 5.0

    def waits(self) -> Iterator[float]:
        """Seconds to wait before each attempt, without end; the first one at once."""
        yield 0.0
        wait, number = self.first, 0
        while True:
            number += 1
            # Not from zero: an attempt costs the broker a connection.
            yield _jitter.uniform(wait / 2, wait)
            wait = min(2 * wait, self.most if number < self.fresh else self.longest)


BACKOFF = Backoff()
"""What publishers and subscribers use."""


class Attempts:
    """One loss and the attempts to mend it."""

    def __init__(self, backoff: Backoff = BACKOFF) -> None:
        self.made = 0
        self._refused = 0
        self._waits = backoff.waits()
        self._begun: float | None = None

    def wait(self) -> float:
        """Seconds to wait before the next attempt."""
        self.made += 1
        if self._begun is None:
            self._begun = time.monotonic()
        return next(self._waits)

    def is_worth_another(self, error: StreamError) -> bool:
        """Whether an attempt that ended so may be followed by another.

        A deleted stream and refused rights are final; a login that is refused may be a
        node that is still starting, so it is tried a few times.
        """
        if isinstance(error, AuthenticationError):
            self._refused += 1
            return self._refused < _REFUSALS_TAKEN_FOR_START_UP
        return is_passing(error)

    def tell_failed(
        self, log: logging.Logger, doing: str, error: StreamError, **facts: object
    ) -> None:
        """Warn that an attempt failed and another follows; not of every one.

        Args:
            log: the caller's logger.
            doing: what was lost, for example `reading stock`.
            error: how the attempt ended.
            facts: for the record: `stream`, `publisher`, ...
        """
        if self.made % _SAY_EVERY != 1:
            return
        facts |= {"event": "reconnect_failed", "cause": error.what, "attempt": self.made}
        log.warning("%s: %s; trying again (attempt %d)", doing, error.what, self.made, extra=facts)

    def tell_mended(
        self, log: logging.Logger, doing: str, cause: StreamError, host: str, outcome: str,
        **facts: object,
    ) -> None:  # fmt: skip
        """Warn that a connection was lost and there is another: one line for each loss.

        Args:
            log: the caller's logger.
            doing: what was lost.
            cause: why.
            host: the node that we are connected to now, `host:port`.
            outcome: how it goes on.
            facts: for the record: `stream`, `publisher`, what was sent again, ...
        """
        seconds = 0.0 if self._begun is None else round(time.monotonic() - self._begun, 4)
        self._begun = None  # the next loss may come before anything else has
        facts |= {"event": "reconnected", "cause": cause.what, "host": host, "seconds": seconds}
        log.warning(
            "%s: %s; connected again to %s after %.2f s, %s",
            doing, cause.what, host, seconds, outcome, extra=facts | {"attempt": self.made},
        )  # fmt: skip


@dataclass(slots=True)
class Resent:
    """What was sent again over a new connection.

    Attributes:
        entries: entries (plain messages, or sub-batches).
        messages: messages in them.
        bytes: bytes on the wire, the frames' heads included.
    """

    entries: int = 0
    messages: int = 0
    bytes: int = 0

    def count(self, frame: SentFrame, pieces: Sequence[Piece]) -> None:
        """Count what is left of a frame, and the pieces that it was sent as."""
        self.entries += frame.left
        self.messages += frame.messages_left()
        self.bytes += sum(map(len, pieces))

    def facts(self) -> dict[str, int]:
        """As a log record carries it."""
        return {f"resent_{name}": getattr(self, name) for name in ("entries", "messages", "bytes")}


def is_passing(error: StreamError) -> bool:
    """Whether what went wrong may be over when it is tried again."""
    if isinstance(error, StreamNotFoundError):
        return False
    if isinstance(error, CommandError):
        # 17 on a fresh connection is a disk alarm: nothing else of it applies there.
        return error.retryable or error.code == codes.PRECONDITION_FAILED
    return isinstance(error, ConnectionLostError)

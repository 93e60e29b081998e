"""When to try again, and how soon. Decided here, once, for publishers and subscribers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from stocklog.errors import (
    AuthenticationError,
    CommandError,
    ConnectionLostError,
    StreamError,
    StreamNotFoundError,
)
from stocklog.protocol import codes

__all__ = ["BACKOFF", "Attempts", "Backoff"]

# A node that comes up knows its users and virtual hosts only after it listens.
_REFUSALS_TAKEN_FOR_START_UP = 3


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
            yield random.uniform(wait / 2, wait)  # noqa: S311 - jitter, no secret
            wait = min(2 * wait, self.most if number < self.fresh else self.longest)


BACKOFF = Backoff()
"""What publishers and subscribers use."""


class Attempts:
    """One loss and the attempts to mend it."""

    def __init__(self, backoff: Backoff = BACKOFF) -> None:
        self.made = 0
        self._refused = 0
        self._waits = backoff.waits()

    def wait(self) -> float:
        """Seconds to wait before the next attempt."""
        self.made += 1
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


def is_passing(error: StreamError) -> bool:
    """Whether what went wrong may be over when it is tried again."""
    if isinstance(error, StreamNotFoundError):
        return False
    if isinstance(error, CommandError):
        # 17 on a fresh connection is a disk alarm: nothing else of it applies there.
        return error.retryable or error.code == codes.PRECONDITION_FAILED
    return isinstance(error, ConnectionLostError)

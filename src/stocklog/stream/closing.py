"""A `with` block around something that sends: the first error is the one to see."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import Self

from stocklog.errors import StreamError

__all__ = ["ClosesItself"]

log = logging.getLogger(__name__)


class ClosesItself(ABC):
    """Closed at the end of a `with` block; given up at once if the block ends in an error."""

    @abstractmethod
    def close(self, timeout: float | None = None) -> None:
        """End it; 0 seconds give up what is not confirmed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.close()
            return
        try:
            self.close(timeout=0)
        except StreamError as second:
            log.debug("closing after %r: %s", error, second)

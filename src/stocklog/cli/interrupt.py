"""Ctrl-C and SIGTERM during long work: the first asks, the second insists."""

from __future__ import annotations

import signal
from threading import Event
from types import FrameType, TracebackType

__all__ = ["Interrupt"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """While entered, the first SIGINT or SIGTERM sets `stop`, so that work ends in order.

    An exception in the middle of a frame would leave half of it on the wire; so the
    pipelines look at `stop` between batches instead. A second signal raises
    KeyboardInterrupt at once, for work that does not come to its next batch.

    Attributes:
        stop: set as soon as the user wants an end.
    """

    def __init__(self) -> None:
        self.stop = Event()
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interrupt:
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.stop.is_set():
            raise KeyboardInterrupt
        self.stop.set()

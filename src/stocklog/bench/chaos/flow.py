"""One direction of a proxied connection: bytes wait here until they may go on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from stocklog.bench.chaos.borders import Border, FrameBorders

__all__ = ["Flow", "MidFrameCut"]

_MOST_WAITING = 64 << 20
_TICK = 0.02


class MidFrameCut:
    """A cut that waits for a frame that is worth being cut.

    Args:
        share: how much of the frame still passes, between 0 and 1.
        least: bytes that the frame must have.
    """

    def __init__(self, share: float, least: int) -> None:
        self.share = share
        self.least = least
        self.position: int | None = None

    def look_at(self, borders: list[Border]) -> None:
        """Choose the first frame that is large enough."""
        for border in borders:
            if self.position is None and border.size >= self.least:
                inside = max(5, min(border.size - 1, int(border.size * self.share)))
                self.position = border.position + inside


class Flow:
    """Passes bytes on in order, late, slowly or not at all.

    All calls are made on the proxy's loop.

    Args:
        loop: the proxy's.
        delay: seconds that every byte takes.
        on_done: called once when the sender has ended and everything has been passed on.
        on_cut: called when a cut in the middle of a frame has let its part pass.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        delay: float,
        on_done: Callable[[], None],
        on_cut: Callable[[], None],
    ) -> None:
        self.source: asyncio.Transport | None = None
        self.sink: asyncio.Transport | None = None
        self.stopped = False
        self.rate: float | None = None
        self.waiting = 0
        self.passed = 0
        self._loop = loop
        self._delay = delay
        self._on_done, self._on_cut = on_done, on_cut
        self._queue: deque[tuple[float, memoryview]] = deque()
        self._borders = FrameBorders()
        self._hold_at: int | None = None
        self._hold_key: int | None = None
        self._cut: MidFrameCut | None = None
        self._sink_is_full = self._ended = self._done = self._paused = False
        self._timer: asyncio.TimerHandle | None = None

    # -- what comes ---------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Bytes came from the sender; behind an end that was passed on they go nowhere."""
        if self._done:
            return
        borders = self._borders.feed(data)
        if self._cut is not None:
            self._cut.look_at(borders)
        if self._hold_key is not None and self._hold_at is None:
            self._hold_at = next((b.position for b in borders if b.key == self._hold_key), None)
        self._queue.append((self._loop.time() + self._delay, memoryview(data)))
        self.waiting += len(data)
        self._balance()
        self.drain()

    def ended(self) -> None:
        """The sender ends; what waits is still passed on."""
        self._ended = True
        self.drain()

    def sink_full(self, full: bool) -> None:
        """The receiver takes no more, or takes bytes again."""
        self._sink_is_full = full
        if not full:
            self.drain()

    # -- what is done to it ---------------------------------------------------------------

    def hold(self, key: int | None = None) -> None:
        """Keep everything back from now on, or from the next frame of a command on."""
        if key is None:
            self._hold_at = self.passed
        else:
            self._hold_key = key

    def release(self) -> None:
        """Let go what was kept back."""
        self._hold_at = self._hold_key = None
        self.drain()

    def cut_in_frame(self, cut: MidFrameCut) -> None:
        """Let a part of a coming frame pass, and nothing behind it."""
        self._cut = cut

    # -- passing on -----------------------------------------------------------------------

    def drain(self) -> None:
        """Pass on what may go."""
        if self.sink is not None and self.sink.is_closing():
            self.drop()  # nobody takes it any more
            return
        budget = None if self.rate is None else max(1, int(self.rate * _TICK))
        while self._queue and self._may_pass():
            due, data = self._queue[0]
            now = self._loop.time()
            if due > now:
                self._later(due - now)
                return
            end = self._end_of(data, budget)
            if end <= 0:
                break
            self._pass(data, end)
            if self._is_cut():
                self._queue.clear()
                self._on_cut()
                return
            if budget is not None:
                budget -= end
                if budget <= 0:
                    self._later(_TICK)
                    return
        if self._ended and not self._queue and not self._done:
            self._done = True
            self._on_done()

    def _may_pass(self) -> bool:
        return not self.stopped and not self._sink_is_full and self.sink is not None

    def _end_of(self, data: memoryview, budget: int | None) -> int:
        end = len(data) if budget is None else min(len(data), budget)
        if self._hold_at is not None:
            end = min(end, self._hold_at - self.passed)
        if self._cut is not None and self._cut.position is not None:
            end = min(end, self._cut.position - self.passed)
        return end

    def _pass(self, data: memoryview, end: int) -> None:
        assert self.sink is not None
        due, _ = self._queue.popleft()
        if end < len(data):
            self._queue.appendleft((due, data[end:]))
        self.passed += end
        self.waiting -= end
        self.sink.write(data[:end])
        self._balance()

    def _is_cut(self) -> bool:
        return self._cut is not None and self._cut.position == self.passed

    def _later(self, seconds: float) -> None:
        if self._timer is None or self._timer.cancelled():
            self._timer = self._loop.call_later(seconds, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.drain()

    def _balance(self) -> None:
        """What may wait is bounded: beyond that the sender has to wait too."""
        full = self.waiting > _MOST_WAITING
        if full != self._paused and self.source is not None and not self.source.is_closing():
            self._paused = full
            (self.source.pause_reading if full else self.source.resume_reading)()

    @property
    def is_done(self) -> bool:
        """Whether nothing more will be passed on."""
        return self._done

    def drop(self) -> None:
        """Forget what waits; nothing goes on any more."""
        self._queue.clear()
        self.waiting = 0
        self._done = True
        if self._timer is not None:
            self._timer.cancel()

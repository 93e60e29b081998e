"""Progress on stderr: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Any

from stocklog.cli import logs
from stocklog.cli.report import complain, counted, figure

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from stocklog.ledger.pipeline import Tick

__all__ = ["Progress"]

_DRAWS = 4
"""Times a second that the bar is drawn: a thread does it, which takes its share of a core."""
_LINE_EVERY = 5.0
"""Seconds between two lines where there is no terminal."""


class Progress:
    """Shows how far a job is; call it with a `Tick` as often as you like.

    Args:
        verb: what is being done, for example `produce`.
        quiet: show nothing.
        hidden: show nothing because data goes to the same terminal.
    """

    def __init__(self, verb: str, *, quiet: bool = False, hidden: bool = False) -> None:
        self._verb = verb
        self._silent = quiet or hidden
        self._bar: Bar | None = None
        self._task: Any = None
        self._begun = time.monotonic()
        self._next_line = self._begun + _LINE_EVERY
        self._next_draw = self._begun

    @property
    def shows(self) -> bool:
        """Whether anybody sees what it is told."""
        return not self._silent

    def __enter__(self) -> Progress:
        if not self._silent and sys.stderr.isatty() and not logs.speaks_json():
            self._bar = _make_bar()
            self._task = self._bar.add_task(self._verb, total=None, rate="", note="")
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __call__(self, tick: Tick) -> None:
        """Take note of how far the job is.

        Args:
            tick: the state of the job; see `stocklog.ledger.pipeline.Tick`.
        """
        if self._silent:
            return
        now = time.monotonic()
        if self._bar is not None:
            if now < self._next_draw:
                return
            self._next_draw = now + 1 / _DRAWS
            self._bar.update(
                self._task,
                total=None if tick.fraction is None else 1.0,
                completed=tick.fraction or 0.0,
                rate=f"{counted(tick.updates, 'update')}, {self._rate(tick, now)}/s",
                note=_aside(tick),
            )
        elif now >= self._next_line:
            self._next_line = now + _LINE_EVERY
            facts = {"job": self._verb, **asdict(tick)}
            complain(self._line(tick, now), kind=None, event="progress", facts=facts)

    def _rate(self, tick: Tick, now: float) -> str:
        return figure(tick.updates / max(now - self._begun, 1e-6))

    def _line(self, tick: Tick, now: float) -> str:
        parts = [f"{self._verb}: {counted(tick.updates, 'update')}", f"{self._rate(tick, now)}/s"]
        if tick.fraction:
            left = (now - self._begun) * (1 - tick.fraction) / tick.fraction
            parts += [f"{tick.fraction:.0%}", f"{left:.0f} s left"]
        if aside := _aside(tick):
            parts.append(aside)
        return ", ".join(parts)


def _aside(tick: Tick) -> str:
    """What else a tick knows: bytes without a confirm, messages behind the end."""
    parts = []
    if tick.unconfirmed_bytes:
        parts.append(f"{tick.unconfirmed_bytes / 1e6:.1f} MB unconfirmed")
    if tick.lag is not None:
        parts.append(f"{figure(tick.lag)} behind")
    return ", ".join(parts)


def _make_bar() -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        Remaining(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        refresh_per_second=_DRAWS,
        transient=True,
    )

"""From a stream into a sink."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from stocklog.ledger.batch import Batch, decode
from stocklog.ledger.lag import Lag
from stocklog.ledger.pipeline import OnTick, Tick, ignore, mapped
from stocklog.ledger.writers import Sink
from stocklog.protocol.chunk import MessageBlock
from stocklog.stream import StreamClient, Subscriber, parse_offset
from stocklog.stream.offsets import Start

__all__ = ["ConsumeSummary", "batches", "consume"]

_POLL = 0.2
"""Seconds after which a reader without messages looks whether it should stop."""


@dataclass(slots=True)
class ConsumeSummary:
    """What a read came to.

    Attributes:
        stream: the stream's name.
        offset: where it was asked to begin.
        updates: valid updates read.
        invalid: messages that were no updates.
        first_offset: the lowest offset read, `None` if there was none.
        last_offset: the highest.
        seconds: from Subscribe to the last row validated and written.
        interrupted: whether the user ended it.
        reader_gone: whether whoever read the output has gone (`| head`).
        gap: whether retention cut away a part of what was asked for.
    """

    stream: str
    offset: str
    updates: int = 0
    invalid: int = 0
    first_offset: int | None = None
    last_offset: int | None = None
    seconds: float = 0.0
    interrupted: bool = False
    reader_gone: bool = False
    gap: bool = False

    @property
    def rate(self) -> float:
        """Updates a second."""
        return self.updates / self.seconds if self.seconds else 0.0

    @property
    def messages(self) -> int:
        """All messages read."""
        return self.updates + self.invalid

    def add(self, batch: Batch) -> None:
        """Count a batch."""
        if self.first_offset is None:
            self.first_offset = batch.first_offset
        self.last_offset = batch.last_offset
        self.updates += len(batch)
        self.invalid += len(batch.invalid)

    def facts(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {**asdict(self), "rate": self.rate}


def batches(
    subscriber: Subscriber, *, count: int | None = None, stop: threading.Event | None = None
) -> Iterator[Batch]:
    """Decode what a subscriber hands over.

    Args:
        subscriber: iterated to its end.
        count: end after so many messages.
        stop: end when it is set.

    Yields:
        Batches in the order of the stream.
    """
    for block in _blocks(subscriber, count, stop):
        batch = decode(block)
        if batch.messages:
            yield batch


def _blocks(
    subscriber: Subscriber, count: int | None, stop: threading.Event | None
) -> Iterator[MessageBlock]:
    left = count
    while left != 0 and not (stop and stop.is_set()):
        block = subscriber.next(_POLL)
        if block is None:
            if subscriber.ended:
                return
            continue
        if left is not None:
            block = block[:left]
            left -= len(block.offsets)
        yield block


def consume(
    client: StreamClient,
    stream: str,
    sink: Sink,
    *,
    offset: str = "next",
    until_end: bool = False,
    count: int | None = None,
    on_tick: OnTick = ignore,
    on_note: Callable[[str], None] = lambda text: None,
    on_attached: Callable[[], None] = lambda: None,
    stop: threading.Event | None = None,
    summary: ConsumeSummary | None = None,
) -> ConsumeSummary:
    """Read a stream into a sink; messages are decoded in threads of their own.

    Args:
        client: connected.
        stream: the stream's name.
        sink: takes every batch; the caller closes it.
        offset: where to begin, in any form of `stocklog.stream.parse_offset`.
        until_end: end with the last message that is committed now.
        count: end after so many messages, what is no update included.
        on_tick: gets the state of the job after each batch.
        on_note: gets a line about what the reader should know, such as a gap.
        on_attached: called once the reader's place in the stream is fixed.
        stop: ends the read in order when set.
        summary: filled as the read goes on, for a caller who wants it also if the read fails.

    Returns:
        What was read.

    Raises:
        UsageError: the offset cannot be meant.
        StreamError: the stream does not exist, or the connection is lost for good.
    """
    summary = summary or ConsumeSummary(stream, offset)
    begun = time.perf_counter()
    spec = parse_offset(offset)
    with (
        client.subscriber(stream, spec, until_end=until_end) as subscriber,
        Lag(client, subscriber, asks=on_tick is not ignore) as lag,
    ):
        on_attached()
        # What was asked for by its number and is cut already; what is cut while reading
        # the subscriber tells by its gaps.
        cut = spec.start is Start.OFFSET and bool(subscriber.notes)
        summary.gap = cut
        for batch in mapped(_blocks(subscriber, count, stop), decode, stop=stop):
            if not batch.messages:
                continue
            try:
                sink.write(batch)
            except BrokenPipeError:
                summary.reader_gone = True
                break
            summary.add(batch)
            summary.seconds = time.perf_counter() - begun
            on_tick(_tick(summary, count, subscriber.plan.until, lag))
            summary.gap = cut or bool(subscriber.gaps)
            _pass_on(subscriber, on_note)
        _pass_on(subscriber, on_note)
    summary.seconds = summary.seconds or time.perf_counter() - begun
    summary.interrupted = bool(stop and stop.is_set())
    return summary


def _tick(summary: ConsumeSummary, count: int | None, until: int | None, lag: Lag) -> Tick:
    first, last = summary.first_offset, summary.last_offset
    parts = [summary.messages / count] if count else []
    if until is not None and first is not None and last is not None:
        # Whichever end comes first ends the read.
        parts.append((last - first + 1) / max(1, until - first + 1))
    fraction = min(1.0, max(parts)) if parts else None
    return Tick(summary.updates, fraction, lag=lag.behind(last))


def _pass_on(subscriber: Subscriber, on_note: Callable[[str], None]) -> None:
    while subscriber.notes:
        on_note(subscriber.notes.pop(0))

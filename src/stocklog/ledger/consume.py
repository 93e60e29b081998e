"""From a stream into a sink."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from stocklog.ledger.batch import Batch, decode
from stocklog.ledger.lag import Lag
from stocklog.ledger.memory import Memory
from stocklog.ledger.pipeline import OnTick, Tick, ignore, mapped
from stocklog.ledger.writers import Sink
from stocklog.protocol.chunk import MessageBlock
from stocklog.stream import CONNECTIONS, OffsetSpec, StreamClient, Subscriber, parse_offset
from stocklog.workers import Worker

__all__ = ["ConsumeSummary", "consume"]

_BLOCK_ROWS = 10_000
"""Messages that go to another process together: more are decoded faster, and take up more memory
in both."""

_BLOCK_ROWS_DROPPED = 20_000
"""The same where nothing of them is kept."""

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
        gaps: which: [first, last] offsets.
        name: the reader's, `None` for one without a memory.
        stored_offset: where a named reader will go on behind, `None` if nothing is stored.
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
    gaps: list[tuple[int, int]] = field(default_factory=list)
    name: str | None = None
    stored_offset: int | None = None

    @property
    def rate(self) -> float:
        """Updates a second."""
        return self.updates / self.seconds if self.seconds else 0.0

    @property
    def messages(self) -> int:
        """All messages read."""
        return self.updates + self.invalid

    def add(self, batch: _Prepared) -> None:
        """Count a batch."""
        if self.first_offset is None:
            self.first_offset = batch.first_offset
        self.last_offset = batch.last_offset
        self.updates += batch.updates
        self.invalid += batch.invalid

    def facts(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {**asdict(self), "rate": self.rate}


def _blocks(
    subscriber: Subscriber, count: int | None, stop: threading.Event | None
) -> Iterator[MessageBlock | None]:
    """Blocks up to the end; `None` when there is nothing to read just now."""
    left = count
    while left != 0 and not (stop and stop.is_set()):
        block = subscriber.next(_POLL)
        if block is None:
            if subscriber.ended:
                return
            yield None
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
    memory: Memory | None = None,
    reset: bool = False,
    on_truncated: str = "first",
    connections: int = CONNECTIONS,
    on_tick: OnTick = ignore,
    on_note: Callable[[str], None] = lambda text: None,
    on_attached: Callable[[], None] = lambda: None,
    stop: threading.Event | None = None,
    summary: ConsumeSummary | None = None,
    helper: Worker | None = None,
) -> ConsumeSummary:
    """Read a stream into a sink; messages are decoded in threads of their own.

    Args:
        client: connected.
        stream: the stream's name.
        sink: takes every batch; the caller closes it.
        offset: where to begin, in any form of `stocklog.stream.parse_offset`.
        until_end: end with the last message that is committed now.
        count: end after so many messages, what is no update included.
        memory: of a named reader: it begins behind what it has handled, and what the sink has
            taken is stored. A sink that holds rows back until it is closed is closed first.
        reset: begin at `offset` whatever is stored.
        on_truncated: see `Memory.start`.
        connections: see `StreamClient.subscriber`.
        on_tick: gets the state of the job after each batch.
        on_note: gets a line about what the reader should know, such as a gap.
        on_attached: called once the reader's place in the stream is fixed.
        stop: ends the read in order when set.
        summary: filled as the read goes on, for a caller who wants it also if the read fails.
        helper: another process that takes a part of the decoding.

    Returns:
        What was read.

    Raises:
        UsageError: the offset cannot be meant.
        StreamError: the stream does not exist, the connection is lost for good, what a named
            reader wants next was cut and that is to be an error, or its offset cannot be stored.
    """
    summary = summary or ConsumeSummary(stream, offset)
    begun = time.perf_counter()
    spec: OffsetSpec | None = parse_offset(offset)
    if memory is not None and spec is not None:
        spec = memory.start(spec, reset=reset, on_truncated=on_truncated)
        _pass_on(memory.notes, on_note)
    reading = _Reading(sink, memory, summary, count, on_tick, on_note)
    if spec is not None:
        with (
            client.subscriber(
                stream, spec, until_end=until_end, connections=connections
            ) as subscriber,
            Lag(client, subscriber, asks=on_tick is not ignore) as lag,
        ):
            on_attached()
            blocks = _blocks(subscriber, count, stop)
            if helper is not None:
                blocks = _cut(blocks, _BLOCK_ROWS_DROPPED if sink.drops_all else _BLOCK_ROWS)
            prepare = partial(_prepared, sink.prepare)
            reading.read(subscriber, mapped(blocks, prepare, stop=stop, helper=helper), lag, begun)
    reading.settle()
    summary.seconds = summary.seconds or time.perf_counter() - begun
    summary.interrupted = bool(stop and stop.is_set())
    return summary


def _cut(blocks: Iterator[MessageBlock | None], most: int) -> Iterator[MessageBlock | None]:
    """The same in blocks that take little of the memory that two processes have in common."""
    for block in blocks:
        if block is None or len(block) <= most:
            yield block
            continue
        for rows in np.array_split(np.arange(len(block)), -(-len(block) // most)):
            yield block[rows[0] : rows[-1] + 1].narrowed()


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A batch as a sink takes it, and what has to be known of it.

    Attributes:
        content: what the sink made of it; `None` if it drops everything.
        updates: how many.
        invalid: how many messages were no updates.
        first_offset: the lowest offset of all messages.
        last_offset: the highest.
    """

    content: Any
    updates: int
    invalid: int
    first_offset: int
    last_offset: int

    @property
    def messages(self) -> int:
        """How many messages, updates or not."""
        return self.updates + self.invalid


def _prepared(prepare: Callable[[Batch], Any], block: MessageBlock | None) -> _Prepared | None:
    """Decode a block and prepare it for a sink; `None` if there is nothing to read just now."""
    if block is None:
        return None
    batch = decode(block)
    if not batch.messages:
        return None
    content = prepare(batch)
    if content is not None:
        _give_back()
    return _Prepared(content, len(batch), len(batch.invalid), batch.first_offset, batch.last_offset)


def _give_back() -> None:
    """Let Arrow's allocator return what this thread has freed: it keeps some 20 MB a thread.

    Where nothing is kept there is room for these, and clearing the pages again takes a twentieth
    of the time.
    """
    pa.default_memory_pool().release_unused()


class _Reading:
    """From a subscriber into a sink, and only then into the memory."""

    def __init__(
        self,
        sink: Sink,
        memory: Memory | None,
        summary: ConsumeSummary,
        count: int | None,
        on_tick: OnTick,
        on_note: Callable[[str], None],
    ) -> None:
        self._sink, self._memory, self._summary = sink, memory, summary
        self._count, self._on_tick, self._on_note = count, on_tick, on_note
        self._gaps = list(memory.gaps) if memory else []

    def read(
        self, subscriber: Subscriber, batches: Iterator[_Prepared | None], lag: Lag, begun: float
    ) -> None:
        """Write every batch; `None` stands for a moment with nothing to read."""
        summary = self._summary
        self._tell(subscriber)
        for batch in batches:
            if batch is None:
                if self._memory is not None and not self._sink.holds_back:
                    self._memory.look()
                continue
            try:
                self._sink.write(batch.content)
            except BrokenPipeError:
                summary.reader_gone = True
                break
            if batch.content is not None:
                _give_back()
            summary.add(batch)
            summary.seconds = time.perf_counter() - begun
            self._on_tick(_tick(summary, self._count, subscriber.plan.until, lag))
            self._tell(subscriber)
            if self._memory is not None:
                may_store = not self._sink.holds_back
                self._memory.handled(batch.last_offset, batch.messages, may_store=may_store)
        self._tell(subscriber)

    def _tell(self, subscriber: Subscriber) -> None:
        self._summary.gaps = self._gaps + subscriber.gaps
        self._summary.gap = bool(self._summary.gaps)
        _pass_on(subscriber.notes, self._on_note)

    def settle(self) -> None:
        """Store what was handled; a sink that held rows back gives them out first."""
        if self._memory is None:
            return
        if self._sink.holds_back:
            self._sink.close()
        self._memory.settle()
        self._summary.stored_offset = self._memory.stored
        self._summary.gaps = self._summary.gaps or self._gaps
        self._summary.gap = bool(self._summary.gaps)


def _tick(summary: ConsumeSummary, count: int | None, until: int | None, lag: Lag) -> Tick:
    first, last = summary.first_offset, summary.last_offset
    parts = [summary.messages / count] if count else []
    if until is not None and first is not None and last is not None:
        # Whichever end comes first ends the read.
        parts.append((last - first + 1) / max(1, until - first + 1))
    fraction = min(1.0, max(parts)) if parts else None
    return Tick(summary.updates, fraction, lag=lag.behind(last))


def _pass_on(notes: list[str], on_note: Callable[[str], None]) -> None:
    while notes:
        on_note(notes.pop(0))

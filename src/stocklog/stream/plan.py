"""From an OFFSET to a subscription: where to attach, what to drop, where to end.

The broker attaches at chunks; what users ask for is exact. So everything becomes
"from this offset on" and "up to that one", and what a chunk holds beyond that is
cut off here. Ends are found before reading begins (see `positions`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from stocklog.protocol.chunk import USER, ChunkHeader, MessageBlock
from stocklog.protocol.frames import Offset
from stocklog.stream.offsets import OffsetSpec, Start
from stocklog.stream.positions import FIRST, Probe, at_offset, at_time

__all__ = ["ReadPlan", "asks_for_end", "plan_reading"]

# How long after a range's last moment its last chunk may still be on the way.
_GRACE_S = 1.0


@dataclass(slots=True)
class ReadPlan:
    """What to ask the broker for, and what to keep of its answer.

    Attributes:
        start: where the subscription begins.
        wanted: nothing below this offset is handed over.
        until: the last offset that is wanted, or None.
        until_ms: the last chunk time that is wanted in ms since 1970, or None.
        by_clock: whether the read ends when that time has passed, since the log cannot
            tell yet where it ends.
        sees_all: whether the broker's own chunks are to come too, since the end may lie in
            one of them: without, a range that ends there would wait for the next message.
        is_empty: whether there is nothing to read.
        notes: what the reader should be told.
        gaps: (first, last) offsets that were asked for and are cut already.
    """

    start: Offset
    wanted: int = 0
    until: int | None = None
    until_ms: int | None = None
    by_clock: bool = False
    sees_all: bool = False
    is_empty: bool = False
    notes: list[str] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)

    def is_past(self, header: ChunkHeader) -> bool:
        """Whether the chunk, and all after it, lie behind the end."""
        if self.until is not None and header.chunk_id > self.until:
            return True
        return self.until_ms is not None and header.timestamp > self.until_ms

    def wants(self, header: ChunkHeader) -> bool:
        """Whether the chunk holds anything that is wanted."""
        return header.kind == USER and header.chunk_id + header.records > self.wanted

    def ends_with(self, header: ChunkHeader) -> bool:
        """Whether nothing behind this chunk is wanted."""
        return self.until is not None and header.chunk_id + header.records > self.until

    def cut(self, block: MessageBlock) -> MessageBlock:
        """Leave off what lies before the beginning and behind the end."""
        offsets = block.offsets
        if not len(offsets):
            return block
        begin, end = 0, len(offsets)
        if offsets[0] < self.wanted:
            begin = int(np.searchsorted(offsets, self.wanted))
        if self.until is not None and offsets[-1] > self.until:
            end = int(np.searchsorted(offsets, self.until, "right"))
        return block if (begin, end) == (0, len(offsets)) else block[begin:end]

    def seconds_to_end(self) -> float | None:
        """Seconds until the clock may end the read; None when the log itself will."""
        if not self.by_clock or self.until_ms is None:
            return None
        return max(0.0, self.until_ms / 1000 + _GRACE_S - time.time())


def asks_for_end(spec: OffsetSpec, *, until_end: bool) -> bool:
    """Whether the plan depends on which message is the last: only the leader knows that."""
    return spec.start in (Start.LAST, Start.NEXT) or _ends_now(spec, until_end=until_end)


def _ends_now(spec: OffsetSpec, *, until_end: bool) -> bool:
    end = spec.end
    past = end is not None and end.time_ms is not None and end.time_ms <= time.time() * 1000
    return until_end or past or (end is not None and end.offset is None and end.time_ms is None)


def plan_reading(probe: Probe, spec: OffsetSpec, *, until_end: bool) -> ReadPlan:
    """Find out what an OFFSET means for a stream now.

    Args:
        probe: asks the stream.
        spec: where to begin and, for a range, to end.
        until_end: end with the last message that is committed now.
    """
    end, to_end = spec.end, _ends_now(spec, until_end=until_end)
    if spec.start is Start.LAST:
        return _from_last(probe, spec.value, to_end=to_end)
    if to_end and spec.start is Start.NEXT:
        return ReadPlan(FIRST, is_empty=True)
    last = probe.last() if to_end else None
    plan = _START[spec.start](probe, spec.value)
    if end is not None:
        plan.until, plan.until_ms = end.offset, end.time_ms
    plan.by_clock = plan.until_ms is not None and not to_end
    if to_end:
        _end_at(plan, last, probe)
    else:
        plan.sees_all = plan.until is not None
    return plan


def _end_at(plan: ReadPlan, last: int | None, probe: Probe) -> None:
    if last is None or plan.wanted > last:
        plan.is_empty = True
        return
    plan.until = last if plan.until is None else min(plan.until, last)
    # A time behind the last chunk's would wait for the next message.
    if plan.start.kind == at_time(0).kind and not probe.finds(plan.start):
        plan.is_empty = True


def _from_last(probe: Probe, count: int, *, to_end: bool) -> ReadPlan:
    found = probe.start_of_last(count)
    if found is None:
        # The stream was empty, so all that comes is new; `next` could miss the first of it.
        return ReadPlan(FIRST, is_empty=to_end)
    start, last = found
    return ReadPlan(at_offset(start), start, until=last if to_end else None)


def _from_first(_probe: Probe, _value: int) -> ReadPlan:
    return ReadPlan(FIRST)


def _from_next(probe: Probe, _value: int) -> ReadPlan:
    """Behind the last message that is committed now, as an offset.

    The broker's own `next` would do, but a connection that is lost before the first
    message came could not be made again without losing what was written meanwhile.
    """
    last = probe.last()
    return ReadPlan(FIRST) if last is None else ReadPlan(at_offset(last + 1), last + 1)


def _from_offset(probe: Probe, offset: int) -> ReadPlan:
    plan = ReadPlan(at_offset(offset), offset)
    first = probe.begin()
    if first is not None and first > offset:
        plan.gaps.append((offset, first - 1))
        plan.notes.append(
            f"Offset {offset} is not kept any more: retention has cut the log; "
            f"it begins with offset {first}, offsets {offset} to {first - 1} are gone"
        )
    return plan


def _from_time(_probe: Probe, time_ms: int) -> ReadPlan:
    return ReadPlan(at_time(time_ms))


_START = {
    Start.FIRST: _from_first,
    Start.NEXT: _from_next,
    Start.OFFSET: _from_offset,
    Start.TIME: _from_time,
}

"""Simulated updates into a stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from stocklog.errors import UnconfirmedError
from stocklog.inventory import codec
from stocklog.inventory.simulate import Simulator
from stocklog.ledger.pipeline import OnTick, Tick, ahead, ignore
from stocklog.stream import PublisherOptions

if TYPE_CHECKING:
    from stocklog.inventory.codec import Encoded
    from stocklog.stream import Publisher, StreamClient

__all__ = ["BLOCK_ROWS", "ProducePlan", "ProduceSummary", "drain", "produce"]

BLOCK_ROWS = Simulator.BLOCK
"""Updates that are made, encoded and sent together: 2 MB or so."""

DRAIN_SECONDS = 10.0
"""How long an interrupted run waits for the confirms of what it has sent."""

_STEPS_A_SECOND = 20
"""With a rate: how often something is sent."""

_LONGEST_LAG = 1.0
"""With a rate: seconds that are caught up after a stall; what lies further back is let go."""


@dataclass(frozen=True, slots=True)
class ProducePlan:
    """What is to be published, and how.

    Attributes:
        count: how many updates; under a name: how many in all; `None`: without end.
        rate: updates a second, `None`: as fast as the broker takes them.
        profile: `grocery`, `fashion` or `marketplace`.
        seed: same seed, same updates; `None`: a new one.
        start: when simulated time begins; `None`: now, or a fixed moment if there is a seed.
        dirt: late, doubled and unknown updates, as in real life.
        codec: `none`, `gzip`, `snappy`, `lz4` or `zstd`.
        sub_batch: updates in one entry; 1 is plain entries.
        name: of the producer, or `None`.

    Raises:
        UsageError: an envelope or a name that cannot be.
    """

    count: int | None = 100_000
    rate: float | None = None
    profile: str = "grocery"
    seed: int | None = None
    start: datetime | None = None
    dirt: bool = False
    codec: str = "none"
    sub_batch: int = 500
    name: str | None = None

    def __post_init__(self) -> None:
        PublisherOptions(name=self.name, codec=self.codec, sub_batch=self.sub_batch)


@dataclass(slots=True)
class ProduceSummary:
    """What came of it.

    Attributes:
        stream: the stream's name.
        updates: how many the broker has confirmed.
        unconfirmed: how many were sent and neither confirmed nor refused.
        before: how many the log already had under the producer's name.
        bytes: size of the bodies sent.
        seconds: from the first update made to the last confirm.
        profile: what was simulated.
        seed: with it the same updates can be made again.
        start: when simulated time began.
        codec: compression of the entries.
        sub_batch: updates in one entry.
        name: of the producer, or `None`.
        interrupted: whether the user ended it.
    """

    stream: str
    updates: int = 0
    unconfirmed: int = 0
    before: int = 0
    bytes: int = 0
    seconds: float = 0.0
    profile: str = ""
    seed: int | None = None
    start: str = ""
    codec: str = "none"
    sub_batch: int = 1
    name: str | None = None
    interrupted: bool = False

    @property
    def rate(self) -> float:
        """Confirmed updates a second."""
        return self.updates / self.seconds if self.seconds else 0.0

    def facts(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {**asdict(self), "rate": self.rate}


def produce(
    client: StreamClient,
    stream: str,
    plan: ProducePlan,
    *,
    on_tick: OnTick = ignore,
    stop: threading.Event | None = None,
    summary: ProduceSummary | None = None,
) -> ProduceSummary:
    """Publish simulated updates and wait until every one is confirmed.

    Updates are made and encoded in a second thread, at most a few blocks ahead.

    Args:
        client: connected.
        stream: the stream's name; it exists.
        plan: what to publish.
        on_tick: gets the state of the job after each block.
        stop: ends the run in order when set: what is sent is waited for, up to 10 s.
        summary: filled as the run goes on, for a caller who wants it also if it fails.

    Returns:
        What came of it.

    Raises:
        UsageError: values of the plan that cannot be meant.
        UnconfirmedError, StreamError: not everything was confirmed.
    """
    summary = summary or ProduceSummary(stream)
    stop = stop or threading.Event()
    simulator = Simulator(plan.profile, plan.seed, plan.start, dirt=plan.dirt)
    with client.publisher(
        stream, name=plan.name, codec=plan.codec, sub_batch=plan.sub_batch
    ) as publisher:
        _describe(summary, plan, simulator, publisher)
        simulator.skip(summary.before)
        left = None if plan.count is None else max(0, plan.count - summary.before)
        begun = time.perf_counter()
        try:
            for block in _paced(_blocks(simulator, publisher.lead, left, plan.rate), plan, stop):
                publisher.send(block.data, block.starts)
                summary.bytes += len(block.data) - len(publisher.lead) * (len(block.starts) - 1)
                if plan.rate is not None and plan.name is None:
                    publisher.push()  # or the rest of a sub-batch would wait for the next step
                on_tick(_tick(publisher, left))
            drain(publisher, stop)
        finally:
            summary.seconds = time.perf_counter() - begun
            summary.updates = publisher.confirmed
            summary.unconfirmed = publisher.sent - publisher.confirmed
            summary.interrupted = stop.is_set()
    return summary


def _describe(
    summary: ProduceSummary, plan: ProducePlan, simulator: Simulator, publisher: Publisher
) -> None:
    summary.profile, summary.seed = simulator.profile, simulator.seed
    summary.start = simulator.start.isoformat()
    summary.codec, summary.sub_batch, summary.name = plan.codec, plan.sub_batch, plan.name
    summary.before = publisher.last_sequence


def _blocks(
    simulator: Simulator, lead: bytes, left: int | None, rate: float | None
) -> Iterator[Encoded]:
    rows = BLOCK_ROWS
    if rate is not None:
        rows = min(max(int(rate / _STEPS_A_SECOND), 1), BLOCK_ROWS)
    while left != 0:
        size = rows if left is None else min(rows, left)
        yield codec.encode(simulator.batch(size), lead)
        left = None if left is None else left - size


def _paced(
    blocks: Iterator[Encoded], plan: ProducePlan, stop: threading.Event
) -> Iterator[Encoded]:
    """Hand each block on when it is due; without a rate at once."""
    due = time.monotonic()
    for block in ahead(blocks, stop=stop):
        if plan.rate is not None:
            now = time.monotonic()
            due = max(due, now - _LONGEST_LAG)
            if due > now and stop.wait(due - now):
                return
            due += (len(block.starts) - 1) / plan.rate
        yield block


def drain(publisher: Publisher, stop: threading.Event) -> None:
    """Wait until all is confirmed; if the user wants an end, for `DRAIN_SECONDS` at most.

    Raises:
        UnconfirmedError: it took longer.
        StreamError: the broker refused something, or the connection is lost.
    """
    if not stop.is_set():
        publisher.flush()
        return
    try:
        publisher.flush(DRAIN_SECONDS)
    except UnconfirmedError:
        # The summary says how many; closing must not wait for them a second time.
        publisher.close(timeout=0)
        raise


def _tick(publisher: Publisher, left: int | None) -> Tick:
    done = publisher.confirmed
    return Tick(done, done / left if left else None, publisher.unconfirmed_bytes)

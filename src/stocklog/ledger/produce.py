"""Simulated updates into a stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from stocklog.inventory import codec
from stocklog.inventory.simulate import Simulator
from stocklog.ledger.names import NameRecord, claim
from stocklog.ledger.pipeline import OnTick, Tick, ahead, ignore
from stocklog.ledger.sending import Sending
from stocklog.stream import PublisherOptions

if TYPE_CHECKING:
    from stocklog.inventory.codec import Encoded
    from stocklog.ledger.register import Register
    from stocklog.stream import Publisher, StreamClient

__all__ = ["BLOCK_ROWS", "ProducePlan", "ProduceSummary", "produce"]

BLOCK_ROWS = Simulator.BLOCK
"""Updates that are made, encoded and sent together: 2 MB or so."""

_FIRST_ROWS = 2_500
"""Updates in the first block; each after it has twice as many, up to BLOCK_ROWS."""

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
    register: Register | None = None,
    on_tick: OnTick = ignore,
    stop: threading.Event | None = None,
    summary: ProduceSummary | None = None,
) -> ProduceSummary:
    """Publish simulated updates and wait until every one is confirmed.

    Updates are made and encoded in a second thread, at most a few blocks ahead.

    Args:
        client: connected.
        stream: the stream's name; it exists.
        plan: what to publish. Under a name `count` is the total: what the log has counts.
        register: keeps, for a name, how it sends and which updates. Without one that is up to
            the caller.
        on_tick: gets the state of the job after each block.
        stop: ends the run in order when set: what is sent is waited for, up to 10 s.
        summary: filled as the run goes on, for a caller who wants it also if it fails.

    Returns:
        What came of it.

    Raises:
        UsageError: values of the plan that cannot be meant, or the name sends otherwise.
        ProducerConflictError: another producer uses the name.
        RegisterError: the register cannot be written.
        UnconfirmedError, StreamError: not everything was confirmed.
    """
    summary = summary or ProduceSummary(stream)
    stop = stop or threading.Event()
    with ExitStack() as claimed:
        record = None
        if plan.name is not None and register is not None:
            record = claimed.enter_context(
                claim(register, client, stream, plan.name, plan.sub_batch)
            )
        _publish(client, stream, plan, record, on_tick, stop, summary)
    return summary


def _publish(
    client: StreamClient,
    stream: str,
    plan: ProducePlan,
    record: NameRecord | None,
    on_tick: OnTick,
    stop: threading.Event,
    summary: ProduceSummary,
) -> None:
    simulator = _simulator(plan, record)
    with client.publisher(
        stream, name=plan.name, codec=plan.codec, sub_batch=plan.sub_batch
    ) as publisher, Sending(publisher, stop) as sending:  # fmt: skip
        _describe(summary, plan, simulator, publisher)
        before = summary.before
        borders = record.begin(before, plan.count) if record else []
        simulator.skip(before)
        left = None if plan.count is None else max(0, plan.count - before)
        begun = time.perf_counter()
        try:
            blocks = _blocks(simulator, publisher.lead, _sizes(before, left, plan.rate, borders))
            for block in _paced(blocks, plan, stop):
                sending.send(block, borders)
                summary.bytes += len(block.data) - len(publisher.lead) * (len(block.starts) - 1)
                if plan.rate is not None and plan.name is None:
                    publisher.push()  # or the rest of a sub-batch would wait for the next step
                if record:
                    record.progress(before + publisher.confirmed)
                on_tick(_tick(publisher, left))
            sending.end()
            if record:
                record.settle(before + publisher.confirmed)
        finally:
            summary.seconds = time.perf_counter() - begun
            summary.updates = publisher.confirmed
            summary.unconfirmed = sending.unknown
            summary.interrupted = stop.is_set()


def _simulator(plan: ProducePlan, record: NameRecord | None) -> Simulator:
    """What makes the updates; under a name that has sent some, the same as then."""
    seed, start = plan.seed, plan.start
    if record is not None and (kept := record.facts.settings):
        if seed is None and "--seed" in kept:
            seed = int(kept["--seed"])
        if start is None and "--start" in kept:
            start = datetime.fromisoformat(kept["--start"])
    simulator = Simulator(plan.profile, seed, start, dirt=plan.dirt)
    if record is not None:
        record.check_settings(
            {
                "command": "produce",
                "--profile": simulator.profile,
                "--seed": str(simulator.seed),
                "--start": simulator.start.isoformat(),
                "--dirt": "yes" if plan.dirt else "no",
            }
        )
    return simulator


def _describe(
    summary: ProduceSummary, plan: ProducePlan, simulator: Simulator, publisher: Publisher
) -> None:
    summary.profile, summary.seed = simulator.profile, simulator.seed
    summary.start = simulator.start.isoformat()
    summary.codec, summary.sub_batch, summary.name = plan.codec, plan.sub_batch, plan.name
    summary.before = publisher.last_sequence


def _sizes(
    before: int, left: int | None, rate: float | None, borders: Sequence[int]
) -> Iterator[int]:
    """How many updates are made together each time; one lot ends at each border.

    The first lots are small, so that the broker has something to do while the next are made.
    """
    rows, most = _FIRST_ROWS, BLOCK_ROWS
    if rate is not None:
        rows = most = min(max(int(rate / _STEPS_A_SECOND), 1), BLOCK_ROWS)
    number, last = before, None if left is None else before + left
    while number != last:
        ends = [number + rows, *(one for one in borders if one > number)]
        until = min(ends if last is None else [*ends, last])
        yield until - number
        number, rows = until, min(2 * rows, most)


def _blocks(simulator: Simulator, lead: bytes, sizes: Iterator[int]) -> Iterator[Encoded]:
    for size in sizes:
        yield codec.encode(simulator.batch(size), lead)


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


def _tick(publisher: Publisher, left: int | None) -> Tick:
    done = publisher.confirmed
    return Tick(done, done / left if left else None, publisher.unconfirmed_bytes)

"""The exercise from end to end: intake, replay, readers side by side."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from stocklog.demo.telling import DemoError, Teller, expect
from stocklog.ledger.batch import Batch
from stocklog.ledger.consume import ConsumeSummary, consume
from stocklog.ledger.produce import ProducePlan, ProduceSummary, produce
from stocklog.stream import StreamClient

__all__ = ["Demo"]

_MOMENT = 0.5
"""Seconds that a live reader gets for messages that must not come."""

_PATIENCE = 60.0
"""Seconds after which a step that should take one has failed."""


@dataclass
class _Counter:
    """A sink that counts, and may take its time.

    Attributes:
        pause: seconds it sleeps for each thousand updates.
        stop: ends the naps.
        seen: updates so far.
        first: the first offset.
        holds_back: it keeps nothing back.
        drops_all: it looks at every batch.
    """

    pause: float = 0.0
    stop: threading.Event = field(default_factory=threading.Event)
    seen: int = 0
    first: int | None = None
    holds_back: bool = False
    drops_all: bool = False

    def prepare(self, batch: Batch) -> Batch:
        """A batch is counted as it is."""
        return batch

    def write(self, batch: Batch) -> None:
        """Count a batch."""
        self.first = batch.first_offset if self.first is None else self.first
        for _ in range(-(-len(batch) // 1000) if self.pause else 0):
            if self.stop.wait(self.pause):
                break
        self.seen += len(batch)

    def close(self) -> None:
        """Nothing to finish."""


class _Reader:
    """A reader in a thread of its own."""

    def __init__(self, client: StreamClient, stream: str, offset: str, **options: Any) -> None:
        self.sink = _Counter(**options)
        self.summary = ConsumeSummary(stream, offset)
        self._error: BaseException | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(
            target=self._read, args=(client, stream, offset), daemon=True
        )
        self._thread.start()
        if not self._ready.wait(_PATIENCE):
            raise DemoError(f"the reader from {offset} did not attach in {_PATIENCE:.0f} s")

    def _read(self, client: StreamClient, stream: str, offset: str) -> None:
        try:
            consume(
                client,
                stream,
                self.sink,
                offset=offset,
                stop=self.sink.stop,
                summary=self.summary,
                on_attached=self._ready.set,
            )
        except BaseException as error:  # shown by the step that waits for this reader
            self._error = error
        finally:
            self._ready.set()

    def wait_for(self, count: int) -> int:
        """Wait until so many updates came, and a moment longer for some too many."""
        deadline = time.monotonic() + _PATIENCE
        while self.sink.seen < count and not self._error and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(_MOMENT)
        return self.end()

    def end(self) -> int:
        """Stop reading; how many updates came."""
        self.sink.stop.set()
        self._thread.join(_PATIENCE)
        if self._error is not None:
            raise self._error
        return self.sink.seen


class Demo:
    """The steps of the exercise, one method each.

    Args:
        client: connected.
        stream: an empty stream.
        tell: shows what happens.
        count: updates in the first step.
    """

    def __init__(
        self, client: StreamClient, stream: str, tell: Teller, *, count: int = 100_000
    ) -> None:
        self._client, self._stream, self._tell, self._count = client, stream, tell, count
        self._total = 0
        self.facts: dict[str, Any] = {}

    def run(self) -> dict[str, Any]:
        """All steps.

        Returns:
            The measured figures.

        Raises:
            DemoError: a step did not show what it should.
            StreamError: the broker failed.
        """
        self.intake()
        self.replay()
        self.three_readers()
        self.slow_reader()
        return self.facts

    def intake(self) -> None:
        """Mass intake."""
        self._tell.step(f"{self._count:,} inventory updates go in, each one confirmed.")
        done = self._produce(self._count)
        self._tell.fact(f"{done.updates:,} in {done.seconds:.2f} s: {done.rate:,.0f} a second")
        self.facts["produce_rate"] = done.rate

    def replay(self) -> None:
        """Reading removes nothing."""
        self._tell.step("The whole log is read twice: reading removes nothing.")
        for number in (1, 2):
            sink = _Counter()
            done = consume(self._client, self._stream, sink, offset="first", until_end=True)
            expect(f"replay {number}", done.updates, self._total)
            self._tell.fact(
                f"replay {number}: {done.updates:,} in {done.seconds:.2f} s: "
                f"{done.rate:,.0f} a second",
            )
            self.facts[f"replay_{number}_rate"] = done.rate

    def three_readers(self) -> None:
        """Readers at three points at once."""
        more = 1000
        self._tell.step(
            f"Three readers at once, from first, last and next, while {more:,} updates come in.",
        )
        readers = {
            offset: _Reader(self._client, self._stream, offset)
            for offset in ("first", "last", "next")
        }
        before = self._total
        self._produce(more)
        wanted = {"first": self._total, "last": 1 + more, "next": more}
        why = {
            "first": "everything",
            "last": "exactly the last one, then the new ones",
            "next": "the new ones only",
        }
        for offset, reader in readers.items():
            seen = reader.wait_for(wanted[offset])
            expect(f"the reader from {offset}", seen, wanted[offset])
            self._tell.fact(f"{offset:<5}  {seen:>9,} updates: {why[offset]}")
        self.facts["three_readers"] = {**wanted, "before": before}

    def slow_reader(self) -> None:
        """A slow reader holds back nobody."""
        self._tell.step("A slow reader beside a fast one, and a producer: who waits for whom?")
        slow = _Reader(self._client, self._stream, "first", pause=0.1)
        fast = _Reader(self._client, self._stream, "first")
        done = self._produce(self._count)
        seen = fast.wait_for(self._total)
        behind = self._total - slow.end()
        expect("the fast reader", seen, self._total)
        self._tell.fact(f"producer     {done.rate:>11,.0f} a second")
        self._tell.fact(f"fast reader  {seen:>11,} updates, all of them")
        self._tell.fact(f"slow reader  {behind:>11,} updates behind; nobody waited for it")
        self.facts["slow_reader"] = {"produce_rate": done.rate, "behind": behind}

    def _produce(self, count: int) -> ProduceSummary:
        done = produce(self._client, self._stream, ProducePlan(count=count))
        self._total += done.updates
        return done

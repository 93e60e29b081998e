"""Faults one after the other, each followed by a wait for recovery and a check."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stocklog.bench.chaos import producer, reader
from stocklog.bench.chaos.checker import Anomaly, check
from stocklog.bench.chaos.faults import CLUSTER, SINGLE, Fault, Outcome, Scene
from stocklog.bench.chaos.history import ProducerHistory
from stocklog.bench.chaos.logcopy import LogCopy
from stocklog.bench.chaos.rig import Actor, Rig
from stocklog.bench.chaos.worker import Task
from stocklog.errors import StocklogError, StreamError

__all__ = ["Chaos", "Findings"]

LEG = 20
"""Faults on one stream; then everything ends in order, is checked, and begins anew."""

_RATE = 2_000
_CONFIRM_DELAY = 0.02
_RECOVERY_S = 90.0


@dataclass(slots=True)
class Findings:
    """What a run found.

    Attributes:
        version: the broker's.
        outcomes: every fault, those that missed too.
        anomalies: what must not be.
        messages: messages in the logs that were checked.
        again: seconds from a cut connection to the next confirm.
        after_leader: seconds from when Metadata named a leader to each producer's next confirm.
    """

    version: str
    outcomes: list[Outcome] = field(default_factory=list)
    anomalies: list[Anomaly] = field(default_factory=list)
    messages: int = 0
    again: list[float] = field(default_factory=list)
    after_leader: list[float] = field(default_factory=list)

    @property
    def counted(self) -> int:
        """Faults that struck while entries were unconfirmed."""
        return sum(outcome.counts for outcome in self.outcomes)


class Chaos:
    """One seeded run.

    Args:
        folder: for everything that is written.
        seed: draws the faults.
        wanted: how many faults are to count.
        nodes: how many nodes the broker has.
        root: a tree with RabbitMQ in it, or None.
        table: faults and how often each is in a deck; None: all that fit so many nodes.
        say: gets a line an event.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int,
        wanted: int,
        nodes: int = 1,
        root: Path | None = None,
        table: Mapping[str, tuple[Fault, int]] | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._folder = folder
        self._seed = seed
        self._wanted = wanted
        self._choose = random.Random(seed)  # noqa: S311 - a seed is what is wanted
        self._table = table or (SINGLE if nodes == 1 else CLUSTER)
        self._say = say
        self._deck: list[str] = []
        self.rig = Rig(folder, nodes, root, say)
        self.findings = Findings(self.rig.version)
        self._log = LogCopy("")

    def run(self) -> Findings:
        """Strike until enough faults count, or it is clear that they never will."""
        leg = 0
        try:
            while self.findings.counted < self._wanted:
                if len(self.findings.outcomes) > 3 * self._wanted + LEG:
                    raise StocklogError(
                        f"Only {self.findings.counted} of {len(self.findings.outcomes)} faults "
                        "struck while entries were unconfirmed"
                    )
                leg += 1
                self._leg(leg)
        finally:
            self.rig.close()
        return self.findings

    # -- a leg ----------------------------------------------------------------------------

    def _leg(self, number: int) -> None:
        stream = f"chaos-{self._seed}-{number}"
        self.rig.client.create_stream(stream)
        self._log = LogCopy(stream)
        self._begin(stream, number)
        scene = Scene(self.rig, stream, self._choose)
        try:
            self._recovered(0.0)
            for _ in range(LEG):
                if self.findings.counted >= self._wanted:
                    break
                self._strike(scene)
            self._end(stream)
        finally:
            self.rig.drop_actors()
        self.rig.client.delete_stream(stream)

    def _begin(self, stream: str, leg: int) -> None:
        for slot, kind in enumerate(producer.KINDS):
            task = self._task("producer", kind, stream, leg, slot, {"rate": _RATE})
            self.rig.add(task, delay=_CONFIRM_DELAY)
        for slot, kind in enumerate(reader.KINDS):
            self.rig.add(self._task("reader", kind, stream, leg, slot, {}), delay=0.0)

    def _task(
        self, role: str, kind: str, stream: str, leg: int, slot: int, options: dict[str, int]
    ) -> Task:
        name = f"{role}-{kind}-{leg}"
        file = str(self._folder / f"{name}.history")
        seed = self._choose.randrange(1 << 30)
        return Task(role, kind, name, slot, "", stream, file, seed, dict(options))

    def _strike(self, scene: Scene) -> None:
        if not self._deck:
            self._deck = [kind for kind, (_, times) in self._table.items() for _ in range(times)]
            self._choose.shuffle(self._deck)
        kind = self._deck.pop()
        scene.pause(0.05, 0.6)
        outcome = Outcome(kind, "")
        self._table[kind][0](scene, outcome)
        self.findings.outcomes.append(outcome)
        self._recovered(outcome.healed_at)
        self._measure(outcome)
        found = self._check(is_final=False)
        number = len(self.findings.outcomes)
        verdict = "counts" if outcome.counts else "missed"
        self._say(
            f"{number}. {kind} ({outcome.target}): {verdict}, {outcome.unconfirmed} unconfirmed; "
            f"{'nothing wrong' if not found else '; '.join(map(str, found))}"
        )

    # -- afterwards -----------------------------------------------------------------------

    def _recovered(self, healed: float) -> None:
        """Wait until every producer has new confirms and every endless reader new messages."""
        begun = time.monotonic()
        for actor in self.rig.actors:
            if self.rig.wait_for(functools.partial(self._goes_on, actor, healed), _RECOVERY_S):
                continue
            self._fail(actor, f"did not go on within {time.monotonic() - begun:.0f} s")

    def _goes_on(self, actor: Actor, healed: float) -> bool:
        if not actor.is_running:
            return True  # it has failed, which the check tells
        actor.update()
        if actor.producer is not None:
            return actor.producer.confirmed_after(healed) is not None
        assert actor.reader is not None
        return actor.reader.latest > healed

    def _measure(self, outcome: Outcome) -> None:
        cut = ("connection reset", "connection finished", "cut in a frame")
        actor = outcome.target_actor
        if outcome.kind in cut and outcome.struck and actor is not None and actor.producer:
            lost = next((at for at in actor.producer.lost if at >= outcome.struck_at), None)
            back = None if lost is None else actor.producer.confirmed_after(lost)
            if lost is not None and back is not None:
                self.findings.again.append(back - lost)
        if outcome.named_at is not None:
            for one in self.rig.producers:
                assert one.producer is not None
                back = one.producer.confirmed_after(outcome.named_at)
                if back is not None:
                    self.findings.after_leader.append(back - outcome.named_at)

    def _check(self, *, is_final: bool) -> list[Anomaly]:
        self.rig.update()
        for actor in self.rig.actors:
            if not actor.is_running and not is_final:
                self._fail(actor, f"ended by itself: {actor.complaint()}")
                actor.start()
        producers = [actor.producer for actor in self.rig.producers if actor.producer]
        confirmed = [list(kept.confirmed) for kept in producers]
        readers = [actor.reader for actor in self.rig.readers if actor.reader]
        if not is_final:
            readers = [kept.fresh() for kept in readers]
        # What was confirmed until now is in the log now; what is in it then was sent by then.
        log = self._log.update(self.rig.client)
        for actor in self.rig.producers:
            actor.update()
        told = [
            ProducerHistory(kept.slot, sent=kept.sent, confirmed=before)
            for kept, before in zip(producers, confirmed, strict=True)
        ]
        found = check(log, told, readers, is_final=is_final)
        found += self._stored_ahead()
        # What is wrong stays wrong: each is told once.
        found = [one for one in found if one not in self.findings.anomalies]
        self.findings.anomalies += found
        if is_final:
            self.findings.messages += len(log.offsets)
        return found

    def _stored_ahead(self) -> list[Anomaly]:
        found = []
        for actor in self.rig.readers:
            if actor.task.kind != "named" or actor.reader is None:
                continue
            try:
                stored = self.rig.client.query_offset(actor.task.name, actor.task.stream)
            except StreamError:
                continue
            actor.update()
            if stored is not None and stored > actor.reader.handled:
                text = f"offset {stored} is stored, {actor.reader.handled} was handled"
                found.append(Anomaly("ahead", f"reader {actor.task.name}", 1, text))
        return found

    def _fail(self, actor: Actor, text: str) -> None:
        kept = actor.producer or actor.reader
        told = "; ".join(kept.failures[-2:]) if kept is not None else ""
        self.findings.anomalies.append(
            Anomaly("stuck", f"{actor.task.role} {actor.task.name}", 1, f"{text} {told}".strip())
        )
        self._say(str(self.findings.anomalies[-1]))

    def _end(self, stream: str) -> None:
        """End producers, let readers come to the end, end them, and check everything."""
        for actor in self.rig.producers:
            actor.ask_to_end()
        for actor in self.rig.producers:
            if actor.wait() != 0:
                self._fail(actor, f"did not end well: {actor.complaint()}")
        last = self.rig.client.last_offset(stream)
        for actor in self.rig.readers:
            if actor.task.kind != "ranges" and last is not None:
                self.rig.wait_for(functools.partial(_is_at, actor, last), 60.0)
            actor.ask_to_end()
        for actor in self.rig.readers:
            actor.wait()
        self._check(is_final=True)


def _is_at(actor: Actor, last: int) -> bool:
    actor.update()
    return actor.reader is not None and actor.reader.position >= last

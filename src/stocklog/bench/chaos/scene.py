"""Where faults strike, and what is taken down of each.

A fault is counted if it struck (a connection was lost, a node was down, an alarm was
raised) while entries were unconfirmed; else it is a miss. Killing a producer counts
only between the first and the last confirm of what it sends.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from stocklog.bench.chaos.rig import Actor, Rig

__all__ = ["Fault", "Outcome", "Scene", "lost_since", "note_strike", "weigh"]


@dataclass(slots=True)
class Outcome:
    """What came of one fault.

    Attributes:
        kind: the fault.
        target: whom it was for.
        struck_at: when, on the monotonic clock.
        healed_at: when everything that it did was undone.
        unconfirmed: messages that were unconfirmed when it struck.
        struck: whether it did what it is to do.
        named_at: when Metadata named a leader again, for faults that take it away.
        target_actor: the producer or reader that lost its connection, if it is one.
    """

    kind: str
    target: str
    struck_at: float = 0.0
    healed_at: float = 0.0
    unconfirmed: int = 0
    struck: bool = False
    named_at: float | None = None
    target_actor: Actor | None = None

    @property
    def counts(self) -> bool:
        """Whether it is counted."""
        return self.struck and self.unconfirmed > 0


@dataclass(slots=True)
class Scene:
    """Where faults strike.

    Attributes:
        rig: the broker and the processes.
        stream: the stream.
        choose: draws what is left open.
    """

    rig: Rig
    stream: str
    choose: random.Random
    notes: list[str] = field(default_factory=list)

    def producer(self) -> Actor:
        """One of the producers."""
        return self.choose.choice(self.rig.producers)

    def reader(self) -> Actor:
        """One of the readers."""
        return self.choose.choice(self.rig.readers)

    def anyone(self) -> Actor:
        """Mostly a producer."""
        return self.producer() if self.choose.random() < 0.75 else self.reader()

    def pause(self, low: float, high: float) -> None:
        """Let a drawn time pass."""
        time.sleep(self.choose.uniform(low, high))


Fault: TypeAlias = Callable[[Scene, Outcome], None]
"""Strikes, heals, and fills in what came of it."""


def note_strike(scene: Scene, outcome: Outcome) -> None:
    """Take down the moment; what was unconfirmed then is looked up behind the fault."""
    outcome.struck_at = time.monotonic()


def weigh(scene: Scene, outcome: Outcome, moment: float | None = None) -> None:
    """Find out how much was unconfirmed: of the target if it is a producer, else of all."""
    at = outcome.struck_at if moment is None else moment
    scene.rig.update()
    actor = outcome.target_actor
    if actor is not None and actor.producer is not None:
        outcome.unconfirmed = actor.producer.unconfirmed_at(at)
    else:
        outcome.unconfirmed = scene.rig.unconfirmed_at(at)


def lost_since(actor: Actor, moment: float) -> bool:
    """Whether an actor says that it lost a connection at that moment or later."""
    actor.update()
    kept = actor.producer or actor.reader
    return kept is not None and any(at >= moment for at in kept.lost)

"""Contenders in turn, A B C A B C, and what of it may be quoted."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from stocklog.bench.job import Result

__all__ = ["Contender", "Measured", "interleave"]


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that can be run again and again.

    Attributes:
        name: as it stands in tables.
        run: given the number of the round (0 is the warm-up), does the job once.
    """

    name: str
    run: Callable[[int], Result]


@dataclass(slots=True)
class Measured:
    """All counted runs of one contender."""

    name: str
    results: list[Result] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """Updates a second, a value a round."""
        return [result.rate for result in self.results]

    @property
    def median(self) -> float:
        """Median rate."""
        return statistics.median(self.rates)

    @property
    def lowest(self) -> float:
        """Slowest round."""
        return min(self.rates)

    @property
    def highest(self) -> float:
        """Fastest round."""
        return max(self.rates)

    @property
    def peak_bytes(self) -> int:
        """Largest resident memory of any round."""
        return max(result.peak_bytes for result in self.results)

    @property
    def cpu_per_update(self) -> float:
        """Median CPU nanoseconds an update, of the whole process."""
        return statistics.median(r.cpu_seconds / r.updates * 1e9 for r in self.results)


def interleave(
    contenders: Sequence[Contender],
    rounds: int,
    say: Callable[[str], None] = lambda text: None,
) -> list[Measured]:
    """Run all contenders in turn, once to warm up and then `rounds` times.

    Args:
        contenders: in the order of the table.
        rounds: counted rounds.
        say: gets a line about each run.

    Returns:
        One entry a contender, in the same order.
    """
    measured = [Measured(contender.name) for contender in contenders]
    for number in range(rounds + 1):
        for contender, kept in zip(contenders, measured, strict=True):
            result = contender.run(number)
            label = f"round {number}" if number else "warm-up"
            say(f"{label}: {contender.name}: {result.rate:,.0f} updates/s")
            if number:
                kept.results.append(result)
    return measured

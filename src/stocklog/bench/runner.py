"""Contenders in turn, A B C A B C, and what of it may be quoted."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from stocklog.bench.job import Result

__all__ = ["Contender", "Measured", "chosen", "interleave"]


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that can be run again and again.

    Attributes:
        key: one word that stands for it on the command line and in `targets`.
        name: as it stands in tables.
        run: given the number of the round (0 is the warm-up), does the job once.
        yardstick: key of the contender that counts as 1 for it; empty for none.
        limit: key of the bare wire that bounds it; empty for none.
    """

    key: str
    name: str
    run: Callable[[int], Result]
    yardstick: str = "rstream"
    limit: str = ""


@dataclass(slots=True)
class Measured:
    """All counted runs of one contender."""

    contender: Contender
    results: list[Result] = field(default_factory=list)

    @property
    def name(self) -> str:
        """As it stands in tables."""
        return self.contender.name

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


def chosen(contenders: Sequence[Contender], only: Collection[str]) -> list[Contender]:
    """The contenders that were asked for, with those that they are measured by.

    Args:
        contenders: all, in the order of the table.
        only: keys; empty for all.
    """
    wanted = set(only)
    for contender in contenders:
        if contender.key in only:
            wanted |= {contender.yardstick, contender.limit}
    return [one for one in contenders if not only or one.key in wanted]


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
    measured = [Measured(contender) for contender in contenders]
    for number in range(rounds + 1):
        for kept in measured:
            result = kept.contender.run(number)
            label = f"round {number}" if number else "warm-up"
            say(f"{label}: {kept.name}: {result.rate:,.0f} updates/s")
            if number:
                kept.results.append(result)
    return measured

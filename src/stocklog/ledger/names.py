"""A producer's name for life: what it sends, how it is cut, and how far its runs have come.

A name's updates are numbered 1, 2, 3 … in the log, and blocks begin at multiples of their
size. Only where a run ends is a block sent short. Whoever goes on must cut there too, as
long as what an earlier process sent may still come in; so the register keeps the ends of
runs that are not known to be confirmed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from stocklog.errors import StreamError, UsageError
from stocklog.ledger.marks import Held, last_mark
from stocklog.ledger.register import Entry, Facts, Register, place_of
from stocklog.stream import StreamClient

__all__ = ["NameRecord", "claim", "describe_differences", "differences", "form_of"]

_SAVE_EVERY = 5.0
"""Seconds between two notes of how far a run is."""

WITHOUT_END = 0
"""Stands for the end of a run that has none."""


def form_of(sub_batch: int) -> str:
    """How a name cuts its updates, in words."""
    return "plain entries" if sub_batch == 1 else f"blocks of {sub_batch}"


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What differs between two sets of settings, a text each."""
    return [
        f"{name}: {before.get(name, 'not given')} then, {now.get(name, 'not given')} now"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def describe_differences(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The same in one text; empty if there are none."""
    return "; ".join(differences(before, now))


@contextmanager
def claim(
    register: Register, client: StreamClient, stream: str, name: str, sub_batch: int
) -> Iterator[NameRecord]:
    """Take a name for as long as it is published under.

    Args:
        register: open.
        client: connected.
        stream: the stream's name; it exists.
        name: the producer's name.
        sub_batch: updates in one entry; 1 is plain entries.

    Raises:
        UsageError: the name sends otherwise.
        ProducerConflictError: another process of this machine publishes under it.
    """
    with register.alone(client, stream, f"name {name}", f"publishing as {name!r}"):
        entry, held = register.find(client, "name", stream, name)
        if entry is not None and entry.facts.sub_batch != sub_batch:
            form = form_of(entry.facts.sub_batch)
            raise UsageError(
                f"The producer {name!r} of stream {stream!r} sends {form} "
                f"for life (since {entry.facts.day}); now {form_of(sub_batch)} are asked for",
                f"Give --sub-batch {entry.facts.sub_batch}, or another --name: what is cut "
                "otherwise can enter the log twice",
            )
        yield NameRecord(register, client, stream, name, sub_batch, entry, held)


class NameRecord:
    """What the register keeps of one name, while it is held alone. Made by `claim`."""

    def __init__(
        self,
        register: Register,
        client: StreamClient,
        stream: str,
        name: str,
        sub_batch: int,
        entry: Entry | None,
        held: Held,
    ) -> None:
        self._register, self._client, self._stream = register, client, stream
        self._held = held
        self._entry = entry or Entry(
            kind="name",
            stream=stream,
            key=name,
            place=place_of(client),
            facts=Facts(name=name, sub_batch=sub_batch),
        )
        self._next_save = 0.0

    @property
    def facts(self) -> Facts:
        """What is kept; changed by the methods only."""
        return self._entry.facts

    def check_settings(self, now: Mapping[str, str]) -> None:
        """Hold what decides the updates against what it was, and keep it if it is new.

        Raises:
            UsageError: it differs.
        """
        facts = self.facts
        if facts.settings and (other := describe_differences(facts.settings, now)):
            raise UsageError(
                f"Under the name {facts.name!r} stream {self._stream!r} got other updates: {other}",
                "Give the same again (what is left out is taken from the first time), or another "
                "--name",
            )
        facts.settings = dict(now)

    def begin(self, sequence: int, end: int | None) -> list[int]:
        """A run begins; it is in the register when this returns.

        Args:
            sequence: the number that the log has under the name.
            end: the number of the run's last update; None if that is not known.

        Returns:
            Numbers below `end` at which a block must be cut short, because an earlier run
            may have cut there.

        Raises:
            StreamError: the broker has forgotten the name.
            UsageError: the run would cut a block where an earlier one may not have.
        """
        facts = self.facts
        self._check_remembered(sequence)
        facts.ends = [one for one in facts.ends if one == WITHOUT_END or one > sequence]
        if end is not None and end > sequence and end % facts.sub_batch:
            self._check_end(sequence, end)
        borders = [
            one for one in facts.ends if one % facts.sub_batch and (end is None or one < end)
        ]
        facts.ends = sorted({*facts.ends, WITHOUT_END if end is None else end})
        facts.last = sequence
        self._entry.mark = last_mark(self._client, self._stream)
        self._register.put(self._entry)
        return borders

    def _check_remembered(self, sequence: int) -> None:
        facts = self.facts
        if sequence >= facts.last:
            return
        if self._held is Held.YES:
            raise StreamError(
                f"The broker has {sequence} as the last number of producer {facts.name!r} in "
                f"stream {self._stream!r}, but {facts.last} was confirmed: it has forgotten the "
                "name (it remembers 255 a stream)",
                "Give another --name; what the log has of this one stays",
            )
        facts.ends = []  # nothing of it can be seen any more: another log, or cut

    def _check_end(self, sequence: int, end: int) -> None:
        facts = self.facts
        longer = [one for one in facts.ends if one == WITHOUT_END or one > end]
        if longer:
            to = "without end" if longer[0] == WITHOUT_END else f"to {longer[-1]}"
            raise UsageError(
                f"A run {to} under the name {facts.name!r} was not ended in order (the log is at "
                f"{sequence}); one that ends with {end} would cut its blocks anew",
                f"Let that run end first, or end with a multiple of {facts.sub_batch}",
            )

    def will_end(self, number: int) -> None:
        """The run will end with this number, which was not known when it began."""
        facts = self.facts
        facts.ends = sorted({*facts.ends, number})
        self._register.put(self._entry)

    def check_first(self, digest: str) -> None:
        """Hold the first update of an input against what it was, and keep it if it is new.

        Raises:
            UsageError: it is another one.
        """
        facts = self.facts
        if facts.first and facts.first != digest:
            raise UsageError(
                f"Under the name {facts.name!r} another input was loaded into stream "
                f"{self._stream!r} (since {facts.day}): its first update was another one",
                "Give the same input from its beginning to go on with it, or this one another "
                "--name",
            )
        if not facts.first:
            facts.first = digest
            self._register.put(self._entry)

    def progress(self, number: int) -> None:
        """So many are confirmed; noted every few seconds."""
        now = time.monotonic()
        if now >= self._next_save:
            self._next_save = now + _SAVE_EVERY
            self.facts.last = number
            self._register.put(self._entry)

    def settle(self, number: int) -> None:
        """The run has ended in order: all that was sent, up to this number, is confirmed."""
        self.facts.last, self.facts.ends = number, []
        self._entry.mark = last_mark(self._client, self._stream)
        self._register.put(self._entry)

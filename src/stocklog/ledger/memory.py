"""A reader with a name: it goes on behind what it has handled, not behind what it was given.

The offset of the last message that was handled lies with the broker, in the stream itself.
A broker forgets it when retention has cut the log above it; the register, if there is one,
still knows it, so that the reader can be told what it has missed.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import replace

from stocklog.errors import ConnectionLostError, StreamError, UsageError
from stocklog.ledger.marks import Held, last_mark
from stocklog.ledger.register import Entry, Facts, Register, place_of
from stocklog.stream import StreamClient
from stocklog.stream.arguments import check_reference
from stocklog.stream.offsets import OffsetSpec, Start

__all__ = ["ON_TRUNCATED", "STORE_EVERY", "Memory"]

log = logging.getLogger(__name__)

ON_TRUNCATED = ("first", "next", "fail")
"""What a reader may do whose place in the log was cut away."""

STORE_EVERY = 5_000
"""Messages handled between two stores: each is a record of the broker's own in the log."""

_STORE_SECONDS = 5.0
"""A slow reader's offset is stored after so long, however few they were."""

_KEEP_SECONDS = 5.0
"""Seconds between two notes in the register, which needs to know only about how far."""

_ATTEMPTS = 5
"""At the end the broker may be just coming back."""


class Memory:
    """How far a named reader has come. One thread at a time.

    Args:
        client: connected.
        stream: the stream's name; it exists.
        name: the reader's, 1 to 255 bytes.
        register: where it is also noted, or None.

    Attributes:
        gaps: (first, last) offsets that retention cut before the reader came to them.
        notes: what the reader should be told.

    Raises:
        UsageError: the name cannot be one.
    """

    def __init__(
        self, client: StreamClient, stream: str, name: str, register: Register | None = None
    ) -> None:
        check_reference(name, "reader")
        self.gaps: list[tuple[int, int]] = []
        self.notes: list[str] = []
        self._client, self._stream, self._name = client, stream, name
        self._register = register
        self._entry: Entry | None = None
        self._handled: int | None = None
        self._stored: int | None = None
        self._count = 0
        self._stored_at = time.monotonic()
        self._kept_at = 0.0

    # -- where to begin -----------------------------------------------------------------------

    def start(
        self, spec: OffsetSpec, *, reset: bool = False, on_truncated: str = "first"
    ) -> OffsetSpec | None:
        """Where the reader begins.

        Args:
            spec: where a name without a past begins, and where a range ends.
            reset: begin there whatever is stored.
            on_truncated: what to do if messages behind the stored offset were cut away:
                `first` goes on with the first that is kept, `next` with what is new, `fail`
                is an error.

        Returns:
            The place; None if nothing is left of a range.

        Raises:
            UsageError: no such `on_truncated`.
            StreamError: messages were cut, and that is to be an error.
        """
        if on_truncated not in ON_TRUNCATED:
            raise UsageError(
                f"{on_truncated!r} says nothing about a log that was cut",
                f"Take one of {', '.join(ON_TRUNCATED)}",
            )
        stored = self._client.query_offset(self._name, self._stream)
        known = self._known()
        if reset:
            return spec
        # The broker's own may be behind: the register is noted after it was stored.
        place = stored if stored is not None else known
        if place is None:
            return spec
        self._handled = self._stored = place
        if spec.end is not None and spec.end.offset is not None and spec.end.offset <= place:
            self.notes.append(f"Reader {self._name!r} has handled all up to offset {place}")
            return None
        first = self._client.begin_offset(self._stream)
        if first is not None and first > place + 1:
            return self._truncated(spec, place, first, on_truncated)
        return _from(spec, place + 1)

    def _truncated(
        self, spec: OffsetSpec, place: int, first: int, on_truncated: str
    ) -> OffsetSpec | None:
        lost = f"Offsets {place + 1} to {first - 1} are gone: retention cut them"
        text = f"{lost} before reader {self._name!r} came to them; it had handled all up to {place}"
        if on_truncated == "fail":
            raise StreamError(
                text,
                "Go on with --on-truncated first (what is kept) or next (what is new), or begin "
                "elsewhere with OFFSET and --reset",
            )
        self.gaps.append((place + 1, first - 1))
        if on_truncated == "next":
            last = self._client.last_offset(self._stream) or first - 1
            self._handled = last  # left out on purpose, so that it is told once
            self.notes.append(f"{text}. It goes on behind offset {last} with what is new")
            return _from(spec, last + 1)
        self.notes.append(f"{text}. It goes on with offset {first}")
        return _from(spec, first)

    def _known(self) -> int | None:
        """The offset that the register has for this very log."""
        if self._register is None:
            return None
        entry, held = self._register.find(self._client, "reader", self._stream, self._name)
        self._entry = entry
        if entry is None or held is Held.UNKNOWN:
            return None
        return entry.facts.last

    # -- what was handled ---------------------------------------------------------------------

    @property
    def stored(self) -> int | None:
        """The offset that is stored; None for none."""
        return self._stored

    def handled(self, offset: int, messages: int, *, may_store: bool = True) -> None:
        """Messages up to an offset are handled; stored every few thousand.

        Args:
            offset: of the last of them.
            messages: how many.
            may_store: False: they are handled once something is closed, before `settle`.

        Raises:
            StreamError: the broker refuses to store it.
        """
        self._handled = offset
        self._count += messages
        is_long = time.monotonic() - self._stored_at >= _STORE_SECONDS
        if may_store and (self._count >= STORE_EVERY or is_long):
            self._try()

    def look(self) -> None:
        """Store what has waited long enough; for whoever has nothing to read just now.

        Raises:
            StreamError: the broker refuses to store it.
        """
        if self._count and time.monotonic() - self._stored_at >= _STORE_SECONDS:
            self._try()

    def _try(self) -> None:
        try:
            self._store()
        except ConnectionLostError as error:
            # Reading goes on over its own connection; the next store takes this one along.
            log.warning("the offset of reader %s was not stored: %s", self._name, error.what)
            self._count, self._stored_at = 0, time.monotonic()

    def _store(self) -> None:
        if self._handled is None or self._handled == self._stored:
            return
        self._client.store_offset(self._name, self._stream, self._handled)
        self._stored, self._count, self._stored_at = self._handled, 0, time.monotonic()
        if self._stored_at - self._kept_at >= _KEEP_SECONDS:
            self._keep()

    def settle(self) -> None:
        """Store how far the reader is; for its end.

        Raises:
            StreamError: it could not be stored; the reader will get those messages again.
        """
        for left in range(_ATTEMPTS - 1, -1, -1):
            try:
                self._store()
                break
            except ConnectionLostError:
                if not left:
                    raise
                time.sleep(0.5)
        self._keep()

    def _keep(self) -> None:
        if self._register is None or self._stored is None:
            return
        self._kept_at = time.monotonic()
        facts = Facts(name=self._name, last=self._stored)
        with contextlib.suppress(ConnectionLostError):
            self._register.put(
                Entry(
                    kind="reader",
                    stream=self._stream,
                    key=self._name,
                    place=place_of(self._client),
                    mark=last_mark(self._client, self._stream),
                    facts=facts,
                )
            )


def _from(spec: OffsetSpec, offset: int) -> OffsetSpec:
    text = f"{offset}.." if spec.end is not None else str(offset)
    return replace(spec, start=Start.OFFSET, value=offset, text=text)

"""Sending blocks to an end that is in order, whoever asks for it and whatever the broker does."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from stocklog.errors import UnconfirmedError

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from stocklog.inventory.codec import Encoded
    from stocklog.stream import Publisher

__all__ = ["DRAIN_SECONDS", "Sending", "pieces"]

DRAIN_SECONDS = 10.0
"""How long an interrupted run waits for the confirms of what it has sent."""

_LOOK = 0.2
"""Seconds after which a wait looks whether the user wants an end."""


class Sending:
    """A publisher while a run sends by it. Once the user wants an end, it ends in bounded time.

    Args:
        publisher: open; the caller closes it.
        stop: set when the user wants an end.
    """

    def __init__(self, publisher: Publisher, stop: threading.Event) -> None:
        self.publisher = publisher
        self._stop = stop
        self._ended = threading.Event()

    def __enter__(self) -> Sending:
        threading.Thread(target=self._watch, name="stocklog-drain", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _watch(self) -> None:
        """Give up a send that waits for a broker which does not come back."""
        while not self._stop.is_set():
            if self._ended.wait(_LOOK):
                return
        if not self._ended.wait(DRAIN_SECONDS + 1):
            self.publisher.give_up(DRAIN_SECONDS)

    @property
    def is_named(self) -> bool:
        """Whether the borders of entries must depend on the number alone."""
        return self.publisher.options.name is not None

    @property
    def unknown(self) -> int:
        """Updates that were sent and neither confirmed nor refused."""
        publisher = self.publisher
        return publisher.unconfirmed if self.is_named else publisher.sent - publisher.confirmed

    def send(self, block: Encoded, borders: Sequence[int] = ()) -> None:
        """Send a block; cut an entry short behind it if its last number is one of `borders`."""
        self.publisher.send(block.data, block.starts)
        if borders and self.publisher.last_sequence + self.publisher.sent in borders:
            self.publisher.push()

    def end(self, will_end: Callable[[int], None] = lambda number: None) -> bool:
        """Wait until all is confirmed; if the user wants an end, for `DRAIN_SECONDS` at most.

        A run under a name that the user ends leaves back what fills up no entry: whoever goes
        on sends it, with the borders that depend on the number alone.

        Args:
            will_end: called with the run's last number before its last entry is cut short.

        Returns:
            Whether the run came to its end.

        Raises:
            UnconfirmedError: it took longer.
            ProducerConflictError: another producer uses the name.
            StreamError: the broker refused something, or the connection is lost.
        """
        publisher = self.publisher
        if not (self._stop.is_set() and self.is_named):
            if self.is_named:
                will_end(publisher.last_sequence + publisher.sent)
            while not self._stop.is_set():
                try:
                    publisher.flush(_LOOK)
                except UnconfirmedError:
                    continue
                publisher.check_alone()
                return True
        self._drain()
        publisher.check_alone()
        if self.is_named:
            publisher.close(timeout=0)
        return False

    def _drain(self) -> None:
        publisher = self.publisher
        try:
            if self.is_named:
                publisher.drain(DRAIN_SECONDS)
            else:
                publisher.flush(DRAIN_SECONDS)
        except UnconfirmedError:
            # The summary says how many; closing must not wait for them a second time.
            publisher.close(timeout=0)
            raise


def pieces(
    rows: pl.DataFrame | pa.RecordBatch, before: int, borders: Sequence[int], most: int
) -> Iterator[pl.DataFrame | pa.RecordBatch]:
    """Cut rows behind those whose numbers are borders, and into pieces of bounded length.

    Args:
        rows: the rows.
        before: the number before the first of them.
        borders: rising.
        most: rows in a piece at most.
    """
    count = len(rows)
    inner = [border - before for border in borders if before < border < before + count]
    for begin, end in itertools.pairwise([0, *inner, count]):
        parts = -(-(end - begin) // most)
        for part in range(parts):  # equal ones, since a small one costs as much as a large one
            start, behind = (begin + (end - begin) * n // parts for n in (part, part + 1))
            yield rows.slice(start, behind - start)

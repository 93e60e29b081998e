"""How far a reader is behind the end of its stream, for progress."""

from __future__ import annotations

import threading
from types import TracebackType

from stocklog.errors import StocklogError
from stocklog.stream import StreamClient, Subscriber

__all__ = ["Lag"]

_EVERY = 2.0
"""Seconds between two looks at a log whose end is still moving."""


class Lag:
    """Messages between a reader and the end: of what it is to read, or of the log.

    Where the read has an end, nothing is asked. Where it goes on for ever, a thread of its own
    looks where the log ends every two seconds: on the client's own connection from RabbitMQ
    3.11 on (which tells where the last chunk begins), by a short connection before.

    Args:
        client: connected.
        subscriber: what is read.
        asks: whether to look at all; False where nobody wants to know.
    """

    def __init__(self, client: StreamClient, subscriber: Subscriber, *, asks: bool) -> None:
        self._client = client
        self._stream = subscriber.stream
        self._end = subscriber.plan.until
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        if asks and self._end is None and not subscriber.ended:
            self._thread = threading.Thread(target=self._look, name="stocklog-lag", daemon=True)

    def __enter__(self) -> Lag:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Not waited for: it may be connecting, and a daemon holds nothing up.
        self._closing.set()

    def behind(self, offset: int | None) -> int | None:
        """Messages between an offset and the end; `None` if the end is not known.

        Args:
            offset: the last one that was read; `None` before the first.
        """
        if self._end is None or offset is None:
            return None
        return max(0, self._end - offset)

    def _look(self) -> None:
        while not self._closing.wait(_EVERY):
            try:
                self._end = self._find_end()
            except StocklogError:
                continue  # the reader itself notices what matters

    def _find_end(self) -> int | None:
        stats = self._client.stats(self._stream)
        if stats:
            # From 4.3 on exactly, before that to within the last chunk.
            return stats.get("committed_offset", stats["committed_chunk_id"])
        return self._client.last_offset(self._stream)

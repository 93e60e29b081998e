"""Updates out: whole tables, or one at a time with a short wait that fills batches."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa

from stocklog.errors import InvalidUpdateError, StocklogError, UsageError
from stocklog.inventory import codec
from stocklog.inventory.update import Update, to_frame, validate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stocklog.stream import Publisher, StreamClient

__all__ = ["BLOCK_ROWS", "LINGER", "Producer", "slices"]

BLOCK_ROWS = 8192
"""Rows that are encoded and sent together: a broker's chunk holds as many entries."""

LINGER = 0.005
"""Seconds that a single update waits for others, at most."""

_ROWS_TOGETHER = 1000
"""Single updates that are sent without waiting any longer."""

_SUB_BATCH = 500
_SHOWN = 5

Updates: TypeAlias = (
    "pl.DataFrame | pa.Table | pa.RecordBatch | Update | Iterable[Update | dict[str, object]]"
)


class Producer:
    """Publishes updates to one stream. Made by `Client.producer`; one thread at a time.

    Tables are validated, encoded and sent in blocks. Single updates wait up to `linger`
    for others. What was sent is safe once `flush` or `close` returns.

    Args:
        client: connected.
        stream: exists.
        name: of the producer, or `None`.
        codec: compression of blocks.
        sub_batch: updates in one entry; `None`: decided by what is sent first.
        linger: seconds, 0 or more.

    Raises:
        UsageError: a linger that is no time to wait.
    """

    def __init__(
        self,
        client: StreamClient,
        stream: str,
        *,
        name: str | None = None,
        codec: str = "none",
        sub_batch: int | None = None,
        linger: float = LINGER,
    ) -> None:
        if not 0 <= linger <= threading.TIMEOUT_MAX:
            raise UsageError(f"linger is {linger}: it must be a number of seconds, 0 or more")
        self.stream = stream
        self._client = client
        self._name, self._codec, self._sub_batch = name, codec, sub_batch
        self._linger = linger
        self._publisher: Publisher | None = None
        self._rows: list[Update] = []
        self._lock = threading.RLock()
        self._something_waits = threading.Condition(self._lock)
        self._partial = False
        self._error: StocklogError | None = None
        self._closed = False
        self._helper: threading.Thread | None = None
        if sub_batch is not None:
            self._open(sub_batch)

    @property
    def sent(self) -> int:
        """Updates handed over so far."""
        with self._lock:
            return len(self._rows) + (self._publisher.sent if self._publisher else 0)

    @property
    def confirmed(self) -> int:
        """Updates that the broker has confirmed so far."""
        return self._publisher.confirmed if self._publisher else 0

    def send(self, updates: Updates) -> None:
        """Publish updates; blocks while too much is on its way without a confirm.

        Args:
            updates: one `Update`; a Polars or Arrow table whose columns are named like the
                fields of an update (`offset` and `recorded_at` are left out, so that what
                was read can be sent on); or an iterable of updates or dicts.

        Raises:
            InvalidUpdateError: a row breaks a rule of the record; nothing of this call was
                sent.
            UsageError: columns or types that cannot be updates; or the producer is closed.
            StreamError: the broker refused something, or the connection is lost.
        """
        if isinstance(updates, Update):
            self._send_row(updates)
        else:
            self._send_table(_checked(updates))

    def _send_row(self, update: Update) -> None:
        with self._lock:
            self._check()
            if self._publisher is None:
                self._open(1)
            if self._name is not None and self._sub_batch != 1:
                raise UsageError(
                    f"The producer {self._name!r} sends blocks of {self._sub_batch}; single "
                    "updates would be numbered otherwise",
                    "Give them a producer of their own name, or make this one with sub_batch=1",
                )
            self._rows.append(update)
            if len(self._rows) >= _ROWS_TOGETHER:
                self._send_rows()
            elif len(self._rows) == 1:
                self._wake_helper()

    def _send_table(self, frame: pl.DataFrame) -> None:
        if not frame.height:
            return
        with self._lock:
            self._check()
            publisher = self._publisher or self._open(_SUB_BATCH)
            self._send_rows()
            for block in slices(frame):
                encoded = codec.encode(block, publisher.lead)
                publisher.send(encoded.data, encoded.starts)
            self._leave_partial()

    def _send_rows(self) -> None:
        if self._rows and self._publisher is not None:
            rows, self._rows = self._rows, []
            self._publisher.send(*_row_bodies(rows, self._publisher.lead))
            self._leave_partial()

    def _leave_partial(self) -> None:
        """An entry that is not full waits like a single update does.

        Not so under a name: there the borders of entries must depend on the number alone,
        so that what is sent again after an interruption is cut alike.
        """
        if self._sub_batch != 1 and self._name is None:
            self._partial = True
            self._wake_helper()

    def flush(self, timeout: float | None = None) -> None:
        """Send what waits, and wait until everything is confirmed.

        Args:
            timeout: seconds; `None`: as long as the connection lives.

        Raises:
            UnconfirmedError: the time was over first.
            StreamError: the broker refused something, or the connection is lost.
        """
        with self._lock:
            self._check()
            self._send_rows()
            self._partial = False
            if self._publisher is not None:
                self._publisher.flush(timeout)

    def close(self) -> None:
        """Flush, and end the connection. Always ends; safe to call twice.

        Raises:
            StreamError: not everything that was sent is confirmed.
        """
        with self._lock:
            if self._closed:
                return
            try:
                if self._error is None:
                    self._send_rows()
            finally:
                self._closed = True
                self._something_waits.notify_all()
                if self._publisher is not None:
                    self._publisher.close()
            if self._error is not None:
                raise self._error

    def __enter__(self) -> Producer:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.close()
            return
        try:  # the first error is the one to see
            self.close()
        except StocklogError as second:
            error.add_note(f"closing the producer then failed too: {second}")

    def _open(self, sub_batch: int) -> Publisher:
        self._sub_batch = sub_batch
        self._publisher = self._client.publisher(
            self.stream, name=self._name, codec=self._codec, sub_batch=sub_batch
        )
        return self._publisher

    def _check(self) -> None:
        if self._closed:
            raise UsageError(f"The producer of stream {self.stream!r} is closed")
        if self._error is not None:
            raise self._error

    # -- the helper thread: sends what nobody else sends in time ------------------------

    def _wake_helper(self) -> None:
        if self._helper is None:
            self._helper = threading.Thread(target=self._help, name="stocklog-linger", daemon=True)
            self._helper.start()
        self._something_waits.notify_all()

    def _help(self) -> None:
        while True:
            with self._lock:
                while not (self._rows or self._partial or self._closed):
                    self._something_waits.wait()
                if self._closed:
                    return
                # Whoever sends meanwhile takes the lock; the time runs from the first.
                self._wait_a_little()
                if self._closed:
                    return
                try:
                    self._send_rows()
                    if self._partial and self._publisher is not None:
                        self._partial = False
                        self._publisher.push()
                except StocklogError as error:  # raised to the user at the next call
                    self._error = error
                    return

    def _wait_a_little(self) -> None:
        """Let `linger` pass with the lock given up; notifications do not shorten it."""
        self._lock.release()
        try:
            threading.Event().wait(self._linger)
        finally:
            self._lock.acquire()


def _row_bodies(rows: list[Update], lead: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Bodies of single updates in the shape of an encoded batch.

    They are objects already, so each is encoded as one: columns would cost more to build.
    """
    bodies = [codec.encode_row(row) for row in rows]
    sizes = np.fromiter(map(len, bodies), np.int64, len(bodies)) + len(lead)
    starts = np.zeros(len(bodies) + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    # A bytearray, because the publisher writes into the leads.
    return np.frombuffer(bytearray(lead + lead.join(bodies)), np.uint8), starts


def slices(frame: pl.DataFrame, rows: int = BLOCK_ROWS) -> Iterator[pl.DataFrame]:
    """Cut a frame into blocks without copying."""
    return frame.iter_slices(rows)


def _checked(updates: Updates) -> pl.DataFrame:
    """The updates in the record's columns, every one valid."""
    if isinstance(updates, pl.DataFrame):
        updates = updates.drop("offset", "recorded_at", strict=False)
    elif isinstance(updates, pa.Table | pa.RecordBatch):
        names = [n for n in updates.column_names if n not in {"offset", "recorded_at"}]
        updates = updates.select(names)
    frame = to_frame(updates)
    found = validate(frame)
    if found.all_valid:
        return frame
    shown = [f"row {row}: {reason}" for row, reason in list(found.reasons.items())[:_SHOWN]]
    more = len(found.reasons) - len(shown)
    raise InvalidUpdateError(
        f"{len(found.reasons):,} of {frame.height:,} updates are not valid; "
        + "; ".join(shown)
        + (f"; and {more:,} more" if more else ""),
        "Correct or drop them (stocklog.inventory.update.validate tells which); nothing was sent",
        reasons=tuple(found.reasons.values()),
    )

"""What a reader gets: updates as columns, with their offsets, and what was no update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from stocklog.inventory import codec
from stocklog.protocol import amqp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stocklog.protocol.chunk import MessageBlock

__all__ = ["Batch", "InvalidMessage", "decode"]


@dataclass(frozen=True, slots=True)
class InvalidMessage:
    """A message that cannot be an update.

    Attributes:
        offset: its offset in the stream.
        recorded_at: when the broker wrote it, milliseconds since 1970, UTC.
        reason: why it is no update.
        body: the message's body, or the whole message where no body can be found in it.
    """

    offset: int
    recorded_at: int
    reason: str
    body: bytes

    @property
    def moment(self) -> str:
        """`recorded_at` as RFC 3339 with milliseconds."""
        return f"{np.datetime64(self.recorded_at, 'ms')}Z"


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive messages of a stream, decoded and validated.

    Attributes:
        offsets: int64, the offset of each update; rising, not always without gaps.
        recorded_at: datetime64[ms], UTC, when the broker wrote each update.
        updates: the updates as a Polars frame with the columns of
            `stocklog.inventory.update.UPDATE_SCHEMA`, one row for each offset.
        invalid: the messages that are no updates, by offset.
    """

    offsets: NDArray[np.int64]
    recorded_at: NDArray[np.datetime64]
    updates: pl.DataFrame
    invalid: tuple[InvalidMessage, ...] = ()

    def __len__(self) -> int:
        """How many updates."""
        return len(self.offsets)

    @property
    def messages(self) -> int:
        """How many messages, updates or not."""
        return len(self.offsets) + len(self.invalid)

    @property
    def first_offset(self) -> int:
        """The lowest offset of all messages."""
        ends = [int(self.offsets[0])] if len(self.offsets) else []
        return min([*ends, *(message.offset for message in self.invalid[:1])])

    @property
    def last_offset(self) -> int:
        """The highest offset of all messages."""
        ends = [int(self.offsets[-1])] if len(self.offsets) else []
        return max([*ends, *(message.offset for message in self.invalid[-1:])])

    def to_polars(self) -> pl.DataFrame:
        """The updates with `offset` (Int64) and `recorded_at` (Datetime ms, UTC) in front."""
        return self.updates.select(
            pl.Series("offset", self.offsets),
            pl.Series("recorded_at", self.recorded_at).dt.replace_time_zone("UTC"),
            pl.all(),
        )

    def to_arrow(self) -> pa.Table:
        """The same as an Arrow table; texts are `large_string`."""
        return self.to_polars().to_arrow(compat_level=pl.CompatLevel.oldest())

    def to_text(self) -> str:
        """The updates for people: a line each, as `stocklog consume` prints them."""
        from stocklog.ledger.writers.text import TextFormat

        return TextFormat().render(self).decode()


def decode(block: MessageBlock) -> Batch:
    """Turn a block of AMQP messages into updates, validated.

    Args:
        block: the messages, as a subscriber hands them over.

    Returns:
        The batch. What cannot be an update is in `invalid`, with its reason.
    """
    bodies = amqp.locate_bodies(block)
    decoded = codec.decode(bodies.buffer, bodies.starts, bodies.lengths)
    if decoded.valid.all() and not bodies.problems:
        return Batch(block.offsets, _moments(block.timestamps), decoded.updates)
    good = decoded.valid
    invalid = tuple(
        _invalid(block, bodies, row, decoded.reasons.get(row, "no update"))
        for row in np.flatnonzero(~good).tolist()
    )
    return Batch(block.offsets[good], _moments(block.timestamps[good]), decoded.updates, invalid)


def _moments(milliseconds: NDArray[np.int64]) -> NDArray[np.datetime64]:
    return milliseconds.view("datetime64[ms]")


def _invalid(block: MessageBlock, bodies: amqp.Bodies, row: int, reason: str) -> InvalidMessage:
    start, length = int(bodies.starts[row]), int(bodies.lengths[row])
    return InvalidMessage(
        int(block.offsets[row]),
        int(block.timestamps[row]),
        bodies.problems.get(row, reason),
        bodies.buffer[start : start + length].tobytes(),
    )

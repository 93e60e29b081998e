"""How a publisher sends, checked when it is said."""

from __future__ import annotations

from dataclasses import dataclass

from stocklog.errors import UsageError
from stocklog.protocol import compression
from stocklog.stream.arguments import check_reference

__all__ = ["PublisherOptions"]

MOST_RECORDS = 65_535
"""Messages that one sub-batch can hold: the wire counts them in 16 bits."""
BROKER_CREDITS = 50_000
"""Unconfirmed entries at which the broker stops reading a connection (stream.initial_credits)."""


@dataclass(frozen=True, slots=True)
class PublisherOptions:
    """How a publisher sends.

    Attributes:
        name: the producer's name, for deduplication; None for none. For its life a
            name is either plain entries or sub-batches of one size.
        codec: how sub-batches are compressed: none, gzip, snappy, lz4 or zstd. Readers by
            AMQP 0-9-1 cannot read compressed ones (3.10 to 3.13 close their channel,
            later brokers skip the messages in silence).
        sub_batch: messages a sub-batch; 1 sends each message as an entry of its own.
        max_unconfirmed_bytes: bound of what is sent and not confirmed.
        max_unconfirmed_entries: the same in entries; below the broker's 50,000.

    Raises:
        UsageError: values that do not go together.
    """

    name: str | None = None
    codec: str = "none"
    sub_batch: int = 500
    max_unconfirmed_bytes: int = 8 << 20
    max_unconfirmed_entries: int = 40_000

    def __post_init__(self) -> None:
        if self.name is not None:
            check_reference(self.name, "producer")
        if self.codec not in compression.CODECS:
            raise UsageError(
                f"The codec {self.codec!r} is unknown",
                f"Known are {', '.join(compression.CODECS)}",
            )
        if not 1 <= self.sub_batch <= MOST_RECORDS:
            raise UsageError(
                f"A sub-batch holds 1 to {MOST_RECORDS} messages, not {self.sub_batch}"
            )
        if self.sub_batch == 1 and self.codec != "none":
            raise UsageError(
                f"Plain entries (a sub-batch of 1) cannot be compressed with {self.codec}",
                "Give a larger sub-batch, or no codec",
            )
        if self.max_unconfirmed_bytes < 1:
            raise UsageError("The bound of unconfirmed bytes must be at least 1")
        if not 1 <= self.max_unconfirmed_entries < BROKER_CREDITS:
            raise UsageError(
                f"The bound of unconfirmed entries must lie between 1 and {BROKER_CREDITS - 1}"
            )

    @property
    def plain(self) -> bool:
        """Whether each message is an entry of its own."""
        return self.sub_batch == 1

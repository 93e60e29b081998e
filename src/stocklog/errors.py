"""The one error tree of stocklog.

Every error says what happened, where, and what to do. A caller that catches
`StocklogError` catches everything that stocklog raises on purpose. The exit
statuses of the command line are decided in `stocklog.cli`, not here.
"""

from __future__ import annotations

__all__ = [
    "AuthenticationError",
    "BrokerNotFoundError",
    "BrokerStartError",
    "CertificateError",
    "CommandError",
    "ConnectionLostError",
    "FeedError",
    "InvalidUpdateError",
    "MessageTooLargeError",
    "ProducerConflictError",
    "ProtocolError",
    "RegisterError",
    "StocklogError",
    "StoreError",
    "StreamError",
    "StreamNotFoundError",
    "UnconfirmedError",
    "UsageError",
]


class StocklogError(Exception):
    """Root of the tree.

    Args:
        what: what happened and where, one sentence without a full stop at its end.
        remedy: what the reader can do about it, or an empty string.
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}. {self.remedy}" if self.remedy else self.what


class UsageError(StocklogError):
    """An argument, option, name or setting that cannot be meant."""


class ProtocolError(StocklogError):
    """Bytes that break the stream protocol, a chunk's layout, AMQP 1.0 or a codec."""


class StreamError(StocklogError):
    """Anything that went wrong between us and a broker's streams."""


class ConnectionLostError(StreamError):
    """The connection could not be made, was closed, or went silent. Trying again may help."""


class AuthenticationError(StreamError):
    """The broker refused the user, the password or the virtual host. Trying again does not help."""


class CertificateError(AuthenticationError):
    """The certificate of one host does not hold; another host's may."""


class CommandError(StreamError):
    """The broker answered a command with an error code.

    Attributes:
        code: the response code (PROTOCOL: 2 stream does not exist, 16 access refused, ...).
        retryable: whether the same command may succeed later without any change.
    """

    def __init__(self, what: str, remedy: str = "", *, code: int, retryable: bool = False) -> None:
        super().__init__(what, remedy)
        self.code = code
        self.retryable = retryable


class StreamNotFoundError(CommandError):
    """The stream does not exist (response code 2)."""


class MessageTooLargeError(StreamError):
    """A message that cannot fit a frame; refused before anything was sent."""


class ProducerConflictError(StreamError):
    """Somebody else publishes under our producer's name; what was not confirmed is unknown."""


class UnconfirmedError(StreamError):
    """Messages were sent, and the broker neither confirmed nor refused them.

    Attributes:
        unconfirmed: how many messages have an unknown outcome.
    """

    def __init__(self, what: str, remedy: str = "", *, unconfirmed: int) -> None:
        super().__init__(what, remedy)
        self.unconfirmed = unconfirmed


class InvalidUpdateError(StocklogError):
    """An inventory update that breaks a rule of the record.

    Attributes:
        reasons: one text for each rule that is broken.
    """

    def __init__(self, what: str, remedy: str = "", *, reasons: tuple[str, ...] = ()) -> None:
        super().__init__(what, remedy)
        self.reasons = reasons


class FeedError(StocklogError):
    """A file that cannot be read as the CSV, JSON Lines or Parquet it is said to be."""


class BrokerNotFoundError(StocklogError):
    """No RabbitMQ installation was found, or no broker answers."""


class BrokerStartError(StocklogError):
    """A private RabbitMQ node did not come up."""


class StoreError(StocklogError):
    """A store that cannot be used, does not belong to the stream, or cannot answer."""


class RegisterError(StocklogError):
    """The register of producers, loads and readers cannot be read or written."""

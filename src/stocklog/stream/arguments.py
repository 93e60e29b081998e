"""Names and arguments of streams, checked before they are sent.

The broker checks little: it strips CR and LF out of names in silence, takes any
`max-age` and ignores keys that it does not know; a reference that is too long
damages the log's tracking records before 4.0.3, and an integer that is none
ends the connection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from stocklog.errors import UsageError

__all__ = ["StreamArguments", "check_new_stream_name", "check_reference", "check_stream_name"]

_MAX_AGE = re.compile(r"[1-9][0-9]*[YMDhms]")
_LOCATORS = ("client-local", "balanced", "random", "least-leaders")
_LARGEST_SEGMENT = 3_000_000_000
_NAME_BYTES = 255
_FOLDER_TIME_BYTES = 21  # two underscores, and nanoseconds since 1970


def check_stream_name(name: str) -> str:
    """Return the name if a stream may have it.

    Raises:
        UsageError: it is empty, too long, reserved, or holds characters that the broker drops.
    """
    size = _size(name)
    if not 0 < size <= _NAME_BYTES:
        raise UsageError(f"A stream's name has 1 to {_NAME_BYTES} bytes, this one {size}")
    if name.startswith("amq."):
        raise UsageError(f"The stream name {name!r} begins with 'amq.', which the broker reserves")
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in name):
        raise UsageError(f"The stream name {name!r} holds a control character")
    return name


def check_new_stream_name(name: str, vhost: str) -> str:
    """Return the name if a stream of that name can be made.

    The broker keeps it in a folder called `vhost_name_time`, and file systems end such names
    at 255 bytes. It takes a longer name all the same, and the stream never gets a leader
    (seen on 3.10.8 and 4.0.5: 233 bytes in the virtual host `/` work, 234 do not).

    Args:
        name: the stream's name.
        vhost: the virtual host that it will be in.

    Raises:
        UsageError: as `check_stream_name`, or it is too long for that.
    """
    check_stream_name(name)
    room = _NAME_BYTES - _FOLDER_TIME_BYTES - _size(vhost)
    if _size(name) > room:
        raise UsageError(
            f"The stream name has {_size(name)} bytes; in the virtual host {vhost!r} the broker "
            f"can keep at most {room}",
            "It keeps a stream in a folder called vhost_name_time, which has 255 bytes at most; "
            "a stream with a longer name would never get a leader",
        )
    return name


def check_reference(name: str, what: str) -> str:
    """Return the name if a producer or a reader may have it.

    Args:
        name: the reference.
        what: "producer" or "reader", for the error.

    Raises:
        UsageError: it is empty or longer than 255 bytes (bytes, not characters).
    """
    size = _size(name)
    if not 0 < size <= _NAME_BYTES:
        raise UsageError(f"A {what}'s name has 1 to {_NAME_BYTES} bytes, this one {size}")
    return name


def _size(name: str) -> int:
    try:
        return len(name.encode())
    except UnicodeEncodeError:  # half a surrogate pair: bytes that are no UTF-8
        raise UsageError(f"The name {name!r} is not UTF-8") from None


@dataclass(frozen=True, slots=True)
class StreamArguments:
    """How a stream is made. Everything is fixed when it is declared, retention apart.

    Attributes:
        max_length_bytes: the oldest segments go when the stream is larger; None: no bound.
        max_age: the oldest segments go when all of one is older, as RabbitMQ writes it
            ("7D", "12h"; units Y M D h m s); None: no bound.
        max_segment_size: bytes of one segment, at most 3 GB; None: the broker's 500 MB.
        initial_cluster_size: replicas; None: every node has one.
        leader_locator: where the leader begins: "client-local" or "balanced".

    Raises:
        UsageError: a value that the broker would misread or refuse.
    """

    max_length_bytes: int | None = None
    max_age: str | None = None
    max_segment_size: int | None = None
    initial_cluster_size: int | None = None
    leader_locator: str | None = None

    def __post_init__(self) -> None:
        for what, value in (
            ("max-length-bytes", self.max_length_bytes),
            ("segment size", self.max_segment_size),
            ("number of replicas", self.initial_cluster_size),
        ):
            if value is not None and value < 1:
                raise UsageError(f"The {what} is {value}; it must be at least 1")
        if self.max_segment_size is not None and self.max_segment_size > _LARGEST_SEGMENT:
            raise UsageError(
                f"The segment size is {self.max_segment_size}; RabbitMQ allows {_LARGEST_SEGMENT}"
            )
        if self.max_age is not None and not _MAX_AGE.fullmatch(self.max_age):
            raise UsageError(
                f"The max-age {self.max_age!r} is not a number and a unit",
                "Write it as 7D, 12h, 30m or 90s (units Y M D h m s)",
            )
        if self.leader_locator is not None and self.leader_locator not in _LOCATORS:
            raise UsageError(
                f"The leader locator {self.leader_locator!r} is unknown",
                f"Known are {', '.join(_LOCATORS)}",
            )

    def as_map(self) -> dict[str, str]:
        """The arguments as Create carries them: texts, no `x-` in front."""
        values = {
            "max-length-bytes": self.max_length_bytes,
            "max-age": self.max_age,
            "stream-max-segment-size-bytes": self.max_segment_size,
            "initial-cluster-size": self.initial_cluster_size,
            "queue-leader-locator": self.leader_locator,
        }
        return {key: str(value) for key, value in values.items() if value is not None}

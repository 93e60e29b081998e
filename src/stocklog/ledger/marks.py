"""Marks: one message of a log, by which that log is known again.

A stream that is deleted and made again has the same name and begins its offsets anew. Its
messages are others: at an offset stands one with another time or another digest.
"""

from __future__ import annotations

import hashlib
from enum import Enum

from stocklog.errors import StreamError
from stocklog.protocol.chunk import MessageBlock
from stocklog.stores.coding import Mark
from stocklog.stream import StreamClient

__all__ = ["Held", "holds", "last_mark", "mark_of"]

_PATIENCE = 30.0


class Held(Enum):
    """What a log says to a mark.

    YES: it holds the message. NO: it has another one there, or ends before it: it is another
    log. CUT: retention has cut that place. UNKNOWN: there is no mark, since the log was empty.
    """

    YES = "yes"
    NO = "no"
    CUT = "cut"
    UNKNOWN = "unknown"


def mark_of(block: MessageBlock, row: int) -> Mark:
    """The mark of one message of a block."""
    start, length = int(block.starts[row]), int(block.lengths[row])
    digest = hashlib.sha256(block.buffer[start : start + length].tobytes()).hexdigest()
    return Mark(int(block.offsets[row]), int(block.timestamps[row]), digest)


def last_mark(client: StreamClient, stream: str) -> Mark | None:
    """The mark of the last committed message; None if the stream has none."""
    return _read(client, stream, "last")[0]


def holds(client: StreamClient, stream: str, mark: Mark | None) -> Held:
    """Whether the log still holds the message of a mark.

    Args:
        client: connected.
        stream: the stream's name; it exists.
        mark: the message.
    """
    if mark is None:
        return Held.UNKNOWN
    found, is_cut = _read(client, stream, f"{mark.offset}..{mark.offset}")
    if found is None:
        return Held.CUT if is_cut else Held.NO
    return Held.YES if found == mark else Held.NO


def _read(client: StreamClient, stream: str, offset: str) -> tuple[Mark | None, bool]:
    """The mark of the last message of a range, and whether retention has cut its beginning."""
    with client.subscriber(stream, offset, until_end=True) as subscriber:
        block = subscriber.next(_PATIENCE)
        if block is not None:
            return mark_of(block, len(block.offsets) - 1), False
        if not subscriber.ended:
            raise StreamError(
                f"Stream {stream!r} did not deliver {offset} within {_PATIENCE:.0f} s",
                "A majority of its replicas must be up; `stocklog stream info` lists them",
            )
        return None, bool(subscriber.gaps)

"""What the broker keeps under names: readers' offsets, and producers' last numbers.

What a reader stores is the offset of the last message that was handled; a reader goes on
behind it. The broker keeps it in the stream itself, as a record of its own.
"""

from __future__ import annotations

from stocklog.errors import StreamError
from stocklog.protocol import codes, frames
from stocklog.protocol.frames import Key
from stocklog.stream.arguments import check_reference
from stocklog.stream.connection import Connection

__all__ = ["query_offset", "query_sequence", "store_offset"]


def query_sequence(connection: Connection, name: str, stream: str) -> int:
    """Ask for the highest publishing id that the log has under a producer's name.

    Args:
        connection: to any node.
        name: the producer's name, 1 to 255 bytes.
        stream: the stream, which exists.

    Returns:
        The id; 0 for none. It counts what the leader has, committed or not. The broker
        remembers 255 names a stream.

    Raises:
        UsageError: the name cannot be one.
        StreamNotFoundError, CommandError: the broker refuses.
        ConnectionLostError: also what brokers do while the stream has no leader.
    """
    check_reference(name, "producer")
    answer = connection.checked(
        Key.QUERY_PUBLISHER_SEQUENCE,
        f"Asking for the last number of producer {name!r} in stream {stream!r}",
        reference=name,
        stream=stream,
    )
    return int(answer.values["sequence"])


def query_offset(connection: Connection, name: str, stream: str) -> int | None:
    """Ask for the offset that is stored under a name.

    Args:
        connection: to any node.
        name: the reader's name, 1 to 255 bytes.
        stream: the stream, which exists.

    Returns:
        The offset, or None if there is none. At a roll-over of segments the broker forgets
        offsets that lie before the log's beginning.

    Raises:
        UsageError: the name cannot be one.
        StreamNotFoundError, CommandError: the broker refuses.
        ConnectionLostError: also what brokers do while the stream has no leader.
    """
    check_reference(name, "reader")
    frame = connection.request(Key.QUERY_OFFSET, reference=name, stream=stream)
    if frame.code == codes.NO_OFFSET:
        return None
    if frame.code != codes.OK:
        raise codes.error_for(
            frame.code, f"Asking for the offset of reader {name!r} in stream {stream!r}"
        )
    return int(frame.values["offset"])


def store_offset(connection: Connection, name: str, stream: str, offset: int) -> None:
    """Store the offset of the last message that was handled, and see that it was taken.

    The broker never answers this command, not even to refuse it; so it is asked
    afterwards, over the same connection and therefore behind it.

    Args:
        connection: to any node.
        name: the reader's name, 1 to 255 bytes: longer ones crash brokers before 4.0.3.
        stream: the stream, which exists.
        offset: of the last message that was handled.

    Raises:
        UsageError: the name cannot be one.
        StreamNotFoundError, CommandError: the broker refuses.
        StreamError: the broker did not take it.
        ConnectionLostError: whether it was stored is unknown.
    """
    check_reference(name, "reader")
    connection.send([frames.encode(Key.STORE_OFFSET, reference=name, stream=stream, offset=offset)])
    stored = query_offset(connection, name, stream)
    if stored != offset:
        raise StreamError(
            f"The broker did not take offset {offset} of reader {name!r} in stream {stream!r}; "
            f"it has {'none' if stored is None else stored}",
            "It takes the right to write (3.12 and before) or to read the stream; another "
            "reader of the same name would also look like this",
        )

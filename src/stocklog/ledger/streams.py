"""The stream itself: made with a bounded retention if it is missing."""

from __future__ import annotations

from stocklog.errors import CommandError
from stocklog.stream import StreamArguments, StreamClient

__all__ = ["DEFAULT_ARGUMENTS", "DEFAULT_RETENTION", "ensure_stream"]

DEFAULT_ARGUMENTS = StreamArguments(max_length_bytes=20_000_000_000, max_segment_size=500_000_000)
"""20 GB in segments of 500 MB: some 100 million updates. stream-perf-test takes the same."""

DEFAULT_RETENTION = "the newest 20 GB, in segments of 500 MB"
"""The same in words."""

_ACCESS_REFUSED = 16


def ensure_stream(
    client: StreamClient, name: str, arguments: StreamArguments = DEFAULT_ARGUMENTS
) -> bool:
    """Make a stream if there is none of that name.

    An existing one is used as it is, whatever its retention, and without the right to
    configure it: the broker is asked for it first.

    Args:
        client: connected.
        name: the stream.
        arguments: what a new one is made with.

    Returns:
        Whether it was made now.

    Raises:
        CommandError: it does not exist, and the user may not make it.
    """
    if client.stream_exists(name):
        return False
    try:
        return client.create_stream(name, arguments)
    except CommandError as error:
        if error.code == _ACCESS_REFUSED:
            raise CommandError(
                f"The stream {name!r} does not exist, and {client.uri.user!r} may not make it",
                "Have it made (`stocklog stream create`), or get the right to configure it",
                code=error.code,
            ) from error
        raise

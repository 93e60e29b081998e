"""What a publisher says of messages whose outcome it does not know."""

from __future__ import annotations

from stocklog.errors import ProducerConflictError, UnconfirmedError

__all__ = ["conflict", "unconfirmed"]


def unconfirmed(stream: str, count: int, when: str) -> UnconfirmedError:
    """The error for messages that are neither confirmed nor refused.

    Args:
        stream: the stream's name.
        count: how many messages.
        when: what they were not confirmed within or before.
    """
    return UnconfirmedError(
        f"The broker did not confirm {count} messages to stream {stream!r} {when}",
        "They may be in the log or not. A disk alarm blocks publishers: see the broker's log",
        unconfirmed=count,
    )


def conflict(stream: str, name: str, log_at: int, we_at: int) -> ProducerConflictError:
    """The error for a number under our name that rose without us.

    Args:
        stream: the stream's name.
        name: the producer's name.
        log_at: the highest number that the log has under it.
        we_at: the highest that we have sent.
    """
    return ProducerConflictError(
        f"Another producer publishes to stream {stream!r} under the name {name!r}: the log is at "
        f"{log_at}, we are at {we_at}",
        "Two live producers of one name lose each other's messages, and get confirms for them. "
        "Give each its own name; which of ours are in the log is unknown. If there is no other, "
        "messages of an earlier process came in late: run it again",
    )

"""Response codes: what each means, whether trying again helps, and what to do.

From `rabbit_stream.hrl` (codes 20 and 21 came with 3.13 and are not in
`PROTOCOL.adoc`). Retryable is decided here, once, for every caller.
"""

from __future__ import annotations

from typing import NamedTuple

from stocklog.errors import AuthenticationError, CommandError, StreamError, StreamNotFoundError

__all__ = [
    "ACCESS_REFUSED",
    "NO_OFFSET",
    "OK",
    "PRECONDITION_FAILED",
    "PUBLISHER_DOES_NOT_EXIST",
    "STREAM_ALREADY_EXISTS",
    "STREAM_DOES_NOT_EXIST",
    "STREAM_NOT_AVAILABLE",
    "Meaning",
    "describe",
    "error_for",
]

OK = 1
STREAM_DOES_NOT_EXIST = 2
STREAM_ALREADY_EXISTS = 5
STREAM_NOT_AVAILABLE = 6
ACCESS_REFUSED = 16
PRECONDITION_FAILED = 17
PUBLISHER_DOES_NOT_EXIST = 18
NO_OFFSET = 19


class Meaning(NamedTuple):
    """One response code.

    Attributes:
        text: what it says.
        remedy: what the user can do.
        retryable: whether the same command may succeed later without a change.
    """

    text: str
    remedy: str = ""
    retryable: bool = False


_MEANINGS = {
    1: Meaning("ok"),
    2: Meaning("the stream does not exist", "Create it: `stocklog stream create NAME`"),
    3: Meaning("the subscription id already exists"),
    4: Meaning("the subscription id does not exist"),
    5: Meaning("the stream already exists"),
    6: Meaning(
        "the stream is not available", "Its leader may be starting; try again", retryable=True
    ),
    7: Meaning("the SASL mechanism is not supported", "Enable PLAIN on the broker"),
    8: Meaning("the user or the password is wrong", "Check the URI's user and password"),
    9: Meaning("SASL error", "Check the URI's user and password"),
    10: Meaning("SASL challenge"),
    11: Meaning(
        "this user may connect from the broker's own machine only",
        "`guest` is such a user: make another one with `rabbitmqctl add_user`",
    ),
    12: Meaning(
        "the virtual host does not exist or is closed to this user",
        "Check the URI's path; `rabbitmqctl list_permissions -p VHOST` shows who may enter",
    ),
    13: Meaning("unknown frame"),
    14: Meaning("the frame is too large", "Raise `stream.frame_max` on the broker"),
    15: Meaning("internal error of the broker", "The broker's log says more", retryable=True),
    16: Meaning(
        "access refused",
        "`rabbitmqctl set_permissions` grants configure, write and read",
    ),
    17: Meaning("precondition failed", "The broker's log says which"),
    18: Meaning(
        "the publisher does not exist", "The stream's leader has gone; reconnect", retryable=True
    ),
    19: Meaning("no offset is stored under this name"),
    20: Meaning("the SASL mechanism cannot change on an open connection"),
    21: Meaning("the user cannot change on an open connection"),
}

_AUTHENTICATION = frozenset({7, 8, 9, 11, 12})


def describe(code: int) -> Meaning:
    """Return what a response code means, also for one that is not known yet."""
    return _MEANINGS.get(code) or Meaning(f"the broker answered with the unknown code {code}")


def error_for(code: int, doing: str, *, remedy: str = "") -> StreamError:
    """Build the error for a response code.

    Args:
        code: the broker's response code, not 1.
        doing: what was tried, as in "Subscribing to stream 'x' at host:5552".
        remedy: overrides the code's own remedy.
    """
    meaning = describe(code)
    what = f"{doing} failed: {meaning.text} (response code {code})"
    advice = remedy or meaning.remedy
    if code in _AUTHENTICATION:
        return AuthenticationError(what, advice)
    kind = StreamNotFoundError if code == STREAM_DOES_NOT_EXIST else CommandError
    return kind(what, advice, code=code, retryable=meaning.retryable)

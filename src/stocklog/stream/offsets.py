"""What an OFFSET means, the same everywhere one is taken.

========================  =====================================================
OFFSET                    begins with
========================  =====================================================
``next``                  the first message written after attaching
``first``                 the oldest message that is kept
``last``, ``last:N``      exactly the last (the last N) committed when attaching
a number                  that offset; nothing lower is ever handed over
a time                    the first message whose chunk's time is not earlier
a duration (``15m``)      that long ago, as a time
``A..B``                  a range of the above, both ends included
========================  =====================================================
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from stocklog.errors import UsageError

__all__ = ["Bound", "OffsetSpec", "Start", "parse_offset"]

_UNITS_MS = {
    "Y": 365 * 86_400_000,
    "M": 30 * 86_400_000,
    "D": 86_400_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
}
_DURATION = re.compile(r"([0-9]{1,9})([YMDdhms])")
_LAST = re.compile(r"last(?::([0-9]{1,18}))?")
_LARGEST = (1 << 63) - 1
_DIGITS = len(str(_LARGEST))
_FORMS = (
    "An OFFSET is first, last, last:N, next, a number, a time (2026-11-24T14:05Z), "
    "a duration (15m), or a range A..B of these with first and end allowed"
)


class Start(Enum):
    """The kinds of place where reading can begin."""

    FIRST = "first"
    LAST = "last"
    NEXT = "next"
    OFFSET = "offset"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Bound:
    """The last thing that a range takes in.

    Attributes:
        offset: the last offset, or None.
        time_ms: the last chunk time in milliseconds since 1970, or None.

    With both None the range ends at the end of the log, as it was when reading began.
    """

    offset: int | None = None
    time_ms: int | None = None


@dataclass(frozen=True, slots=True)
class OffsetSpec:
    """Where reading begins and, for a range, ends.

    Attributes:
        start: the kind of beginning.
        value: N of `last:N`, the offset, or milliseconds since 1970.
        end: where a range ends; None when it is no range.
        text: as it was written.
    """

    start: Start
    value: int = 0
    end: Bound | None = None
    text: str = ""

    def __str__(self) -> str:
        return self.text or self.start.value


def parse_offset(text: str, *, now_ms: int | None = None) -> OffsetSpec:
    """Read an OFFSET.

    Args:
        text: see the module's table.
        now_ms: what durations count back from, in milliseconds since 1970; now if None.

    Raises:
        UsageError: it is none of the forms; the error names them.
    """
    now = int(time.time() * 1000) if now_ms is None else now_ms
    written = text.strip()
    left, dots, right = written.partition("..")
    if dots:
        return _range(written, left.strip(), right.strip(), now)
    found = _LAST.fullmatch(written)
    if found:
        count = int(found[1]) if found[1] else 1
        if count < 1:
            raise UsageError(f"The offset {written!r} asks for no message", _FORMS)
        return OffsetSpec(Start.LAST, count, text=written)
    if written in ("first", "next"):
        return OffsetSpec(Start(written), text=written)
    start, value = _point(written, now)
    return OffsetSpec(start, value, text=written)


def _range(written: str, left: str, right: str, now: int) -> OffsetSpec:
    start, value = (Start.FIRST, 0) if left in ("first", "") else _point(left, now)
    if right in ("end", ""):
        end = Bound()
    else:
        kind, limit = _point(right, now)
        end = Bound(offset=limit) if kind is Start.OFFSET else Bound(time_ms=limit)
        comparable = start is kind
        if comparable and limit < value:
            raise UsageError(f"The range {written!r} ends before it begins", _FORMS)
    return OffsetSpec(start, value, end, written)


def _point(text: str, now: int) -> tuple[Start, int]:
    if text.isascii() and text.isdigit():
        # Python refuses to read numbers of thousands of digits.
        if len(text.lstrip("0")) > _DIGITS or int(text) > _LARGEST:
            raise UsageError(f"The offset {text[:40]} is larger than {_LARGEST}", _FORMS)
        return Start.OFFSET, int(text)
    duration = _DURATION.fullmatch(text)
    if duration:
        # Before 1970 there is no message; the wire has no room for the largest durations.
        return Start.TIME, max(0, now - int(duration[1]) * _UNITS_MS[duration[2]])
    return Start.TIME, _time_ms(text)


def _time_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"The offset {text!r} is not understood", _FORMS) from None
    if moment.tzinfo is None:
        raise UsageError(
            f"The time {text!r} names no zone",
            "Write 2026-11-24T14:05Z for UTC, or 2026-11-24T14:05+01:00",
        )
    # Integers, since a float of seconds loses the last of the milliseconds.
    passed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return passed.days * 86_400_000 + passed.seconds * 1000 + passed.microseconds // 1000

"""RFC 3339 times and microseconds since 1970 (UTC), one at a time and by columns.

The record keeps times as int64 microseconds in UTC, years 0001 to 9999. Accepted
texts are RFC 3339: a full date, `T`, a full time, up to nine digits of a fraction
and a zone (`Z` or an offset). Digits finer than a microsecond must be zero: a
time is refused rather than silently rounded. A second of 60 is refused because
the microseconds cannot hold it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from stocklog.inventory import words

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "MAX_MICROS",
    "MIN_MICROS",
    "days_of",
    "from_datetime",
    "parse",
    "parse_column",
    "parse_places",
    "parse_prefix",
    "render",
    "render_datetime",
    "to_datetime",
]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MICROS_PER_DAY = 86_400_000_000

MIN_MICROS = (datetime(1, 1, 1, tzinfo=UTC) - EPOCH) // MICROSECOND
MAX_MICROS = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MICROSECOND

LONGEST = 35  # 19 characters, a point, nine digits, an offset of six

_FORM = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r"(?:\.([0-9]{1,9}))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)

_FORM_RULE = "it must be RFC 3339 with a zone, such as 2026-11-24T13:05:00.123456Z"


def from_datetime(moment: datetime) -> int:
    """Microseconds since 1970 of an aware datetime.

    Raises:
        ValueError: the datetime has no zone; the text says what to do.
    """
    if moment.utcoffset() is None:
        raise ValueError("it has no time zone: attach one (tzinfo=datetime.UTC if it is UTC)")
    return (moment - EPOCH) // MICROSECOND


def to_datetime(micros: int) -> datetime:
    """The aware datetime (UTC) of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=micros)


def render(micros: int) -> str:
    """The canonical text of a time: 27 characters, six digits of fraction, `Z`."""
    return render_datetime(to_datetime(micros))


def render_datetime(moment: datetime) -> str:
    """The canonical text of an aware datetime that is in UTC already."""
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


def parse(text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 text.

    Raises:
        ValueError: the text breaks a rule of this module; its message names the rule.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(_FORM_RULE)
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    if second == 60:
        raise ValueError("a leap second cannot be kept: write second 59 or the next second 00")
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"it names no moment of the calendar ({error})") from None
    fraction = (found[7] or "").ljust(9, "0")
    if fraction[6:] != "000":
        raise ValueError("it is finer than a microsecond: give at most six digits of fraction")
    micros = (moment - EPOCH) // MICROSECOND + int(fraction[:6])
    if found[8]:
        micros -= _offset_micros(found[8], int(found[9]), int(found[10]))
    if not MIN_MICROS <= micros <= MAX_MICROS:
        raise ValueError("in UTC it lies outside the years 0001 to 9999")
    return micros


def _offset_micros(sign: str, hours: int, minutes: int) -> int:
    if hours > 23 or minutes > 59:
        raise ValueError("its zone offset must lie between -23:59 and +23:59")
    return (hours * 60 + minutes) * 60_000_000 * (-1 if sign == "-" else 1)


@cache
def _calendar() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First day (since 1970) and length of each month from 0000-01 to 9999-12."""
    months = np.arange(-1970 * 12, (10_000 - 1970) * 12 + 1).astype("M8[M]")
    first = months.astype("M8[D]").astype(np.int64)
    return first[:-1], np.diff(first)


def days_of(
    year: NDArray[np.int64], month: NDArray[np.int64], day: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Days since 1970 of calendar dates, and which of them exist.

    Args:
        year: int64[n], 0 to 9999. The year 0000 counts as non-existent.
        month: int64[n], 0 to 99.
        day: int64[n], 0 to 99.

    Returns:
        int64[n] days (meaningless where the date does not exist), bool[n].
    """
    first, length = _calendar()
    good = (year >= 1) & (month >= 1) & (month <= 12)
    index = np.where(good, year * 12 + month - 1, 0)
    good &= (day >= 1) & (day <= length[index])
    return first[index] + day - 1, good


def parse_prefix(
    head: NDArray[np.uint64], middle: NDArray[np.uint64], end: NDArray[np.uint64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The first 19 characters of times, `YYYY-MM-DDTHH:MM:SS`, by 64-bit arithmetic.

    Args:
        head: uint64[n], characters 0-7 as little-endian words.
        middle: uint64[n], characters 8-15.
        end: uint64[n], characters 16-23, of which three are looked at.

    Returns:
        int64[n] seconds since 1970 as if UTC, and bool[n]: the form is right, the
        date exists and the second is below 60. Seconds are meaningless elsewhere.
    """
    u = np.uint64
    good = (head & u(0xFF0000FF00000000)) == u(0x2D00002D00000000)  # ....-..-
    good &= (middle & u(0x0000FF0000DF0000)) == u(0x00003A0000540000)  # ..T..:.. or ..t..:..
    good &= (end & u(0xFF)) == u(0x3A)
    date = (head & u(0xFFFFFFFF)) | ((head >> u(40)) & u(0xFFFF)) << u(32) | middle << u(48)
    clock = u(0x3030) | ((middle >> u(24)) & u(0xFFFF)) << u(16)
    clock |= (middle >> u(48)) << u(32) | ((end >> u(8)) & u(0xFFFF)) << u(48)
    good &= words.all_digits(date) & words.all_digits(clock)
    ymd = words.eight_digits(date)
    hms = words.eight_digits(clock)
    rest, second = np.divmod(hms, 100)
    hour, minute = np.divmod(rest, 100)
    year_month, day = np.divmod(ymd, 100)
    year, month = np.divmod(year_month, 100)
    days, real = days_of(np.where(good, year, 0), month, day)
    good &= real & (hour < 24) & (minute < 60) & (second < 60)
    return days * 86_400 + hour * 3600 + minute * 60 + second, good


def parse_column(texts: Any) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Parses a column of RFC 3339 texts.

    Args:
        texts: a Polars String series of n texts, nulls allowed.

    Returns:
        int64[n] microseconds since 1970 (0 where not parsed) and bool[n]: parsed. The
        same texts parse as with `parse`; nulls do not.
    """
    return parse_places(*words.text_bytes(texts))


def parse_places(
    data: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Parses RFC 3339 texts that lie in a buffer.

    Args:
        data: uint8, with `words.PAD` bytes behind the last text.
        starts: int64[n], where the texts begin.
        lengths: int64[n], their bytes.

    Returns:
        As `parse_column`.
    """
    micros = np.zeros(starts.size, np.int64)
    good = (lengths >= 20) & (lengths <= LONGEST)
    rows = np.flatnonzero(good)
    if not rows.size:
        return micros, good
    begin = starts[rows]
    length = lengths[rows]
    view = words.view64(data)
    seconds, fine = parse_prefix(view[begin], view[begin + 8], view[begin + 16])
    last = data[begin + length - 1]
    zulu = (last | 0x20) == ord("z")
    fraction, exact = _fractions(data, view, begin + 19, length - 19 - np.where(zulu, 1, 6))
    offset, known = _offsets(view, begin + length - 8, zulu)
    value = seconds * 1_000_000 + fraction - offset
    fine &= exact & known & (value >= MIN_MICROS) & (value <= MAX_MICROS)
    micros[rows] = np.where(fine, value, 0)
    good[rows] = fine
    return micros, good


def _fractions(
    data: NDArray[np.uint8],
    view: NDArray[np.uint64],
    begin: NDArray[np.int64],
    length: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Microseconds of the fractions `.d…` of `length` bytes (0: none), and which are exact."""
    good = (length == 0) | ((length >= 2) & (length <= 10) & (data[begin] == ord(".")))
    digits = np.clip(length - 1, 0, 9)
    eight = words.left_digits(view[begin + 1], np.minimum(digits, 8))
    good &= words.all_digits(eight)
    micros, finer = np.divmod(words.eight_digits(eight), 100)
    good &= (finer == 0) & ((digits < 9) | (data[begin + 9] == ord("0")))
    return micros, good


def _offsets(
    view: NDArray[np.uint64], begin: NDArray[np.int64], zulu: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Zone offsets in microseconds from the last eight characters, `..+HH:MM`."""
    u = np.uint64
    word = view[begin] >> u(16)
    sign = word & u(0xFF)
    digits = u(0x30303030) | ((word >> u(8)) & u(0xFFFF)) << u(32) | (word >> u(32)) << u(48)
    hours, minutes = np.divmod(words.eight_digits(digits), 100)
    good = words.all_digits(digits) & ((word >> u(24)) & u(0xFF) == u(ord(":")))
    good &= (sign == u(ord("+"))) | (sign == u(ord("-")))
    good &= (hours < 24) & (minutes < 60)
    micros = (hours * 60 + minutes) * np.where(sign == u(ord("-")), -60_000_000, 60_000_000)
    return np.where(zulu, 0, micros), good | zulu

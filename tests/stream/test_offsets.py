"""OFFSET: every form, and a usage error that names them for everything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stocklog.errors import UsageError
from stocklog.stream.offsets import Bound, OffsetSpec, Start, parse_offset

NOW = 1_764_000_000_000
T = 1_795_529_100_000  # 2026-11-24T14:05Z


@pytest.mark.parametrize(
    ("text", "start", "value", "end"),
    [
        ("first", Start.FIRST, 0, None),
        ("next", Start.NEXT, 0, None),
        ("last", Start.LAST, 1, None),
        ("last:1", Start.LAST, 1, None),
        ("last:5000", Start.LAST, 5000, None),
        ("0", Start.OFFSET, 0, None),
        (" 17 ", Start.OFFSET, 17, None),
        ("0000000000000000000000017", Start.OFFSET, 17, None),
        ("9223372036854775807", Start.OFFSET, (1 << 63) - 1, None),
        ("2026-11-24T14:05Z", Start.TIME, T, None),
        ("2026-11-24T15:05+01:00", Start.TIME, T, None),
        ("2026-11-24 14:05:00.123456+00:00", Start.TIME, T + 123, None),
        ("15m", Start.TIME, NOW - 900_000, None),
        ("1s", Start.TIME, NOW - 1000, None),
        ("2h", Start.TIME, NOW - 7_200_000, None),
        ("3D", Start.TIME, NOW - 3 * 86_400_000, None),
        ("3d", Start.TIME, NOW - 3 * 86_400_000, None),
        ("1M", Start.TIME, NOW - 30 * 86_400_000, None),
        ("1Y", Start.TIME, NOW - 365 * 86_400_000, None),
        ("5..9", Start.OFFSET, 5, Bound(offset=9)),
        ("5 .. 9", Start.OFFSET, 5, Bound(offset=9)),
        ("5..5", Start.OFFSET, 5, Bound(offset=5)),
        ("5..", Start.OFFSET, 5, Bound()),
        ("5..end", Start.OFFSET, 5, Bound()),
        ("..9", Start.FIRST, 0, Bound(offset=9)),
        ("first..end", Start.FIRST, 0, Bound()),
        ("..", Start.FIRST, 0, Bound()),
        ("1h..15m", Start.TIME, NOW - 3_600_000, Bound(time_ms=NOW - 900_000)),
        ("5..15m", Start.OFFSET, 5, Bound(time_ms=NOW - 900_000)),
        ("1h..9", Start.TIME, NOW - 3_600_000, Bound(offset=9)),
        ("2026-11-24T14:05Z..end", Start.TIME, T, Bound()),
    ],
)
def test_every_form(text: str, start: Start, value: int, end: Bound | None) -> None:
    spec = parse_offset(text, now_ms=NOW)
    assert (spec.start, spec.value, spec.end) == (start, value, end)
    assert str(spec) == text.strip()


@pytest.mark.parametrize(
    "text",
    ["", "lst", "LAST", "last:0", "last:", "last:-1", "last:x", "-1", "+1", "1.5", "1_000", "١",
     "9223372036854775808", "9" * 5000, "15q", "m", "2026-11-24", "2026-11-24T14:05",
     "2026-13-01T00:00Z", "9..5", "15m..1h", "last..end", "next..5", "5..next", "1..2..3"],
)  # fmt: skip
def test_anything_else_is_a_usage_error_that_says_what_to_write(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_offset(text, now_ms=NOW)
    assert raised.value.remedy
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("text", ["2026-11-24", "2026-11-24T14:05", "20261124T140500"])
def test_a_time_without_a_zone_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"names no zone.*2026-11-24T14:05Z"):
        parse_offset(text)


def test_a_time_before_1970_and_the_longest_duration_fit_the_wire() -> None:
    assert parse_offset("1969-12-31T23:59:59Z").value == -1000
    assert parse_offset("0001-01-01T00:00:00+14:00").value > -(1 << 63)
    # Seen before the fix: a number that no frame can carry.
    assert parse_offset("999999999Y").value == 0


def test_durations_count_from_the_clock_unless_told_otherwise() -> None:
    assert abs(parse_offset("1s").value - parse_offset("2s").value - 1000) < 500


@given(st.text(max_size=30) | st.from_regex(r"[0-9a-zA-Z:.TZ+-]{0,30}", fullmatch=True))
def test_any_text_is_an_offset_or_a_usage_error(text: str) -> None:
    try:
        spec = parse_offset(text, now_ms=NOW)
    except UsageError:
        return
    assert isinstance(spec, OffsetSpec)
    assert -(1 << 63) <= spec.value < 1 << 63

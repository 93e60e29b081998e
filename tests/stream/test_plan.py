"""From an OFFSET to a subscription, against a log that is told and not asked."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stocklog.protocol.chunk import ChunkHeader, MessageBlock
from stocklog.protocol.frames import Offset
from stocklog.stream.offsets import parse_offset
from stocklog.stream.plan import ReadPlan, plan_reading
from stocklog.stream.positions import FIRST, at_offset, at_time

NOW = int(time.time() * 1000)


@dataclass
class Log:
    """What a probe would find: the first and the last offset, and the time of the last chunk."""

    begins: int | None = 100
    ends: int | None = 199
    newest_ms: int = NOW - 60_000

    def begin(self) -> int | None:
        return self.begins

    def last(self) -> int | None:
        return self.ends

    def finds(self, start: Offset) -> bool:
        assert start.kind == 5
        return self.ends is not None and (start.value or 0) <= self.newest_ms

    def start_of_last(self, count: int) -> tuple[int, int] | None:
        if self.begins is None or self.ends is None:
            return None
        return max(self.begins, self.ends - count + 1), self.ends


EMPTY = Log(None, None)


def plan(text: str, log: Log | None = None, *, until_end: bool = False) -> ReadPlan:
    return plan_reading(log or Log(), parse_offset(text, now_ms=NOW), until_end=until_end)  # type: ignore[arg-type]


def header(chunk_id: int, records: int, timestamp: int = NOW, kind: int = 0) -> ChunkHeader:
    return ChunkHeader(kind, records, records, timestamp, 1, chunk_id, 0, 0)


@pytest.mark.parametrize(
    ("text", "start", "wanted", "until"),
    [
        ("first", FIRST, 0, None),
        ("next", at_offset(200), 200, None),
        ("last", at_offset(199), 199, None),
        ("last:10", at_offset(190), 190, None),
        ("last:1000", at_offset(100), 100, None),
        ("150", at_offset(150), 150, None),
        ("500", at_offset(500), 500, None),
        ("150..160", at_offset(150), 150, 160),
        ("150..500", at_offset(150), 150, 500),
        ("150..end", at_offset(150), 150, 199),
        ("..end", FIRST, 0, 199),
        ("1m", at_time(NOW - 60_000), 0, None),
    ],
)
def test_where_reading_begins_and_ends(
    text: str, start: Offset, wanted: int, until: int | None
) -> None:
    got = plan(text)
    assert (got.start, got.wanted, got.until, got.is_empty) == (start, wanted, until, False)


@pytest.mark.parametrize(
    ("text", "until", "is_empty"),
    [
        ("first", 199, False),
        ("last", 199, False),
        ("last:5", 199, False),
        ("next", None, True),
        ("150", 199, False),
        ("199", 199, False),
        ("200", None, True),
        ("150..160", 160, False),
        ("150..500", 199, False),
        ("300..500", 500, True),
        ("2m", 199, False),
        ("30s", 199, True),
        ("1h..30m", 199, False),
    ],
)
def test_reading_to_the_end_ends_where_the_log_ends_now(
    text: str, until: int | None, is_empty: bool
) -> None:
    got = plan(text, until_end=True)
    assert (got.until, got.is_empty) == (until, is_empty)


@pytest.mark.parametrize("text", ["first", "last", "next", "5", "1h", "5..9", "..", "last:7"])
def test_the_end_of_an_empty_log_is_there_at_once(text: str) -> None:
    assert plan(text, EMPTY, until_end=True).is_empty


@pytest.mark.parametrize("text", ["first", "last", "last:7", "next"])
def test_on_an_empty_log_everything_that_comes_is_new(text: str) -> None:
    got = plan(text, EMPTY)
    assert (got.start, got.wanted, got.is_empty, got.until) == (FIRST, 0, False, None)


def test_an_offset_that_retention_has_cut_is_noted() -> None:
    (note,) = plan("42").notes
    assert "Offset 42" in note
    assert "begins with offset 100" in note
    assert plan("100").notes == []
    assert plan("500").notes == []


def test_a_range_that_ends_in_the_past_is_read_to_the_end_of_the_log() -> None:
    got = plan("1h..30m")
    assert (got.by_clock, got.until, got.until_ms) == (False, 199, NOW - 1_800_000)
    assert got.seconds_to_end() is None


def test_a_range_that_ends_in_the_future_is_ended_by_the_clock() -> None:
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
    got = plan(f"..{moment}")
    assert got.by_clock
    assert got.until is None
    seconds = got.seconds_to_end()
    assert seconds is not None
    assert 55 < seconds < 65


def test_what_is_past_the_end_wanted_and_last() -> None:
    got = ReadPlan(FIRST, wanted=50, until=100, until_ms=NOW)
    assert not got.wants(header(40, 10))
    assert got.wants(header(40, 11))
    assert not got.wants(header(60, 1, kind=1))
    assert not got.is_past(header(100, 5))
    assert got.is_past(header(101, 5))
    assert got.is_past(header(60, 5, timestamp=NOW + 1))
    assert not got.ends_with(header(90, 10))
    assert got.ends_with(header(90, 11))
    assert not ReadPlan(FIRST).is_past(header(1 << 40, 1))
    assert not ReadPlan(FIRST).ends_with(header(1 << 40, 1))


def block(offsets: list[int]) -> MessageBlock:
    array = np.array(offsets, np.int64)
    return MessageBlock(np.zeros(0, np.uint8), array, array, array, array)


@given(
    st.lists(st.integers(0, 60), unique=True, max_size=30),
    st.integers(0, 60),
    st.none() | st.integers(0, 60),
)
def test_a_block_is_cut_to_what_is_wanted(
    offsets: list[int], wanted: int, until: int | None
) -> None:
    got = ReadPlan(FIRST, wanted=wanted, until=until).cut(block(sorted(offsets)))
    expected = [n for n in sorted(offsets) if n >= wanted and (until is None or n <= until)]
    assert got.offsets.tolist() == expected

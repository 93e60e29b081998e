"""JSON Lines whose absent fields are written as null: quick, and like line by line."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from unittest import mock

import pytest
from feed_helpers import Whole, read, read_file
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from stocklog.inventory.feeds import jsonl

FULL = {
    "update_id": "a/1/1",
    "type": "adjustment",
    "sku": "S:1",
    "location_id": "L",
    "quantity": 3,
    "occurred_at": "2026-01-05T08:00:00.000001Z",
    "reason": "sale",
    "source": "a",
    "to_location_id": None,
    "expected_quantity": None,
    "reference": None,
    "uom": None,
    "source_seq": None,
}


def line(values: dict[str, object], separators: tuple[str, str] = (",", ":")) -> str:
    return json.dumps(values, separators=separators, ensure_ascii=False)


def both_ways(data: bytes) -> tuple[Whole, Whole]:
    """As it is read, and line by line. From a file: made ids then depend on its content alone."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lines.jsonl")
        path.write_bytes(data)
        usual = read_file(path, input_format="jsonl")
        with mock.patch.object(jsonl.JsonRows, "_quick", return_value=None):
            return usual, read_file(path, input_format="jsonl")


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_absent_fields_written_as_null_are_read_quickly(separators: tuple[str, str]) -> None:
    data = "\n".join(
        line(FULL | {"update_id": f"a/1/{n}", "source_seq": n if n % 3 else None}, separators)
        for n in range(100)
    ).encode()
    slow = mock.Mock(side_effect=AssertionError("read line by line"))
    with mock.patch.object(jsonl, "read_row", slow):
        found = read(data, input_format="jsonl")
    assert found.column("source_seq") == [n if n % 3 else None for n in range(100)]
    assert found.column("to_location_id") == [None] * 100


# Members as raw text, so that they can stand twice, be unknown, or have blanks of their own.
MEMBERS = st.tuples(
    st.sampled_from([*FULL, "offset", "recorded_at", "foo", "xsource", "sourc", "null"]),
    st.sampled_from([":", ": ", " : ", ":  "]),
    st.sampled_from(
        ["null", "null", "null", "5", '"S"', '":n"', '":null"', '"a\\\\b"', "nul", "{}"]
    ),
).map(lambda part: f'"{part[0]}"{part[1]}{part[2]}')


@st.composite
def lines(draw: st.DrawFn) -> str:
    """A line of known and unknown members, many of them null, some twice, in any order."""
    known = [line({name: value})[1:-1] for name, value in FULL.items()]
    dropped = draw(st.sets(st.integers(0, len(known) - 1), max_size=3))
    parts = [part for number, part in enumerate(known) if number not in dropped]
    parts += draw(st.lists(MEMBERS, max_size=3))
    return "{" + ",".join(draw(st.permutations(parts))) + "}"


@settings(deadline=None, max_examples=examples(300))
@given(st.lists(lines(), min_size=1, max_size=4))
def test_nulls_change_nothing_against_reading_line_by_line(texts: list[str]) -> None:
    data = "\n".join(texts).encode()
    usual, slow = both_ways(data)
    assert usual == slow


@pytest.mark.parametrize(
    "member",
    [
        '"foo":null', '"sku":null', '"source_seq":null', '"source_seq":5', '"xsource":null',
        '"reference":":null"', '"reference":":n"',
    ],
)  # fmt: skip
@pytest.mark.parametrize("second", ['"uom":null,', ""])
def test_a_member_that_is_unknown_or_repeated_is_judged_as_it_stands(
    member: str, second: str
) -> None:
    # One line has a member too many, the other may lack one: their sums are those of good ones.
    good = line(FULL)
    odd = good[:-1] + f",{member}}}"
    other = good.replace('"uom":null,', second)
    data = f"{odd}\n{other}\n".encode()
    usual, slow = both_ways(data)
    assert usual == slow


def test_two_lines_that_balance_each_other_are_not_taken_for_good_ones() -> None:
    good = line(FULL)
    # 5 and null in one line, nothing in the other: as many members of the name as lines.
    twice = good.replace('"source_seq":null', '"source_seq":5,"source_seq":null')
    never = good.replace(',"source_seq":null', "")
    data = f"{twice}\n{never}\n".encode()
    usual, slow = both_ways(data)
    assert usual == slow
    assert usual.column("source_seq") == [None, None]

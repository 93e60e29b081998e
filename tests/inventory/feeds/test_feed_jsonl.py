"""JSON Lines feeds: strict values, kept members, expressions."""

from __future__ import annotations

import json

import pytest
from feed_helpers import read, read_file, row

from stocklog.errors import FeedError


def lines(*rows: dict[str, object] | str) -> str:
    return "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows)


def test_good_lines_come_out_in_order_and_blank_ones_are_no_rows():
    whole = read(lines(row(1), "", "  ", row(2), "\r", row(3)))
    assert whole.column("sku") == ["A1", "A2", "A3"]
    assert whole.numbers == [1, 3, 4]  # a line of blanks is a row that is no object
    assert list(whole.reasons) == [3]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('"quantity": 3.0', "quantity: it must be an exact integer"),
        ('"quantity": "3"', "quantity: it must be an exact integer"),
        ('"quantity": 1e2', "quantity: it must be an exact integer"),
        ('"quantity": true', "quantity: it must be an exact integer"),
        ('"quantity": 99999999999999999999', "quantity: it must fit"),
        ('"sku": 5', "sku: it must be text"),
        ('"sku": ["a"]', "sku: it must be text"),
        ('"sku": {"a": 1}', "sku: it must be text"),
        ('"sku": null', "sku is missing"),
        ('"occurred_at": 1795568775', "occurred_at is not text"),
        ('"sku": "a\\ud800"', "not valid JSON"),
        ('"sku": "a\tb"', "not valid JSON"),
    ],
)
def test_only_the_right_json_types_count(text, reason):
    bad = json.dumps(row(2))[:-1] + ", " + text + "}"
    whole = read(lines(row(1), bad, row(3)))
    assert whole.column("sku") == ["A1", "A3"]
    (reject,) = whole.rejects
    assert (reject.line, reject.row) == (2, bad)
    assert reject.reason.startswith(reason)


@pytest.mark.parametrize("bad", ["nope", "[1]", "5", "null", '{"sku": "a"', '{"a":1} x', "{'a':1}"])
def test_what_is_no_json_object_is_rejected(bad):
    whole = read(lines(row(1), bad, row(2)))
    assert whole.column("sku") == ["A1", "A2"]
    assert [(r.line, r.row) for r in whole.rejects] == [(2, bad)]


def test_of_two_equal_names_the_last_counts():
    twice = json.dumps(row())[:-1] + ', "sku": "last"}'
    assert read(lines(twice)).column("sku") == ["last"]


def test_unknown_members_are_kept_as_written_and_the_brokers_are_not():
    values = row() | {"colour": "red", "n": 1.50, "deep": {"a": [1, None]}, "offset": 7}
    values["recorded_at"] = "2026-11-24T14:05:00.000Z"
    (extra,) = read(lines(values)).column("extra")
    assert json.loads(str(extra)) == {"colour": "red", "n": 1.5, "deep": {"a": [1, None]}}
    plain = row() | {"offset": 7, "recorded_at": "2026-11-24T14:05:00.000Z"}
    assert read(lines(plain)).column("extra") == [None]


def test_ids_and_source_are_made_where_absent(tmp_path):
    path = tmp_path / "s.jsonl"
    bare = {k: v for k, v in row(2).items() if k not in ("update_id", "source")}
    path.write_text(lines(row(1), bare))
    whole = read_file(path)
    assert whole.column("source") == ["till", "file:s.jsonl"]
    assert whole.column("update_id")[0] == "till/1"
    assert str(whole.column("update_id")[1]).endswith("/2")


def test_expressions_see_members_as_text_and_constants_win():
    data = lines({**row(1), "qty": 5, "art": "x1"}, {**row(2), "qty": "3.0", "art": "x2"})
    whole = read(
        data, mapping={"quantity": "-qty", "sku": "UPPER(art)"}, constants={"reason": "other"}
    )
    assert whole.column("quantity") == [-5, -3]
    assert whole.column("sku") == ["X1", "X2"]
    assert whole.column("reason") == ["other", "other"]
    assert json.loads(str(whole.column("extra")[0])) == {"qty": 5, "art": "x1"}


def test_a_field_may_be_taken_and_read_by_an_expression_and_stays_strict():
    bad = json.dumps(row(2)).replace("-2", "2.0")
    whole = read(lines(row(1), bad), mapping={"reference": "quantity || '!'"})
    assert whole.column("reference") == ["-1!"]
    assert whole.reasons[2].startswith("quantity: it must be an exact integer")


def test_times_without_a_zone_need_the_option():
    data = lines(*(row(n, occurred_at="2026-07-01T12:00:00") for n in (1, 2)))
    assert str(read(data, timezone="Europe/Madrid").column("occurred_at")[0])[11:13] == "10"


@pytest.mark.parametrize(
    ("content", "message"),
    [("[\n{}\n]\n", "a JSON array, not JSON Lines"), ("sku,quantity\na,1\n", "not JSON Lines")],
)
def test_a_file_that_is_not_what_its_name_says(tmp_path, content, message):
    path = tmp_path / "x.jsonl"
    path.write_text(content)
    with pytest.raises(FeedError, match=message):
        list(read_file(path).updates) or (_ for _ in ()).throw(read_file(path).error)


def test_deep_nesting_costs_one_row():
    deep = json.dumps(row(2))[:-1] + ', "x": ' + "[" * 100_000 + "]" * 100_000 + "}"
    whole = read(lines(row(1), deep, row(3)))
    assert whole.column("sku") == ["A1", "A3"]
    assert len(whole.rejects) == 1


def test_an_empty_pipe_has_no_rows():
    assert read(b"", input_format="jsonl").numbers == []

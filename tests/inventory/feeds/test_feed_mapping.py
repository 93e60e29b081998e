"""--map, --set, --timezone and times."""

from __future__ import annotations

import pytest
from feed_helpers import csv_line, csv_text, read

from stocklog.errors import UsageError
from stocklog.inventory.feeds import FeedOptions, parse_assignments

NEEDED = {"type": "adjustment", "location_id": "S1", "reason": "sale"}
AT = {"occurred_at": "2026-11-24T14:05:00Z"}


def mapped(lines: str, mapping: dict[str, str], **constants: object):
    options = {k: v for k, v in (NEEDED | AT | constants).items() if k not in mapping}
    return read(lines, mapping=mapping, constants=options)


def test_arithmetic_on_text_columns_reads_whole_numbers():
    whole = mapped(
        "art,qty,pack\na,3,2\nb,4.0,1\nc,x,1\nd,,1\n", {"sku": "art", "quantity": "-qty*pack"}
    )
    assert whole.column("quantity") == [-6, -4]
    assert whole.reasons == {
        4: "quantity is not a number (column qty)",
        5: "quantity is without a value: nothing comes out of -qty*pack",
    }


def test_a_cast_that_fails_costs_its_row():
    whole = mapped("sku,q\na,3\nb,x\nc,5\n", {"quantity": "-CAST(q AS BIGINT)"})
    assert whole.column("quantity") == [-3, -5]
    assert list(whole.reasons) == [3]
    assert "-CAST(q AS BIGINT)" in whole.reasons[3]


def test_conditions_text_functions_and_blank_names():
    text = "Art Nr,menge,kind\n a-1 ,5,in\n b-2 ,-2,out\n"
    whole = mapped(
        text,
        {
            "sku": 'UPPER(TRIM("Art Nr"))',
            "quantity": "menge",
            "reason": "CASE WHEN menge > 0 THEN 'receipt' ELSE 'sale' END",
            "reference": "kind || '-' || SPLIT_PART(TRIM(\"Art Nr\"), '-', 2)",
        },
    )
    assert whole.column("sku") == ["A-1", "B-2"]
    assert whole.column("reason") == ["receipt", "sale"]
    assert whole.column("reference") == ["in-1", "out-2"]


def test_strptime_reads_other_forms_of_time():
    text = csv_text(csv_line(1), csv_line(2)).replace("2026-11-24T14:05:00Z", "24/11/2026 14:05")
    mapping = {"occurred_at": "STRPTIME(occurred_at, '%d/%m/%Y %H:%M')"}
    whole = read(text.replace("24/11", "31/02", 1), mapping=mapping, timezone="Europe/Madrid")
    assert [str(t) for t in whole.column("occurred_at")] == ["2026-11-24 13:05:00+00:00"]
    assert list(whole.reasons) == [2]


@pytest.mark.parametrize(
    "sql",
    [
        "SUM(q)", "MAX(q) - q", "LAG(q) OVER (ORDER BY sku)", "COUNT(*)", "FIRST(q)",
        "SUM(q) OVER (PARTITION BY sku)", "ROW_NUMBER() OVER (ORDER BY q)", "MEDIAN(q)",
        "RANK() OVER (ORDER BY q)", "QUANTILE_CONT(q, 0.5)", "STRING_AGG(q, ',')",
        "CASE WHEN q > AVG(q) THEN 1 ELSE 2 END", "UNNEST(q)", "COLUMNS('q')",
    ],
)  # fmt: skip
def test_expressions_over_several_rows_are_refused(sql):
    with pytest.raises(UsageError, match=r"needs more than the row itself|cannot be understood"):
        mapped("sku,q\na,1\n", {"quantity": sql})


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("nope + 1", "no column 'nope'.*Its columns are sku, q"),
        ("SELECT 1", "cannot be understood"),
        ("q +", "cannot be understood"),
        ("read_csv('/etc/passwd')", "cannot be understood"),
        ("q; DROP TABLE x", "cannot be understood"),
        ("q IN (1, 2)", "cannot be computed|is Boolean"),
        ("q = '1'", "is Boolean, but quantity is a whole number"),
    ],
)
def test_wrong_expressions_are_refused_before_any_row(sql, message):
    with pytest.raises(UsageError, match=message):
        mapped("sku,q\na,1\n", {"quantity": sql})


def test_constants_are_typed_and_beat_columns():
    whole = read(csv_text(csv_line(1)), constants={"quantity": "7", "reason": "receipt"})
    assert whole.column("quantity") == [7]
    assert whole.column("reason") == ["receipt"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("quantity", "3.5", "not a whole number"),
        ("type", "sell", "must be one of adjustment"),
        ("occurred_at", "2026-11-24T14:05:00", "without a time zone"),
        ("sku", "", "1 to 64 characters"),
        ("update_id", "x", "same id"),
        ("colour", "red", "no field 'colour'"),
        ("extra", "{}", "no field 'extra'"),
    ],
)
def test_constants_that_cannot_be_are_refused_when_built(name, value, message):
    with pytest.raises(UsageError, match=message):
        FeedOptions(constants={name: value})


def test_a_field_is_given_once():
    with pytest.raises(UsageError, match="by --map and by --set"):
        FeedOptions(mapping={"sku": "a"}, constants={"sku": "b"})
    with pytest.raises(UsageError, match="twice"):
        parse_assignments(["sku=a", "sku=b"], "--map")
    with pytest.raises(UsageError, match="names no field"):
        parse_assignments(["sku"], "--set")
    assert parse_assignments(["sku=a=b", "reason=x"], "--map") == {"sku": "a=b", "reason": "x"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T14:05:00Z", "14:05:00"),
        ("2026-11-24t14:05:00z", "14:05:00"),
        ("2026-11-24T14:05:00+01:00", "13:05:00"),
        ("2026-11-24T14:05+01:00", "13:05:00"),
        ("2026-11-24 14:05:00.25 +0100", "13:05:00.250000"),
        ('"2026-11-24 14:05:00,25+01"', "13:05:00.250000"),
        ("2026-11-24 14:05:00", "13:05:00"),
        ("2026-11-24T14:05", "13:05:00"),
        ("2026-11-24 14:05:00.123456", "13:05:00.123456"),
        ("2026-07-24 14:05:00", "12:05:00"),
    ],
)
def test_times_as_people_write_them(text, expected):
    (moment,) = read(csv_text(csv_line(occurred_at=text)), timezone="Europe/Madrid").column(
        "occurred_at"
    )
    assert str(moment)[11:].removesuffix("+00:00") == expected


def test_clocks_that_jump():
    gap = read(csv_text(csv_line(occurred_at="2026-03-29 02:30:00")), timezone="Europe/Madrid")
    assert "skipped by the clocks" in gap.reasons[2]
    twice = read(csv_text(csv_line(occurred_at="2026-10-25 02:30:00")), timezone="Europe/Madrid")
    assert str(twice.column("occurred_at")[0])[11:16] == "00:30"  # the first: summer time


def test_a_feed_whose_times_all_lack_a_zone_is_one_error():
    text = csv_text(*(csv_line(n, occurred_at="2026-11-24 14:05:00") for n in range(1, 5)))
    with pytest.raises(UsageError, match=r"name no time zone\. Give --timezone"):
        read(text)


def test_single_times_without_a_zone_are_rejects():
    whole = read(csv_text(csv_line(1), csv_line(2, occurred_at="2026-11-24 14:05:00")))
    assert whole.column("sku") == ["A1"]
    assert whole.reasons[3].startswith("occurred_at is without a time zone: give --timezone")


def test_an_unknown_zone_is_refused():
    with pytest.raises(UsageError, match="'Mars/Olympus' is not known"):
        FeedOptions(timezone="Mars/Olympus")

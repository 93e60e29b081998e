"""The record: its rules, its row face, and what it takes from users."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stocklog.errors import InvalidUpdateError, UsageError
from stocklog.inventory import fields, timestamps
from stocklog.inventory.update import UPDATE_SCHEMA, Update, to_frame, validate

WHEN = datetime(2026, 11, 24, 13, 5, 0, 123456, tzinfo=UTC)
SALE = {
    "update_id": "pos-1/42/1",
    "type": "adjustment",
    "sku": "A1",
    "location_id": "S1",
    "quantity": -2,
    "occurred_at": WHEN,
    "reason": "sale",
    "source": "pos-1",
}
MOVE = SALE | {"type": "transfer", "quantity": 2, "to_location_id": "S2"}
COUNT = SALE | {"type": "count", "quantity": 7, "expected_quantity": 9}


@pytest.mark.parametrize("update", [SALE, MOVE, COUNT, COUNT | {"quantity": 0}])
def test_a_valid_update_can_be_made_and_passes_as_a_row_of_a_frame(update: dict) -> None:
    assert Update(**update).to_dict() == update
    assert validate(to_frame([update])).all_valid


# Values that are right in some fields and wrong in others, and at the edges of the rules.
ODD = st.sampled_from(
    [None, 0, 1, -1, 7, 2**60, 2**63, -(2**63), True, 1.5, "", "a", "S1", "x" * 64, "x" * 65,
     "a\0b", "é", "sale", "count", "transfer", "adjustment", "reservation", "EA", b"a", []]
)  # fmt: skip


@given(
    start=st.sampled_from([SALE, MOVE, COUNT, SALE | {"type": "reservation", "source_seq": 3}]),
    changes=st.dictionaries(st.sampled_from(fields.FIELDS), ODD, max_size=3),
)
def test_what_the_quick_look_passes_breaks_no_rule(start: dict, changes: dict[str, Any]) -> None:
    values = dict.fromkeys(fields.FIELDS) | start | {"occurred_at": 0} | changes
    if fields.plainly_valid(SimpleNamespace(**values), values["occurred_at"]):
        assert fields.problems(values) == []


@pytest.mark.parametrize(
    "update",
    [SALE, MOVE, COUNT, COUNT | {"quantity": 0}, SALE | {"source_seq": 5, "reference": "PO"}],
)
def test_the_quick_look_passes_usual_updates_of_every_type(update: dict) -> None:
    assert fields.plainly_valid(SimpleNamespace(**dict.fromkeys(fields.FIELDS) | update), 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sku": ""}, 'sku is "": it must be text of 1 to 64 characters'),
        ({"sku": "x" * 65}, "(65 characters): it must be text of 1 to 64 characters"),
        ({"sku": "a\0b"}, 'sku is "a\\x00b": it must not hold the character NUL'),
        ({"reference": "x" * 257}, "text of 1 to 256 characters"),
        ({"type": "sold"}, 'type is "sold": it must be one of adjustment, count'),
        ({"reason": "theft"}, 'reason is "theft": it must be one of sale, receipt'),
        ({"quantity": 0}, "quantity is 0: an adjustment changes the stock"),
        ({"type": "reservation", "quantity": 0}, "quantity is 0: a reservation"),
        ({"type": "count", "quantity": -1}, "quantity is -1: a count is what was found"),
        ({"uom": "each"}, 'uom is "each": it must be a UN/ECE Rec 20 code'),
        ({"to_location_id": "S2"}, "only a transfer may name one, this is a adjustment"),
        ({"expected_quantity": 3}, "only a count may name one"),
        ({"extra": "{}"}, "an empty object says nothing"),
        ({"extra": "[1]"}, "the text of one JSON object"),
        ({"extra": '{"sku":"B"}'}, "is a field of the record"),
    ],
)
def test_a_broken_rule_is_named_with_field_and_value(change: dict, words: str) -> None:
    update = SALE | change
    with pytest.raises(InvalidUpdateError) as caught:
        Update(**update)
    assert words in str(caught.value)
    found = validate(to_frame([SALE, update]))
    assert found.valid.tolist() == [True, False]
    assert words in found.reasons[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"to_location_id": None}, "to_location_id is missing"),
        ({"to_location_id": "S1"}, "the same as location_id"),
        ({"quantity": 0}, "a transfer moves 1 or more"),
        ({"quantity": -3}, "a transfer moves 1 or more"),
    ],
)
def test_a_transfer_has_rules_of_its_own(change: dict, words: str) -> None:
    with pytest.raises(InvalidUpdateError, match=words):
        Update(**(MOVE | change))
    assert words in validate(to_frame([MOVE | change])).reasons[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"quantity": 3.0}, "exact integer"),
        ({"quantity": True}, "exact integer"),
        ({"quantity": 2**63}, "signed 64-bit"),
        ({"sku": 7}, "text of 1 to 64"),
        ({"sku": "\ud800"}, "half of a surrogate pair"),
        ({"type": ["count"]}, "one of adjustment"),
        ({"reason": ["sale"]}, "one of sale"),
        ({"occurred_at": WHEN.replace(tzinfo=None)}, "no time zone: attach one"),
        ({"occurred_at": "yesterday"}, "RFC 3339"),
        ({"occurred_at": 5}, "a datetime with a zone"),
        ({"occurred_at": None}, "occurred_at is missing"),
        ({"occurred_at": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))}, "occurred_at"),
    ],
)
def test_values_of_a_wrong_type_are_refused_by_the_row_face(change: dict, words: str) -> None:
    with pytest.raises(InvalidUpdateError, match=words):
        Update(**(SALE | change))


def test_every_broken_rule_has_its_own_reason() -> None:
    with pytest.raises(InvalidUpdateError) as caught:
        Update(**(SALE | {"sku": "", "reason": "x", "quantity": 0}))
    assert len(caught.value.reasons) == 3


def test_lengths_are_counted_in_characters_not_bytes() -> None:
    update = SALE | {"sku": "é" * 64, "source": "😀" * 64}
    Update(**update)
    assert validate(to_frame([update])).all_valid
    assert not validate(to_frame([SALE | {"sku": "é" * 65}])).all_valid


def test_times_are_kept_in_utc() -> None:
    madrid = WHEN.astimezone(timezone(timedelta(hours=1)))
    assert Update(**(SALE | {"occurred_at": madrid})).occurred_at == WHEN
    assert Update(**(SALE | {"occurred_at": madrid})).occurred_at.tzinfo is UTC
    text = Update(**(SALE | {"occurred_at": "2026-11-24T14:05:00.123456+01:00"}))
    assert text.occurred_at == WHEN
    frame = to_frame([SALE]).with_columns(
        pl.col("occurred_at").dt.convert_time_zone("Europe/Madrid").dt.cast_time_unit("ns")
    )
    assert to_frame(frame).equals(to_frame([SALE]))


@pytest.mark.parametrize("year", [0, 10_000, 30_000])
def test_a_time_outside_the_years_1_to_9999_is_not_valid(year: int) -> None:
    micros = int(np.datetime64(f"{year:+06d}-06-01", "us").astype(np.int64))
    frame = to_frame([SALE]).with_columns(
        pl.lit(micros).cast(UPDATE_SCHEMA["occurred_at"]).alias("occurred_at")
    )
    assert "years 0001 to 9999" in validate(frame).reasons[0]


def test_a_column_of_missing_values_makes_its_rows_invalid() -> None:
    frame = to_frame([SALE, SALE]).with_columns(pl.lit(None, pl.String).alias("sku"))
    assert validate(frame).reasons == dict.fromkeys((0, 1), "sku is missing: every update needs it")
    assert validate(frame.clear()).all_valid


def test_validate_wants_the_schema() -> None:
    with pytest.raises(UsageError, match="to_frame"):
        validate(pl.DataFrame({"sku": ["A"]}))


def test_frames_tables_rows_and_dictionaries_become_the_same_frame() -> None:
    expected = to_frame([SALE, MOVE])
    assert dict(expected.schema) == UPDATE_SCHEMA
    assert to_frame([Update(**SALE), MOVE]).equals(expected)
    assert to_frame(Update(**SALE)).equals(expected[:1])
    categories = expected.with_columns(pl.col(pl.String).cast(pl.Categorical))
    assert to_frame(categories.drop("extra", "uom", "source_seq")).equals(expected)
    small = expected.with_columns(pl.col("quantity").cast(pl.Int8))
    assert to_frame(small).equals(expected)
    table = expected.to_arrow(compat_level=pl.CompatLevel.oldest())
    skus = pa.chunked_array([pa.array(expected["sku"].to_list()).dictionary_encode()])
    table = table.set_column(2, "sku", skus)
    assert to_frame(table).equals(expected)
    assert to_frame(table.combine_chunks().to_batches()[0]).equals(expected)
    texts = expected.with_columns(pl.col("occurred_at").dt.to_string("%+"))
    assert to_frame(texts).equals(expected)
    assert to_frame([]).equals(expected.clear())


FRAME = to_frame([SALE, SALE])
NANOSECOND = pl.duration(nanoseconds=1, time_unit="ns")
FINER = FRAME.with_columns(pl.col("occurred_at").dt.cast_time_unit("ns") + NANOSECOND)


@pytest.mark.parametrize(
    ("updates", "words"),
    [
        (FRAME.drop("sku"), "lacks sku"),
        (FRAME.with_columns(pl.lit(1).alias("colour")), '"colour"'),
        (FRAME.with_columns(pl.col("quantity").cast(pl.Float64)), "quantity is Float64"),
        (FRAME.with_columns(pl.col("quantity").cast(pl.String)), "quantity is String"),
        (FRAME.with_columns(pl.lit(2**63, pl.UInt64).alias("quantity")), "row 0: .*int64"),
        (FRAME.with_columns(pl.lit(3).alias("sku")), "sku is Int32, not text"),
        (FRAME.with_columns(pl.col("occurred_at").dt.replace_time_zone(None)), "no zone"),
        (FRAME.with_columns(pl.col("occurred_at").dt.date()), "Date, not a time"),
        (FRAME.with_columns(pl.lit("2026-11-24").alias("occurred_at")), "row 0: occurred_at"),
        (FINER, "row 0: occurred_at is finer than a microsecond"),
        ([SALE, {**SALE, "quantity": 3.0}], "row 1: quantity is 3.0"),
        ([SALE, {**SALE, "colour": "red"}], "row 1 .*colour"),
        ([{**SALE, "sku": 5}], "row 0: sku is 5"),
        ([{**SALE, "occurred_at": WHEN.replace(tzinfo=None)}], "row 0: occurred_at .*zone"),
        ([{**SALE, "occurred_at": 7}], "row 0: occurred_at is 7"),
        ([{"sku": "A"}], "row 0 lacks update_id"),
        ([7], "row 0 is a int"),
        (SALE, "cannot be a dict"),
        (7, "cannot be a int"),
        (pa.table([[1], [2]], names=["sku", "sku"]), "twice"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_by_name(updates: object, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        to_frame(updates)
    assert caught.value.remedy


def test_the_blanks_of_extra_are_removed() -> None:
    frame = to_frame([SALE | {"extra": '{ "a" : [1, 2.50] }'}])
    assert frame["extra"][0] == '{"a":[1,2.50]}'
    assert to_frame(frame.with_columns(extra=pl.lit('{"a": 1}')))["extra"][0] == '{"a":1}'


TIMES = [
    ("2026-11-24T13:05:00.123456Z", WHEN),
    ("2026-11-24t13:05:00.123456z", WHEN),
    ("2026-11-24T13:05:00.123456000Z", WHEN),
    ("2026-11-24T15:35:00.123456+02:30", WHEN),
    ("2026-11-24T13:05:00Z", WHEN.replace(microsecond=0)),
    ("2026-11-24T13:05:00.1-00:00", WHEN.replace(microsecond=100_000)),
    ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
    ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
    ("9999-12-31T23:59:59.999999Z", datetime.max.replace(tzinfo=UTC)),
    ("2026-11-24T13:05:00.1234567Z", None),
    ("2026-11-24T13:05:00.1234560000Z", None),
    ("2026-11-24T13:05:60Z", None),
    ("2026-11-24T24:00:00Z", None),
    ("2026-02-29T00:00:00Z", None),
    ("2100-02-29T00:00:00Z", None),
    ("2026-11-24T13:05:00", None),
    ("2026-11-24 13:05:00Z", None),
    ("2026-11-24T13:05Z", None),
    ("2026-11-24T13:05:00.Z", None),
    ("2026-11-24T13:05:00+24:00", None),
    ("2026-11-24T13:05:00+01:60", None),
    ("2026-11-24T13:05:00+0100", None),
    ("0000-01-01T00:00:00Z", None),
    ("0001-01-01T00:00:00+00:01", None),
    ("9999-12-31T23:59:59-00:01", None),
    ("２026-11-24T13:05:00Z", None),
    ("", None),
]


def test_times_are_read_alike_one_by_one_and_as_a_column() -> None:
    micros, good = timestamps.parse_column(pl.Series([text for text, _ in TIMES] + [None]))
    assert not good[-1]
    for (text, moment), value, fine in zip(TIMES, micros.tolist(), good.tolist(), strict=False):
        if moment is None:
            assert not fine, text
            with pytest.raises(ValueError, match=r"."):
                timestamps.parse(text)
        else:
            assert timestamps.to_datetime(timestamps.parse(text)) == moment
            assert fine, text
            assert timestamps.to_datetime(value) == moment


def test_an_update_without_any_field_names_all_that_are_missing() -> None:
    assert [text.split()[0] for text in fields.problems({})] == list(fields.REQUIRED)

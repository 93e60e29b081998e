"""Parquet batches that are proven from their codes are those that break no rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from stocklog.inventory import codec
from stocklog.inventory.feeds import open_feed
from stocklog.inventory.feeds.coded import frame_of, proven
from stocklog.inventory.fields import UPDATE_SCHEMA
from stocklog.inventory.validation import bad_rows

AT = datetime(2026, 11, 24, 14, 5, tzinfo=UTC)
GOOD = {
    "update_id": "a/1", "type": "adjustment", "sku": "A1", "location_id": "S1", "quantity": -1,
    "occurred_at": AT, "reason": "sale", "source": "till", "to_location_id": None,
    "expected_quantity": None, "reference": None, "uom": None, "source_seq": None,
}  # fmt: skip
COUNT = GOOD | {"type": "count", "quantity": 0, "reason": "cycle_count", "expected_quantity": 4}
MOVE = GOOD | {"type": "transfer", "quantity": 2, "reason": "transfer", "to_location_id": "S2"}
CODED = {"type", "sku", "location_id", "reason", "source", "to_location_id", "uom"}
TYPES = {pl.String: pa.string(), pl.Int64: pa.int64()}

CHANGES = [
    {"quantity": 0}, {"quantity": -3}, {"type": "counts"}, {"reason": "whim"}, {"sku": ""},
    {"sku": "x" * 65}, {"sku": "é" * 64}, {"sku": "a\0b"}, {"update_id": ""}, {"update_id": "\0"},
    {"update_id": "u" * 300}, {"source": None}, {"occurred_at": None}, {"quantity": None},
    {"to_location_id": "S1"}, {"to_location_id": "S3"}, {"to_location_id": None},
    {"expected_quantity": 1}, {"uom": "kg"}, {"uom": "KGM"}, {"uom": "KGM\n"}, {"uom": "LONG"},
    {"reference": "r-1"}, {"reference": ""}, {"reference": "r\0"}, {"source_seq": -1},
    {"occurred_at": datetime(1, 1, 1, tzinfo=UTC)}, {"type": None}, {"reason": None},
]  # fmt: skip


def batch(rows: list[dict[str, object]], coded: set[str] = CODED) -> pa.RecordBatch:
    columns = {}
    for name in GOOD:
        kind = TYPES.get(UPDATE_SCHEMA[name], pa.timestamp("us", "UTC"))
        if isinstance(UPDATE_SCHEMA[name], type) and UPDATE_SCHEMA[name] is pl.String:
            kind = pa.string()
        column = pa.array([row[name] for row in rows], kind)
        columns[name] = column.dictionary_encode() if name in coded else column
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def as_updates(rows: pa.RecordBatch) -> pl.DataFrame:
    plain = pl.from_arrow(
        pa.RecordBatch.from_arrays(
            [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in rows.columns],
            names=rows.schema.names,
        )
    )
    return plain.with_columns(extra=pl.lit(None, pl.String)).select(
        pl.col(name).cast(dtype) for name, dtype in UPDATE_SCHEMA.items()
    )


ROW = st.builds(
    lambda row, number, change: row | {"occurred_at": AT + timedelta(seconds=number)} | change,
    st.sampled_from([GOOD, COUNT, MOVE]),
    st.integers(0, 9),
    st.one_of(st.just({}), st.just({}), st.just({}), st.sampled_from(CHANGES)),
)


@given(rows=st.lists(ROW, min_size=1, max_size=6), few=st.sets(st.sampled_from(sorted(CODED))))
@settings(max_examples=examples(400), deadline=None)
def test_what_is_proven_breaks_no_rule(rows: list[dict[str, object]], few: set[str]) -> None:
    given = batch(rows, few | {"type", "reason"})
    found = proven(given)
    updates = as_updates(given)
    bad = bad_rows(updates)
    if found is not None:
        assert not bad.any()
        assert frame_of(found).equals(updates)
        assert codec.encode(found).data.tobytes() == codec.encode(updates).data.tobytes()


@pytest.mark.parametrize("change", [{}, *CHANGES])
@pytest.mark.parametrize("row", [GOOD, COUNT, MOVE])
def test_one_bad_row_is_enough(row: dict[str, object], change: dict[str, object]) -> None:
    rows = [GOOD, COUNT, MOVE, row | change, GOOD]
    bad = bad_rows(as_updates(batch(rows))).any()
    # Two valid ones are left to the general way: more bytes than a text may have characters.
    hard = change in ({"sku": "é" * 64},)
    assert (proven(batch(rows)) is None) == (bad or hard)


@pytest.mark.parametrize("name", ["type", "reason"])
def test_words_that_are_no_dictionary_are_left_to_the_general_way(name: str) -> None:
    assert proven(batch([GOOD], CODED - {name})) is None


@pytest.mark.parametrize("kind", [pa.timestamp("ns", "UTC"), pa.timestamp("us"), pa.int64()])
def test_other_times_are_left_to_the_general_way(kind: pa.DataType) -> None:
    given = batch([GOOD])
    place = given.schema.get_field_index("occurred_at")
    assert proven(given.set_column(place, "occurred_at", given.column(place).cast(kind))) is None


def test_slices_are_what_they_hold() -> None:
    given = batch([GOOD | {"quantity": 0}, GOOD, COUNT, MOVE, GOOD | {"update_id": ""}])
    assert proven(given) is None
    found = proven(given.slice(1, 3))
    assert found is not None
    assert frame_of(found).equals(as_updates(given.slice(1, 3)))


def test_a_file_with_one_bad_row_gives_all_others(tmp_path) -> None:
    rows = [GOOD | {"update_id": f"a/{n}"} for n in range(120_000)]
    rows[70_000] = rows[70_000] | {"quantity": 0}
    path = tmp_path / "stock.parquet"
    pa_parquet.write_table(pa.Table.from_batches([batch(rows)]), path)
    with open_feed(path) as feed:
        batches = list(feed)
    assert [isinstance(each.rows, pa.RecordBatch) for each in batches] == [True, False, True]
    assert [reject.line for each in batches for reject in each.rejects] == [70_001]
    ids = [name for each in batches for name in each.updates["update_id"]]
    assert ids == [f"a/{n}" for n in range(120_000) if n != 70_000]
    assert batches[0].first(2)["update_id"].to_list() == ["a/0", "a/1"]

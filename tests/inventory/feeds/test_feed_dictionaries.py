"""Parquet's dictionaries go through as they are, and say what the same file says without them."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from feed_helpers import Whole, read_file
from hypothesis import given, settings
from hypothesis import strategies as st

from stocklog.inventory import codec
from stocklog.inventory.feeds import FeedOptions, open_feed, parquet

AT = datetime(2026, 11, 24, 14, 5, tzinfo=UTC)
ROW = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["adjustment", "adjustment", "count", "transfer", "no", None]),
        "sku": st.sampled_from(["A1", "B\\2", 'C"3', "Ñ4", "A\0", "", "x" * 65, None]),
        "location_id": st.sampled_from(["S1", "S2"]),
        "quantity": st.integers(-1, 2),
        "reason": st.sampled_from(["sale", "found", "cycle_count", "?"]),
        "source": st.sampled_from(["till", None]),
        "to_location_id": st.sampled_from([None, "S2"]),
        "colour": st.sampled_from(["red", "blue", None]),
    }
)


def as_table(rows: list[dict[str, object]], ids: str = "till/{}") -> pa.Table:
    texts = ["type", "sku", "location_id", "reason", "source", "to_location_id", "colour"]
    columns = {name: pa.array([row[name] for row in rows], pa.string()) for name in texts}
    columns["update_id"] = pa.array([ids.format(n) for n in range(len(rows))], pa.string())
    columns["quantity"] = pa.array([row["quantity"] for row in rows], pa.int64())
    times = [AT + timedelta(seconds=n) for n in range(len(rows))]
    columns["occurred_at"] = pa.array(times, pa.timestamp("us", "UTC"))
    return pa.table(columns)


def same(one: Whole, other: Whole) -> bool:
    return (one.updates, one.numbers, one.rejects) == (other.updates, other.numbers, other.rejects)


def good_rows(count: int, skus: int) -> list[dict[str, object]]:
    return [
        {
            "type": "adjustment", "sku": f"SKU-{n * 7 % skus}", "location_id": "S1", "quantity": 1,
            "reason": "sale", "source": "till", "to_location_id": None, "colour": "red",
        }
        for n in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "options", [{}, {"keep_extra": True}, {"mapping": {"sku": "UPPER(sku)"}},
                {"constants": {"source": "gate"}}],
)  # fmt: skip
@given(rows=st.lists(ROW, min_size=1, max_size=40), group=st.integers(1, 40), own=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_file_says_the_same_with_dictionaries_and_without(
    tmp_path_factory, options, rows, group, own
):
    folder = tmp_path_factory.mktemp("dictionaries")
    table = as_table(rows)
    pa_parquet.write_table(table, folder / "plain.parquet", use_dictionary=False)
    if own:  # as pandas writes its categories: the file's schema itself names a dictionary
        place = table.schema.get_field_index("location_id")
        column = table.column("location_id").dictionary_encode()
        table = table.set_column(place, "location_id", column)
    # The name is the same, because rejects name it.
    (folder / "coded").mkdir()
    coded = folder / "coded" / "plain.parquet"
    pa_parquet.write_table(table, coded, row_group_size=group)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "CODED_BYTES", 1 << 20)  # small files are mostly dictionary
        patch.setattr(parquet, "BATCH_ROWS", 7)
        assert same(read_file(coded, **options), read_file(folder / "plain.parquet", **options))


def test_what_is_encoded_from_dictionaries_is_what_the_texts_give(tmp_path):
    path = tmp_path / "stock.parquet"
    pa_parquet.write_table(as_table(good_rows(30_000, 500)), path, row_group_size=12_000)
    with open_feed(path) as feed:
        for batch in feed:
            assert {"sku", "type", "location_id", "reason", "source"} <= set(batch.dictionaries)
            assert "update_id" not in batch.dictionaries  # each its own: nothing repeats
            ours, plain = codec.encode(batch.to_arrow(), b"--"), codec.encode(batch.updates, b"--")
            assert ours.data.tobytes() == plain.data.tobytes()
            assert ours.starts.tolist() == plain.starts.tolist()


def test_a_dictionary_that_the_writer_gave_up_is_read_as_texts(tmp_path):
    path = tmp_path / "stock.parquet"
    table = as_table(good_rows(30_000, 30_000))
    pa_parquet.write_table(table, path, dictionary_pagesize_limit=4096)
    with open_feed(path) as feed:
        batches = list(feed)
    assert all("sku" not in batch.dictionaries for batch in batches)
    assert [sku for batch in batches for sku in batch.updates["sku"]] == table["sku"].to_pylist()


def test_rejected_rows_leave_the_dictionaries_too(tmp_path):
    rows = good_rows(3_000, 50)
    rows[7]["quantity"] = 0
    rows[2_999]["reason"] = "whim"
    path = tmp_path / "stock.parquet"
    pa_parquet.write_table(as_table(rows), path)
    with open_feed(path, FeedOptions()) as feed:
        (batch,) = feed
    assert [reject.line for reject in batch.rejects] == [8, 3_000]
    assert batch.dictionaries["reason"].to_pylist() == ["sale"] * 2_998
    arrow = pl.from_arrow(batch.to_arrow()).cast(dict(batch.updates.schema))
    assert arrow.equals(batch.updates)


REJECT = """
import sys
from pathlib import Path
from stocklog.inventory.feeds import open_feed
with open_feed(Path(sys.argv[1])) as feed:
    (batch,) = feed
assert '"occurred_at":"2026-11-24T14:05:07' in batch.rejects[0].row, batch.rejects
"""


@pytest.mark.slow
def test_pandas_is_not_imported_to_show_a_rejected_row(tmp_path):
    rows = good_rows(10, 5)
    rows[7]["quantity"] = 0
    pa_parquet.write_table(as_table(rows), tmp_path / "stock.parquet")
    package = tmp_path / "pandas"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('pandas was imported')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", REJECT, str(Path(tmp_path / "stock.parquet"))],
        capture_output=True, text=True, check=False, timeout=60, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

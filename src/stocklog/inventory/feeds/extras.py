"""The other columns of a feed as one JSON object a row."""

from __future__ import annotations

import polars as pl

__all__ = ["extra_column"]


def extra_column(columns: pl.DataFrame) -> pl.Series:
    """Return each row's values as the text of a JSON object.

    Args:
        columns: any number of columns of n rows. Text stays text, numbers and truth values are
            written as such, dates, times and decimals as text, lists and structs as JSON.

    Returns:
        String[n]; absent values are left out, null where a row has none.
    """
    members = [
        # One member each, so that absent ones can be left out: {"name":value} without its braces.
        pl.when(pl.col(name).is_not_null()).then(
            pl.struct(pl.col(name)).struct.json_encode().str.slice(1).str.head(-1)
        )
        for name in columns.columns
    ]
    together = pl.concat_str(members, separator=",", ignore_nulls=True)
    return columns.select(
        pl.when(together != "").then("{" + together + "}").alias("extra")
    ).to_series()

"""Whole numbers from text and from number columns: exact, or refused with a reason.

``3``, ``+3``, ``007``, ``3.0`` are whole numbers; ``3.5``, ``1e3``, ``1,000`` and 20 digits are
not. Nothing is rounded. With `decimal_comma` the comma takes the point's place, and a point
can only separate thousands: ``1.000`` is a thousand.
"""

from __future__ import annotations

import polars as pl

__all__ = ["NOT_WHOLE", "from_numbers", "from_text"]

NOT_NUMBER = "not a number"
NOT_WHOLE = "not a whole number"
NOT_PLAIN = "a number that is not written plainly: digits only, with a sign at most"
GROUPED = "written with thousands separators: leave them out"
COMMA = "written with a decimal comma: give --decimal-comma"
POINT = "written with a decimal point although --decimal-comma is given"
TOO_BIG = "outside the range of 64-bit integers"
DOUBTFUL = (
    "perhaps thousands, perhaps decimals (a point and three zeros in a file with ';'): "
    "give --decimal-comma if it is thousands, or map it by CAST(… AS DOUBLE) if it is not"
)
INEXACT = "a floating-point number too large to be exact"
# Above this not every whole number is a double, so one that looks whole may have been rounded.
LARGEST_EXACT = 2**53


def from_text(
    column: pl.Series, *, decimal_comma: bool = False, point_is_doubtful: bool = False
) -> tuple[pl.Series, pl.Series | None]:
    """Read a column of text as int64.

    Args:
        column: String[n]; null is absent.
        decimal_comma: ``3,0`` is 3, and points are thousands separators.
        point_is_doubtful: refuse ``1.000``, which may be one or one thousand.

    Returns:
        Int64[n], null where absent or refused, and String[n] with the reason where refused, or
        None if nothing was refused.
    """
    values = column.cast(pl.Int64, strict=False)
    if values.null_count() == column.null_count():
        return values, None
    failed = values.is_null() & column.is_not_null()
    rows = failed.arg_true()
    texts = column.gather(rows).str.strip_chars(" \t").alias("text")
    mark = "," if decimal_comma else "."
    written = pl.col("text")
    if decimal_comma:
        grouped = written.str.contains(r"^[+-]?[1-9]\d{0,2}([.]\d{3})+(,0*)?$")
        written = (
            pl.when(grouped).then(written.str.replace_all(".", "", literal=True)).otherwise(written)
        )
    frame = texts.to_frame().with_columns(
        value=written.str.extract(
            rf"^([+-]?\d{{1,19}})(?:{'[,]' if decimal_comma else '[.]'}0*)?$"
        ).cast(pl.Int64, strict=False)
    )
    if point_is_doubtful:
        doubtful = pl.col("text").str.contains(r"^[+-]?\d{1,3}[.]000$")
        frame = frame.with_columns(value=pl.when(~doubtful).then("value"))
    frame = frame.with_columns(
        reason=pl.when(pl.col("value").is_null()).then(_reason(mark, point_is_doubtful))
    )
    values = values.scatter(rows, frame["value"])
    if frame["reason"].null_count() == frame.height:
        return values, None
    reasons = pl.Series("reason", [None], dtype=pl.String).new_from_index(0, len(column))
    return values, reasons.scatter(rows, frame["reason"])


def _reason(mark: str, point_is_doubtful: bool) -> pl.Expr:
    """The reason for a text that is not a whole number, most telling first."""
    text = pl.col("text")
    point = mark == "."
    # With a decimal comma the points between thousands are read, so only fractions are left.
    decimal = "[.]" if point else ","
    fraction = r"\d*[.]" if point else r"(\d*|[1-9]\d{0,2}([.]\d{3})+),"
    grouped = text.str.contains(
        (r"^[+-]?\d{1,3}(,\d{3})+([.]\d*)?$|" if point else "")
        + rf"^[+-]?\d{{1,3}}([ '’\x{{a0}}\x{{202f}}]\d{{3}})+({decimal}\d*)?$"
    )
    other = text.str.contains(r"^[+-]?\d*,\d+$" if point else r"^[+-]?\d*[.]\d*$")
    doubtful = text.str.contains(r"^[+-]?\d{1,3}[.]000$") & pl.lit(point_is_doubtful)
    return (
        pl.when(text.str.contains(r"^[+-]?\d{19,}([.,]0*)?$"))
        .then(pl.lit(TOO_BIG))
        .when(doubtful)
        .then(pl.lit(DOUBTFUL))
        .when(text.str.contains(rf"^[+-]?{fraction}\d+$"))
        .then(pl.lit(NOT_WHOLE))
        .when(grouped)
        .then(pl.lit(GROUPED))
        .when(other)
        .then(pl.lit(COMMA if point else POINT))
        .when(text.str.contains(r"^[+-]?\d+([.,]\d*)?[eE][+-]?\d+$|^\d+-$|^[−–]\d+$"))
        .then(pl.lit(NOT_PLAIN))
        .otherwise(pl.lit(NOT_NUMBER))
    )


def from_numbers(column: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    """Turn a column of integers, floats or decimals into int64.

    Args:
        column: any numeric type, n rows; null is absent.

    Returns:
        As `from_text`.
    """
    if column.dtype == pl.Int64:
        return column, None
    if column.dtype.is_integer():
        values = column.cast(pl.Int64, strict=False)
        return _judge(column, values, pl.lit(TOO_BIG))
    name = column.name
    value = pl.col(name)
    if column.dtype.is_decimal():
        # Comparing with the value cast back finds every fraction: a cast cuts it off.
        frame = column.to_frame().with_columns(whole=value.cast(pl.Int64, strict=False))
        exact = pl.col("whole").cast(column.dtype, strict=False) == value
        values = frame.select(pl.when(exact).then("whole")).to_series()
        fraction = (value - value.round(0, mode="half_away_from_zero")) != 0
        return _judge(
            column, values, pl.when(fraction).then(pl.lit(NOT_WHOLE)).otherwise(pl.lit(TOO_BIG))
        )
    exact = value.is_finite() & (value == value.floor()) & (value.abs() <= LARGEST_EXACT)
    values = (
        column.to_frame()
        .select(pl.when(exact).then(value).cast(pl.Int64, strict=False))
        .to_series()
    )
    reason = (
        pl.when(~value.is_finite())
        .then(pl.lit(NOT_NUMBER))
        .when(value != value.floor())
        .then(pl.lit(NOT_WHOLE))
        .otherwise(pl.lit(INEXACT))
    )
    return _judge(column, values, reason)


def _judge(
    column: pl.Series, values: pl.Series, reason: pl.Expr
) -> tuple[pl.Series, pl.Series | None]:
    values = values.rename(column.name)
    if values.null_count() == column.null_count():
        return values, None
    failed = values.is_null() & column.is_not_null()
    frame = column.to_frame().with_columns(failed.alias("failed"))
    return values, frame.select(pl.when("failed").then(reason)).to_series()

"""Times from text and from date-time columns: microseconds in UTC, or refused with a reason.

RFC 3339 is read as it is. What people commonly write beside it is read too: a blank for the
``T``, no seconds, a fraction after a comma, ``+0100`` or ``+01``, and no zone at all if the options
name one. Anything else is for ``--map occurred_at="STRPTIME(…)"``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from stocklog.inventory import timestamps

__all__ = ["NO_ZONE", "Moments", "from_datetimes", "from_text"]

NO_ZONE = "without a time zone: give --timezone, for example Europe/Madrid"
NOT_TIME = (
    "not a time such as 2026-11-24T14:05:00Z; for another form "
    "give --map with STRPTIME(column, '%d/%m/%Y %H:%M')"
)
DATE_ONLY = "a date without a time of day"
NOT_MOMENT = "not a moment that exists in the calendar, or finer than a microsecond"
GAP = "skipped by the clocks of the time zone (the hour when summer time begins)"
TOO_FINE = "finer than a microsecond: give --map with CAST(column AS TIMESTAMP) to cut it"

_FORM = (
    r"^(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2})(:\d{2})?(?:[.,](\d{1,9}))? ?"
    r"([Zz]|[+-]\d{2}(?::?\d{2})?)?$"
)


@dataclass(frozen=True, slots=True)
class Moments:
    """A column of times.

    Attributes:
        values: Datetime("us", "UTC")[n], null where absent or refused.
        reasons: String[n], the reason where refused, or None if nothing was.
        naive: how many well-formed times had no zone.
        zoned: how many had one.
    """

    values: pl.Series
    reasons: pl.Series | None
    naive: int
    zoned: int


def from_text(column: pl.Series, zone: str | None) -> Moments:
    """Read a column of text.

    Args:
        column: String[n]; null is absent.
        zone: IANA name of the zone that times without one are meant in, or None to refuse them. A
            time that its clocks skipped is refused; of one that they show twice the first is taken
            (summer time).
    """
    micros, good = timestamps.parse_column(column)
    if good.all():
        values = pl.Series(column.name, micros).cast(pl.Datetime("us", "UTC"))
        return Moments(values, None, naive=0, zoned=len(column))
    present = column.is_not_null().to_numpy()
    naive = np.zeros(len(column), np.bool_)
    reasons: list[tuple[pl.Series, pl.Series]] = []
    # Two more tries, each on what the one before left over: databases write a blank for the T and
    # no zone, and that needs no regular expression; the rest does.
    for rewrite in (_plain_naive, _rewritten):
        left = np.flatnonzero(present & ~good)
        if not left.size:
            break
        texts, without_zone, why = rewrite(column.gather(left))
        again, fine = timestamps.parse_column(texts)
        micros[left] = again
        good[left] = fine
        naive[left] = fine & without_zone
        if why is not None:
            reasons = [(pl.Series(left), why)]
    return _finish(column, micros, good, naive, zone, reasons)


def _plain_naive(texts: pl.Series) -> tuple[pl.Series, np.ndarray, pl.Series | None]:
    zulu = texts.str.replace(" ", "T", literal=True) + "Z"
    return zulu, np.ones(len(texts), np.bool_), None


def _rewritten(texts: pl.Series) -> tuple[pl.Series, np.ndarray, pl.Series | None]:
    stripped = texts.str.strip_chars(" ")
    parts = stripped.str.extract_groups(_FORM).struct.unnest()
    frame = pl.DataFrame(
        dict(zip(("date", "clock", "second", "fraction", "zone"), parts, strict=True))
    )
    zone = pl.col("zone")
    frame = frame.with_columns(
        text=pl.concat_str(
            "date",
            pl.lit("T"),
            "clock",
            pl.col("second").fill_null(":00"),
            pl.when(pl.col("fraction").is_null())
            .then(pl.lit(""))
            .otherwise("." + pl.col("fraction")),
            pl.when(zone.is_null() | zone.is_in(["Z", "z"]))
            .then(pl.lit("Z"))
            .otherwise(
                zone.str.slice(0, 3)
                + ":"
                + pl.when(zone.str.len_bytes() == 3)
                .then(pl.lit("00"))
                .otherwise(zone.str.slice(-2))
            ),
        )
    )
    date_only = stripped.str.contains(r"^\d{4}-\d{2}-\d{2}$")
    why = frame.select(
        pl.when(pl.lit(date_only))
        .then(pl.lit(DATE_ONLY))
        .when(pl.col("date").is_null())
        .then(pl.lit(NOT_TIME))
        .otherwise(pl.lit(NOT_MOMENT))
    ).to_series()
    without_zone = (frame["date"].is_not_null() & frame["zone"].is_null()).to_numpy()
    return frame["text"], without_zone, why


def _finish(
    column: pl.Series,
    micros: np.ndarray,
    good: np.ndarray,
    naive: np.ndarray,
    zone: str | None,
    whys: list[tuple[pl.Series, pl.Series]],
) -> Moments:
    frame = pl.DataFrame({"micros": micros, "good": good, "naive": naive})
    local = pl.col("micros").cast(pl.Datetime("us"))
    utc = local.dt.replace_time_zone("UTC")
    reason = pl.lit(None, dtype=pl.String)
    if naive.any():
        if zone is None:
            moved = pl.lit(None, dtype=pl.Datetime("us", "UTC"))
            lost = pl.lit(NO_ZONE)
        else:
            moved = _in_zone(local, zone)
            lost = pl.lit(GAP)
        utc = pl.when("naive").then(moved).otherwise(utc)
        reason = pl.when(pl.col("naive") & moved.is_null()).then(lost)
    values = pl.when("good").then(utc).alias(column.name)
    done = frame.select(values, reason.alias("reason"))
    reasons = done["reason"]
    for rows, why in whys:
        refused = rows.filter(pl.Series(~good).gather(rows))
        if len(refused):
            reasons = reasons.scatter(refused, why.filter(pl.Series(~good).gather(rows)))
    count = int(naive.sum())
    return Moments(
        done[column.name],
        reasons if reasons.null_count() < len(reasons) else None,
        naive=count,
        zoned=int(good.sum()) - count,
    )


def _in_zone(local: pl.Expr, zone: str) -> pl.Expr:
    return local.dt.replace_time_zone(
        zone, ambiguous="earliest", non_existent="null"
    ).dt.convert_time_zone("UTC")


def from_datetimes(column: pl.Series, zone: str | None) -> Moments:
    """Turn a column of date-times, with or without a zone, into UTC.

    Args:
        column: Datetime[n] of any unit and zone; null is absent.
        zone: as for `from_text`.
    """
    dtype = column.dtype
    assert isinstance(dtype, pl.Datetime)
    name = column.name
    value = pl.col(name)
    frame = column.to_frame()
    micros = value.dt.cast_time_unit("us")
    present = len(column) - column.null_count()
    reason = pl.lit(None, dtype=pl.String)
    if dtype.time_zone is not None:
        utc = micros.dt.convert_time_zone("UTC")
    elif zone is None:
        utc = pl.lit(None, dtype=pl.Datetime("us", "UTC"))
        reason = pl.when(value.is_not_null()).then(pl.lit(NO_ZONE))
    else:
        utc = _in_zone(micros, zone)
        reason = pl.when(value.is_not_null() & utc.is_null()).then(pl.lit(GAP))
    if dtype.time_unit == "ns":
        fine = value.to_physical() % 1000 != 0
        utc = pl.when(~fine).then(utc)
        reason = pl.when(fine).then(pl.lit(TOO_FINE)).otherwise(reason)
    done = frame.select(utc.alias(name), reason.alias("reason"))
    reasons = done["reason"]
    naive = present if dtype.time_zone is None else 0
    return Moments(
        done[name],
        reasons if reasons.null_count() < len(reasons) else None,
        naive=naive,
        zoned=present - naive,
    )

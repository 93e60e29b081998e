"""From what users hand over to a frame in `UPDATE_SCHEMA`.

Types are brought into form here; rules about values are `validation`'s. Nothing
is changed in meaning: no float becomes an integer, no time gets a zone by guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import msgspec
import polars as pl
import pyarrow as pa

from stocklog.errors import UsageError
from stocklog.inventory import timestamps
from stocklog.inventory.fields import (
    INTEGERS,
    MAX_INT64,
    MIN_INT64,
    REQUIRED,
    UPDATE_SCHEMA,
    shown,
)
from stocklog.inventory.record import Update

if TYPE_CHECKING:
    Updates: TypeAlias = (
        "pl.DataFrame | pa.Table | pa.RecordBatch | Update | Iterable[Update | Mapping[str, Any]]"
    )

__all__ = ["to_frame"]

_TEXT_TYPES = (pl.String, pl.Categorical, pl.Enum)


def to_frame(updates: Updates) -> pl.DataFrame:
    """Brings updates into the columns and types of `UPDATE_SCHEMA`.

    Args:
        updates: one of

            - a Polars frame, an Arrow table or an Arrow record batch with columns named
              like fields. Text may be strings, categories or dictionaries; integers of
              any width; times need a zone, in any unit, or are RFC 3339 text. Optional
              columns may be missing.
            - one `Update`, or an iterable of `Update` and of dictionaries by field name,
              whose times are aware datetimes or RFC 3339 text.

    Returns:
        A frame with exactly the columns of `UPDATE_SCHEMA`. Its values are not validated.

    Raises:
        UsageError: a column is unknown, missing or of a type that cannot be meant; the
            error names the column (and the row, where it is one value's fault).
    """
    if isinstance(updates, Update):
        return _from_rows([updates])
    if isinstance(updates, pl.DataFrame):
        return _from_columns(updates)
    if isinstance(updates, (pa.Table, pa.RecordBatch)):
        names = updates.schema.names
        if len(set(names)) != len(names):
            raise UsageError("the Arrow table names a column twice", "Rename or drop one of them")
        return _from_columns(cast("pl.DataFrame", pl.from_arrow(updates)))
    if isinstance(updates, (str, bytes, Mapping)) or not isinstance(updates, Iterable):
        raise UsageError(
            f"updates cannot be a {type(updates).__name__}",
            "Give a Polars frame, an Arrow table, an Update, or a list of Update or of dict",
        )
    return _from_rows(updates)


def _check_names(names: Iterable[str], where: str) -> None:
    given = list(names)
    unknown = [name for name in given if name not in UPDATE_SCHEMA]
    if unknown:
        raise UsageError(
            f"{where} has no such field in the record: {', '.join(map(shown, unknown[:5]))}",
            "Rename or drop it, or put its JSON into the column extra",
        )
    missing = [name for name in REQUIRED if name not in given]
    if missing:
        raise UsageError(f"{where} lacks {', '.join(missing)}", "Every update needs these fields")


def _from_columns(frame: pl.DataFrame) -> pl.DataFrame:
    if dict(frame.schema) == UPDATE_SCHEMA and not frame["extra"].null_count() < frame.height:
        return frame
    _check_names(frame.columns, "the frame")
    columns = []
    for name, dtype in UPDATE_SCHEMA.items():
        if name not in frame.columns:
            column = pl.Series(name, [None], dtype=dtype).new_from_index(0, frame.height)
        else:
            column = _column(name, frame[name])
        columns.append(column)
    return pl.DataFrame(columns)


def _column(name: str, column: pl.Series) -> pl.Series:
    if column.dtype == pl.Null:
        return column.cast(UPDATE_SCHEMA[name])
    if name == "occurred_at":
        return _times(column)
    if name in INTEGERS:
        return _integers(column)
    if not isinstance(column.dtype, _TEXT_TYPES):
        raise UsageError(f"column {name} is {column.dtype}, not text", "Cast it to String")
    texts = column.cast(pl.String)
    return _minified(texts) if name == "extra" else texts


def _minified(extra: pl.Series) -> pl.Series:
    """Removes blanks between the tokens of `extra`; what is no JSON stays for validation."""
    odd = extra.str.contains(r"\s").fill_null(value=False).arg_true()
    if not odd.len():
        return extra
    return extra.scatter(odd, [minified(text) for text in extra.gather(odd)])


def minified(text: str) -> str:
    """A JSON text without blanks between its tokens, or the text itself if it is no JSON."""
    try:
        return msgspec.json.format(text, indent=-1)
    except (ValueError, RecursionError):
        return text


def _integers(column: pl.Series) -> pl.Series:
    if column.dtype == pl.Int64:
        return column
    if not column.dtype.is_integer():
        raise UsageError(
            f"column {column.name} is {column.dtype}, not an integer type",
            "Quantities are exact: round and cast to Int64 where you know that it is right",
        )
    exact = column.cast(pl.Int64, strict=False)
    lost = (exact.is_null() & column.is_not_null()).arg_true()
    if lost.len():
        row = int(lost[0])
        raise UsageError(
            f"row {row}: {column.name} is {column[row]}, which does not fit int64",
            "Drop or correct the row",
        )
    return exact


def _times(column: pl.Series) -> pl.Series:
    name, dtype = column.name, column.dtype
    if isinstance(dtype, _TEXT_TYPES):
        return _times_of_text(column.cast(pl.String))
    if not isinstance(dtype, pl.Datetime):
        raise UsageError(f"column {name} is {dtype}, not a time with a zone", _ZONE_REMEDY)
    if dtype.time_zone is None:
        raise UsageError(f"the times of column {name} have no zone", _ZONE_REMEDY)
    if dtype.time_unit == "ns":
        finer = (column.to_physical() % 1000 != 0).arg_true()
        if finer.len():
            raise UsageError(
                f"row {int(finer[0])}: {name} is finer than a microsecond",
                "Truncate the column: dt.truncate('1us')",
            )
    return column.dt.cast_time_unit("us").dt.convert_time_zone("UTC")


_ZONE_REMEDY = (
    "Give it a zone, for example dt.replace_time_zone('UTC') or 'Europe/Madrid', "
    "or RFC 3339 text with an offset"
)


def _times_of_text(column: pl.Series) -> pl.Series:
    micros, good = timestamps.parse_column(column)
    present = column.is_not_null().to_numpy()
    for row in (present & ~good).nonzero()[0][:1]:
        text = column[int(row)]
        try:
            timestamps.parse(text)
        except ValueError as error:
            raise UsageError(
                f"row {int(row)}: {column.name} is {shown(text)}: {error}", _ZONE_REMEDY
            ) from None
    times = pl.Series(column.name, micros).cast(UPDATE_SCHEMA["occurred_at"])
    return times.zip_with(column.is_not_null(), pl.Series([None], dtype=times.dtype))


def _from_rows(rows: Iterable[Any]) -> pl.DataFrame:
    columns: dict[str, list[Any]] = {name: [] for name in UPDATE_SCHEMA}
    appends = [(name, values.append) for name, values in columns.items()]
    for number, row in enumerate(rows):
        if isinstance(row, Update):
            for name, append in appends:
                append(getattr(row, name))
        elif isinstance(row, Mapping):
            _check_names(row, f"row {number}")
            for name, append in appends:
                append(_value(number, name, row.get(name)))
        else:
            raise UsageError(
                f"row {number} is a {type(row).__name__}", "Give an Update or a dict for each row"
            )
    frame = {
        name: pl.Series(name, values, dtype=UPDATE_SCHEMA[name], strict=True)
        for name, values in columns.items()
    }
    return pl.DataFrame(frame)


def _value(number: int, name: str, value: Any) -> Any:
    """One value of a dictionary row in its column's Python type."""
    if value is None:
        return None
    if name == "occurred_at":
        return _moment(number, value)
    if name in INTEGERS:
        if type(value) is int and MIN_INT64 <= value <= MAX_INT64:
            return value
        rule = "it must be an exact integer that fits int64"
    else:
        if isinstance(value, str):
            return minified(value) if name == "extra" else value
        rule = "it must be text"
    raise UsageError(f"row {number}: {name} is {shown(value)}: {rule}", "Correct the row")


def _moment(number: int, value: Any) -> datetime:
    try:
        if isinstance(value, str):
            return timestamps.to_datetime(timestamps.parse(value))
        if isinstance(value, datetime):
            return timestamps.to_datetime(timestamps.from_datetime(value))
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"row {number}: occurred_at is {shown(str(value))}: {error}", "Correct the row"
        ) from None
    raise UsageError(
        f"row {number}: occurred_at is {shown(value)}: it must be a time with a zone",
        "Give an aware datetime or RFC 3339 text",
    )

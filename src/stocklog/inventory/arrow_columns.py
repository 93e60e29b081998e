"""Batches in any accepted form -> plain Arrow arrays that the encoder can read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from stocklog.errors import UsageError
from stocklog.inventory.arrow_arrays import is_text, truths
from stocklog.inventory.fields import INTEGERS, REQUIRED, UPDATE_SCHEMA

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["arrow_columns", "int64_values"]


def arrow_columns(batch: pl.DataFrame | pa.Table | pa.RecordBatch) -> dict[str, Any]:
    """The columns of a batch in the record's order, columns of nothing but nulls left out.

    Args:
        batch: n updates, see `encode`.

    Returns:
        By name, arrays of one chunk: large_string or dictionary for texts, int64 for
        integers, timestamp[us] for times.

    Raises:
        UsageError: a column is unknown, missing, of another type, or a required one has
            nulls.
    """
    given = batch.columns if isinstance(batch, pl.DataFrame) else batch.schema.names
    unknown = [name for name in given if name not in UPDATE_SCHEMA]
    if unknown:
        raise UsageError(
            f"the batch has a column that is no field of the record: {unknown[0]!r}",
            "Drop it, or put its JSON into the column extra",
        )
    columns = {}
    for name in UPDATE_SCHEMA:
        if name not in given:
            if name in REQUIRED:
                raise UsageError(f"the batch lacks the column {name}", "Every update needs it")
            continue
        column = _one_chunk(batch, name)
        if name in REQUIRED:
            if column.null_count:
                row = int(truths(column.is_null()).argmax())
                raise UsageError(f"row {row}: {name} is missing", "Validate updates before sending")
        elif column.null_count == len(column):
            continue
        columns[name] = _typed(name, column)
    return columns


def _one_chunk(batch: pl.DataFrame | pa.Table | pa.RecordBatch, name: str) -> Any:
    if isinstance(batch, pl.DataFrame):
        return batch[name].rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    column = batch.column(name)
    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    return column.combine_chunks() if column.num_chunks else pa.nulls(0, column.type)


def _typed(name: str, column: Any) -> Any:
    kind = column.type
    if name == "occurred_at":
        if pa.types.is_timestamp(kind) and kind.unit == "us" and kind.tz is not None:
            return column
    elif name in INTEGERS:
        if pa.types.is_integer(kind):
            return _int64(name, column)
    elif pa.types.is_dictionary(kind):
        if is_text(kind.value_type):
            return column
    elif is_text(kind):
        return column if kind == pa.large_string() else column.cast(pa.large_string())
    wanted = "timestamp[us, tz=UTC]" if name == "occurred_at" else UPDATE_SCHEMA[name]
    raise UsageError(f"column {name} is {kind}, not {wanted}", "Pass the batch through to_frame")


def _int64(name: str, column: Any) -> Any:
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise UsageError(f"column {name} does not fit int64: {error}", "Correct it") from None


def int64_values(column: Any) -> NDArray[np.int64]:
    """The values of an int64 or timestamp array without nulls, without a copy."""
    buffer = column.buffers()[1]
    values = np.frombuffer(buffer, np.int64) if buffer else np.zeros(0, np.int64)
    return values[column.offset : column.offset + len(column)]

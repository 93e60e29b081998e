"""Parquet rows that are updates as they stand, proven without making text of their dictionaries.

A rule about a text is asked of the dictionary's entries, and one that ties fields to each other of
the codes. Whatever is not plain here is left to the general way: `Assembler`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from stocklog.inventory.arrow_arrays import int64_array, integers, is_text, truths
from stocklog.inventory.arrow_columns import int64_values
from stocklog.inventory.columns import right_signs
from stocklog.inventory.fields import (
    INTEGERS,
    REASONS,
    REQUIRED,
    TEXT_LIMITS,
    TYPES,
    UOM_FORM,
    UPDATE_SCHEMA,
)
from stocklog.inventory.timestamps import MAX_MICROS, MIN_MICROS

__all__ = ["frame_of", "has_nul", "proven", "series_of"]

_MOMENT = pa.timestamp("us", "UTC")
_COUNT, _TRANSFER = TYPES.index("count"), TYPES.index("transfer")
_WORDS = frozenset({"type", "reason", "uom"})
#: A dictionary of more entries is no vocabulary, or one of many words that are none of it.
_MOST_WORDS = 64


def proven(batch: pa.RecordBatch) -> pa.RecordBatch | None:
    """The rows as updates, if all of them are valid beyond doubt.

    Args:
        batch: columns named like fields; its texts are UTF-8.

    Returns:
        The columns in the record's order, without those of nothing but nulls.
    """
    given = dict(zip(batch.schema.names, batch.columns, strict=True))
    columns = {
        name: given[name]
        for name in UPDATE_SCHEMA
        if name in given and given[name].null_count < batch.num_rows
    }
    if any(name not in columns or columns[name].null_count for name in REQUIRED):
        return None
    if not all(_is_plain(name, column) for name, column in columns.items()):
        return None
    kinds, reasons = _codes(columns["type"], TYPES), _codes(columns["reason"], REASONS)
    if kinds is None or reasons is None or not _keeps_rules(columns, kinds):
        return None
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def frame_of(batch: pa.RecordBatch) -> pl.DataFrame:
    """Updates in the columns of `UPDATE_SCHEMA`, dictionaries as text."""
    given = dict(zip(batch.schema.names, batch.columns, strict=True))
    columns = [
        series_of(given[name]).alias(name).cast(dtype)
        if name in given
        else pl.Series(name, [None], dtype).new_from_index(0, batch.num_rows)
        for name, dtype in UPDATE_SCHEMA.items()
    ]
    return pl.DataFrame(columns)


def has_nul(column: Any) -> bool:
    """Whether a column of text may hold U+0000: a look at all of its bytes."""
    data = _entries(column).buffers()[2]  # of a slice all of it, which can only say yes too often
    return bool(data) and not np.frombuffer(data, np.uint8).min(initial=1)


def series_of(column: Any) -> pl.Series:
    """A column in Polars, a dictionary of texts as text."""
    if pa.types.is_dictionary(column.type) and is_text(column.type.value_type):
        return series_of(column.dictionary).gather(series_of(column.indices))
    series = pl.from_arrow(column)
    assert isinstance(series, pl.Series)
    return series


def _is_plain(name: str, column: Any) -> bool:
    """Whether a column has the field's own type, and texts that it can have."""
    if name in INTEGERS:
        return bool(column.type == pa.int64())
    if name == "occurred_at":
        return bool(column.type == _MOMENT) and _in_range(int64_values(column))
    if name in _WORDS:
        return True  # judged as such
    texts = _entries(column)
    if name not in TEXT_LIMITS or not _is_string(texts.type):
        return False
    if texts is not column and texts.null_count:
        return False
    lengths = _lengths(texts)
    if texts.null_count:
        lengths = lengths[truths(texts.is_valid())]
    # Characters are never more than bytes.
    shortest, longest = lengths.min(initial=1), lengths.max(initial=1)
    return bool(shortest >= 1 and longest <= TEXT_LIMITS[name]) and not has_nul(column)


def _in_range(micros: npt.NDArray[np.int64]) -> bool:
    return bool(micros.min() >= MIN_MICROS and micros.max() <= MAX_MICROS)


def _is_string(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _entries(column: Any) -> Any:
    """A column's texts: its dictionary's, if it has one."""
    return column.dictionary if pa.types.is_dictionary(column.type) else column


def _borders(texts: Any) -> npt.NDArray[np.integer[Any]]:
    """Where each text begins in its buffer, and where the last one ends."""
    dtype: type[np.integer[Any]] = np.int32 if pa.types.is_string(texts.type) else np.int64
    buffer = texts.buffers()[1]
    if not len(texts) or not buffer:
        return np.zeros(1, dtype)
    return np.frombuffer(buffer, dtype)[texts.offset : texts.offset + len(texts) + 1]


def _lengths(texts: Any) -> npt.NDArray[np.integer[Any]]:
    return np.diff(_borders(texts))


def _words(column: Any) -> list[str] | None:
    """The entries of a dictionary of few words."""
    if not pa.types.is_dictionary(column.type) or len(column.dictionary) > _MOST_WORDS:
        return None
    texts = column.dictionary
    borders, data = _borders(texts).tolist(), texts.buffers()[2]
    data = memoryview(data) if data else b""
    return [str(data[begin:end], "utf-8") for begin, end in pairwise(borders)]


def _codes(column: Any, vocabulary: tuple[str, ...]) -> npt.NDArray[np.int64] | None:
    """Each row's word as its place in a vocabulary."""
    words = _words(column)
    if words is None or not set(words) <= set(vocabulary):
        return None
    places = np.array([vocabulary.index(word) for word in words], np.int64)
    codes: npt.NDArray[np.int64] = places[integers(column.indices)]
    return codes


def _keeps_rules(columns: Mapping[str, Any], kinds: npt.NDArray[np.int64]) -> bool:
    """Whether all rows keep the rules that tie fields to each other, and `uom`'s own."""
    if not right_signs(kinds, int64_values(columns["quantity"])).all():
        return False
    transfers = kinds == _TRANSFER
    target = columns.get("to_location_id")
    if target is None:
        if transfers.any():
            return False
    elif not _goes_elsewhere(columns["location_id"], target, transfers):
        return False
    expected = columns.get("expected_quantity")
    if expected is not None and (truths(expected.is_valid()) & (kinds != _COUNT)).any():
        return False
    if "uom" not in columns:
        return True
    units = _words(columns["uom"])
    return units is not None and all(re.fullmatch(UOM_FORM, unit) for unit in units)


def _goes_elsewhere(place: Any, target: Any, transfers: npt.NDArray[np.bool_]) -> bool:
    """Whether transfers, and nothing else, have a target, which is another place."""
    if not np.array_equal(truths(target.is_valid()), transfers):
        return False
    rows = int64_array(np.flatnonzero(transfers))
    here, there = (_texts(column.take(rows)) for column in (place, target))
    return not truths(pc.equal(here, there)).any()


def _texts(column: Any) -> Any:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary.take(column.indices)
    return column.cast(pa.large_string())

"""Parquet: row groups to columns, in bounded memory, with every bad row kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pa_parquet

from stocklog.errors import FeedError
from stocklog.inventory.arrow_arrays import is_text
from stocklog.inventory.feeds.coded import has_nul, proven, series_of
from stocklog.inventory.feeds.model import IntArray, RawRows

__all__ = ["ParquetFeed", "ParquetRows"]

# A column of texts is one of codes if it has fewer bytes a value: a short text has about as many.
CODED_BYTES = 8

# Rows at a time. pyarrow keeps 10 million rows at 240 MB this way; Polars' and Arrow's own
# streaming readers took 900 to 1,500.
BATCH_ROWS = 50_000


class ParquetFeed:
    """An open Parquet file.

    Args:
        file: a path, or a stream that can seek.
        name: the feed's name for errors.

    Raises:
        FeedError: it is not a Parquet file that can be read.
    """

    def __init__(self, file: Path | BinaryIO, name: str) -> None:
        self.name = name
        try:
            self._file = pa_parquet.ParquetFile(file, pre_buffer=False)
            schema = self._file.schema_arrow
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # a name that is no UTF-8
            raise _damaged(name, error) from error
        self._handle = file
        self._coded: pa_parquet.ParquetFile | None = None
        self._nested = [f.name for f in schema if pa.types.is_nested(f.type)]
        self._texts = [f.name for f in schema if is_text(f.type)]
        try:
            # Not schema.empty_table(): that imports pandas wherever it is installed.
            nothing = [pa.nulls(0, field.type) for field in schema]
            empty = pl.from_arrow(pa.Table.from_arrays(nothing, names=schema.names))
        except (pa.ArrowException, pl.exceptions.PolarsError) as error:
            raise FeedError(
                f"{name} has a column type that cannot be read: {error}", "Write it as another type"
            ) from error
        assert isinstance(empty, pl.DataFrame)
        self._schema = list(empty.schema.items())

    def schema(self, *, nested: bool) -> list[tuple[str, pl.DataType]]:
        """Return the columns and their types, lists and structs only if asked for."""
        return [(n, dtype) for n, dtype in self._schema if nested or n not in self._nested]

    def rows(self, columns: Sequence[str], total_bytes: int, *, plain: bool) -> ParquetRows:
        """Return an iterable over the rows of some columns.

        Args:
            columns: their names.
            total_bytes: the file's size.
            plain: whether the columns are the fields of their names, and no field is missing.
        """
        file = self._file
        coded = [name for name in columns if name in self._texts and _is_coded(file, name)]
        if coded:
            self._coded = file = pa_parquet.ParquetFile(
                self._handle, metadata=file.metadata, read_dictionary=coded, pre_buffer=False
            )
        return ParquetRows(self._file, self.name, columns, total_bytes, coded=file, plain=plain)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        if self._coded is not None:
            self._coded.close()


def _is_coded(file: pa_parquet.ParquetFile, name: str) -> bool:
    """Whether a column's values are numbers of entries in a dictionary, as its size tells.

    Writers give up a dictionary that grows too large, and its page stays: only the size shows it.
    Read as dictionaries, texts that are none would be hashed one by one.
    """
    leaves = [file.schema.column(place).path for place in range(len(file.schema))]
    place = leaves.index(name)  # lists and structs before it have several
    groups = [file.metadata.row_group(g).column(place) for g in range(file.num_row_groups)]
    values = sum(group.num_values for group in groups)
    size = sum(group.total_uncompressed_size for group in groups)
    return all(g.has_dictionary_page for g in groups) and size < CODED_BYTES * values


class ParquetRows:
    """Iterates over a Parquet feed's rows.

    Args:
        file: the open file.
        name: the feed's name for errors.
        columns: the columns to read; the others are read only to show rejected rows.
        total_bytes: the file's size.
        coded: the same file, whose columns of repeated texts come as dictionaries.
        plain: see `ParquetFeed.rows`.
    """

    def __init__(
        self,
        file: pa_parquet.ParquetFile,
        name: str,
        columns: Sequence[str],
        total_bytes: int,
        *,
        coded: pa_parquet.ParquetFile,
        plain: bool,
    ) -> None:
        self._file = file
        self._coded = coded
        self._plain = plain
        self._name = name
        self._columns = list(columns)
        self._total_bytes = total_bytes

    def __iter__(self) -> Iterator[RawRows]:
        done, total = 0, max(self._file.metadata.num_rows, 1)
        for group in range(self._file.num_row_groups):
            whole = _WholeRows(self._file, group)
            first = done
            for batch in self._batches(group):
                position = done - first
                rows = batch.num_rows
                done += rows
                numbers = np.arange(done - rows + 1, done + 1, dtype=np.int64)
                read = self._total_bytes * done // total
                known = proven(batch) if self._plain else None
                if known is not None:
                    yield _known(known, numbers, read)
                    continue
                frame, dictionaries = _decoded(batch)

                def row_text(
                    positions: IntArray, whole: _WholeRows = whole, start: int = position
                ) -> list[tuple[str, bool]]:
                    return whole.texts(positions + start)

                yield RawRows(
                    columns=frame,
                    lines=numbers,
                    row_numbers=numbers,
                    row_text=row_text,
                    rejects=[],
                    problems={},
                    bytes_read=read,
                    dictionaries=dictionaries,
                    may_hold_nul=any(map(_may_hold_nul, batch.columns)),
                )

    def _batches(self, group: int) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._coded.iter_batches(
                BATCH_ROWS, row_groups=[group], columns=self._columns, use_threads=False
            ):
                # Text that is not UTF-8 is undefined behaviour further on.
                batch.validate(full=True)
                yield batch
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self._name, error) from error


class _WholeRows:
    """All columns of a row group's rows, read only if a row must be shown, and once at most."""

    def __init__(self, file: pa_parquet.ParquetFile, group: int) -> None:
        self._file = file
        self._group = group
        self._batches: Iterator[pa.RecordBatch] | None = None
        self._batch: pa.RecordBatch | None = None
        self._first = 0

    def texts(self, rows: IntArray) -> list[tuple[str, bool]]:
        """Return JSON objects of rows of the group, given by rising positions in it."""
        return [(self._text(row), False) for row in rows.tolist()]

    def _text(self, row: int) -> str:
        if self._batches is None:
            self._batches = self._file.iter_batches(
                BATCH_ROWS, row_groups=[self._group], use_threads=False
            )
        while self._batch is None or row >= self._first + self._batch.num_rows:
            self._first += self._batch.num_rows if self._batch is not None else 0
            self._batch = next(self._batches)
        one = self._batch.slice(row - self._first, 1)
        values = {name: _value(one.column(place)) for place, name in enumerate(one.schema.names)}
        return json.dumps(values, ensure_ascii=False, default=_plain, separators=(",", ":"))


def _known(rows: pa.RecordBatch, numbers: IntArray, bytes_read: int) -> RawRows:
    """Rows that are updates as they stand."""
    return RawRows(
        columns=pl.DataFrame(),
        lines=numbers[:0],
        row_numbers=numbers[:0],
        row_text=lambda positions: [],
        rejects=[],
        problems={},
        bytes_read=bytes_read,
        known=(numbers, rows),
        dictionaries=_dictionaries(rows),
    )


def _dictionaries(batch: pa.RecordBatch) -> dict[str, Any]:
    return {
        name: column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
        if pa.types.is_dictionary(column.type) and is_text(column.type.value_type)
    }


def _decoded(batch: pa.RecordBatch) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The columns of a batch, dictionaries of text as text; and those dictionaries by name."""
    given = zip(batch.schema.names, batch.columns, strict=True)
    frame = pl.DataFrame([series_of(column).alias(name) for name, column in given])
    return frame, _dictionaries(batch)


def _may_hold_nul(column: Any) -> bool:
    """Whether a column of text may hold U+0000."""
    texts = column.dictionary if pa.types.is_dictionary(column.type) else column
    if pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type):
        return has_nul(column)
    return is_text(texts.type)


def _value(one: Any) -> Any:
    """The only value of an array. Times as text: pyarrow imports pandas to make them objects."""
    if pa.types.is_timestamp(one.type):
        return series_of(one).dt.to_string("iso:strict")[0]
    return one[0].as_py()


def _plain(value: Any) -> str:
    """Write what JSON does not have as text."""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (Decimal, timedelta)):
        return str(value)
    return value.hex() if isinstance(value, bytes) else repr(value)


def _damaged(name: str, error: Exception) -> FeedError:
    return FeedError(
        f"{name} cannot be read as Parquet: {str(error).partition(chr(10))[0]}",
        "Get the file again, whole, or give --input-format if it is not Parquet",
    )

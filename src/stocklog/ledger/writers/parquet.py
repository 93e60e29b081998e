"""Parquet in row groups of a bounded size, whole at every end that can be caught."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from stocklog.inventory.update import UPDATE_SCHEMA
from stocklog.ledger.batch import Batch
from stocklog.ledger.write_errors import naming

__all__ = ["ParquetSink"]

_ROW_GROUP = 32_768
"""Rows in a row group, at least: readers can skip, and the writer holds some 10 MB."""


def _schema() -> pa.Schema:
    frame = pl.DataFrame(
        schema={"offset": pl.Int64, "recorded_at": pl.Datetime("ms", "UTC"), **UPDATE_SCHEMA}
    )
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest()).schema


_SCHEMA = _schema()


def _table(batch: Batch) -> pa.Table:
    return batch.to_arrow().cast(_SCHEMA)


class ParquetSink:
    """A Parquet file of `offset`, `recorded_at` and the update's fields.

    A Parquet file cannot be read before its footer stands at its end. So the rows go to
    `FILE.partial`, which takes the file's name once it is whole; until then an older file
    of that name stays as it was.

    Args:
        path: the file.
    """

    holds_back = True
    drops_all = False
    prepare = staticmethod(_table)

    def __init__(self, path: Path) -> None:
        self._is_closed = False
        self._path = path
        # A device or a pipe cannot be renamed over: it is written in place.
        in_place = path.exists() and not path.is_file()
        self._partial = path if in_place else path.with_name(path.name + ".partial")
        self._waiting: list[pa.Table] = []
        self._rows = 0
        self._writer = pq.ParquetWriter(self._partial, _SCHEMA, compression="zstd")

    def write(self, prepared: pa.Table) -> None:
        """Take a batch's rows; they are written as soon as a row group is full."""
        if not len(prepared):
            return
        self._waiting.append(prepared)
        self._rows += len(prepared)
        if self._rows >= _ROW_GROUP:
            self._write_out()

    def _write_out(self) -> None:
        waiting, rows = self._waiting, self._rows
        self._waiting, self._rows = [], 0
        if not waiting:
            return
        with self._whole_or_nothing():
            self._writer.write_table(pa.concat_tables(waiting), rows)

    def close(self) -> None:
        """Write the rest and the footer, and give the file its name; safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        self._write_out()
        with self._whole_or_nothing():
            self._writer.close()
        if self._partial != self._path:
            self._partial.replace(self._path)

    @contextlib.contextmanager
    def _whole_or_nothing(self) -> Iterator[None]:
        """After a failed write no footer can be right, so what is there helps nobody."""
        try:
            with naming(self._path):
                yield
        except BaseException:
            self._is_closed = True
            with contextlib.suppress(OSError, pa.ArrowException):
                self._writer.close()
            if self._partial != self._path:
                self._partial.unlink(missing_ok=True)
            raise

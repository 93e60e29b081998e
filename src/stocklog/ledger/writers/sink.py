"""Where batches go, one face for all formats."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO, Protocol

from stocklog.errors import UsageError
from stocklog.ledger.batch import Batch

__all__ = ["FORMATS", "Format", "Sink", "open_sink"]

FORMATS = ("text", "jsonl", "csv", "parquet", "none")


class Format(Protocol):
    """Turns batches into bytes."""

    def begin(self) -> bytes:
        """What stands before everything else."""

    def render(self, batch: Batch) -> bytes | memoryview:
        """One batch."""


class Sink(Protocol):
    """Takes batches until it is closed."""

    def write(self, batch: Batch) -> None:
        """Take one batch; it is out of our hands when this returns."""

    def close(self) -> None:
        """Finish what was written, so that it can be read."""


class _ByteSink:
    """A format's bytes into a file or stdout, flushed after each batch."""

    def __init__(self, form: Format, path: Path | None) -> None:
        self._form = form
        self._owned: BinaryIO | None = None if path is None else path.open("wb")
        self._file: BinaryIO = self._owned or sys.stdout.buffer
        self._put(form.begin())

    def write(self, batch: Batch) -> None:
        self._put(self._form.render(batch))

    def _put(self, data: bytes | memoryview) -> None:
        if len(data):
            self._file.write(data)
            self._file.flush()

    def close(self) -> None:
        if self._owned is not None:
            self._owned.close()


class _Nowhere:
    """Everything was decoded and validated before it came here; that was the point."""

    def write(self, batch: Batch) -> None:
        pass

    def close(self) -> None:
        pass


def open_sink(form: str, path: Path | None) -> Sink:
    """Make the sink for a format.

    Args:
        form: one of `FORMATS`.
        path: a file, which is replaced, or `None` for stdout.

    Raises:
        UsageError: no such format, or Parquet to stdout.
        OSError: the file cannot be written.
    """
    if form not in FORMATS:
        raise UsageError(f"There is no format {form!r}", f"Take one of {', '.join(FORMATS)}")
    if form == "none":
        return _Nowhere()
    if form == "parquet":
        from stocklog.ledger.writers.parquet import ParquetSink

        if path is None:
            raise UsageError("Parquet needs a file to go to", "Give one with --output FILE")
        return ParquetSink(path)
    return _ByteSink(_format(form), path)


def _format(form: str) -> Format:
    if form == "text":
        from stocklog.ledger.writers.text import TextFormat

        return TextFormat()
    if form == "jsonl":
        from stocklog.ledger.writers.jsonl import JsonLinesFormat

        return JsonLinesFormat()
    from stocklog.ledger.writers.csv import CsvFormat

    return CsvFormat()

"""Where batches go, one face for all formats."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Protocol

from stocklog.errors import UsageError
from stocklog.ledger.batch import Batch
from stocklog.ledger.write_errors import naming

__all__ = ["FORMATS", "Format", "Sink", "open_sink"]

_PIECE = 1 << 16

FORMATS = ("text", "jsonl", "csv", "parquet", "none")


class Format(Protocol):
    """Turns batches into bytes.

    Attributes:
        IN_ORDER: whether what it renders depends on what it rendered before.
    """

    IN_ORDER: ClassVar[bool]

    def begin(self) -> bytes:
        """What stands before everything else."""

    def render(self, batch: Batch) -> bytes | memoryview:
        """One batch."""


class Sink(Protocol):
    """Takes batches until it is closed, each in two steps, of which the first is most of the work.

    Attributes:
        holds_back: whether what it took is out of our hands only once it is closed.
        drops_all: whether nothing is written of what it takes, and `prepare` makes `None` of it.
    """

    holds_back: bool
    drops_all: bool

    @property
    def prepare(self) -> Callable[[Batch], Any]:
        """What makes of a batch what `write` takes.

        It knows nothing of other batches and can be pickled, so it may run in another thread or
        process.
        """

    def write(self, prepared: Any) -> None:
        """Take one batch as it was prepared; it is out of our hands when this returns."""

    def close(self) -> None:
        """Finish what was written, so that it can be read."""


def _as_it_is(batch: Batch) -> Batch:
    return batch


class _ByteSink:
    """A format's bytes into a file or stdout, flushed after each batch."""

    holds_back = False
    drops_all = False

    def __init__(self, form: Format, path: Path | None, *, append: bool) -> None:
        self._form, self._path = form, path
        self.prepare: Callable[[Batch], Any] = _as_it_is if form.IN_ORDER else form.render
        self._owned: BinaryIO | None = None
        is_begun = False
        if path is not None:
            self._owned = path.open("ab" if append else "wb")
            is_begun = append and _ends_with_a_line(path)
        self._file: BinaryIO = self._owned or sys.stdout.buffer
        if not is_begun:
            self._put(form.begin())

    def write(self, prepared: Any) -> None:
        self._put(self._form.render(prepared) if self._form.IN_ORDER else prepared)

    def _put(self, data: bytes | memoryview) -> None:
        if len(data):
            with naming(self._path):
                self._file.write(data)
                self._file.flush()

    def close(self) -> None:
        if self._owned is not None:
            with naming(self._path):
                self._owned.close()


def _ends_with_a_line(path: Path) -> bool:
    """Cut off a line that a killed process left unfinished; whether anything is left.

    Its batch was not handled, so it comes again.
    """
    if not path.is_file():
        return False
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            begin = max(0, end - _PIECE)
            file.seek(begin)
            found = file.read(end - begin).rfind(b"\n")
            if found >= 0:
                file.truncate(begin + found + 1)
                return True
            end = begin
        file.truncate(0)
        return False


def _nothing(batch: Batch) -> None:
    """Columns that nobody wants need not go from process to process."""


class _Nowhere:
    """Everything was decoded and validated before it came here; that was the point."""

    holds_back = False
    drops_all = True
    prepare = staticmethod(_nothing)

    def write(self, prepared: Any) -> None:
        pass

    def close(self) -> None:
        pass


def open_sink(form: str, path: Path | None, *, append: bool = False) -> Sink:
    """Make the sink for a format.

    Args:
        form: one of `FORMATS`.
        path: a file, which is replaced, or `None` for stdout.
        append: go on behind what the file holds.

    Raises:
        UsageError: no such format, Parquet to stdout, or to a file that is there already and
            is to be gone on with.
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
        if append and path.is_file() and path.stat().st_size:
            raise UsageError(
                f"{path} is there already, and nothing can be added to a Parquet file",
                "Give a new file each time that a named reader goes on",
            )
        return ParquetSink(path)
    return _ByteSink(_format(form), path, append=append)


def _format(form: str) -> Format:
    if form == "text":
        from stocklog.ledger.writers.text import TextFormat

        return TextFormat()
    if form == "jsonl":
        from stocklog.ledger.writers.jsonl import JsonLinesFormat

        return JsonLinesFormat()
    from stocklog.ledger.writers.csv import CsvFormat

    return CsvFormat()

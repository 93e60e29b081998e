"""Opens a feed and reads it as batches of valid updates and rejects."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import polars as pl

from stocklog.errors import FeedError
from stocklog.inventory.feeds import detect
from stocklog.inventory.feeds.assemble import Assembler
from stocklog.inventory.feeds.blocks import BLOCK_SIZE, BlockReader
from stocklog.inventory.feeds.csv_rows import CsvRows
from stocklog.inventory.feeds.encoding import encoding_of
from stocklog.inventory.feeds.header import read_header
from stocklog.inventory.feeds.ids import DigestIds, IdMaker, UuidIds, content_digest
from stocklog.inventory.feeds.jsonl import JsonRows
from stocklog.inventory.feeds.model import FeedBatch, IntArray, RawRows
from stocklog.inventory.feeds.options import FeedOptions
from stocklog.inventory.feeds.parquet import ParquetFeed
from stocklog.inventory.feeds.plan import Plan, make_json_plan, make_plan
from stocklog.inventory.feeds.source import ByteSource
from stocklog.inventory.fields import TEXT_LIMITS
from stocklog.workers import Worker

__all__ = ["Feed", "open_feed"]

STDIN_NAME = "stdin"


def open_feed(
    file: Path | str,
    options: FeedOptions | None = None,
    *,
    stream: BinaryIO | None = None,
    digest: str | None = None,
    block_size: int = BLOCK_SIZE,
    helper: Worker | None = None,
) -> Feed:
    """Open a file or a pipe of updates.

    What concerns the whole feed is an error here, before any row: an unreadable or foreign file, a
    header that lacks a required field, an expression that cannot be computed.

    Args:
        file: a path, or ``-`` for `stream`. A path that is no regular file (a named pipe,
            ``/dev/stdin``) is read like a pipe.
        options: how to read it; all defaults if None.
        stream: the binary stream for ``-``; it is read as it comes and never closed.
        digest: `content_digest` of the file if it is known already; for a pipe whatever is to
            stand for its content in made ids, which else are new ones every time.
        block_size: bytes of text in a batch, about.
        helper: another process that takes a part of the work on JSON Lines.

    Returns:
        The feed, a context manager and an iterable of `FeedBatch`.

    Raises:
        FeedError: it cannot be opened, or is not what it is said to be.
        UsageError: the options do not fit it.
    """
    options = options or FeedOptions()
    if str(file) == "-":
        if stream is None:
            raise ValueError("open_feed('-') needs the stream to read")
        source, path = ByteSource(stream, STDIN_NAME, owned=False), None
    else:
        path = Path(file)
        source = ByteSource.open(path)
    try:
        return Feed(source, path, options, stream, digest, block_size, helper)
    except BaseException:
        source.close()
        raise


class Feed:
    """An open feed; iterate over it once. Made by `open_feed`.

    Attributes:
        name: the file's name without its folder, or ``stdin``.
        format: ``csv``, ``jsonl`` or ``parquet``.
        total_bytes: the file's size, or None for a pipe.
        columns: the feed's columns; empty for JSON Lines, whose lines name their own.
        delimiter: the delimiter of a CSV feed, else None.
        digest: the content's digest if ids are made of it, else None.
        run: the number of the deliberate repetition. Both may be set before the first batch, or,
            after `await_identity`, until `identify` is called.
    """

    def __init__(
        self,
        source: ByteSource,
        path: Path | None,
        options: FeedOptions,
        stream: BinaryIO | None,
        digest: str | None,
        block_size: int,
        helper: Worker | None = None,
    ) -> None:
        self.name = source.name
        self.total_bytes = source.total_bytes
        self.columns: tuple[str, ...] = ()
        self.delimiter: str | None = None
        self.digest = digest
        self.run = options.run
        self._identified = threading.Event()
        self._identified.set()
        self._source = source
        self._path = path
        self._options = options
        self._helper = helper
        self._parquet: ParquetFeed | None = None
        # Ids come from a digest of the content: a file that grows meanwhile would get wrong ones.
        self._signature = _signature(path) if path else None
        told = options.input_format or detect.by_name(self.name if path else "")
        head = source.start()
        if source.packed and told == "parquet":
            raise FeedError(f"{self.name} is packed Parquet", "Unpack it first")
        if not source.packed and detect.check_parquet(self.name, told, head):
            self.format = "parquet"
            rows, plan = self._open_parquet(path, stream)
        else:
            rows, plan = self._open_lines(told, head, block_size)
        self._rows = rows
        self._assembler = Assembler(
            self.name,
            _source_name(self.name, path),
            plan,
            options,
            self._ids(),
            point_is_doubtful=self.delimiter == ";" and not options.decimal_comma,
            total_bytes=self.total_bytes,
        )

    def __enter__(self) -> Feed:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[FeedBatch]:
        """Yield the feed's batches in order.

        Raises:
            FeedError: the feed breaks off here, or changed meanwhile; everything before was
                handed out.
            UsageError: its times have no zone and the options name none.
        """
        for rows in self._rows:
            yield self._assembler.assemble(rows)
        self._assembler.finish()
        if self._path is not None and self._signature != _signature(self._path):
            raise FeedError(
                f"{self.name} changed while it was read",
                "Load it again once it is complete; the update ids made for it may not be final",
            )

    def await_identity(self) -> None:
        """From now on rows that need an id wait for `identify`; others are read meanwhile."""
        self._identified.clear()

    def identify(self, run: int) -> None:
        """Say which run this is; `digest` is set if it is ever to be.

        Args:
            run: the number of the deliberate repetition.
        """
        self.run = run
        self._identified.set()

    def id_source(self) -> DigestIds:
        """What ids are made of, once that is known."""
        self._identified.wait()
        if self.digest is None:
            assert self._path is not None
            self.digest = content_digest(self._path)
        return DigestIds(self.digest, self.run)

    def close(self) -> None:
        """Close the file; a stream that was handed in stays open."""
        self._identified.set()
        if self._parquet is not None:
            self._parquet.close()
        self._source.close()

    def _open_parquet(
        self, path: Path | None, stream: BinaryIO | None
    ) -> tuple[Iterable[RawRows], Plan]:
        if self.total_bytes is None:
            raise FeedError(
                f"{self.name} is Parquet, which cannot be read from a pipe",
                "Save it to a file and load that",
            )
        if path is None:
            assert stream is not None
            stream.seek(0)
            self._parquet = ParquetFeed(stream, self.name)
        else:
            self._parquet = ParquetFeed(path, self.name)
        schema = self._parquet.schema(nested=self._options.keep_extra)
        self.columns = tuple(name for name, _ in schema)
        plan = make_plan(self.name, schema, self._options)
        read = plan.columns or self.columns[:1]
        return self._parquet.rows(read, self.total_bytes, plain=plan.is_plain), plan

    def _open_lines(
        self, told: str | None, head: bytes, block_size: int
    ) -> tuple[Iterable[RawRows], Plan]:
        encoding = self._options.encoding or "utf-8"
        if not self._source.packed:
            encoding = self._options.encoding or encoding_of(head) or "utf-8"
        blocks = BlockReader(self._source, encoding, block_size)
        if told is None:
            told = "jsonl" if blocks.peek(detect.looks_like_json) else "csv"
        self.format = told
        if told == "jsonl":
            plan = make_json_plan(self._options)
            strict = self._options.input_format is None
            rows = JsonRows(
                self._source, blocks, plan, self.name, strict_start=strict, helper=self._helper
            )
            return rows, plan
        header = read_header(blocks, self.name, self._options.delimiter)
        if header is None:
            raise FeedError(
                f"{self.name} is empty",
                "A CSV feed begins with a header line that names its columns",
            )
        self.columns, self.delimiter = header.names, header.delimiter
        schema = [(name, pl.String()) for name in header.names]
        plan = make_plan(self.name, schema, self._options)
        positions = [header.names.index(name) for name in plan.columns]
        return CsvRows(self._source, blocks, header, positions, self.name), plan

    def _ids(self) -> IdMaker:
        """Return how ids are made: a regular file's rows always get the same ones."""
        is_file = self._path is not None and self.total_bytes is not None
        if not is_file and self.digest is None:
            return UuidIds()
        return _LateDigestIds(self)


class _LateDigestIds:
    """`DigestIds` whose digest is computed only when the first id is needed."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def make(self, row_numbers: IntArray) -> pl.Series:
        return self._feed.id_source().make(row_numbers)


def _signature(path: Path) -> tuple[int, int] | None:
    """Return what tells that a regular file was written to: its size and its time."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _source_name(name: str, path: Path | None) -> str:
    """Return the default `source`: ``file:NAME``, cut at the front to the field's limit."""
    if path is None:
        return name
    return "file:" + name[-(TEXT_LIMITS["source"] - len("file:")) :]

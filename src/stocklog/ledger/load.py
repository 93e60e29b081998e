"""Real updates out of files and pipes into a stream."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from stocklog.errors import FeedError, UsageError
from stocklog.inventory import codec
from stocklog.inventory.feeds import Feed, FeedOptions, open_feed
from stocklog.ledger.pipeline import OnTick, Tick, ahead, ignore
from stocklog.ledger.produce import BLOCK_ROWS, drain
from stocklog.stream import PublisherOptions

if TYPE_CHECKING:
    from stocklog.inventory.codec import Encoded
    from stocklog.inventory.feeds import FeedBatch, Reject
    from stocklog.stream import Publisher, StreamClient

__all__ = ["STDIN", "FileResult", "LoadPlan", "LoadSummary", "check_files", "load"]

STDIN = Path("-")
"""Stands for standard input in the list of files."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What is to be loaded, and how.

    Attributes:
        files: in their order; `STDIN` is standard input.
        options: how the files are to be read.
        rejects: JSON Lines file for the rows that are no updates, or `None`.
        codec: `none`, `gzip`, `snappy`, `lz4` or `zstd`.
        sub_batch: updates in one entry; 1 is plain entries.
        name: of the producer, or `None`.

    Raises:
        UsageError: an envelope or a name that cannot be.
    """

    files: Sequence[Path]
    options: FeedOptions
    rejects: Path | None = None
    codec: str = "none"
    sub_batch: int = 500
    name: str | None = None

    def __post_init__(self) -> None:
        PublisherOptions(name=self.name, codec=self.codec, sub_batch=self.sub_batch)


@dataclass(slots=True)
class FileResult:
    """What became of one file.

    Attributes:
        file: as it was given.
        read: rows read.
        updates: rows that are updates: sent, or only counted in a dry run.
        rejects: rows that are none.
        complete: whether it was read to its end.
    """

    file: str
    read: int = 0
    updates: int = 0
    rejects: int = 0
    complete: bool = False


@dataclass(slots=True)
class LoadSummary:
    """What came of a load.

    Attributes:
        stream: the stream's name.
        updates: how many the broker has confirmed; in a dry run: how many are valid.
        unconfirmed: how many were sent and neither confirmed nor refused.
        read: rows read.
        rejects: rows that are no updates.
        reasons: why, with how many rows each, most first.
        files: the result of each file that was begun.
        seconds: from the first row read to the last confirm.
        dry_run: whether nothing was sent.
        interrupted: whether the user ended it.
    """

    stream: str
    updates: int = 0
    unconfirmed: int = 0
    read: int = 0
    rejects: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    files: list[FileResult] = field(default_factory=list)
    seconds: float = 0.0
    dry_run: bool = False
    interrupted: bool = False

    @property
    def rate(self) -> float:
        """Updates a second."""
        return self.updates / self.seconds if self.seconds else 0.0

    def facts(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {**asdict(self), "rate": self.rate}


OnFile = Callable[[FileResult], None]


def check_files(plan: LoadPlan) -> None:
    """Find what is wrong with the files before anything is sent.

    Each file is opened, and its header is held against the options.

    Raises:
        UsageError: standard input twice, the reject file among the files, a column that is
            missing.
        FeedError: a file that cannot be opened, or is none of the formats.
    """
    if sum(file == STDIN for file in plan.files) > 1:
        raise UsageError("Standard input can be read only once", "Give - once")
    for file in plan.files:
        if file == STDIN or file.is_fifo() or file.is_char_device():
            continue  # to look at it would be to take from it
        if plan.rejects is not None and plan.rejects.resolve() == file.resolve():
            raise UsageError(
                f"{file} is to be loaded and to take the rejects", "Give another --rejects FILE"
            )
        open_feed(file, plan.options).close()


def load(
    client: StreamClient | None,
    stream: str,
    plan: LoadPlan,
    *,
    on_tick: OnTick = ignore,
    on_file: OnFile = lambda result: None,
    stop: threading.Event | None = None,
    summary: LoadSummary | None = None,
) -> LoadSummary:
    """Publish the rows of files; the next block is read while one is sent.

    Args:
        client: connected; `None` for a dry run, which sends nothing.
        stream: the stream's name; it exists.
        plan: what to load.
        on_tick: gets the state of the job after each block.
        on_file: gets the result of each file as soon as it is confirmed.
        stop: ends the load in order when set: what is sent is waited for, up to 10 s.
        summary: filled as the load goes on, for a caller who wants it also if it fails.

    Returns:
        What came of it.

    Raises:
        UsageError, FeedError: see `check_files`; also a file that turns out to be damaged.
            What came before it is loaded, and in the summary.
        UnconfirmedError, StreamError: not everything was confirmed.
    """
    summary = summary or LoadSummary(stream)
    summary.dry_run = client is None
    with ExitStack() as opened:
        rejects = None
        if plan.rejects is not None:
            rejects = opened.enter_context(plan.rejects.open("w", encoding="utf-8"))
        job = _Load(plan, summary, on_tick, stop or threading.Event(), rejects)
        if client is not None:
            job.publisher = opened.enter_context(
                client.publisher(stream, name=plan.name, codec=plan.codec, sub_batch=plan.sub_batch)
            )
        job.run(on_file)
    return summary


class _Load:
    """One load under way."""

    def __init__(
        self,
        plan: LoadPlan,
        summary: LoadSummary,
        on_tick: OnTick,
        stop: threading.Event,
        rejects: TextIO | None,
    ) -> None:
        self.publisher: Publisher | None = None
        self._plan, self._summary = plan, summary
        self._on_tick, self._stop, self._rejects = on_tick, stop, rejects
        self._reasons: Counter[str] = Counter()
        self._sizes = _sizes(plan.files)
        self._bytes_before = 0

    def run(self, on_file: OnFile) -> None:
        """Load every file."""
        begun = time.perf_counter()
        try:
            for file in self._plan.files:
                if self._stop.is_set():
                    break
                result = FileResult(str(file))
                self._summary.files.append(result)
                try:
                    self._load(file, result)
                except (FeedError, UsageError):
                    self._drain()  # what came before the damage is loaded all the same
                    on_file(result)
                    raise
                self._drain()
                on_file(result)
        finally:
            summary = self._summary
            summary.seconds = time.perf_counter() - begun
            summary.reasons = dict(self._reasons.most_common())
            summary.interrupted = self._stop.is_set()
            if self.publisher is not None:
                summary.updates = self.publisher.confirmed
                summary.unconfirmed = self.publisher.sent - self.publisher.confirmed

    def _load(self, file: Path, result: FileResult) -> None:
        with _opened(file, self._plan.options) as feed:
            lead = self.publisher.lead if self.publisher else None
            for batch, blocks in ahead(_encoded(feed, lead), stop=self._stop):
                self._count(batch, result)
                self._keep(batch.rejects)
                for block in blocks:
                    if self.publisher is not None:
                        self.publisher.send(block.data, block.starts)
                if self.publisher is not None and batch.total_bytes is None and not self._plan.name:
                    self.publisher.push()  # a pipe's lines go out as they come
                self._on_tick(self._tick(batch))
            result.complete = not self._stop.is_set()
        self._bytes_before += self._sizes.get(file, 0)

    def _count(self, batch: FeedBatch, result: FileResult) -> None:
        updates, rejects = batch.updates.height, len(batch.rejects)
        result.read += batch.rows_read
        result.updates += updates
        result.rejects += rejects
        self._summary.read += batch.rows_read
        self._summary.rejects += rejects
        if self.publisher is None:
            self._summary.updates += updates

    def _keep(self, rejects: Sequence[Reject]) -> None:
        self._reasons.update(reject.reason for reject in rejects)
        if self._rejects is not None and rejects:
            lines = (json.dumps(reject.to_dict(), ensure_ascii=False) for reject in rejects)
            self._rejects.write("\n".join(lines) + "\n")
            self._rejects.flush()

    def _drain(self) -> None:
        if self.publisher is not None:
            drain(self.publisher, self._stop)

    def _tick(self, batch: FeedBatch) -> Tick:
        whole = sum(self._sizes.values())
        known = whole and len(self._sizes) == len(self._plan.files)
        fraction = (self._bytes_before + batch.bytes_read) / whole if known else None
        if self.publisher is None:
            return Tick(self._summary.updates, fraction)
        return Tick(self.publisher.confirmed, fraction, self.publisher.unconfirmed_bytes)


def _encoded(feed: Feed, lead: bytes | None) -> Iterator[tuple[FeedBatch, list[Encoded]]]:
    for batch in feed:
        slices = batch.updates.iter_slices(BLOCK_ROWS) if lead is not None else ()
        yield batch, [codec.encode(rows, lead or b"") for rows in slices]


def _opened(file: Path, options: FeedOptions) -> Feed:
    if file != STDIN:
        return open_feed(file, options)
    # Unbuffered, and not through sys.stdin: a thread that waits for a line in there would
    # hold its lock when the process ends, which Python takes for a fatal error.
    return open_feed("-", options, stream=open(0, "rb", buffering=0, closefd=False))


def _sizes(files: Sequence[Path]) -> dict[Path, int]:
    return {file: file.stat().st_size for file in files if file != STDIN and file.is_file()}

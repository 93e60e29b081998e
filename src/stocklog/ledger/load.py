"""Real updates out of files and pipes into a stream."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from stocklog.errors import FeedError, UsageError
from stocklog.inventory import codec
from stocklog.inventory.feeds import Feed, content_digest, open_feed
from stocklog.ledger.load_plan import (
    STDIN,
    FileResult,
    LoadPlan,
    LoadSummary,
    OnFile,
    check_files,
    is_pipe,
)
from stocklog.ledger.loads import LoadBook, Way, pipe_digest, settings_of
from stocklog.ledger.pipeline import OnTick, Tick, ahead, ignore
from stocklog.ledger.sending import Sending, pieces
from stocklog.ledger.write_errors import naming

if TYPE_CHECKING:
    from stocklog.inventory.codec import Encoded
    from stocklog.inventory.feeds import FeedBatch, Reject
    from stocklog.ledger.register import Register
    from stocklog.stream import StreamClient
    from stocklog.workers import Worker

__all__ = ["STDIN", "FileResult", "LoadPlan", "LoadSummary", "check_files", "load"]

_BLOCK_ROWS = 25_000
"""Updates that are encoded and sent together: 6 MB or so. Smaller blocks cost more each."""

_LINES_AHEAD = 3
"""Blocks of JSON Lines, of 4 MB, that may have been read and wait: more than one, since they are
read while the digest is computed. What another process read waits in memory that it then lacks."""


def load(
    client: StreamClient | None,
    stream: str,
    plan: LoadPlan,
    *,
    register: Register | None = None,
    on_tick: OnTick = ignore,
    on_file: OnFile = lambda result: None,
    on_note: Callable[[str], None] = lambda text: None,
    stop: threading.Event | None = None,
    summary: LoadSummary | None = None,
    helper: Worker | None = None,
) -> LoadSummary:
    """Publish the rows of files, each good row once; the next block is read while one is sent.

    Args:
        client: connected; `None` for a dry run, which sends nothing.
        stream: the stream's name; it exists.
        plan: what to load.
        register: what was loaded before, and how. Without one only the broker knows, which
            remembers 255 loads a stream and not their settings.
        on_tick: gets the state of the job after each block.
        on_file: gets the result of each file as soon as it is confirmed.
        on_note: gets a line about what was found, such as an earlier load of a file.
        stop: ends the load in order when set: what is sent is waited for, up to 10 s.
        summary: filled as the load goes on, for a caller who wants it also if it fails.
        helper: see `open_feed`.

    Returns:
        What came of it.

    Raises:
        UsageError, FeedError: see `check_files`; also a file that turns out to be damaged
            (what came before it is loaded, and in the summary), or that was loaded with
            other settings.
        ProducerConflictError: another process loads the same file, or under the same name.
        RegisterError: the register cannot be written.
        UnconfirmedError, StreamError: not everything was confirmed.
    """
    summary = summary or LoadSummary(stream)
    summary.dry_run = client is None
    with ExitStack() as opened:
        rejects = None
        if plan.rejects is not None:
            rejects = opened.enter_context(plan.rejects.open("w", encoding="utf-8"))
        book = None
        if client is not None:
            book = LoadBook(
                register,
                client,
                stream,
                name=plan.name,
                sub_batch=plan.sub_batch,
                again=plan.again,
                say=on_note,
            )
        ends = stop or threading.Event()
        job = _Load(client, book, plan, summary, on_tick, ends, rejects, helper)
        job.run(on_file)
    return summary


class _Load:
    """One load under way."""

    def __init__(
        self,
        client: StreamClient | None,
        book: LoadBook | None,
        plan: LoadPlan,
        summary: LoadSummary,
        on_tick: OnTick,
        stop: threading.Event,
        rejects: TextIO | None,
        helper: Worker | None,
    ) -> None:
        self._client, self._book = client, book
        self._plan, self._summary = plan, summary
        self._on_tick, self._stop, self._rejects = on_tick, stop, rejects
        self._helper = helper
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
                    on_file(result)  # what came before the damage is loaded all the same
                    raise
                on_file(result)
        finally:
            summary = self._summary
            summary.seconds = time.perf_counter() - begun
            if summary.nothing_to_do:
                summary.rejects, self._reasons = 0, Counter()
            summary.reasons = dict(self._reasons.most_common())
            summary.interrupted = self._stop.is_set()

    def _load(self, file: Path, result: FileResult) -> None:
        with _opened(file, self._plan, self._helper) as feed:
            if self._client is None or self._book is None:
                self._read(feed, result)
            else:
                self._load_into(self._client, self._book, file, feed, result)
        self._bytes_before += self._sizes.get(file, 0)

    def _load_into(
        self, client: StreamClient, book: LoadBook, file: Path, feed: Feed, result: FileResult
    ) -> None:
        with ExitStack() as opened:
            if not is_pipe(file):
                # The first rows are read while the digest of all of them is computed.
                feed.await_identity()
                depth = _LINES_AHEAD if feed.format == "jsonl" else 1
                batches = opened.enter_context(closing(ahead(feed, depth=depth, stop=self._stop)))
            way = opened.enter_context(self._way(book, file, feed))
            feed.identify(way.run)
            if is_pipe(file):
                batches = opened.enter_context(closing(ahead(feed, depth=1, stop=self._stop)))
            if way.is_done:
                self._pass_over(feed.name, batches, way, result)
            else:
                self._publish(client, batches, way, result)

    def _way(self, book: LoadBook, file: Path, feed: Feed) -> AbstractContextManager[Way]:
        settings = settings_of(feed, self._plan.options, self._plan.sub_batch)
        if is_pipe(file):
            return book.of_pipe(settings)
        feed.digest = content_digest(file)
        return book.of_file(file, feed.digest, settings)

    def _read(self, feed: Feed, result: FileResult) -> None:
        """A dry run."""
        for batch in ahead(feed, stop=self._stop):
            self._count(batch, result)
            self._keep(batch.rejects)
            self._summary.updates += batch.height
            self._on_tick(self._tick(batch, self._summary.updates))
        result.complete = not self._stop.is_set()

    def _pass_over(
        self, name: str, batches: Iterable[FeedBatch], way: Way, result: FileResult
    ) -> None:
        """A file that is loaded already: nothing is sent, but the reject file is to be whole."""
        facts, summary = way.facts, self._summary
        result.already = result.complete = True
        result.updates = result.before = facts.rows
        result.rejects = facts.rejects
        result.read = facts.rows + facts.rejects
        summary.before += facts.rows
        summary.rejects += facts.rejects
        if self._rejects is not None and facts.rejects:
            for batch in batches:
                self._keep(batch.rejects)
        elif facts.rejects:
            self._reasons[f"in {name}, which was loaded before"] += facts.rejects

    def _publish(
        self, client: StreamClient, batches: Iterable[FeedBatch], way: Way, result: FileResult
    ) -> None:
        plan, summary = self._plan, self._summary
        confirmed_before, unconfirmed_before = summary.updates, summary.unconfirmed
        with client.publisher(
            summary.stream, name=way.name, codec=plan.codec, sub_batch=plan.sub_batch
        ) as publisher, Sending(publisher, self._stop) as sending:  # fmt: skip
            known = publisher.last_sequence
            borders = way.begin(known)
            try:
                # One thread reads, one encodes, this one sends: each at most one block ahead.
                blocks = _encoded(batches, publisher.lead, known, borders)
                for batch, encoded in ahead(blocks, depth=1, stop=self._stop):
                    self._check_first(batch, way, result)
                    self._count(batch, result)
                    self._keep(batch.rejects)
                    for block in encoded:
                        sending.send(block, borders)
                    if batch.total_bytes is None and way.name is None:
                        publisher.push()  # a pipe's lines go out as they come
                    way.progress(known + publisher.confirmed)
                    self._on_tick(self._tick(batch, confirmed_before + publisher.confirmed,
                                             publisher.unconfirmed_bytes))  # fmt: skip
                self._end(sending, way, result, complete=not self._stop.is_set())
            except (FeedError, UsageError):
                sending.end(way.will_end)
                raise
            finally:
                summary.updates = confirmed_before + publisher.confirmed
                summary.unconfirmed = unconfirmed_before + sending.unknown
                result.before = min(known, result.updates)
                summary.before += result.before

    def _end(self, sending: Sending, way: Way, result: FileResult, *, complete: bool) -> None:
        result.complete = sending.end(way.will_end) and complete
        number = sending.publisher.last_sequence + sending.publisher.confirmed
        way.settle(number, complete=result.complete, rejects=result.rejects)

    def _check_first(self, batch: FeedBatch, way: Way, result: FileResult) -> None:
        if not result.updates and batch.height:
            body = codec.encode(batch.first(1), b"").data
            way.check_first(hashlib.sha256(body.tobytes()).hexdigest()[:32])

    def _count(self, batch: FeedBatch, result: FileResult) -> None:
        rejects = len(batch.rejects)
        result.read += batch.rows_read
        result.updates += batch.height
        result.rejects += rejects
        self._summary.read += batch.rows_read
        self._summary.rejects += rejects

    def _keep(self, rejects: Sequence[Reject]) -> None:
        self._reasons.update(reject.reason for reject in rejects)
        if self._rejects is not None and rejects:
            lines = (json.dumps(reject.to_dict(), ensure_ascii=False) for reject in rejects)
            with naming(self._plan.rejects):
                self._rejects.write("\n".join(lines) + "\n")
                self._rejects.flush()

    def _tick(self, batch: FeedBatch, done: int, unconfirmed_bytes: int = 0) -> Tick:
        whole = sum(self._sizes.values())
        known = whole and len(self._sizes) == len(self._plan.files)
        fraction = (self._bytes_before + batch.bytes_read) / whole if known else None
        return Tick(done, fraction, unconfirmed_bytes)


def _encoded(
    feed: Iterable[FeedBatch], lead: bytes, known: int, borders: Sequence[int]
) -> Iterator[tuple[FeedBatch, list[Encoded]]]:
    """Batches and their rows as bodies, without the first `known` good rows of the feed."""
    number = 0
    for batch in feed:
        rows = batch.to_arrow() if batch.dictionaries else batch.updates
        fresh = rows.slice(min(max(0, known - number), len(rows)))
        number += len(rows)
        parts = pieces(fresh, number - len(fresh), borders, _BLOCK_ROWS)
        yield batch, [codec.encode(part, lead) for part in parts]


def _opened(file: Path, plan: LoadPlan, helper: Worker | None) -> Feed:
    if not is_pipe(file):
        return open_feed(file, plan.options, helper=helper)
    digest = None if plan.name is None else pipe_digest(plan.name)
    if file != STDIN:
        return open_feed(file, plan.options, digest=digest)
    # Unbuffered, and not through sys.stdin: a thread that waits for a line in there would
    # hold its lock when the process ends, which Python takes for a fatal error.
    return open_feed(
        "-", plan.options, stream=open(0, "rb", buffering=0, closefd=False), digest=digest
    )


def _sizes(files: Sequence[Path]) -> dict[Path, int]:
    return {file: file.stat().st_size for file in files if file != STDIN and file.is_file()}

"""From the stream into a store, and kept current there.

The store's balances and the offset that they stand at change in one transaction, so
whatever ends a projector, the next one goes on from the offset in the store. It begins
with the last message that is in the store already: if the stream has another one there,
it is not the stream that the store was made from.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from stocklog.errors import StoreError, StreamNotFoundError
from stocklog.ledger.batch import decode
from stocklog.ledger.pipeline import OnTick, Tick, ahead, ignore
from stocklog.stores.coding import COLUMNS, Batch, Coded, Mark
from stocklog.stores.model import Gap, Position, Store
from stocklog.stores.projection import Projection
from stocklog.stores.run_files import folder_of
from stocklog.stores.segments import Clock
from stocklog.stream import StreamClient, Subscriber

if TYPE_CHECKING:
    from stocklog.protocol.chunk import MessageBlock

__all__ = ["COMMIT_ROWS", "ProjectSummary", "project"]

COMMIT_ROWS = 1_000_000
"""Updates in a commit when there are many to catch up with."""

_CODED_ROWS = 1 << 18
"""Updates that are made numbers of together."""

_PATIENCE = 1.0
"""Seconds that an update waits at most for others, before it is coded and once more before
it is committed."""

_POLL = 0.2
_NEW_STORE = (
    "Name another store with --store, or delete that one (its file; in PostgreSQL its schema): "
    "`stocklog project` then builds it anew"
)


@dataclass(slots=True)
class ProjectSummary:
    """What a projection came to.

    Attributes:
        stream: the stream's name.
        store: the store.
        updates: updates applied in this run.
        duplicates: updates left out because they had come before.
        invalid: messages that were no updates.
        last_offset: where the store stands, -1 before the first message.
        commits: transactions.
        seconds: from attaching to the last commit.
        interrupted: whether the user ended it.
        gap: whether offsets are missing, in this run or from before.
    """

    stream: str
    store: str
    updates: int = 0
    duplicates: int = 0
    invalid: int = 0
    last_offset: int = -1
    commits: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    gap: bool = False

    @property
    def rate(self) -> float:
        """Updates a second, duplicates included."""
        return (self.updates + self.duplicates) / self.seconds if self.seconds else 0.0

    def facts(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {**asdict(self), "rate": self.rate}


def project(
    client: StreamClient,
    stream: str,
    store: Store,
    *,
    until_end: bool = False,
    last: int | None = None,
    accept_gap: bool = False,
    commit_rows: int = COMMIT_ROWS,
    on_tick: OnTick = ignore,
    on_note: Callable[[str], None] = lambda text: None,
    stop: threading.Event | None = None,
    summary: ProjectSummary | None = None,
) -> ProjectSummary:
    """Bring a store up to the log's end, and keep it there.

    Args:
        client: connected.
        stream: the stream's name.
        store: open for writing; the caller closes it.
        until_end: end with the last message that is committed now.
        last: end with this offset.
        accept_gap: go on where retention has cut the log; the gap is kept in the store.
        commit_rows: updates that make a commit, if there are so many at once.
        on_tick: gets the state of the job after each commit.
        on_note: gets a line about what the user should know.
        stop: ends it in order when set: what was read is committed.
        summary: filled as the work goes on.

    Returns:
        What was done.

    Raises:
        StoreError: the store is of another stream, cannot be written, or retention has cut
            what it needs next.
        StreamError: the stream does not exist, or the connection is lost for good.
    """
    summary = summary or ProjectSummary(stream, store.where)
    position = store.claim(stream)
    start = _start(client, stream, store, position, accept_gap=accept_gap, on_note=on_note)
    end = client.last_offset(stream)
    end = last if last is not None and end is not None else end
    expected = 0 if end is None else max(0, end - position.last_offset)
    projection = Projection(store, position, expected, folder_of(store.where))
    begun = time.perf_counter()
    try:
        offset = "first" if start.offset is None else str(start.offset)
        if last is not None:
            offset += f"..{last}"
        with client.subscriber(stream, offset, until_end=until_end) as subscriber:
            pieces = _Pieces(subscriber, position, start, accept_gap=accept_gap, stop=stop)
            # In one thread: two were faster for a file of late counts, slower for a long log.
            decoded = (_decoded(piece) for piece in pieces.read(commit_rows))
            read = ahead(decoded, stop=stop)
            coded = _coded(_gathered(read, min(_CODED_ROWS, commit_rows), Batch.joined), projection)
            for batch in ahead(_gathered(coded, commit_rows, Coded.joined), depth=1):
                if batch is None:
                    continue
                projection.take_coded(batch)
                del batch  # or it would be kept while the next one is waited for
                _count(summary, position, projection.position)
                summary.seconds = time.perf_counter() - begun
                on_tick(_tick(projection.position, position, end, until_end=until_end))
            projection.settle()
        store.make_indexes()
    finally:
        projection.close()
    _count(summary, position, projection.position, commits=0)
    summary.seconds = time.perf_counter() - begun
    summary.interrupted = bool(stop and stop.is_set())
    if pieces.refused is not None:
        raise _cut(store, pieces.refused)
    return summary


def _count(summary: ProjectSummary, before: Position, now: Position, commits: int = 1) -> None:
    summary.updates = now.updates - before.updates
    summary.duplicates = now.duplicates - before.duplicates
    summary.invalid = now.invalid - before.invalid
    summary.last_offset = now.last_offset
    summary.gap = bool(now.gaps)
    summary.commits += commits


def _tick(now: Position, before: Position, last: int | None, *, until_end: bool) -> Tick:
    done = now.updates + now.duplicates - before.updates - before.duplicates
    if last is None:
        return Tick(done)
    fraction = None
    if until_end and last > before.last_offset:
        fraction = min(1.0, (now.last_offset - before.last_offset) / (last - before.last_offset))
    return Tick(done, fraction, lag=max(0, last - now.last_offset) if until_end else None)


# -- where to begin -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Start:
    """Where reading begins.

    Attributes:
        offset: `None`: with the first that is kept.
        known: whether the message there is in the store already.
        gap: what is missing before it.
    """

    offset: int | None
    known: bool = False
    gap: Gap | None = None


def _start(
    client: StreamClient,
    stream: str,
    store: Store,
    position: Position,
    *,
    accept_gap: bool,
    on_note: Callable[[str], None],
) -> _Start:
    if not client.stream_exists(stream):
        raise StreamNotFoundError(
            f"There is no stream {stream!r} at {client.uri}",
            "`stocklog produce` and `stocklog load` make it; --stream names another",
            code=2,
        )
    first, last = client.begin_offset(stream), client.last_offset(stream)
    stands = position.last_offset
    if stands < 0:
        if first:
            on_note(
                f"the log begins with offset {first}: what came before was cut by retention, so "
                "a key is right from its first count on"
            )
        return _Start(None)
    if first is None or last is None or last < stands:
        raise _other_stream(store, stream, f"it ends with offset {-1 if last is None else last}")
    if first <= stands:
        return _Start(stands, known=True)
    gap = Gap(stands + 1, first - 1) if first > stands + 1 else None
    if gap is not None and not accept_gap:
        raise _cut(store, gap)
    return _Start(first, gap=gap)


def _other_stream(store: Store, stream: str, how: str) -> StoreError:
    position = store.position()
    stands = position.last_offset if position else -1
    return StoreError(
        f"The stream {stream!r} is not the one that {store.where} was made from: the store "
        f"stands at offset {stands}, but {how}. It was deleted and made again, or is "
        "another broker's",
        _NEW_STORE,
    )


def _cut(store: Store, gap: Gap) -> StoreError:
    return StoreError(
        f"Retention has cut offsets {gap.first} to {gap.last} of the log, which {store.where} "
        "has not seen: its balances would be wrong without them",
        "Go on without them with --accept-gap (the store remembers the gap; a key is right "
        "again from its next count on), or begin a new store",
    )


# -- reading --------------------------------------------------------------------------------


_Piece: TypeAlias = "tuple[MessageBlock, Gap | None]"
"""Messages, and what is missing before them."""


class _Pieces:
    """Blocks of the stream from behind what the store has.

    Attributes:
        refused: the gap at which reading ended, `None` if there was none.
    """

    def __init__(
        self,
        subscriber: Subscriber,
        position: Position,
        start: _Start,
        *,
        accept_gap: bool,
        stop: threading.Event | None,
    ) -> None:
        self._subscriber = subscriber
        self._position = position
        self._known = start.known
        self._gap = start.gap
        self._gaps_seen = 0
        self._accept_gap = accept_gap
        self._stop = stop
        self.refused: Gap | None = None

    def read(self, rows: int) -> Iterator[_Piece | None]:
        """Pieces of at most so many rows; `None` when there is nothing to read just now."""
        while not (self._stop and self._stop.is_set()):
            block = self._subscriber.next(_POLL)
            if block is None:
                if self._subscriber.ended:
                    return
                yield None
                continue
            if self._known:
                block = self._without_known(block)
            for part, gap in self._at_gaps(block):
                for at in range(0, len(part.offsets), rows):
                    yield part[at : at + rows], None if at else gap
            if self.refused is not None:
                return

    def _without_known(self, block: MessageBlock) -> MessageBlock:
        """Check that the first message is the last one of the store, and leave it off."""
        self._known = False
        position = self._position
        if position.last_offset < block.offsets[0]:
            return block  # cut since it was looked for: a gap that the subscriber tells of
        mark = _mark(block, 0)
        wanted = Mark(position.last_offset, position.last_recorded_at, position.last_digest)
        if mark != wanted:
            raise StoreError(
                f"The stream {position.stream!r} is not the one that the store was made from: at "
                f"offset {position.last_offset} it has another message than the one in the "
                "store. It was deleted and made again, or is another broker's",
                _NEW_STORE,
            )
        return block[1 : len(block.offsets)]

    def _at_gaps(self, block: MessageBlock) -> Iterator[tuple[MessageBlock, Gap | None]]:
        """The block, cut where retention has cut the log while it was read."""
        found = self._subscriber.gaps[self._gaps_seen :]
        self._gaps_seen += len(found)
        stands = self._position.last_offset
        for gap in (Gap(max(first, stands + 1), last) for first, last in found if last > stands):
            border = int(np.searchsorted(block.offsets, gap.first))
            if border:
                yield block[:border], self._gap
                self._gap = None
            # With nothing between two gaps they are one.
            self._gap = Gap(gap.first if self._gap is None else self._gap.first, gap.last)
            if not self._accept_gap:
                self.refused = gap
                return
            block = block[border : len(block.offsets)]
        yield block, self._gap
        if len(block.offsets):
            self._gap = None


def _mark(block: MessageBlock, row: int) -> Mark:
    start, length = int(block.starts[row]), int(block.lengths[row])
    digest = hashlib.sha256(block.buffer[start : start + length].tobytes()).hexdigest()
    return Mark(int(block.offsets[row]), int(block.timestamps[row]), digest)


def _decoded(piece: _Piece | None) -> Batch | None:
    if piece is None:
        return None
    block, gap = piece
    decoded = decode(block)
    return Batch(
        decoded.updates.select(COLUMNS),
        decoded.offsets,
        Clock.of(block.offsets, block.timestamps),
        len(decoded.invalid),
        _mark(block, len(block.offsets) - 1),
        gap,
    )


def _coded(batches: Iterator[Batch | None], projection: Projection) -> Iterator[Coded | None]:
    for batch in batches:
        yield None if batch is None else projection.coder.code(batch)


Part = TypeVar("Part", Batch, Coded)


def _gathered(
    parts: Iterator[Part | None], rows: int, join: Callable[[list[Part]], Part]
) -> Iterator[Part | None]:
    """Join parts until there are enough rows, nothing more to read, or time is over.

    A gap begins a part of its own, and `None`, which says that there is nothing to read just
    now, is passed on.
    """
    waiting: list[Part] = []
    count, since = 0, 0.0
    for part in parts:
        if part is not None:
            if part.gap is not None and waiting:
                yield _joined(waiting, join)
                count = 0
            if not waiting:
                since = time.monotonic()
            waiting.append(part)
            count += part.messages
        is_over = time.monotonic() - since >= _PATIENCE
        if waiting and (part is None or count >= rows or is_over):
            yield _joined(waiting, join)
            count = 0
        if part is None:
            yield None
    if waiting:
        yield _joined(waiting, join)


def _joined(parts: list[Part], join: Callable[[list[Part]], Part]) -> Part:
    """Join parts and forget them: they would be kept as long as what they became is waited for."""
    joined = join(parts)
    parts.clear()
    return joined

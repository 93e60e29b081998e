"""What the SQL stores do alike: whose a store is, and its history, which is blobs in both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
import polars as pl

from stocklog.errors import StoreError
from stocklog.inventory.legs import COUNT, Legs
from stocklog.stores import packing
from stocklog.stores.model import Position
from stocklog.stores.segments import Block, Clock, Flags, Ids, Segment, SegmentInfo, mergeable
from stocklog.stores.sums import Sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["SqlHistory"]

_OF_SEGMENTS = ("blocks", "sums", "ids")


def _block_columns(origins: bool) -> str:
    return "first_key, last_key, legs, places, effects" + (", origins" if origins else "")


class SqlHistory(ABC):
    """The half of a store that is the same in every SQL database.

    Queries are written with `?` for an argument, whatever the database's own sign is.

    Attributes:
        BLOCK_ORDER: the columns by which the blocks of a segment are read as they were written.
        ONE_OF_SEGMENTS: that the segment is one of a list, which is the argument.
        OTHER_STORE: what to do about a store that is another stream's.
    """

    BLOCK_ORDER: ClassVar[str]
    ONE_OF_SEGMENTS: ClassVar[str]
    OTHER_STORE: ClassVar[str]

    # -- what a database must offer ---------------------------------------------------------

    @property
    @abstractmethod
    def where(self) -> str:
        """The store as people are told of it, without a password."""

    @abstractmethod
    def position(self) -> Position | None:
        """Where it stands; `None` for a new one."""

    @abstractmethod
    def _rows(self, query: str, arguments: Sequence[Any] = ()) -> Iterable[tuple[Any, ...]]:
        """The rows of a query; the database's errors come as `StoreError`."""

    @abstractmethod
    def _list(self, numbers: Sequence[int]) -> Any:
        """Integers as one argument, as `ONE_OF_SEGMENTS` takes it."""

    @abstractmethod
    def _execute(self, statement: str, arguments: Sequence[Any] = ()) -> None:
        """Run a statement that returns nothing; the database's errors come as they are."""

    @abstractmethod
    def _begin_position(self, position: Position) -> None:
        """Write the first position, in a transaction of its own."""

    @abstractmethod
    def _write_segment(self, segment: Segment) -> None:
        """Add a segment behind the others, in the transaction that is open."""

    # -- whose it is ------------------------------------------------------------------------

    def claim(self, stream: str) -> Position:
        """Make it the store of a stream, for ever.

        Args:
            stream: name of the stream.

        Returns:
            Where it stands.

        Raises:
            StoreError: it is another stream's.
        """
        position = self.position()
        if position is None:
            position = Position(stream)
            self._begin_position(position)
        if position.stream != stream:
            raise StoreError(
                f"{self.where} is the store of the stream {position.stream!r}, not of {stream!r}",
                self.OTHER_STORE,
            )
        return position

    # -- history ----------------------------------------------------------------------------

    def segments(self) -> list[SegmentInfo]:
        """The segments, in the order of the log."""
        query = f"SELECT {', '.join(SegmentInfo._fields)} FROM segments ORDER BY id"  # noqa: S608
        return [SegmentInfo(*row) for row in self._rows(query)]

    def blocks(self, segment: int, *, origins: bool = False) -> Iterator[Legs]:
        """The blocks of a segment.

        Args:
            segment: its number.
            origins: also read reasons and sources, which else are 0.
        """
        for block in self.packed(segment, origins=origins):
            yield block.unpack()

    def packed(
        self, segment: int, keys: tuple[int, int] | None = None, *, origins: bool = False
    ) -> Iterator[Block]:
        """The same blocks as `blocks`, for those who need few of their columns or keys.

        Args:
            segment: its number.
            keys: the lowest and the highest key that are wanted; `None`: all.
            origins: also read reasons and sources.
        """
        query = f"SELECT {_block_columns(origins)} FROM blocks WHERE segment = ?"  # noqa: S608
        arguments: list[int] = [segment]
        if keys is not None:
            query += " AND first_key <= ? AND last_key >= ?"
            arguments += [keys[1], keys[0]]
        for row in self._rows(f"{query} ORDER BY {self.BLOCK_ORDER}", arguments):
            yield Block(*row)

    def packed_of_key(
        self, segments: Sequence[int], key: int, *, origins: bool = False
    ) -> Iterator[Block]:
        """The blocks of several segments that may hold a key, in no order.

        Args:
            segments: their numbers.
            key: which is wanted.
            origins: also read reasons and sources.
        """
        query = (
            f"SELECT {_block_columns(origins)} FROM blocks "  # noqa: S608
            f"WHERE {self.ONE_OF_SEGMENTS} AND first_key <= ? AND last_key >= ?"
        )
        for row in self._rows(query, (self._list(segments), key, key)):
            yield Block(*row)

    def counts(self, segment: int) -> tuple[Legs, tuple[I64, I64]]:
        """The counts of a segment in event order, and the book figures by offset."""
        blob = self._blob("counts", segment)
        keys, times, offsets, values, with_figure, figures = packing.unpack_many(blob)
        kinds = np.full(len(keys), COUNT, np.uint8)
        nothing = np.zeros(len(keys), np.int64)
        legs = Legs(keys, times, offsets, kinds, values, nothing.astype(np.uint8), nothing)
        return legs, (with_figure, figures)

    def sums(self, segment: int) -> Sums:
        """What the deltas of a segment come to, key by key."""
        query = "SELECT since, totals, early FROM sums WHERE segment = ?"
        ((since, totals, early),) = self._rows(query, (segment,))
        return Sums.unpack(int(since), totals, early)

    def flags(self, segment: int) -> Flags:
        """The flags of a segment."""
        return Flags.unpack(self._blob("flag_columns", segment))

    def clock(self, segment: int) -> Clock:
        """When the broker wrote the messages of a segment."""
        return Clock.unpack(self._blob("clock", segment))

    def _blob(self, column: str, segment: int) -> bytes:
        query = f"SELECT {column} FROM segments WHERE id = ?"  # noqa: S608
        ((blob,),) = self._rows(query, (segment,))
        return bytes(blob)

    def ids(
        self, segment: int, first: int = 0, last: int | None = None
    ) -> Iterator[tuple[int, Ids]]:
        """Blocks of ids, each with the number of its first update.

        Args:
            segment: its number.
            first: the lowest number of an update that is wanted.
            last: the highest; `None`: all.
        """
        query = (
            "SELECT first_update, numbers, texts FROM ids WHERE segment = ? "
            "AND first_update + updates > ? AND first_update <= ? ORDER BY first_update"
        )
        highest = (1 << 62) if last is None else last
        for number, numbers, texts in self._rows(query, (segment, first, highest)):
            yield int(number), Ids.unpack(numbers, texts)

    def ids_at(self, segment: int, offsets: I64) -> pl.Series:
        """The ids of updates of a segment by their offsets.

        Args:
            segment: its number.
            offsets: int64[n], rising, each that of an update of the segment.
        """
        query = (
            "SELECT first_update, first_offset, last_offset FROM ids WHERE segment = ? "
            "ORDER BY first_update"
        )
        read = "SELECT numbers, texts FROM ids WHERE segment = ? AND first_update = ?"
        found: list[str] = []
        for number, first, last in list(self._rows(query, (segment,))):
            low, high = np.searchsorted(offsets, [first, last + 1])
            if low < high:
                ((numbers, texts),) = self._rows(read, (segment, number))
                rows = np.searchsorted(packing.unpack_many(numbers)[0], offsets[low:high])
                found += packing.unpack_some_texts(texts, rows)
        return pl.Series("id", found, pl.String)

    # -- few segments out of many small ones -------------------------------------------------

    def _merge(self) -> None:
        """Make few segments of many small ones, in the transaction that is open."""
        infos = self.segments()
        while count := mergeable(infos):
            merged = Segment.merged([self._segment(info) for info in infos[-count:]])
            for table in ("segments", *_OF_SEGMENTS):
                column = "id" if table == "segments" else "segment"
                statement = f"DELETE FROM {table} WHERE {column} >= ?"  # noqa: S608
                self._execute(statement, (infos[-count].id,))
            self._write_segment(merged)
            infos = self.segments()

    def _segment(self, info: SegmentInfo) -> Segment:
        """A whole segment, to be merged."""
        ids = [block for _, block in self.ids(info.id)]
        nothing = Ids(np.zeros(0, np.int64), np.zeros(0, np.int64), pl.Series([], dtype=pl.String))
        return Segment(
            Legs.joined(list(self.blocks(info.id, origins=True))),
            self.counts(info.id)[1],
            Ids.joined(ids) if ids else nothing,
            self.flags(info.id),
            self.clock(info.id),
            info.first_update,
        )

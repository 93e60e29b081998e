"""What goes into a store and comes out of it, whichever kind of store it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

import msgspec
import numpy as np
import polars as pl

from stocklog.inventory.legs import Legs
from stocklog.stores.segments import Block, Clock, Flags, Ids, Segment, SegmentInfo
from stocklog.stores.sums import Sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["FORMAT", "Commit", "Gap", "Names", "Position", "SeenRun", "Sources", "Store"]

FORMAT = 4
"""Number of the layout; a store of another one is refused."""


class Gap(msgspec.Struct, frozen=True):
    """Offsets that retention cut before they were read.

    Attributes:
        first: the first that is missing.
        last: the last.
    """

    first: int
    last: int


class SeenRun(msgspec.Struct, frozen=True):
    """A file that saves reading ids again when a store is opened; see `stores.run_files`.

    Attributes:
        name: of the file.
        first: number of the first update in it.
        count: how many updates.
    """

    name: str
    first: int
    count: int


class Position(msgspec.Struct, frozen=True):
    """What a store is of, and where it stands.

    Attributes:
        stream: name of the stream.
        first_offset: the first offset that the store has seen, -1 before the first message.
        first_recorded_at: when the broker wrote that, milliseconds since 1970.
        last_offset: the last offset that is in the balances, -1 before the first message.
        last_recorded_at: when the broker wrote that, milliseconds since 1970.
        last_digest: SHA-256 of that message, in hexadecimal. By time and digest the stream
            is known again; a stream that was made anew under the same name has others.
        updates: how many updates were applied.
        duplicates: how many were left out because they had come before.
        invalid: how many messages were no updates.
        gaps: what is missing in between.
        seen: files with the hashes of the ids, which the store can do without.
    """

    stream: str
    first_offset: int = -1
    first_recorded_at: int = 0
    last_offset: int = -1
    last_recorded_at: int = 0
    last_digest: str = ""
    updates: int = 0
    duplicates: int = 0
    invalid: int = 0
    gaps: tuple[Gap, ...] = ()
    seen: tuple[SeenRun, ...] = ()

    @property
    def is_cut(self) -> bool:
        """Whether something before or in between is missing."""
        return self.first_offset > 0 or bool(self.gaps)


@dataclass(frozen=True, slots=True)
class Names:
    """Every name and key of a store; a code is a place.

    Attributes:
        skus: strings.
        locations: strings.
        key_skus: int64[keys], code of the key's SKU.
        key_locations: int64[keys], code of its location.
    """

    skus: pl.Series
    locations: pl.Series
    key_skus: I64
    key_locations: I64


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources of a store, and what was last seen of each.

    Attributes:
        names: strings; a code is a place.
        newest: int64[n], the newest time, `NEVER` if there is none.
        sequence: int64[n], the highest `source_seq`, `NEVER` if there is none.
    """

    names: pl.Series
    newest: I64
    sequence: I64


@dataclass(frozen=True, slots=True)
class Commit:
    """What changes together.

    Attributes:
        before: where the store stands before it.
        position: where it stands after it.
        segment: the new history, `None` if there is none.
        skus: the new names, from `first_sku` on.
        locations: the new names, from `first_location` on.
        first_sku: code of the first new SKU.
        first_location: code of the first new location.
        sources: all sources that were seen in this commit: codes, names, newest, sequence.
        keys: int64[m], the keys that changed, rising; with each all of its group, see
            `Store.KEYS_TOGETHER`.
        columns: int64[7][m]: SKU code, location code, and the columns of `Balances`.
    """

    before: Position
    position: Position
    segment: Segment | None
    skus: pl.Series
    locations: pl.Series
    first_sku: int
    first_location: int
    sources: tuple[I64, pl.Series, I64, I64]
    keys: I64
    columns: list[I64]


class Store(Protocol):
    """Balances and their history, in whatever database.

    All reading between `snapshot` and the end of its context sees one moment.

    Attributes:
        KEYS_TOGETHER: keys are written in groups of so many: 0 to n - 1, n to 2n - 1, ...
    """

    KEYS_TOGETHER: ClassVar[int]

    @property
    def where(self) -> str:
        """The store as people are told of it, without a password."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Within it everything that is read is of one moment; one may lie within another."""

    def position(self) -> Position | None:
        """Where it stands; `None` for a new one."""

    def claim(self, stream: str) -> Position:
        """Become the only writer, of this stream for ever; where it stands."""

    def write(self, commit: Commit) -> None:
        """Make a commit, all or nothing."""

    def make_indexes(self) -> None:
        """Make the indexes by which one key is found, if they were put off while keys came."""

    def names(self) -> Names:
        """Every name and key."""

    def sources(self) -> Sources:
        """Every source."""

    def key(self, sku: str, location: str) -> int | None:
        """The code of one key."""

    def balances(self, key: int | None = None) -> I64:
        """int64[5, keys]: the columns of `Balances` of all keys, or of one."""

    def stock(self) -> I64:
        """int64[2, keys]: on hand and reserved of all keys."""

    def segments(self) -> list[SegmentInfo]:
        """The segments, in the order of the log."""

    def blocks(self, segment: int, *, origins: bool = False) -> Iterator[Legs]:
        """The blocks of a segment."""

    def packed(
        self, segment: int, keys: tuple[int, int] | None = None, *, origins: bool = False
    ) -> Iterator[Block]:
        """The same blocks, or those that may hold keys of a range, still packed."""

    def packed_of_key(
        self, segments: Sequence[int], key: int, *, origins: bool = False
    ) -> Iterator[Block]:
        """The blocks of several segments that may hold a key, in no order."""

    def counts(self, segment: int) -> tuple[Legs, tuple[I64, I64]]:
        """The counts of a segment in event order, and the book figures by offset."""

    def sums(self, segment: int) -> Sums:
        """What the deltas of a segment come to, key by key."""

    def ids(
        self, segment: int, first: int = 0, last: int | None = None
    ) -> Iterator[tuple[int, Ids]]:
        """Blocks of ids that hold updates `first` to `last`, each with its first's number."""

    def ids_at(self, segment: int, offsets: I64) -> pl.Series:
        """The ids of updates of a segment by their offsets, which rise."""

    def flags(self, segment: int) -> Flags:
        """The flags of a segment."""

    def clock(self, segment: int) -> Clock:
        """When the broker wrote the messages of a segment."""

    def close(self) -> None:
        """Let go of it."""

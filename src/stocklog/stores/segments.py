"""Segments: what one commit adds to the history, and how it is cut into blobs.

A segment holds its legs in event order in blocks of 16,384, so that a question about one
key reads one block of each segment; its counts once more, since they decide what every
other leg means; the ids of its updates in the order of the log; its flags; and when the
broker wrote which offset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import polars as pl

from stocklog.inventory.legs import COUNT, Legs
from stocklog.stores import packing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = [
    "BLOCK",
    "Block",
    "Clock",
    "Flags",
    "Ids",
    "Segment",
    "SegmentInfo",
    "id_blocks",
    "leg_blocks",
    "mergeable",
]

BLOCK = 16_384
"""Rows of a block."""


class SegmentInfo(NamedTuple):
    """What is known of a segment without reading it.

    Attributes:
        id: its number; later segments have higher ones.
        first_offset: the lowest offset of its updates.
        last_offset: the highest.
        first_update: number of its first update, counted from 0 over the whole store.
        updates: how many updates.
        legs: how many legs.
        oldest: the earliest time that a leg happened.
        newest: the latest.
        flags: how many flags.
    """

    id: int
    first_offset: int
    last_offset: int
    first_update: int
    updates: int
    legs: int
    oldest: int
    newest: int
    flags: int

    def holds_later_than(self, time: int) -> bool:
        """Whether anything in it happened later."""
        return self.legs > 0 and self.newest > time


@dataclass(frozen=True, slots=True)
class Ids:
    """The ids of updates, in the order of the log.

    Attributes:
        offsets: int64[n], rising.
        sources: int64[n], codes.
        ids: strings[n].
    """

    offsets: I64
    sources: I64
    ids: pl.Series

    def __len__(self) -> int:
        return len(self.offsets)

    @classmethod
    def joined(cls, parts: list[Ids]) -> Ids:
        """Several, one behind the other; at least one."""
        return cls(
            np.concatenate([part.offsets for part in parts]),
            np.concatenate([part.sources for part in parts]),
            pl.concat([part.ids for part in parts]),
        )

    def pack(self) -> tuple[bytes, bytes]:
        """Blobs of the numbers and of the texts."""
        return packing.pack_many([self.offsets, self.sources]), packing.pack_texts(self.ids)

    @classmethod
    def unpack(cls, numbers: bytes, texts: bytes) -> Ids:
        """The ids of two blobs."""
        offsets, sources = packing.unpack_many(numbers)
        return cls(offsets, sources, packing.unpack_texts(texts))


@dataclass(frozen=True, slots=True)
class Flags:
    """What was noticed about updates as they came.

    Attributes:
        kinds: int64[n], see `stocklog.stores.noticing`.
        offsets: int64[n], of the update.
        keys: int64[n], -1 where there is none.
        sources: int64[n], codes.
        details: int64[n], what the kind says.
        firsts: int64[n], number of the update (counted over the store) that holds the id:
            the first delivery of a duplicate, else the update itself.
    """

    kinds: I64
    offsets: I64
    keys: I64
    sources: I64
    details: I64
    firsts: I64

    def __len__(self) -> int:
        return len(self.kinds)

    @classmethod
    def joined(cls, parts: list[Flags]) -> Flags:
        """Several, one behind the other."""
        if not parts:
            return cls(*[np.zeros(0, np.int64)] * 6)
        names = cls.__slots__
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def pack(self) -> bytes:
        """A blob."""
        return packing.pack_many([getattr(self, name) for name in self.__slots__])

    @classmethod
    def unpack(cls, blob: bytes) -> Flags:
        """The flags of a blob."""
        return cls(*packing.unpack_many(blob))


@dataclass(frozen=True, slots=True)
class Clock:
    """When the broker wrote what: from each offset on, until the next.

    Attributes:
        offsets: int64[n], rising.
        times: int64[n], milliseconds since 1970.
    """

    offsets: I64
    times: I64

    @classmethod
    def of(cls, offsets: I64, times: I64) -> Clock:
        """The changes in a column of times, one a message."""
        changed = np.ones(len(times), np.bool_)
        changed[1:] = times[1:] != times[:-1]
        return cls(offsets[changed], times[changed])

    @classmethod
    def joined(cls, parts: list[Clock]) -> Clock:
        """Several, one behind the other; at least one."""
        return cls.of(
            np.concatenate([part.offsets for part in parts]),
            np.concatenate([part.times for part in parts]),
        )

    def pack(self) -> bytes:
        """A blob."""
        return packing.pack_many([self.offsets, self.times])

    @classmethod
    def unpack(cls, blob: bytes) -> Clock:
        """The clock of a blob."""
        return cls(*packing.unpack_many(blob))


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as it is made or merged.

    Attributes:
        legs: in event order.
        expected: by offset of a count, the book figure that the counter saw: int64[m]
            offsets, rising, and int64[m] figures.
        ids: of all updates, none of which is a duplicate.
        flags: in the order of the log.
        clock: of all messages, whatever they are.
        first_update: number of the first update over the whole store.
    """

    legs: Legs
    expected: tuple[I64, I64]
    ids: Ids
    flags: Flags
    clock: Clock
    first_update: int

    @classmethod
    def merged(cls, parts: list[Segment]) -> Segment:
        """Several, which follow each other in the log."""
        return cls(
            Legs.joined([part.legs for part in parts]).in_event_order,
            (
                np.concatenate([part.expected[0] for part in parts]),
                np.concatenate([part.expected[1] for part in parts]),
            ),
            Ids.joined([part.ids for part in parts]),
            Flags.joined([part.flags for part in parts]),
            Clock.joined([part.clock for part in parts]),
            parts[0].first_update,
        )

    def info(self, number: int) -> SegmentInfo:
        """What is said of it in the list of segments."""
        times, offsets = self.legs.times, self.clock.offsets
        first = int(offsets[0])
        last = int(max(offsets[-1], self.ids.offsets[-1] if len(self.ids) else offsets[-1]))
        oldest, newest = (int(times.min()), int(times.max())) if len(times) else (0, 0)
        return SegmentInfo(
            number,
            first,
            last,
            self.first_update,
            len(self.ids),
            len(self.legs),
            oldest,
            newest,
            len(self.flags),
        )

    @property
    def counts(self) -> Legs:
        """Its counts, in event order."""
        return self.legs[self.legs.kinds == COUNT]


@dataclass(frozen=True, slots=True)
class Block:
    """A block of legs as blobs.

    Attributes:
        first_key: the lowest key.
        last_key: the highest.
        rows: how many legs.
        places: keys, times, offsets.
        effects: kinds, values.
        origins: reasons, sources; apart, since only `why` asks for them.
    """

    first_key: int
    last_key: int
    rows: int
    places: bytes
    effects: bytes
    origins: bytes = field(default=b"")

    @classmethod
    def pack(cls, legs: Legs) -> Block:
        """Make the blobs."""
        return cls(
            int(legs.keys[0]),
            int(legs.keys[-1]),
            len(legs),
            packing.pack_many([legs.keys, legs.times, legs.offsets]),
            packing.pack_many([legs.kinds, legs.values]),
            packing.pack_many([legs.reasons, legs.sources]),
        )

    def places_of(self) -> tuple[memoryview, memoryview, memoryview]:
        """Keys, times and offsets, each still a blob of `packing.pack`."""
        keys, times, offsets = packing.split(self.places)
        return keys, times, offsets

    def unpack(self) -> Legs:
        """The legs; without `origins` all reasons and sources are 0."""
        return self._legs(packing.unpack)

    def unpack_key(self, key: int) -> Legs:
        """The legs of one key, the only ones that are put together."""
        # In a block the keys rise, so those of one lie together.
        low, high = np.searchsorted(packing.unpack(self.places_of()[0]), [key, key + 1])
        rows = np.arange(low, high)
        return self._legs(lambda blob: packing.unpack_some(blob, rows))

    def _legs(self, unpack: Callable[[memoryview], I64]) -> Legs:
        keys, times, offsets = map(unpack, self.places_of())
        kinds, values = map(unpack, packing.split(self.effects))
        if self.origins:
            reasons, sources = map(unpack, packing.split(self.origins))
        else:
            reasons = sources = np.zeros(len(keys), np.int64)
        return Legs(
            keys, times, offsets, kinds.astype(np.uint8), values, reasons.astype(np.uint8), sources
        )


def mergeable(infos: Sequence[SegmentInfo]) -> int:
    """How many segments at the end should become one.

    Small commits, as a live log makes them, would leave a small segment each. Eight of a
    size become one of the next, up to half a million rows, so that there are few of each
    size, and a leg is written again a handful of times in its life.

    Args:
        infos: of all segments, in their order.

    Returns:
        The number, 0 if none should.
    """
    sizes = [_size(info) for info in infos]
    if not sizes or sizes[-1] >= _FINAL:
        return 0
    trailing = 0
    for size in reversed(sizes):
        if size > sizes[-1]:
            break
        trailing += 1
    return trailing if trailing >= _FAN_IN else 0


_FAN_IN = 8
_SMALLEST = 1024
_FINAL = 3


def _size(info: SegmentInfo) -> int:
    """0 below 1,024 rows, and one more for each eightfold; `_FINAL` is not merged any more."""
    rows, size = max(info.legs, info.flags) // _SMALLEST, 0
    while rows and size < _FINAL:
        rows //= _FAN_IN
        size += 1
    return size


def leg_blocks(legs: Legs) -> Iterator[Block]:
    """Legs in event order, cut into blocks."""
    for first in range(0, len(legs), BLOCK):
        yield Block.pack(legs[first : first + BLOCK])


def id_blocks(ids: Ids) -> Iterator[tuple[int, int, int, bytes, bytes]]:
    """Ids cut into blocks: rows, first and last offset, blob of numbers, blob of texts."""
    for first in range(0, len(ids), BLOCK):
        rows = slice(first, first + BLOCK)
        block = Ids(ids.offsets[rows], ids.sources[rows], ids.ids[rows])
        yield len(block), int(block.offsets[0]), int(block.offsets[-1]), *block.pack()

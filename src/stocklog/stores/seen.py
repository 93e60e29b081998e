"""Which updates have come before: exact, over the whole log, in bounded memory.

An id is looked for in three steps, each for those that the one before could not settle:

1. a Bloom filter of about two bytes an id says "certainly new" to nearly all new ids;
2. sorted runs of words (32 bits of the hash, 32 bits of the update's number) give the
   updates that it may be; large runs lie in a temporary file and are mapped;
3. source and whole id are compared with those in the store.

Filter and runs are made from the store when it is opened, so no hash is ever stored.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

from stocklog.errors import StoreError
from stocklog.stores.tables import mix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]
    U64: TypeAlias = NDArray[np.uint64]

__all__ = ["Seen", "id_words", "repeats"]

Lookup: TypeAlias = "Callable[[I64], tuple[I64, pl.Series]]"
"""For numbers of updates, rising: their sources' codes and their ids."""

_HIGH = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_FAN_IN = 8
# Words from which on a run lies in a file: 32 MB.
_MAPPED = 4 << 20
_CAPACITY = 1 << 20
_MOST = 1 << 32


def id_words(ids: pl.Series, sources: I64) -> U64:
    """64-bit hashes of ids and their sources.

    Args:
        ids: strings[n].
        sources: int64[n], codes of the sources.
    """
    return mix(ids.hash(0).to_numpy() ^ mix((sources + 1).view(np.uint64)))


def repeats(words: U64, sources: I64, ids: pl.Series) -> I64:
    """Where a batch repeats itself.

    Args:
        words: uint64[n] of `id_words`.
        sources: int64[n].
        ids: strings[n].

    Returns:
        int64[n]: the row of the first one with the same source and id, in most cases itself.
    """
    first = np.arange(len(words), dtype=np.int64)
    ordered = np.sort(words)
    doubled = ordered[1:][ordered[1:] == ordered[:-1]]
    if not doubled.size:
        return first
    rows = np.flatnonzero(np.isin(words, doubled))
    frame = pl.DataFrame({"row": rows, "source": sources[rows], "id": ids.gather(rows)})
    of_group = frame.select(pl.col("row").first().over("source", "id")).to_series()
    first[rows] = of_group.to_numpy()
    return first


class Seen:
    """The ids of all updates of a store.

    Args:
        lookup: reads ids back from the store.
        expected: about how many there will be; more are fine.
    """

    def __init__(self, lookup: Lookup, expected: int = 0) -> None:
        self._lookup = lookup
        self._count = 0
        self._filters: list[_Filter] = []
        self._capacity = max(_CAPACITY, expected)
        self._runs: list[U64] = []

    def __len__(self) -> int:
        return self._count

    def add(self, words: U64) -> None:
        """Take in the next updates; they get the next numbers.

        Raises:
            StoreError: there are more than a store can tell apart.
        """
        if not len(words):
            return
        if self._count + len(words) > _MOST:
            raise StoreError(
                f"A store holds at most {_MOST:,} updates", "Go on with a new store from here"
            )
        if not self._filters or self._filters[-1].is_full:
            grown = self._filters[-1].capacity * 4 if self._filters else self._capacity
            self._filters.append(_Filter(grown))
        self._filters[-1].add(words)
        numbers = np.arange(self._count, self._count + len(words), dtype=np.uint64)
        self._count += len(words)
        self._runs.append(np.sort((words >> _HIGH << _HIGH) | numbers))
        self._merge()

    def find(self, words: U64, sources: I64, ids: pl.Series) -> I64:
        """Which updates have come before.

        Args:
            words: uint64[n] of `id_words`.
            sources: int64[n].
            ids: strings[n].

        Returns:
            int64[n], the number of the update with the same source and id, -1 if there is
            none.
        """
        found = np.full(len(words), -1, np.int64)
        maybe = np.zeros(len(words), np.bool_)
        for part in self._filters:
            maybe |= part.contains(words)
        rows = np.flatnonzero(maybe)
        if not rows.size:
            return found
        rows = rows[np.argsort(words[rows])]
        wanted = words[rows] >> _HIGH
        for run in self._runs:
            self._find_in(run, rows, wanted, sources, ids, found)
        return found

    def _find_in(
        self, run: U64, rows: I64, wanted: U64, sources: I64, ids: pl.Series, found: I64
    ) -> None:
        place = np.searchsorted(run, wanted << _HIGH)
        while rows.size:
            inside = place < len(run)
            rows, wanted, place = rows[inside], wanted[inside], place[inside]
            there = run[place]
            same = (there >> _HIGH) == wanted
            rows, wanted, place = rows[same], wanted[same], place[same]
            numbers = (there[same] & _LOW).astype(np.int64)
            if rows.size:
                good = self._confirm(numbers, sources[rows], ids.gather(rows))
                found[rows[good]] = numbers[good]
                rows, wanted, place = rows[~good], wanted[~good], place[~good]
            place = place + 1

    def _confirm(self, numbers: I64, sources: I64, ids: pl.Series) -> NDArray[np.bool_]:
        """Which of the updates have just this source and id."""
        order = np.argsort(numbers, kind="stable")
        their_sources, their_ids = self._lookup(numbers[order])
        same = (their_ids == ids.gather(order)).to_numpy() & (their_sources == sources[order])
        good = np.zeros(len(numbers), np.bool_)
        good[order] = same
        return good

    def _merge(self) -> None:
        """Make one run of the last eight of a size, as often as there are eight."""
        while True:
            size = 4 * len(self._runs[-1])
            trailing = 0
            for run in reversed(self._runs):
                if len(run) > size:
                    break
                trailing += 1
            if trailing < _FAN_IN:
                return
            parts = self._runs[-trailing:]
            merged = _room(sum(map(len, parts)))
            np.concatenate(parts, out=merged)
            merged.sort()
            self._runs[-trailing:] = [merged]


def _room(count: int) -> U64:
    """Memory for a run; of a large one in a file that nobody else sees."""
    if count < _MAPPED:
        return np.empty(count, np.uint64)
    with tempfile.TemporaryFile(prefix="stocklog-seen-") as file:
        return np.memmap(file, np.uint64, "w+", shape=(count,))


class _Filter:
    """A Bloom filter whose bits of one id lie in one 64-bit word.

    Args:
        capacity: how many ids it is made for, at 16 to 32 bits each.
    """

    _BITS = 5

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._count = 0
        self._size = np.uint64(1 << max(10, (capacity // 4 - 1).bit_length()))
        self._words = np.zeros(int(self._size), np.uint64)

    @property
    def is_full(self) -> bool:
        """Whether more would make it dull."""
        return self._count >= self.capacity

    def add(self, words: U64) -> None:
        """Take in ids."""
        self._count += len(words)
        places, masks = self._places(words), self._masks(words)
        np.bitwise_or.at(self._words, places, masks)

    def contains(self, words: U64) -> NDArray[np.bool_]:
        """Which ids may be in it; those that are not are certainly not."""
        masks = self._masks(words)
        missing: NDArray[np.bool_] = (self._words[self._places(words)] & masks) == masks
        return missing

    def _places(self, words: U64) -> I64:
        return (words & (self._size - np.uint64(1))).astype(np.int64)

    def _masks(self, words: U64) -> U64:
        """Five bits of 64, taken from the upper 30 bits."""
        masks = np.zeros(len(words), np.uint64)
        one, six = np.uint64(1), np.uint64(63)
        for number in range(self._BITS):
            masks |= one << ((words >> np.uint64(34 + 6 * number)) & six)
        return masks

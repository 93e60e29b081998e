"""Which updates have come before: exact, over the whole log, in bounded memory.

An id is looked for in three steps, each for those that the one before could not settle:

1. a Bloom filter of two to four bytes an id says "certainly new" to nearly all new ids;
2. sorted runs of words (40 bits of the hash, 24 of the update's number within the run) give
   the updates that it may be; larger runs lie in files that are mapped (see `run_files`);
3. source and whole id are compared with those in the store.

The filter is made of the 40 bits in a run alone, and in their order: so it is made again from
the runs at a fraction of what reading the ids takes, and sorted batches walk through it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

from stocklog.errors import StoreError
from stocklog.stores.bloom import Filter
from stocklog.stores.model import SeenRun
from stocklog.stores.run_files import Run, RunFiles
from stocklog.stores.tables import mix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]
    U64: TypeAlias = NDArray[np.uint64]

__all__ = ["MOST_ROWS", "Seen", "id_words"]

Lookup: TypeAlias = "Callable[[I64], tuple[I64, pl.Series]]"
"""For numbers of updates, rising: their sources' codes and their ids."""

_ROW_BITS = np.uint64(24)
_ROW = np.uint64((1 << 24) - 1)
MOST_ROWS = 1 << 24
"""Most updates of a run, and of what is taken at once."""

_FAN_IN = 8
# Words from which on a run lies in a file; with the fan-in this bounds what has to be read
# again when a store is opened.
_FILED = 1 << 16
_CAPACITY = 1 << 20
_MOST = 1 << 32
_SLICE = 1 << 20


def id_words(ids: pl.Series, sources: I64) -> U64:
    """64-bit hashes of ids and their sources.

    Args:
        ids: strings[n].
        sources: int64[n], codes of the sources.
    """
    return mix(ids.hash(0).to_numpy() ^ mix((sources + 1).view(np.uint64)))


def _fingerprint() -> str:
    """Tells whether words of another process are those that this one makes."""
    probe = id_words(pl.Series("id", ["", "stocklog", "é" * 40], pl.String), np.arange(3))
    return f"{int(np.bitwise_xor.reduce(probe)):016x}"


class Seen:
    """The ids of all updates of a store.

    Args:
        lookup: reads ids back from the store.
        expected: about how many there will be; more are fine.
        files: where larger runs are kept; `None`: in files that end with the process.
    """

    def __init__(self, lookup: Lookup, expected: int = 0, files: RunFiles | None = None) -> None:
        self._lookup = lookup
        self._count = 0
        self._filters: list[Filter] = []
        self._capacity = max(_CAPACITY, expected)
        self._files = files or RunFiles(None)
        self._runs: list[Run] = []
        self._kind = _fingerprint()

    def __len__(self) -> int:
        return self._count

    @property
    def kept(self) -> tuple[SeenRun, ...]:
        """The runs that outlive the process, which `resume` takes up again."""
        kept = []
        for run in self._runs:
            if not run.name:
                break
            kept.append(SeenRun(run.name, run.first, len(run.words)))
        return tuple(kept)

    def resume(self, kept: Sequence[SeenRun]) -> None:
        """Take up the runs of an earlier process, as far as they are there and of use.

        Args:
            kept: as the store has it; the updates from `len(self)` on must be taken again.
        """
        for one in kept:
            words = self._files.open(one.name, one.count, self._kind)
            if words is None or one.first != self._count:
                break
            for first in range(0, len(words), _SLICE):
                self._fill(words[first : first + _SLICE])
            self._runs.append(Run(words, one.first, one.name))
            self._count += one.count

    def committed(self, kept: Sequence[SeenRun]) -> None:
        """Remove the files that are in the store's books no more.

        Args:
            kept: as the store has it now.
        """
        in_use = {run.name for run in self._runs}
        self._files.keep(in_use | {one.name for one in kept})

    def take(self, words: U64, sources: I64, ids: pl.Series) -> tuple[I64, NDArray[np.bool_]]:
        """Take in the next updates of the log.

        Args:
            words: uint64[n] of `id_words`; at most `MOST_ROWS`.
            sources: int64[n].
            ids: strings[n].

        Returns:
            int64[n], the number of the update that holds each source and id: new ones get the
            next numbers in their order; bool[n], which ones are new.

        Raises:
            StoreError: there are more than a store can tell apart.
        """
        rows = len(words)
        numbers = self._count + np.arange(rows, dtype=np.int64)
        new = np.ones(rows, np.bool_)
        if not rows:
            return numbers, new
        ordered = np.sort((words & ~_ROW) | np.arange(rows, dtype=np.uint64))
        first = _first_rows(ordered, sources, ids)
        earlier = self._find(ordered, sources, ids)
        if first is not None or earlier is not None:
            leading = np.arange(rows) if first is None else first
            old = np.full(rows, -1, np.int64) if earlier is None else earlier[leading]
            new = (leading == np.arange(rows)) & (old < 0)
            place = np.cumsum(new) - 1
            numbers = np.where(old >= 0, old, self._count + place[leading])
            of_row = (ordered & _ROW).view(np.int64)
            kept = new[of_row]
            ordered = (ordered[kept] & ~_ROW) | place[of_row[kept]].view(np.uint64)
        self._add(ordered)
        return numbers, new

    def add(self, words: U64) -> None:
        """Take in updates that are known to be new, such as those of the store itself.

        Args:
            words: uint64[n] of `id_words`; at most `MOST_ROWS`.

        Raises:
            StoreError: there are more than a store can tell apart.
        """
        self._add(np.sort((words & ~_ROW) | np.arange(len(words), dtype=np.uint64)))

    def _add(self, ordered: U64) -> None:
        if not len(ordered):
            return
        if self._count + len(ordered) > _MOST:
            raise StoreError(
                f"A store holds at most {_MOST:,} updates", "Go on with a new store from here"
            )
        self._fill(ordered)
        self._runs.append(self._run(ordered, self._count))
        self._count += len(ordered)
        self._merge()

    def _fill(self, ordered: U64) -> None:
        if not self._filters or self._filters[-1].is_full:
            grown = self._filters[-1].capacity * 4 if self._filters else self._capacity
            self._filters.append(Filter(grown))
        self._filters[-1].add(ordered >> _ROW_BITS)

    def _run(self, ordered: U64, first: int) -> Run:
        """A run of words, in a file if it is large."""
        if len(ordered) < _FILED:
            return Run(ordered, first)
        words, name = self._files.write(ordered, self._kind)
        return Run(words, first, name)

    def _find(self, ordered: U64, sources: I64, ids: pl.Series) -> I64 | None:
        """The numbers of earlier updates with the same source and id by row, -1 for none."""
        hashes = ordered >> _ROW_BITS
        maybe = np.zeros(len(ordered), np.bool_)
        for part in self._filters:
            maybe |= part.contains(hashes)
        places = np.flatnonzero(maybe)
        if not places.size:
            return None
        found = np.full(len(ordered), -1, np.int64)
        rows, wanted = (ordered[places] & _ROW).astype(np.int64), hashes[places]
        for run in reversed(self._runs):
            self._find_in(run, rows, wanted, sources, ids, found)
            left = found[rows] < 0
            rows, wanted = rows[left], wanted[left]
        return found

    def _find_in(
        self, run: Run, rows: I64, wanted: U64, sources: I64, ids: pl.Series, found: I64
    ) -> None:
        words = run.words
        place = np.searchsorted(words, wanted << _ROW_BITS)
        while rows.size:
            inside = place < len(words)
            rows, wanted, place = rows[inside], wanted[inside], place[inside]
            there = words[place]
            same = (there >> _ROW_BITS) == wanted
            rows, wanted, place = rows[same], wanted[same], place[same]
            numbers = (there[same] & _ROW).astype(np.int64) + run.first
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
            size = 4 * len(self._runs[-1].words)
            trailing = rows = 0
            for run in reversed(self._runs):
                rows += len(run.words)
                if len(run.words) > size or rows > MOST_ROWS:
                    break
                trailing += 1
            if trailing < _FAN_IN:
                return
            parts = self._runs[-trailing:]
            start = parts[0].first
            merged = np.concatenate([part.words + np.uint64(part.first - start) for part in parts])
            # Sorted pieces one behind the other: what a merge sort is made for.
            merged.sort(kind="stable")
            self._runs[-trailing:] = [self._run(merged, start)]


def _first_rows(ordered: U64, sources: I64, ids: pl.Series) -> I64 | None:
    """For each row of a batch the first with the same source and id; `None`: each is its own."""
    hashes = ordered >> _ROW_BITS
    same = hashes[1:] == hashes[:-1]
    if not same.any():
        return None
    both = np.zeros(len(ordered), np.bool_)
    both[1:] = same
    both[:-1] |= same
    rows = np.sort((ordered[both] & _ROW).astype(np.int64))
    frame = pl.DataFrame({"row": rows, "source": sources[rows], "id": ids.gather(rows)})
    first = np.arange(len(ordered), dtype=np.int64)
    of_group = frame.select(pl.col("row").first().over("source", "id")).to_series()
    first[rows] = of_group.to_numpy()
    return first

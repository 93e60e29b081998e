"""From batches of the log to commits of a store: duplicates, the rule, flags.

One batch of `take` becomes one commit. It is written by a second thread while the next
batch is worked on; whoever wants to look into the store before that waits for it.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np

from stocklog.inventory.balances import Balances
from stocklog.inventory.legs import Legs
from stocklog.stores.coding import COLUMNS, Batch, Coded, Coder, Mark, Sizes, Updates
from stocklog.stores.history import deltas_after, ids_of
from stocklog.stores.model import Commit, Position, SeenRun, Store
from stocklog.stores.noticing import DUPLICATE, LATE, SourceWatch
from stocklog.stores.run_files import RunFiles
from stocklog.stores.seen import Seen, id_words
from stocklog.stores.segments import Flags, Ids, Segment

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["COLUMNS", "Batch", "Mark", "Projection"]


class Projection:
    """Follows a log into a store.

    Args:
        store: claimed.
        position: where it stands.
        expected: about how many updates are to come.
        cache: folder for files that make the next start faster; `None`: there are none.

    Attributes:
        position: where the store stands once everything that was taken is written.
        coder: makes numbers of the next batches, in any one thread.
    """

    def __init__(
        self, store: Store, position: Position, expected: int = 0, cache: Path | None = None
    ) -> None:
        self._store = store
        self.position = position
        self._infos = store.segments()
        self._load()
        self._seen = Seen(self._ids_of, position.updates + expected, RunFiles(cache))
        self._remember(position)
        self._writer = ThreadPoolExecutor(1, "stocklog-store")
        self._pending: Future[None] | None = None
        self._written = position

    def _remember(self, position: Position) -> None:
        """Know every id of the store: by files of earlier runs, the rest by reading it."""
        self._seen.resume(position.seen)
        self._seen.committed(position.seen)
        known = len(self._seen)
        for info in self._infos:
            if info.first_update + info.updates <= known:
                continue
            for first, block in self._store.ids(info.id, known):
                rows = slice(max(0, known - first), None)
                ids, sources = block.ids[rows], block.sources[rows]
                self._seen.add(id_words(ids, sources))

    def _load(self) -> None:
        names, sources = self._store.names(), self._store.sources()
        self.coder = Coder(names, sources.names)
        self._sizes = self.coder.sizes
        # The coder also numbers keys that only duplicates have; those are none of the store's.
        self._key_of_code = np.arange(self._sizes.keys)
        self._code_of_key = np.arange(self._sizes.keys)
        columns = self._store.balances()
        self._balances = Balances(columns.shape[1])
        for name, column in zip(Balances.COLUMNS, columns, strict=True):
            getattr(self._balances, name)[: len(column)] = column
        self._watch = SourceWatch(sources.newest, sources.sequence)

    # -- a batch --------------------------------------------------------------------------

    def take(self, batch: Batch) -> None:
        """Apply a batch and have it written; see `take_coded`."""
        self.take_coded(self.coder.code(batch))

    def take_coded(self, batch: Coded) -> None:
        """Apply a batch and have it written. Returns before it is safe; see `settle`.

        Args:
            batch: the next of the log, made by `coder`; at most `seen.MOST_ROWS` updates.

        Raises:
            StoreError: an earlier batch could not be written, or the past cannot be read.
        """
        before, names_before = self.position, self._sizes
        first_number = len(self._seen)
        updates, doubled = self._without_duplicates(batch)
        legs = self._with_keys(updates.legs(), batch.sizes)
        # The rule takes any order; by key it finds what it needs side by side.
        ordered = legs.in_event_order
        changed = self._balances.apply(ordered, self._deltas_after)
        flags = Flags.joined([doubled, *self._notice(updates, legs.keys[: len(updates)])])
        segment = Segment(
            ordered,
            (updates.offsets[updates.figured], updates.figures[updates.figured]),
            Ids(updates.offsets, updates.sources, updates.ids),
            flags,
            batch.clock,
            first_number,
        )
        self.position = _moved(before, batch, len(updates), len(doubled), self._seen.kept)
        self._sizes = batch.sizes
        commit = self._commit(before, names_before, segment, updates.sources, changed)
        self.settle()
        self._written = commit.position
        self._pending = self._writer.submit(self._store.write, commit)

    def _commit(
        self, before: Position, names_before: Sizes, segment: Segment, sources: I64, changed: I64
    ) -> Commit:
        names, coder = self._sizes, self.coder
        changed = self._with_their_groups(changed)
        seen = np.flatnonzero(np.bincount(sources, minlength=1))
        return Commit(
            before,
            self.position,
            segment,
            coder.skus.texts[names_before.skus : names.skus],
            coder.locations.texts[names_before.locations : names.locations],
            names_before.skus,
            names_before.locations,
            (
                seen,
                coder.sources.texts.gather(seen),
                self._watch.newest[seen],
                self._watch.sequence[seen],
            ),
            changed,
            [
                *coder.places(self._code_of_key[changed]),
                *(getattr(self._balances, name)[changed] for name in Balances.COLUMNS),
            ],
        )

    def _with_their_groups(self, keys: I64) -> I64:
        """The keys and all others of their groups, as the store writes them."""
        each = self._store.KEYS_TOGETHER
        if each == 1:
            return keys
        groups = keys[np.flatnonzero(np.diff(keys // each, prepend=-1))] // each
        whole = (groups[:, None] * each + np.arange(each)).reshape(-1)
        return whole[whole < len(self._balances)]

    def settle(self) -> None:
        """Wait until everything that was taken is written.

        Raises:
            StoreError: it could not be.
        """
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()
            self._infos = self._store.segments()
            self._seen.committed(self._written.seen)

    def close(self) -> None:
        """Wait for the writing thread to end; what it could not write is not said again."""
        self._writer.shutdown(wait=True)

    # -- duplicates -------------------------------------------------------------------------

    def _without_duplicates(self, batch: Coded) -> tuple[Updates, Flags]:
        """The updates that count, and flags for the others."""
        updates = batch.updates
        self._watch.grow(batch.sizes.sources)
        start = len(self._seen)
        number, kept = self._seen.take(updates.words, updates.sources, updates.ids)
        if kept.all():
            return updates, Flags.joined([])
        lost = np.flatnonzero(~kept)
        first_offsets = self._offsets_of(number[lost], start, updates.offsets[kept])
        flags = Flags(
            np.full(len(lost), DUPLICATE, np.int64),
            updates.offsets[lost],
            np.full(len(lost), -1, np.int64),
            updates.sources[lost],
            first_offsets,
            number[lost],
        )
        return updates[kept], flags

    def _offsets_of(self, numbers: I64, start: int, new: I64) -> I64:
        """The offsets of updates: stored ones below `start`, then those of this batch."""
        found = np.empty(len(numbers), np.int64)
        here = numbers >= start
        found[here] = new[numbers[here] - start]
        old, inverse = np.unique(numbers[~here], return_inverse=True)
        if old.size:
            self.settle()
            found[~here] = ids_of(self._store, self._infos, old).offsets[inverse]
        return found

    def _ids_of(self, numbers: I64) -> tuple[I64, pl.Series]:
        self.settle()
        found = ids_of(self._store, self._infos, numbers)
        return found.sources, found.ids

    # -- the rule -----------------------------------------------------------------------------

    def _with_keys(self, legs: Legs, sizes: Sizes) -> Legs:
        """The legs with the store's keys in place of the coder's."""
        more = sizes.keys - len(self._key_of_code)
        if more:
            self._key_of_code = np.concatenate([self._key_of_code, np.full(more, -1)])
        keys = self._key_of_code[legs.keys]
        new = legs.keys[keys < 0]
        if new.size:
            codes, first = np.unique(new, return_index=True)
            codes = codes[np.argsort(first)]
            self._key_of_code[codes] = len(self._code_of_key) + np.arange(len(codes))
            self._code_of_key = np.concatenate([self._code_of_key, codes])
            self._balances.grow(len(self._code_of_key))
            keys = self._key_of_code[legs.keys]
        return replace(legs, keys=keys)

    def _deltas_after(self, keys: I64, times: I64) -> I64:
        self.settle()
        return deltas_after(self._store, self._infos, len(self._balances), keys, times)

    # -- flags --------------------------------------------------------------------------------

    def _notice(self, updates: Updates, keys: I64) -> list[Flags]:
        start = len(self._seen) - len(updates)
        offsets, sources = updates.offsets, updates.sources
        late, delays = self._watch.late(sources, updates.times)
        found = [(late, np.full(len(late), LATE, np.int64), delays)]
        numbered = np.flatnonzero(updates.numbered)
        if numbered.size:
            rows, kinds, details = self._watch.out_of_sequence(
                sources[numbered], updates.numbers[numbered]
            )
            found.append((numbered[rows], kinds, details))
        return [
            Flags(kinds, offsets[rows], keys[rows], sources[rows], details, start + rows)
            for rows, kinds, details in found
        ]


def _moved(
    before: Position, batch: Coded, updates: int, duplicates: int, seen: tuple[SeenRun, ...]
) -> Position:
    begun = before.first_offset >= 0
    return msgspec.structs.replace(
        before,
        first_offset=before.first_offset if begun else int(batch.clock.offsets[0]),
        first_recorded_at=before.first_recorded_at if begun else int(batch.clock.times[0]),
        last_offset=batch.mark.offset,
        last_recorded_at=batch.mark.recorded_at,
        last_digest=batch.mark.digest,
        updates=before.updates + updates,
        duplicates=before.duplicates + duplicates,
        invalid=before.invalid + batch.invalid,
        gaps=(*before.gaps, batch.gap) if batch.gap else before.gaps,
        seen=seen,
    )

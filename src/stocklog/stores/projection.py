"""From batches of the log to commits of a store: codes, duplicates, the rule, flags.

One batch of `take` becomes one commit. It is written by a second thread while the next
batch is worked on; whoever wants to look into the store before that waits for it.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np
import polars as pl

from stocklog.inventory.balances import Balances
from stocklog.inventory.legs import ADJUSTMENT, COUNT, IN, OUT, RESERVATION, Legs
from stocklog.inventory.update import REASONS
from stocklog.stores.history import deltas_after, ids_of
from stocklog.stores.model import Commit, Gap, Position, SeenRun, Store
from stocklog.stores.noticing import DUPLICATE, LATE, SourceWatch
from stocklog.stores.run_files import RunFiles
from stocklog.stores.seen import Seen, id_words
from stocklog.stores.segments import Clock, Flags, Ids, Segment
from stocklog.stores.tables import TextTable, WordTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["COLUMNS", "Batch", "Mark", "Projection"]

COLUMNS = (
    "update_id",
    "type",
    "sku",
    "location_id",
    "quantity",
    "occurred_at",
    "reason",
    "source",
    "to_location_id",
    "expected_quantity",
    "source_seq",
)
"""The columns of updates that a store wants."""

# The types differ in length, so that is all that has to be looked at: bytes -> kind of leg.
_KIND_OF_LENGTH = np.zeros(16, np.uint8)
for _name, _kind in (
    ("adjustment", ADJUSTMENT),
    ("count", COUNT),
    ("transfer", OUT),
    ("reservation", RESERVATION),
):
    _KIND_OF_LENGTH[len(_name)] = _kind
_REASON = pl.Enum(REASONS)
_BITS = np.uint64(32)


@dataclass(frozen=True, slots=True)
class Mark:
    """The last message of a batch, by which the stream is known again.

    Attributes:
        offset: its offset.
        recorded_at: when the broker wrote it, milliseconds since 1970.
        digest: SHA-256 of it, in hexadecimal.
    """

    offset: int
    recorded_at: int
    digest: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages of the log that follow each other and what came before.

    Attributes:
        updates: the valid updates, with at least the columns of `COLUMNS`.
        offsets: int64[n], their offsets, rising.
        clock: when the broker wrote the messages, whatever they are; at least one.
        invalid: how many messages were no updates.
        mark: the last message.
        gap: what is missing before the batch.
    """

    updates: pl.DataFrame
    offsets: I64
    clock: Clock
    invalid: int
    mark: Mark
    gap: Gap | None = None


class Projection:
    """Follows a log into a store.

    Args:
        store: claimed.
        position: where it stands.
        expected: about how many updates are to come.
        cache: folder for files that make the next start faster; `None`: there are none.
    """

    def __init__(
        self, store: Store, position: Position, expected: int = 0, cache: Path | None = None
    ) -> None:
        self._store = store
        self.position = position
        self._infos = store.segments()
        self._load_names()
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

    def _load_names(self) -> None:
        names, sources = self._store.names(), self._store.sources()
        self._skus, self._locations, self._sources = TextTable(), TextTable(), TextTable()
        for table, texts in (
            (self._skus, names.skus),
            (self._locations, names.locations),
            (self._sources, sources.names),
        ):
            table.codes(texts)
        self._keys = WordTable()
        self._keys.codes(_pairs(names.key_skus, names.key_locations))
        self._key_skus, self._key_locations = names.key_skus, names.key_locations
        columns = self._store.balances()
        self._balances = Balances(columns.shape[1])
        for name, column in zip(Balances.COLUMNS, columns, strict=True):
            getattr(self._balances, name)[: len(column)] = column
        self._watch = SourceWatch(sources.newest, sources.sequence)

    # -- a batch --------------------------------------------------------------------------

    def take(self, batch: Batch) -> None:
        """Apply a batch and have it written. Returns before it is safe; see `settle`.

        Args:
            batch: the next of the log.

        Raises:
            StoreError: an earlier batch could not be written, or the past cannot be read.
        """
        before = self.position
        first_sku, first_location = len(self._skus), len(self._locations)
        first_number = len(self._seen)
        updates, offsets, sources, doubled = self._without_duplicates(batch)
        legs, first_keys = self._legs(updates, offsets, sources)
        changed = self._balances.apply(legs, self._deltas_after)
        flags = Flags.joined([doubled, *self._notice(updates, offsets, sources, first_keys)])
        segment = Segment(
            legs.in_event_order,
            _expected(updates, offsets),
            Ids(offsets, sources, updates["update_id"]),
            flags,
            batch.clock,
            first_number,
        )
        self.position = _moved(before, batch, len(offsets), len(doubled), self._seen.kept)
        touched = np.unique(sources)
        commit = Commit(
            before,
            self.position,
            segment,
            self._skus.texts[first_sku:],
            self._locations.texts[first_location:],
            first_sku,
            first_location,
            (
                touched,
                self._sources.texts.gather(touched),
                self._watch.newest[touched],
                self._watch.sequence[touched],
            ),
            changed,
            [
                self._key_skus[changed],
                self._key_locations[changed],
                *(getattr(self._balances, name)[changed] for name in Balances.COLUMNS),
            ],
        )
        self.settle()
        self._written = commit.position
        self._pending = self._writer.submit(self._store.write, commit)

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

    def _without_duplicates(self, batch: Batch) -> tuple[pl.DataFrame, I64, I64, Flags]:
        """The updates that count, their offsets and sources, and flags for the others."""
        updates, offsets = batch.updates, batch.offsets
        sources = self._sources.codes(updates["source"])
        self._watch.grow(len(self._sources))
        ids = updates["update_id"]
        start = len(self._seen)
        number, kept = self._seen.take(id_words(ids, sources), sources, ids)
        if kept.all():
            return updates, offsets, sources, Flags.joined([])
        lost = np.flatnonzero(~kept)
        first_offsets = self._offsets_of(number[lost], start, offsets[kept])
        flags = Flags(
            np.full(len(lost), DUPLICATE, np.int64),
            offsets[lost],
            np.full(len(lost), -1, np.int64),
            sources[lost],
            first_offsets,
            number[lost],
        )
        return updates.filter(pl.Series(kept)), offsets[kept], sources[kept], flags

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

    def _legs(self, updates: pl.DataFrame, offsets: I64, sources: I64) -> tuple[Legs, I64]:
        """The legs of updates, and the first key of each."""
        kinds = _KIND_OF_LENGTH[updates["type"].str.len_bytes().to_numpy()]
        times = updates["occurred_at"].to_physical().to_numpy()
        values = updates["quantity"].to_numpy()
        reasons = updates["reason"].cast(_REASON).to_physical().to_numpy().astype(np.uint8)
        skus = self._skus.codes(updates["sku"])
        places = self._locations.codes(updates["location_id"])
        moved = np.flatnonzero(kinds == OUT)
        if moved.size:
            targets = self._locations.codes(updates["to_location_id"].gather(moved))
            keys = self._codes_of_keys(
                np.concatenate([skus, skus[moved]]), np.concatenate([places, targets])
            )
            values = values.copy()
            arriving = values[moved]
            values[moved] = -arriving
            legs = Legs(
                keys,
                np.concatenate([times, times[moved]]),
                np.concatenate([offsets, offsets[moved]]),
                np.concatenate([kinds, np.full(len(moved), IN, np.uint8)]),
                np.concatenate([values, arriving]),
                np.concatenate([reasons, reasons[moved]]),
                np.concatenate([sources, sources[moved]]),
            )
        else:
            keys = self._codes_of_keys(skus, places)
            legs = Legs(keys, times, offsets, kinds, values, reasons, sources)
        return legs, keys[: len(offsets)]

    def _codes_of_keys(self, skus: I64, places: I64) -> I64:
        keys, new = self._keys.codes(_pairs(skus, places))
        if new.size:
            self._key_skus = np.concatenate([self._key_skus, skus[new]])
            self._key_locations = np.concatenate([self._key_locations, places[new]])
            self._balances.grow(len(self._keys))
        return keys

    def _deltas_after(self, keys: I64, times: I64) -> I64:
        self.settle()
        return deltas_after(self._store, self._infos, len(self._keys), keys, times)

    # -- flags --------------------------------------------------------------------------------

    def _notice(self, updates: pl.DataFrame, offsets: I64, sources: I64, keys: I64) -> list[Flags]:
        start = len(self._seen) - len(offsets)
        times = updates["occurred_at"].to_physical().to_numpy()
        late, delays = self._watch.late(sources, times)
        found = [(late, np.full(len(late), LATE, np.int64), delays)]
        numbers = updates["source_seq"]
        numbered = numbers.is_not_null().arg_true().to_numpy().astype(np.int64)
        if numbered.size:
            rows, kinds, details = self._watch.out_of_sequence(
                sources[numbered], numbers.gather(numbered).to_numpy()
            )
            found.append((numbered[rows], kinds, details))
        return [
            Flags(kinds, offsets[rows], keys[rows], sources[rows], details, start + rows)
            for rows, kinds, details in found
        ]


def _pairs(skus: I64, places: I64) -> NDArray[np.uint64]:
    return (skus.astype(np.uint64) << _BITS) | places.astype(np.uint64)


def _expected(updates: pl.DataFrame, offsets: I64) -> tuple[I64, I64]:
    """Offsets and figures of the counts that name a book figure."""
    figures = updates["expected_quantity"]
    rows = figures.is_not_null().arg_true().to_numpy().astype(np.int64)
    return offsets[rows], figures.gather(rows).to_numpy()


def _moved(
    before: Position, batch: Batch, updates: int, duplicates: int, seen: tuple[SeenRun, ...]
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

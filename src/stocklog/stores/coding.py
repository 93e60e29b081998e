"""From columns of texts to columns of numbers: codes for names, keys, sources, words for ids.

This is apart from the rule so that it can be done ahead of it, in a thread of its own; what
comes out takes a quarter of the memory, since it lets go of the messages' bodies.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

from stocklog.inventory.legs import ADJUSTMENT, COUNT, IN, OUT, RESERVATION, Legs
from stocklog.inventory.update import REASONS
from stocklog.stores.model import Gap, Names
from stocklog.stores.seen import id_words
from stocklog.stores.segments import Clock
from stocklog.stores.tables import TextTable, WordTable, own_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["COLUMNS", "Batch", "Coded", "Coder", "Mark", "Sizes"]

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

    @property
    def messages(self) -> int:
        """How many messages."""
        return len(self.offsets) + self.invalid

    @classmethod
    def joined(cls, parts: list[Batch]) -> Batch:
        """Several, one behind the other; a gap lies before the first."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            pl.concat([part.updates for part in parts]),
            np.concatenate([part.offsets for part in parts]),
            Clock.joined([part.clock for part in parts]),
            sum(part.invalid for part in parts),
            parts[-1].mark,
            parts[0].gap,
        )


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many codes of each kind have been given out.

    Attributes:
        skus: SKUs.
        locations: locations.
        sources: sources.
        keys: keys.
    """

    skus: int
    locations: int
    sources: int
    keys: int


@dataclass(frozen=True, slots=True)
class Updates:
    """Updates as numbers.

    Attributes:
        offsets: int64[n], rising.
        keys: int64[n], where it happened; for a transfer where it leaves from.
        targets: int64[n], for a transfer where it goes to, else -1.
        times: int64[n], microseconds since 1970.
        kinds: uint8[n], of the (first) leg.
        values: int64[n], as in the update.
        reasons: uint8[n].
        sources: int64[n].
        words: uint64[n], hashes of source and id.
        ids: strings[n].
        figured: bool[n], whether there is an expected quantity.
        figures: int64[n], the expected quantity.
        numbered: bool[n], whether there is a `source_seq`.
        numbers: int64[n], the `source_seq`.
    """

    offsets: I64
    keys: I64
    targets: I64
    times: I64
    kinds: NDArray[np.uint8]
    values: I64
    reasons: NDArray[np.uint8]
    sources: I64
    words: NDArray[np.uint64]
    ids: pl.Series
    figured: NDArray[np.bool_]
    figures: I64
    numbered: NDArray[np.bool_]
    numbers: I64

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, rows: NDArray[np.bool_]) -> Updates:
        """Those rows."""
        columns = {one.name: getattr(self, one.name) for one in fields(self)}
        columns["ids"] = self.ids.filter(pl.Series(rows))
        return Updates(**{name: c if name == "ids" else c[rows] for name, c in columns.items()})

    @classmethod
    def joined(cls, parts: list[Updates]) -> Updates:
        """Several, one behind the other."""
        columns = {one.name: [getattr(part, one.name) for part in parts] for one in fields(cls)}
        ids = pl.concat(columns.pop("ids"))
        return cls(**{name: np.concatenate(column) for name, column in columns.items()}, ids=ids)

    def legs(self) -> Legs:
        """The legs, those of arriving transfers behind all others."""
        moved = np.flatnonzero(self.targets >= 0)
        if not moved.size:
            return Legs(
                self.keys, self.times, self.offsets, self.kinds, self.values, self.reasons,
                self.sources,
            )  # fmt: skip
        values = self.values.copy()
        arriving = values[moved]
        values[moved] = -arriving
        return Legs(
            np.concatenate([self.keys, self.targets[moved]]),
            np.concatenate([self.times, self.times[moved]]),
            np.concatenate([self.offsets, self.offsets[moved]]),
            np.concatenate([self.kinds, np.full(len(moved), IN, np.uint8)]),
            np.concatenate([values, arriving]),
            np.concatenate([self.reasons, self.reasons[moved]]),
            np.concatenate([self.sources, self.sources[moved]]),
        )


@dataclass(frozen=True, slots=True)
class Coded:
    """A batch as numbers.

    Attributes:
        updates: the updates.
        clock: of the batch.
        invalid: of the batch.
        mark: of the batch.
        gap: before the batch.
        sizes: how many codes there were after it.
    """

    updates: Updates
    clock: Clock
    invalid: int
    mark: Mark
    gap: Gap | None
    sizes: Sizes

    @property
    def messages(self) -> int:
        """How many messages."""
        return len(self.updates) + self.invalid

    @classmethod
    def joined(cls, parts: list[Coded]) -> Coded:
        """Several, one behind the other; a gap lies before the first."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            Updates.joined([part.updates for part in parts]),
            Clock.joined([part.clock for part in parts]),
            sum(part.invalid for part in parts),
            parts[-1].mark,
            parts[0].gap,
            parts[-1].sizes,
        )


class Coder:
    """Gives out the codes of a store. They only ever grow, so that it may run ahead.

    Args:
        names: of the store.
        sources: of the store.

    Attributes:
        skus: all SKUs by code.
        locations: all locations by code.
        sources: all sources by code.
    """

    def __init__(self, names: Names, sources: pl.Series) -> None:
        self.skus, self.locations, self.sources = TextTable(), TextTable(), TextTable()
        for table, texts in (
            (self.skus, names.skus),
            (self.locations, names.locations),
            (self.sources, sources),
        ):
            table.codes(texts)
        self._keys = WordTable()
        self._keys.codes(_pairs(names.key_skus, names.key_locations))
        self._pairs = np.stack([names.key_skus, names.key_locations])

    @property
    def sizes(self) -> Sizes:
        """How many codes there are."""
        return Sizes(len(self.skus), len(self.locations), len(self.sources), len(self._keys))

    def places(self, keys: I64) -> tuple[I64, I64]:
        """Codes of the SKUs and the locations of keys."""
        skus, locations = self._pairs[:, keys]
        return skus, locations

    def code(self, batch: Batch) -> Coded:
        """Make numbers of the next batch."""
        updates = batch.updates
        kinds = _KIND_OF_LENGTH[updates["type"].str.len_bytes().to_numpy()]
        skus = self.skus.codes(updates["sku"])
        places = self.locations.codes(updates["location_id"])
        moved = np.flatnonzero(kinds == OUT)
        targets = np.full(len(kinds), -1, np.int64)
        there = self.locations.codes(updates["to_location_id"].gather(moved))
        keys = self._codes_of_keys(
            np.concatenate([skus, skus[moved]]), np.concatenate([places, there])
        )
        targets[moved] = keys[len(kinds) :]
        sources = self.sources.codes(updates["source"])
        figures, numbers = updates["expected_quantity"], updates["source_seq"]
        coded = Updates(
            batch.offsets,
            keys[: len(kinds)],
            targets,
            updates["occurred_at"].to_physical().to_numpy(),
            kinds,
            updates["quantity"].to_numpy(),
            updates["reason"].cast(_REASON).to_physical().to_numpy().astype(np.uint8),
            sources,
            id_words(updates["update_id"], sources),
            own_texts(updates["update_id"]),
            figures.is_not_null().to_numpy(),
            figures.fill_null(0).to_numpy(),
            numbers.is_not_null().to_numpy(),
            numbers.fill_null(0).to_numpy(),
        )
        return Coded(coded, batch.clock, batch.invalid, batch.mark, batch.gap, self.sizes)

    def _codes_of_keys(self, skus: I64, places: I64) -> I64:
        keys, new = self._keys.codes(_pairs(skus, places))
        if new.size:
            known, count = len(self._keys) - len(new), len(self._keys)
            if count > self._pairs.shape[1]:
                room = np.zeros((2, max(count, known * 3 // 2)), np.int64)
                room[:, :known] = self._pairs[:, :known]
                # Whole at once: `places` may be read in another thread meanwhile.
                self._pairs = room
            self._pairs[:, known:count] = skus[new], places[new]
        return keys


def _pairs(skus: I64, places: I64) -> NDArray[np.uint64]:
    return (skus.astype(np.uint64) << _BITS) | places.astype(np.uint64)

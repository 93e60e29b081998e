"""What was noticed: flags kept as updates came, and those that follow from the stock."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

from stocklog.errors import UsageError
from stocklog.inventory.balances import running
from stocklog.inventory.legs import Legs
from stocklog.stores.history import ids_of
from stocklog.stores.model import Names, Store
from stocklog.stores.noticing import FLAG_KINDS
from stocklog.stores.segments import Flags, SegmentInfo

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["FLAGS_SCHEMA", "KINDS", "flags_of"]

KINDS = (*FLAG_KINDS, "negative", "moved", "unknown_sku", "unknown_location")
"""Every kind of flag."""

FLAGS_SCHEMA = {
    "flag": pl.String(),
    "offset": pl.Int64(),
    "sku": pl.String(),
    "location_id": pl.String(),
    "source": pl.String(),
    "update_id": pl.String(),
    "detail": pl.Int64(),
}
"""Columns of an answer of `Ledger.flags`; see there what `detail` says."""


def flags_of(
    store: Store,
    infos: list[SegmentInfo],
    kinds: Collection[str] | None,
    skus: Collection[str] | None,
    locations: Collection[str] | None,
) -> pl.DataFrame:
    """All flags of the kinds that are wanted; see `Ledger.flags`."""
    unknown = [kind for kind in kinds or () if kind not in KINDS]
    if unknown:
        raise UsageError(f"There is no flag {unknown[0]!r}", f"Flags are {', '.join(KINDS)}")
    wanted = set(KINDS if kinds is None else kinds)
    names = store.names()
    parts = [pl.DataFrame(schema=FLAGS_SCHEMA)]
    if wanted & set(FLAG_KINDS):
        parts.append(_kept(store, infos, names, wanted))
    if "moved" in wanted:
        parts.append(_moved(store, infos, names))
    if "negative" in wanted:
        parts.append(_negative(store, names))
    if "unknown_sku" in wanted and skus is not None:
        parts.append(_unknown("sku", _used(names.skus, names.key_skus), skus))
    if "unknown_location" in wanted and locations is not None:
        places = _used(names.locations, names.key_locations)
        parts.append(_unknown("location_id", places, locations))
    return pl.concat(parts)


def _frame(flag: pl.Series | str, rows: int, **columns: object) -> pl.DataFrame:
    """A frame of flags; columns that are not given are null."""
    kinds = flag if isinstance(flag, pl.Series) else pl.Series([flag]).new_from_index(0, rows)
    every = {name: pl.Series([None], dtype=kind).new_from_index(0, rows)
             for name, kind in FLAGS_SCHEMA.items()}  # fmt: skip
    return pl.DataFrame({**every, **columns, "flag": kinds}, schema=FLAGS_SCHEMA)


def _of_keys(names: Names, keys: I64) -> dict[str, pl.Series]:
    """SKU and location of keys; null where a key is -1."""
    known = pl.Series(keys >= 0)
    skus = pl.Series(names.key_skus[keys]).set(~known, None)
    places = pl.Series(names.key_locations[keys]).set(~known, None)
    return {"sku": names.skus.gather(skus), "location_id": names.locations.gather(places)}


def _kept(store: Store, infos: list[SegmentInfo], names: Names, wanted: set[str]) -> pl.DataFrame:
    flags = Flags.joined([store.flags(info.id) for info in infos if info.flags])
    codes = [code for code, kind in enumerate(FLAG_KINDS) if kind in wanted]
    chosen = np.flatnonzero(np.isin(flags.kinds, codes))
    if not chosen.size:
        return pl.DataFrame(schema=FLAGS_SCHEMA)
    chosen = chosen[np.argsort(flags.offsets[chosen], kind="stable")]
    firsts, inverse = np.unique(flags.firsts[chosen], return_inverse=True)
    return _frame(
        pl.Series(FLAG_KINDS).gather(flags.kinds[chosen]),
        len(chosen),
        offset=flags.offsets[chosen],
        source=store.sources().names.gather(flags.sources[chosen]),
        update_id=ids_of(store, infos, firsts).ids.gather(inverse),
        detail=flags.details[chosen],
        **_of_keys(names, flags.keys[chosen]),
    )


def _moved(store: Store, infos: list[SegmentInfo], names: Names) -> pl.DataFrame:
    """Counts whose book figure is not what the history has there."""
    with_figure, figures, keys = [], [], []
    for info in infos:
        counts, (offsets, expected) = store.counts(info.id)
        with_figure.append(offsets)
        figures.append(expected)
        keys.append(counts.keys[np.isin(counts.offsets, offsets)])
    offsets, expected = _joined(with_figure), _joined(figures)
    if not offsets.size:
        return pl.DataFrame(schema=FLAGS_SCHEMA)
    chosen = np.zeros(len(names.key_skus), np.bool_)
    chosen[_joined(keys)] = True
    parts = [legs[chosen[legs.keys]] for info in infos for legs in store.blocks(info.id)]
    lines = running(Legs.joined(parts))
    # A count has one leg, so its offset is found once.
    place = np.searchsorted(offsets, lines.legs.offsets).clip(max=len(offsets) - 1)
    rows = np.flatnonzero(offsets[place] == lines.legs.offsets)
    moved = lines.before[rows] - expected[place[rows]]
    rows, moved = rows[moved != 0], moved[moved != 0]
    order = np.argsort(lines.legs.offsets[rows])
    rows, moved = rows[order], moved[order]
    return _frame(
        "moved",
        len(rows),
        offset=lines.legs.offsets[rows],
        detail=moved,
        **_of_keys(names, lines.legs.keys[rows]),
    )


def _joined(parts: list[I64]) -> I64:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _negative(store: Store, names: Names) -> pl.DataFrame:
    on_hand, _ = store.stock()
    keys = np.flatnonzero(on_hand < 0)
    keys = keys[np.argsort(on_hand[keys], kind="stable")]
    return _frame("negative", len(keys), detail=on_hand[keys], **_of_keys(names, keys))


def _used(names: pl.Series, codes: I64) -> pl.Series:
    """The names that a key has; a name that only duplicates had is in the store too."""
    return names.gather(np.unique(codes))


def _unknown(column: str, names: pl.Series, known: Collection[str]) -> pl.DataFrame:
    listed = pl.Series("known", list(known), pl.String)
    strange = names.filter(~names.is_in(listed.implode())).sort()
    flag = "unknown_sku" if column == "sku" else "unknown_location"
    return _frame(flag, len(strange), **{column: strange})

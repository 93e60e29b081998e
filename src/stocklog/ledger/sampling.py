"""A quick look whether a store is what the log says: stretches of the log, and some keys.

It cannot prove what a replay proves; it finds a store of another log, updates that were lost
or changed in bulk, and balances that do not follow from their history, in seconds however
long the log is.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import polars as pl

from stocklog.ledger.batch import decode
from stocklog.ledger.standing import standing
from stocklog.stores.asof import Limits, balance_of, legs_of
from stocklog.stores.model import Names, Position, Store
from stocklog.stores.noticing import DUPLICATE
from stocklog.stores.segments import SegmentInfo
from stocklog.stream import StreamClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["SAMPLE_SCHEMA", "Sample", "sample"]

SAMPLE_SCHEMA = {
    "offset": pl.Int64(),
    "sku": pl.String(),
    "location_id": pl.String(),
    "store": pl.Int64(),
    "log": pl.Int64(),
    "problem": pl.String(),
}
"""Columns of what a sample found: `problem` is `missing` (an update of the log is not in the
history), `changed` (its quantity is another there) or `balance` (what is on hand, `store`, does
not follow from the history, `log`; `offset` is null)."""

_STRETCHES = 20
_STRETCH = 500
_POLL = 0.2


@dataclass(frozen=True, slots=True)
class Sample:
    """What a sample came to.

    Attributes:
        differences: with the columns of `SAMPLE_SCHEMA`.
        updates: how many updates of the log were looked for.
        keys: how many balances were made again from their history.
        last_offset: where the store stood.
    """

    differences: pl.DataFrame
    updates: int
    keys: int
    last_offset: int

    def facts(self) -> dict[str, Any]:
        """The numbers, for programs."""
        return {
            "updates": self.updates,
            "keys": self.keys,
            "last_offset": self.last_offset,
            "differences": self.differences.height,
        }


def sample(
    client: StreamClient, stream: str, store: Store, keys: int = 200, seed: int | None = None
) -> Sample:
    """Look for stretches of the log in the history, and make some balances again from it.

    Args:
        client: connected.
        stream: of the store.
        store: which is checked; open for reading.
        keys: how many keys, drawn at random.
        seed: the same seed looks at the same; `None`: another at each call.

    Raises:
        StoreError: the store is empty, or of another stream.
        StreamError: the stream does not exist, or the connection is lost.
    """
    draw = random.Random(seed)  # noqa: S311 - chooses what to look at
    with store.snapshot():
        position = standing(store, stream)
        infos, names = store.segments(), store.names()
        found = list(_wrong_balances(store, infos, names, keys, draw))
        looked_for = 0
        first = max(position.first_offset, client.first_offset(stream) or 0)
        for start in _starts(first, position.last_offset, draw):
            updates = _stretch(client, stream, start, min(start + _STRETCH, position.last_offset))
            looked_for += updates.height
            found += _not_in_history(store, infos, updates, position)
    frame = pl.DataFrame(found, schema=SAMPLE_SCHEMA, orient="row")
    count = min(keys, len(names.key_skus))
    return Sample(frame, looked_for, count, position.last_offset)


Row: TypeAlias = "tuple[int | None, str, str, int | None, int | None, str]"


def _wrong_balances(
    store: Store, infos: list[SegmentInfo], names: Names, count: int, draw: random.Random
) -> Iterator[Row]:
    every = range(len(names.key_skus))
    on_hand, _ = store.stock()
    for key in draw.sample(every, min(count, len(every))):
        found = balance_of(store, infos, key, Limits())
        history = 0 if found is None else found[0]
        if history != on_hand[key]:
            sku = names.skus[int(names.key_skus[key])]
            place = names.locations[int(names.key_locations[key])]
            yield None, sku, place, int(on_hand[key]), history, "balance"


def _starts(first: int, last: int, draw: random.Random) -> list[int]:
    """Where stretches begin: the two ends of what both have, and between them by chance."""
    if last - first < _STRETCHES * _STRETCH:
        return list(range(first, last + 1, _STRETCH + 1))
    inside = [draw.randint(first, last - _STRETCH) for _ in range(_STRETCHES - 2)]
    return [first, *inside, last - _STRETCH]


def _stretch(client: StreamClient, stream: str, first: int, last: int) -> pl.DataFrame:
    """The updates of a range of offsets."""
    parts: list[pl.DataFrame] = []
    with client.subscriber(stream, f"{first}..{last}", until_end=True) as subscriber:
        while not subscriber.ended:
            block = subscriber.next(_POLL)
            if block is not None:
                parts.append(decode(block).to_polars())
    return pl.concat(parts) if parts else pl.DataFrame(schema={"offset": pl.Int64})


def _not_in_history(
    store: Store, infos: list[SegmentInfo], updates: pl.DataFrame, position: Position
) -> Iterator[Row]:
    """Updates of a stretch that the history has otherwise, or not at all."""
    if not updates.height:
        return
    lowest, highest = updates["offset"][0], updates["offset"][-1]
    touched = [i for i in infos if i.first_offset <= highest and i.last_offset >= lowest]
    doubled: set[int] = set()
    for info in touched:
        flags = store.flags(info.id)
        doubled.update(flags.offsets[flags.kinds == DUPLICATE].tolist())
    columns = ["offset", "sku", "location_id", "type", "quantity"]
    for offset, sku, place, kind, quantity in updates.select(columns).iter_rows():
        if offset in doubled or offset > position.last_offset:
            continue
        wanted = -quantity if kind == "transfer" else quantity
        there = _value_at(store, touched, sku, place, offset)
        if there != wanted:
            yield offset, sku, place, there, wanted, "missing" if there is None else "changed"


def _value_at(
    store: Store, infos: list[SegmentInfo], sku: str, place: str, offset: int
) -> int | None:
    key = store.key(sku, place)
    if key is None:
        return None
    legs = legs_of(store, infos, key, Limits())
    rows = np.flatnonzero(legs.offsets == offset)
    return int(legs.values[rows[0]]) if rows.size else None

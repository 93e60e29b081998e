"""A physical count against the book: what matches, what does not, what was not counted.

Each line of a count is held against what the history has at the very moment it was counted, so
neither sales after it nor late updates disturb it. A variance is posted as the count itself, at
that moment: the rule then does the rest. Its id is made of the file's content and the row's
number, so it counts once however often it is posted, and it is not posted again once the
store has it.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

from stocklog.errors import StoreError, UsageError
from stocklog.inventory.balances import NEVER
from stocklog.inventory.feeds import FeedOptions, Reject, open_feed
from stocklog.inventory.update import to_frame
from stocklog.ledger.producer import Producer
from stocklog.ledger.standing import standing
from stocklog.stores.asof import Limits, balances_of_all
from stocklog.stores.model import Store
from stocklog.stores.segments import SegmentInfo
from stocklog.stream import StreamClient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stocklog.inventory.legs import Legs

    I64: TypeAlias = NDArray[np.int64]

__all__ = [
    "COUNT_CONSTANTS",
    "RECONCILE_SCHEMA",
    "Counts",
    "Reconciliation",
    "as_counts",
    "post",
    "read_counts",
    "reconcile",
    "wait_until_current",
]

COUNT_CONSTANTS = {"type": "count", "reason": "cycle_count", "source": "reconcile"}
"""What every row of a file of counts is said to be."""

RECONCILE_SCHEMA = {
    "status": pl.String(),
    "sku": pl.String(),
    "location_id": pl.String(),
    "counted_at": pl.Datetime("us", "UTC"),
    "book": pl.Int64(),
    "counted": pl.Int64(),
    "variance": pl.Int64(),
    "moved": pl.Int64(),
    "posted": pl.Boolean(),
}
"""Columns of a reconciliation; see `Reconciliation`."""

_POLL = 0.2


@dataclass(frozen=True, slots=True)
class Counts:
    """A file of counts.

    Attributes:
        updates: the good rows as `count` updates, columns of `UPDATE_SCHEMA`.
        rejects: the rows that are no counts.
    """

    updates: pl.DataFrame
    rejects: tuple[Reject, ...]


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What came of it.

    Attributes:
        lines: a row for each counted line in the file's order, then one for each key that was
            not counted, though something should be on hand at a location of the file. Columns
            of `RECONCILE_SCHEMA`: `status` is `match`, `variance` or `not_counted`; `book` what
            the history has at `counted_at` (for what was not counted: now); `counted` what was
            found and `variance` by how much it is more; `moved` by how much the stock has
            changed since the count; `posted` whether the book has this very count already.
        updates: the counts of the lines with a variance that are not posted yet, with the book
            figure as `expected_quantity` where the file names none.
        last_offset: where the store stood.
    """

    lines: pl.DataFrame
    updates: pl.DataFrame
    last_offset: int


def read_counts(file: Path, options: FeedOptions) -> Counts:
    """Read a file of counts: sku, location_id, quantity, occurred_at.

    Args:
        file: CSV, JSON Lines or Parquet.
        options: how to read it; put `COUNT_CONSTANTS` among its constants.

    Raises:
        FeedError: it cannot be read.
        UsageError: a column is missing, or a key was counted twice at the same moment.
    """
    parts: list[pl.DataFrame] = []
    rejects: list[Reject] = []
    with open_feed(file, options) as feed:
        for batch in feed:
            parts.append(batch.updates)
            rejects += batch.rejects
    if not parts:
        raise UsageError(f"{file} has no rows", "A count has a line for each key: sku, location_id")
    updates = pl.concat(parts)
    key = ["sku", "location_id", "occurred_at"]
    twice = updates.filter(pl.struct(key).is_duplicated())
    if twice.height:
        row = twice.row(0, named=True)
        raise UsageError(
            f"{row['sku']!r} at {row['location_id']!r} was counted twice at "
            f"{row['occurred_at'].isoformat()}, which leaves open what was found",
            "Add such lines up, or give them times of their own",
        )
    return Counts(updates, tuple(rejects))


def as_counts(frame: pl.DataFrame) -> pl.DataFrame:
    """A frame of counts in the columns of `UPDATE_SCHEMA`.

    Args:
        frame: at least `sku`, `location_id`, `quantity` and `occurred_at`.

    Raises:
        UsageError: a column is missing, or cannot be what it should be.
    """
    missing = [n for n in ("sku", "location_id", "quantity", "occurred_at") if n not in frame]
    if missing:
        raise UsageError(
            f"The counts have no column {missing[0]}", f"Their columns are {frame.columns}"
        )
    fixed = [pl.lit(value).alias(name) for name, value in COUNT_CONSTANTS.items()]
    if "update_id" not in frame.columns:
        fixed.append(pl.lit("").alias("update_id"))
    return to_frame(frame.with_columns(fixed))


@dataclass(frozen=True, slots=True)
class _KeyLimits(Limits):
    """A last moment of its own for each key."""

    moments: I64 | None = None

    def covers(self, info: SegmentInfo) -> bool:
        return False

    def of(self, legs: Legs) -> NDArray[np.bool_]:
        assert self.moments is not None
        inside: NDArray[np.bool_] = legs.times <= self.moments[legs.keys]
        return inside


def reconcile(store: Store, counts: pl.DataFrame) -> Reconciliation:
    """Hold counts against the book. Reads one state of the store.

    Args:
        store: which is asked.
        counts: updates of the type `count`, columns of `UPDATE_SCHEMA`.

    Raises:
        StoreError: the store is empty, or begins later than a count.
    """
    with store.snapshot():
        position = standing(store)
        moments = counts["occurred_at"].to_physical().to_numpy()
        if position.first_offset > 0 and moments.min() < position.first_recorded_at * 1000:
            raise StoreError(
                f"{store.where} begins with offset {position.first_offset}; some lines were "
                "counted before that, and what the book had then was cut by retention",
                "Leave those lines out",
            )
        infos = store.segments()
        names = store.names()
        on_hand, _ = store.stock()
        keys = _keys_of(store, counts)
        book = _book_at(store, infos, keys, moments, len(on_hand))
        posted = _posted(store, infos, keys, moments, counts["update_id"])
    counted = counts["quantity"].to_numpy()
    now = np.where(keys >= 0, on_hand[np.maximum(keys, 0)] if len(on_hand) else 0, 0)
    variance = counted - book
    lines = pl.DataFrame(
        {
            "status": pl.Series(np.where(variance == 0, "match", "variance")),
            "sku": counts["sku"],
            "location_id": counts["location_id"],
            "counted_at": counts["occurred_at"],
            "book": book,
            "counted": counted,
            "variance": variance,
            "moved": now - book,
            "posted": posted,
        },
        schema=RECONCILE_SCHEMA,
    )
    stock = pl.DataFrame(
        {
            "sku": names.skus.gather(names.key_skus),
            "location_id": names.locations.gather(names.key_locations),
            "book": on_hand,
        }
    )
    due = pl.Series((variance != 0) & ~posted)
    updates = counts.with_columns(pl.col("expected_quantity").fill_null(pl.Series(book))).filter(
        due
    )
    return Reconciliation(
        pl.concat([lines, _not_counted(stock, counts)]), updates, position.last_offset
    )


def _not_counted(stock: pl.DataFrame, counts: pl.DataFrame) -> pl.DataFrame:
    left = (
        stock.filter(
            (pl.col("book") != 0)
            & pl.col("location_id").is_in(counts["location_id"].unique().implode())
        )
        .join(counts, on=["sku", "location_id"], how="anti")
        .sort("sku", "location_id")
    )
    return left.select(
        (pl.col(name) if name in left.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in RECONCILE_SCHEMA.items()
    ).with_columns(status=pl.lit("not_counted"))


def _keys_of(store: Store, counts: pl.DataFrame) -> I64:
    """The key of each row, -1 where the book does not know it."""
    names = store.names()
    known = pl.DataFrame(
        {
            "sku": names.skus.gather(names.key_skus),
            "location_id": names.locations.gather(names.key_locations),
            "key": np.arange(len(names.key_skus)),
        }
    )
    columns = ["sku", "location_id"]
    found = counts.select(columns).join(known, on=columns, how="left", maintain_order="left")
    keys: I64 = found["key"].fill_null(-1).to_numpy()
    return keys


def _book_at(
    store: Store, infos: list[SegmentInfo], keys: I64, moments: I64, key_count: int
) -> I64:
    """On hand of each row's key at the row's moment; 0 where nothing is known."""
    book = np.zeros(len(keys), np.int64)
    # A key that was counted several times needs several looks; nearly all were counted once.
    turn = pl.DataFrame({"key": keys}).select(pl.int_range(pl.len()).over("key"))
    turns = turn.to_series().to_numpy()
    known = keys >= 0
    for number in range(int(turns[known].max()) + 1 if known.any() else 0):
        rows = np.flatnonzero(known & (turns == number))
        limits = np.full(key_count, NEVER, np.int64)
        limits[keys[rows]] = moments[rows]
        latest = int(moments[rows].max())
        on_hand, _, _ = balances_of_all(
            store, infos, key_count, _KeyLimits(at=latest, moments=limits)
        )
        book[rows] = on_hand[keys[rows]]
    return book


def _posted(
    store: Store, infos: list[SegmentInfo], keys: I64, moments: I64, ids: pl.Series
) -> NDArray[np.bool_]:
    """Which rows are in the history already: the same key, moment and id."""
    wanted = pl.DataFrame({"key": keys, "time": moments, "row": np.arange(len(keys)), "id": ids})
    posted = np.zeros(len(keys), np.bool_)
    for info in infos:
        counts, _ = store.counts(info.id)
        there = pl.DataFrame({"key": counts.keys, "time": counts.times, "offset": counts.offsets})
        both = there.join(wanted, on=["key", "time"]).sort("offset")
        if both.height:
            found = store.ids_at(info.id, both["offset"].unique().sort().to_numpy())
            places = both["offset"].rank("dense").cast(pl.Int64) - 1
            same = (found.gather(places) == both["id"]).to_numpy()
            posted[both["row"].to_numpy()[same]] = True
    return posted


def post(client: StreamClient, stream: str, updates: pl.DataFrame) -> int:
    """Publish counts, and wait until all of them are confirmed.

    Args:
        client: connected.
        stream: exists.
        updates: of a `Reconciliation`.

    Returns:
        How many.

    Raises:
        StreamError: not everything was confirmed; to run the whole again is safe.
    """
    if updates.height:
        producer = Producer(client, stream)
        with producer:
            producer.send(updates)
    return updates.height


def wait_until_current(
    client: StreamClient,
    stream: str,
    store: Store,
    patience: float = 30.0,
    stop: threading.Event | None = None,
) -> None:
    """Wait until a store has all that the log had when this was called.

    Only then does the store know whether something was posted before.

    Args:
        client: connected.
        stream: of the store.
        store: open for reading; somebody else brings it up to date.
        patience: seconds.
        stop: ends the waiting when set.

    Raises:
        StoreError: the store is of another stream, or it took longer.
    """
    end = _last_message(client, stream, store)
    deadline = time.monotonic() + patience
    while (stands := _stands(store)) < end:
        if time.monotonic() >= deadline or (stop and stop.is_set()):
            raise StoreError(
                f"{store.where} stands at offset {stands}, and the log goes on to {end}: it cannot "
                "tell what was posted there",
                "Bring it up to date with `stocklog project --exit-at-end`, then post",
            )
        time.sleep(_POLL)


def _stands(store: Store) -> int:
    position = store.position()
    return -1 if position is None else position.last_offset


def _last_message(client: StreamClient, stream: str, store: Store) -> int:
    """The last offset of a message behind where the store stands, or where it stands."""
    position = store.position()
    if position is not None and position.stream != stream:
        raise StoreError(
            f"{store.where} is the store of the stream {position.stream!r}, not of {stream!r}",
            "Name that stream with --stream",
        )
    stands = _stands(store)
    last = client.last_offset(stream)
    if last is None or last <= stands:
        return stands
    # The broker's own records take offsets too, so the messages themselves have to be seen.
    with client.subscriber(stream, str(stands + 1), until_end=True) as subscriber:
        while not subscriber.ended:
            block = subscriber.next(_POLL)
            if block is not None and len(block.offsets):
                stands = int(block.offsets[-1])
    return stands

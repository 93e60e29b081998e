"""What the ledger is measured on: simulated updates over a given number of keys.

The grocery simulator, with its dirt (late updates, repeated deliveries, count sweeps), folded
onto as many SKUs and locations as are wanted: a rank or a location beyond the last begins
again with the first. Ids, times and sources stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from stocklog.inventory import codec
from stocklog.inventory.simulate import Simulator
from stocklog.ledger.pipeline import ahead

if TYPE_CHECKING:
    from stocklog.stream import StreamClient

__all__ = ["LOCATIONS", "fold", "publish", "publish_late_counts"]

LOCATIONS = 25
"""Locations of the folded updates; there are keys / 25 SKUs."""


def fold(batch: pa.RecordBatch, keys: int) -> pa.RecordBatch:
    """The same updates over at most so many keys.

    Args:
        batch: of the simulator.
        keys: at least 2 * `LOCATIONS`.
    """
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    columns["sku"] = _folded(columns["sku"], keys // LOCATIONS)
    here = _folded(columns["location_id"], LOCATIONS)
    there = _folded(columns["to_location_id"], LOCATIONS)
    # A transfer goes from one location to another.
    same = np.asarray(there.indices.fill_null(-1)) == np.asarray(here.indices)
    moved = np.where(same, (np.asarray(here.indices) + 1) % LOCATIONS, there.indices.fill_null(0))
    targets = pa.array(moved.astype(np.int32), mask=np.asarray(there.indices.is_null()))
    columns["location_id"] = here
    columns["to_location_id"] = pa.DictionaryArray.from_arrays(targets, there.dictionary)
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=batch.schema)


def _folded(column: pa.DictionaryArray, size: int) -> pa.DictionaryArray:
    absent = np.asarray(column.indices.is_null())
    codes = np.asarray(column.indices.fill_null(0)) % size
    return pa.DictionaryArray.from_arrays(
        pa.array(codes.astype(np.int32), mask=absent), column.dictionary
    )


def publish(
    client: StreamClient, stream: str, count: int, keys: int, seed: int, *, skip: int = 0
) -> None:
    """Publish folded updates and wait until all are confirmed.

    Args:
        client: connected.
        stream: exists.
        count: how many.
        keys: over how many keys at most.
        seed: of the simulator; the same seed makes the same updates.
        skip: how many updates of the seed come before.
    """
    simulator = Simulator("grocery", seed, dirt=True)
    simulator.skip(skip)
    _send(client, stream, _blocks(simulator, count, keys))


def _blocks(simulator: Simulator, count: int, keys: int) -> Iterator[pa.RecordBatch]:
    for done in range(0, count, Simulator.BLOCK):
        yield fold(simulator.batch(min(Simulator.BLOCK, count - done)), keys)


def publish_late_counts(
    client: StreamClient, stream: str, counts: int, keys: int, seed: int, moment: int
) -> None:
    """Publish a file of counts that come after updates which happened later.

    Args:
        client: connected.
        stream: exists.
        counts: how many, each of another key; at most `keys`.
        keys: the keys that the log is over.
        seed: of the ids and figures.
        moment: when all of them happened, microseconds since 1970.
    """
    _send(client, stream, _late_counts(counts, keys, seed, moment))


def _late_counts(counts: int, keys: int, seed: int, moment: int) -> Iterator[pa.RecordBatch]:
    names = Simulator("grocery", seed).dictionaries
    draw = np.random.default_rng(seed)
    chosen = draw.permutation(keys // LOCATIONS * LOCATIONS)[:counts].astype(np.int32)

    def text(value: str, rows: int) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array([value]))

    for first in range(0, len(chosen), Simulator.BLOCK):
        part = chosen[first : first + Simulator.BLOCK]
        skus, places = part // LOCATIONS, part % LOCATIONS
        rows = len(part)
        yield pa.RecordBatch.from_pydict(
            {
                "update_id": pa.array([f"late-{seed}/{n}" for n in range(first, first + rows)]),
                "type": text("count", rows),
                "sku": pa.DictionaryArray.from_arrays(pa.array(skus), names["sku"]),
                "location_id": pa.DictionaryArray.from_arrays(
                    pa.array(places), names["location_id"]
                ),
                "quantity": pa.array(draw.integers(0, 500, rows)),
                "occurred_at": pa.array(np.full(rows, moment), pa.timestamp("us", "UTC")),
                "reason": text("cycle_count", rows),
                "source": text("count-sheet", rows),
            }
        )


def _send(client: StreamClient, stream: str, batches: Iterator[pa.RecordBatch]) -> None:
    with client.publisher(stream, sub_batch=500, codec="lz4") as publisher:
        lead = publisher.lead
        for block in ahead(codec.encode(batch, lead) for batch in batches):
            publisher.send(block.data, block.starts)
        publisher.flush(120.0)

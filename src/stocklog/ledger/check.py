"""Is a store what the log says? Replays the log and compares, key by key."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from stocklog.errors import StoreError
from stocklog.ledger.pipeline import OnTick, ignore
from stocklog.ledger.project import project
from stocklog.ledger.questions import Ledger
from stocklog.ledger.standing import standing
from stocklog.stores.model import Store
from stocklog.stores.sqlite import SqliteStore
from stocklog.stream import StreamClient

__all__ = ["DIFFERENCES_SCHEMA", "Verification", "verify"]

DIFFERENCES_SCHEMA = {
    "sku": pl.String(),
    "location_id": pl.String(),
    "on_hand_store": pl.Int64(),
    "on_hand_log": pl.Int64(),
    "reserved_store": pl.Int64(),
    "reserved_log": pl.Int64(),
}
"""Columns of the differences; a balance is null on the side that does not know the key."""


@dataclass(frozen=True)
class Verification:
    """What a comparison came to.

    Attributes:
        differences: the keys that differ, with the columns of `DIFFERENCES_SCHEMA`.
        keys: how many keys were compared.
        updates: how many updates of the log were replayed.
        last_offset: the offset up to which both were compared.
        seconds: for the replay.
        interrupted: whether the user ended it; then nothing was compared.
    """

    differences: pl.DataFrame
    keys: int
    updates: int
    last_offset: int
    seconds: float
    interrupted: bool = False

    def facts(self) -> dict[str, Any]:
        """Everything but the keys, for programs."""
        found = {k: v for k, v in asdict(self).items() if k != "differences"}
        return {**found, "differences": self.differences.height}


def verify(
    client: StreamClient,
    stream: str,
    store: Store,
    *,
    on_tick: OnTick = ignore,
    on_note: Callable[[str], None] = lambda text: None,
    stop: threading.Event | None = None,
) -> Verification:
    """Replay the log into a store of its own, and compare it with the given one.

    The log is replayed up to the offset at which the store stands now; a projector may go on
    meanwhile.

    Args:
        client: connected.
        stream: the stream's name.
        store: which is checked; open for reading.
        on_tick: gets the state of the replay.
        on_note: gets a line about what the user should know.
        stop: ends the replay when set.

    Returns:
        The differences, if there are any.

    Raises:
        StoreError: the store is empty, of another stream, or began with updates that
            retention has cut since, so that the log alone can no longer tell.
        StreamError: the stream does not exist, or the connection is lost for good.
    """
    ledger = Ledger(store)
    with store.snapshot():
        position = standing(store, stream)
        there = ledger.stock()
    first = client.begin_offset(stream)
    if first is not None and first > position.first_offset:
        raise StoreError(
            f"The log begins with offset {first}, and {store.where} with "
            f"{position.first_offset}: retention has cut the beginning since, so a replay would "
            "come to other balances though both are right",
            "What can still be compared is two stores of the same log",
        )
    with tempfile.TemporaryDirectory(prefix="stocklog-verify-") as folder:
        replayed = SqliteStore(Path(folder) / "replay.db", writing=True)
        try:
            summary = project(
                client,
                stream,
                replayed,
                until_end=True,
                last=position.last_offset,
                accept_gap=position.is_cut,
                on_tick=on_tick,
                on_note=on_note,
                stop=stop,
            )
            here = pl.DataFrame(schema=there.schema)
            if not summary.interrupted:
                here = Ledger(replayed).stock()
        finally:
            replayed.close()
    nothing = summary.interrupted
    differences = pl.DataFrame(schema=DIFFERENCES_SCHEMA) if nothing else _compare(there, here)
    return Verification(
        differences,
        0 if nothing else max(there.height, here.height),
        summary.updates,
        summary.last_offset,
        summary.seconds,
        summary.interrupted,
    )


def _compare(store: pl.DataFrame, log: pl.DataFrame) -> pl.DataFrame:
    both = store.join(log, on=["sku", "location_id"], how="full", suffix="_log", coalesce=True)
    both = both.rename({"on_hand": "on_hand_store", "reserved": "reserved_store"})
    same = pl.col("on_hand_store").eq_missing(pl.col("on_hand_log")) & pl.col(
        "reserved_store"
    ).eq_missing(pl.col("reserved_log"))
    return both.filter(~same).select(*DIFFERENCES_SCHEMA).sort("sku", "location_id")

"""The same updates for every contender: made by the simulator, ready before the clock starts."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from stocklog.inventory import codec
from stocklog.inventory.simulate import Simulator

__all__ = [
    "BROKEN",
    "as_bodies",
    "as_dicts",
    "as_frame",
    "encoded",
    "foreign",
    "with_broken",
    "write_file",
]

_ROWS = 10_000

BROKEN = {
    "update_id": "broken/1/1",
    "type": "adjustment",
    "sku": "SKU-1",
    "location_id": "STORE-1",
    "quantity": 0,
    "occurred_at": "2026-01-05T08:00:00Z",
    "reason": "sale",
    "source": "broken",
}
"""One update that breaks a rule: an adjustment by nothing. It must show in every count."""


def encoded(
    count: int, seed: int, lead: bytes
) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]:
    """Bodies with room in front, block by block; see `codec.encode`."""
    simulator = Simulator("grocery", seed)
    for done in range(0, count, _ROWS):
        block = codec.encode(simulator.batch(min(_ROWS, count - done)), lead)
        yield block.data, block.starts


def as_bodies(count: int, seed: int) -> list[bytes]:
    """One JSON body an update."""
    bodies: list[bytes] = []
    for data, starts in encoded(count, seed, b""):
        whole, edges = data.tobytes(), starts.tolist()
        bodies += [whole[a:b] for a, b in itertools.pairwise(edges)]
    return bodies


def as_dicts(count: int, seed: int) -> list[dict[str, Any]]:
    """One dict an update, as a program would hold them that uses another client."""
    return [json.loads(body) for body in as_bodies(count, seed)]


def as_frame(count: int, seed: int) -> pl.DataFrame:
    """A frame whose texts are strings, as a program would hold it that read it from elsewhere."""
    frame = pl.from_arrow(Simulator("grocery", seed).batch(count))
    assert isinstance(frame, pl.DataFrame)
    return frame.with_columns(pl.col(pl.Categorical).cast(pl.String))


def with_broken(frame: pl.DataFrame) -> pl.DataFrame:
    """The same frame with `BROKEN` in the middle."""
    broken = pl.DataFrame([BROKEN]).with_columns(
        pl.col("occurred_at").str.to_datetime(time_unit="us", time_zone="UTC")
    )
    half = frame.height // 2
    return pl.concat([frame[:half], broken, frame[half:]], how="diagonal")


def foreign(updates: list[dict[str, Any]], seed: int) -> Iterator[str]:
    """JSON as others write it: spaces, escapes, and every body's fields in an order of its own.

    A slash is escaped in every second body, as PHP does, and so is the first letter of the SKU.
    """
    draw = random.Random(seed)  # noqa: S311 - an order, no secret
    for number, update in enumerate(updates):
        fields = list(update.items())
        draw.shuffle(fields)
        text = json.dumps(dict(fields))
        if number % 2:
            first = update["sku"][0]
            text = text.replace("/", "\\/")
            text = text.replace(f'"sku": "{first}', f'"sku": "\\u{ord(first):04x}')
        yield text


def write_file(path: Path, count: int, seed: int, *, nulls: bool = False) -> None:
    """A file to load: `count` good updates, and `BROKEN` in the middle of them.

    Args:
        path: its ending says what it becomes: `.parquet`, `.csv` or `.jsonl`.
        count: good updates.
        seed: of the simulator.
        nulls: JSON Lines: absent fields are written as null, as data frames do, and not left out.
    """
    if path.suffix == ".jsonl" and not nulls:
        _write_lines(path, count, seed)
        return
    whole = with_broken(as_frame(count, seed))
    if path.suffix == ".parquet":
        whole.write_parquet(path)
        return
    form = "%Y-%m-%dT%H:%M:%S%.6fZ"
    whole = whole.with_columns(pl.col("occurred_at").dt.to_string(form))
    if path.suffix == ".csv":
        whole.write_csv(path)
    else:
        whole.write_ndjson(path)


def _write_lines(path: Path, count: int, seed: int) -> None:
    done, half = 0, count // 2
    with path.open("wb") as file:
        for data, starts in encoded(count, seed, b"\n"):
            rows = len(starts) - 1
            border = int(starts[half - done]) if done <= half < done + rows else len(data)
            # Each line is begun by its newline: the file's first one is empty.
            file.write(data[:border].tobytes())
            if border < len(data):
                file.write(b"\n" + json.dumps(BROKEN).encode())
            file.write(data[border:].tobytes())
            done += rows

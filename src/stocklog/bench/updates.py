"""The same updates for every contender: made by the simulator, ready before the clock starts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from stocklog.inventory import codec
from stocklog.inventory.simulate import Simulator

__all__ = ["as_bodies", "as_dicts", "encoded"]

_ROWS = 10_000


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

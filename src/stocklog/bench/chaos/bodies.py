"""Messages that say who sent them and which they are, so that a wrong one shows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stocklog.protocol import amqp
from stocklog.protocol.chunk import MessageBlock

__all__ = ["SIZE", "Read", "build", "read"]

SIZE = 64
"""Bytes of a body: the number, the producer, and what follows from both, byte for byte."""

_HEAD = 10
_PATTERN = np.arange(SIZE - _HEAD, dtype=np.int64)


class Read(NamedTuple):
    """What a block of messages holds.

    Attributes:
        offsets: int64[n].
        producers: slot of the producer, int64[n]; -1 where the body is none that anybody sends.
        numbers: which message of the producer it is, int64[n]; 0 there.
    """

    offsets: npt.NDArray[np.int64]
    producers: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]


def _bodies(
    producers: npt.NDArray[np.int64], numbers: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint8]:
    made = np.empty((len(numbers), SIZE), np.uint8)
    made[:, :8] = numbers.astype(">u8").view(np.uint8).reshape(-1, 8)
    made[:, 8:_HEAD] = producers.astype(">u2").view(np.uint8).reshape(-1, 2)
    made[:, _HEAD:] = (numbers[:, None] * 7 + producers[:, None] + _PATTERN) & 0xFF
    made[:, -8:] = ~made[:, :8]
    return made


def build(
    producer: int, first: int, count: int, lead: bytes
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Make messages for `Publisher.send`.

    Args:
        producer: the producer's slot.
        first: number of the first one.
        count: how many.
        lead: the publisher's.

    Returns:
        The bytes, and where each message's room begins, with the end of the last.
    """
    numbers = np.arange(first, first + count, dtype=np.int64)
    whole = np.empty((count, len(lead) + SIZE), np.uint8)
    whole[:, : len(lead)] = np.frombuffer(lead, np.uint8)
    whole[:, len(lead) :] = _bodies(np.full(count, producer, np.int64), numbers)
    return whole.reshape(-1), np.arange(count + 1, dtype=np.int64) * whole.shape[1]


def read(block: MessageBlock) -> Read:
    """Read messages back, and see that each is byte for byte what its producer sends."""
    bodies = amqp.locate_bodies(block)
    sound = np.asarray(bodies.lengths == SIZE)
    sound[list(bodies.problems)] = False
    producers = np.full(len(sound), -1, np.int64)
    numbers = np.zeros(len(sound), np.int64)
    rows = np.flatnonzero(sound)
    found = bodies.buffer[bodies.starts[rows, None] + np.arange(SIZE)]
    who = np.ascontiguousarray(found[:, 8:_HEAD]).view(">u2").ravel().astype(np.int64)
    which = np.ascontiguousarray(found[:, :8]).view(">u8").ravel().astype(np.int64)
    same = (found == _bodies(who, which)).all(axis=1)
    producers[rows[same]], numbers[rows[same]] = who[same], which[same]
    return Read(block.offsets, producers, numbers)

"""Retention that cuts while a log is read: every gap is told, refused or kept, none is silent."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from stocklog.ledger.project import _Pieces, _Start
from stocklog.protocol import amqp
from stocklog.protocol.chunk import MessageBlock
from stocklog.stores.model import Gap, Position

BODY = b'{"no":"update"}'


def block(*offsets: int) -> MessageBlock:
    data, edges = amqp.frame_bodies([BODY] * len(offsets), plain=True)
    starts = np.asarray(edges[:-1], np.int64)
    return MessageBlock(
        np.asarray(data),
        starts,
        np.diff(np.asarray(edges, np.int64)),
        np.array(offsets, np.int64),
        np.full(len(offsets), 1000, np.int64),
    )


class Log:
    """A subscriber that was told what it will read, and of which gaps before each block."""

    def __init__(self, *reads: tuple[list[tuple[int, int]], MessageBlock]) -> None:
        self._reads = list(reads)
        self.gaps: list[tuple[int, int]] = []

    @property
    def ended(self) -> bool:
        return not self._reads

    def next(self, timeout: float) -> MessageBlock | None:
        if not self._reads:
            return None
        gaps, found = self._reads.pop(0)
        self.gaps += gaps
        return found


def read(log: Log, start: _Start, position: Position | None = None, **options: Any) -> Any:
    given: Any = log
    pieces = _Pieces(given, position or Position("s"), start, accept_gap=True, stop=None)
    for name, value in options.items():
        setattr(pieces, name, value)
    told = [
        (piece[0].offsets[0], piece[0].offsets[-1], piece[1])
        for piece in pieces.read(1000)
        if piece is not None
    ]
    return told, pieces


def test_two_gaps_with_messages_between_them_are_two() -> None:
    told, _ = read(Log(([(3, 9), (12, 19)], block(1, 2, 10, 11, 20, 21))), _Start(None))
    assert told == [(1, 2, None), (10, 11, Gap(3, 9)), (20, 21, Gap(12, 19))]


def test_two_gaps_with_nothing_between_them_are_one() -> None:
    told, _ = read(Log(([(3, 9), (10, 19)], block(1, 2, 20, 21))), _Start(None))
    assert told == [(1, 2, None), (20, 21, Gap(3, 19))]


def test_a_gap_before_the_start_and_one_right_behind_it_are_one() -> None:
    start = _Start(10, gap=Gap(6, 9))
    told, _ = read(Log(([(10, 14)], block(15)), ([], block(16))), start, Position("s", 0, 0, 5))
    assert told == [(15, 15, Gap(6, 14)), (16, 16, None)]


def test_a_gap_at_the_end_of_a_block_belongs_to_the_next() -> None:
    told, _ = read(Log(([(3, 9)], block(1, 2)), ([(10, 11)], block(12))), _Start(None))
    assert told == [(1, 2, None), (12, 12, Gap(3, 11))]


def test_the_last_message_of_the_store_cut_meanwhile_is_a_gap_and_no_other_stream() -> None:
    position = Position("s", 0, 0, 5, 1000, "digest", 6)
    told, _ = read(Log(([(5, 8)], block(9, 10))), _Start(5, known=True), position)
    assert told == [(9, 10, Gap(6, 8))]


@pytest.mark.parametrize("gaps", [[(3, 9)], [(3, 9), (12, 19)]])
def test_without_leave_reading_ends_at_the_first_gap(gaps: list[tuple[int, int]]) -> None:
    log = Log((gaps, block(1, 2, 10, 11, 20)))
    told, pieces = read(log, _Start(None), _accept_gap=False)
    assert told == [(1, 2, None)]
    assert pieces.refused == Gap(3, 9)


def test_the_known_message_is_left_off() -> None:
    message = block(5).message(0)
    position = Position("s", 0, 0, 5, 1000, hashlib.sha256(message).hexdigest(), 6)
    told, _ = read(Log(([], block(5, 6))), _Start(5, known=True), position)
    assert told == [(6, 6, None)]

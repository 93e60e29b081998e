"""What was sent and not yet confirmed: counted, bounded, and kept for sending again."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stocklog.stream.transport import Piece

__all__ = ["InFlight", "SentFrame"]


@dataclass(slots=True)
class SentFrame:
    """One Publish frame whose entries the broker has not all answered.

    Attributes:
        ids: publishing id of each entry, rising, uint64[n].
        messages: messages of each entry, int64[n].
        size: bytes on the wire.
        pieces: the frame itself, as it was sent; an entry sent again keeps its borders.
        answered: which entries are confirmed or refused, bool[n]; None while none is.
        left: how many entries are not.
    """

    ids: npt.NDArray[np.uint64]
    messages: npt.NDArray[np.int64]
    size: int
    pieces: Sequence[Piece]
    answered: npt.NDArray[np.bool_] | None = None
    left: int = 0

    def __post_init__(self) -> None:
        self.left = len(self.ids)


class InFlight:
    """The unanswered frames of one publisher, oldest first. The caller holds the lock."""

    def __init__(self) -> None:
        self._frames: deque[SentFrame] = deque()
        self.entries = 0
        self.size = 0
        self.messages = 0

    def add(self, frame: SentFrame) -> None:
        """Take note of a frame, before it is sent: its confirm may be faster than we are."""
        self._frames.append(frame)
        self.entries += len(frame.ids)
        self.size += frame.size
        self.messages += int(frame.messages.sum())

    def answer(self, ids: npt.NDArray[np.uint64]) -> int:
        """Strike out entries.

        Args:
            ids: publishing ids in any order, uint64[n]. Unknown ones are passed over
                (an entry that was sent twice is confirmed twice).

        Returns:
            How many messages the entries held.
        """
        ordered = ids if len(ids) < 2 or bool((ids[1:] > ids[:-1]).all()) else np.unique(ids)
        struck = position = 0
        for frame in self._frames:
            if position >= len(ordered):
                break
            stop = int(np.searchsorted(ordered, frame.ids[-1], "right"))
            if stop > position:
                struck += self._strike(frame, ordered[position:stop])
                position = stop
        self.messages -= struck
        while self._frames and self._frames[0].left == 0:
            self.size -= self._frames.popleft().size
        return struck

    def _strike(self, frame: SentFrame, ids: npt.NDArray[np.uint64]) -> int:
        if not frame.left:
            return 0  # it only waits for an older frame
        count = len(frame.ids)
        if frame.answered is None:
            if len(ids) == count and bool((ids == frame.ids).all()):
                return self._strike_all(frame)
            frame.answered = np.zeros(count, np.bool_)
        places = np.searchsorted(frame.ids, ids)
        places = places[frame.ids[places] == ids]
        places = places[~frame.answered[places]]
        frame.answered[places] = True
        frame.left -= len(places)
        self.entries -= len(places)
        return int(frame.messages[places].sum())

    def _strike_all(self, frame: SentFrame) -> int:
        frame.left = 0
        self.entries -= len(frame.ids)
        return int(frame.messages.sum())

    def frames(self) -> list[SentFrame]:
        """The frames that still await an answer, oldest first."""
        return list(self._frames)

    def __len__(self) -> int:
        return len(self._frames)

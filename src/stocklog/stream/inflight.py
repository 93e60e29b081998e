"""What was sent and not yet confirmed: counted, bounded, and kept for sending again."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stocklog.protocol import frames
from stocklog.stream.options import PublisherOptions
from stocklog.stream.transport import Piece

__all__ = ["InFlight", "SentFrame"]


@dataclass(slots=True)
class SentFrame:
    """One Publish frame whose entries the broker has not all answered.

    Attributes:
        ids: publishing id of each entry, rising, uint64[n].
        messages: messages of each entry, int64[n].
        size: bytes on the wire.
        pieces: the frame's head, then its entries; an entry sent again keeps its borders.
        borders: where each plain entry begins in `pieces[1]`, and the end, int64[n + 1];
            None for sub-batches, each of which is two pieces, a head and a body.
        answered: which entries are confirmed or refused, bool[n]; None while none is.
        left: how many entries are not.
    """

    ids: npt.NDArray[np.uint64]
    messages: npt.NDArray[np.int64]
    size: int
    pieces: Sequence[Piece]
    borders: npt.NDArray[np.int64] | None = None
    answered: npt.NDArray[np.bool_] | None = None
    left: int = 0

    def __post_init__(self) -> None:
        self.left = len(self.ids)

    def messages_left(self) -> int:
        """Messages of the entries that are not answered."""
        return int(
            self.messages.sum() if self.answered is None else self.messages[~self.answered].sum()
        )

    def pieces_left(self) -> Sequence[Piece]:
        """A Publish frame of the entries that are not answered, each as it was."""
        if self.answered is None:
            return self.pieces
        kept = np.flatnonzero(~self.answered).tolist()
        entries = [piece for entry in kept for piece in self._entry(entry)]
        size = sum(len(piece) for piece in entries)
        return [frames.publish_header(0, len(kept), size), *entries]

    def _entry(self, entry: int) -> Sequence[Piece]:
        if self.borders is None:
            return self.pieces[1 + 2 * entry : 3 + 2 * entry]
        return [self.pieces[1][int(self.borders[entry]) : int(self.borders[entry + 1])]]


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

    def has_room(self, frame: SentFrame, options: PublisherOptions) -> bool:
        """Whether a frame may be sent now: it fits the bounds, or nothing else is on its way."""
        return not self.entries or (
            self.size + frame.size <= options.max_unconfirmed_bytes
            and self.entries + len(frame.ids) <= options.max_unconfirmed_entries
        )

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

    def answer_up_to(self, last: int) -> int:
        """Strike out all entries with an id up to `last`; give how many messages they held."""
        ids = [frame.ids[frame.ids <= last] for frame in self._frames if frame.ids[0] <= last]
        return self.answer(np.concatenate(ids)) if ids else 0

    def frames(self) -> list[SentFrame]:
        """The frames that still await an answer, oldest first."""
        return list(self._frames)

    def __len__(self) -> int:
        return len(self._frames)

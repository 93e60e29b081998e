"""How many chunks a subscriber asks for, so that their bytes stay bounded.

One credit is one chunk, whatever its size: 200 bytes from a slow writer, 150 MB
from one without bounds. So the number follows the sizes that were seen.

Subscribe asks for one chunk only: from 3.11.8 on a subscription is served only
while its credit is above half of what Subscribe gave, and half of one is none.
"""

from __future__ import annotations

__all__ = ["CreditPolicy"]

_MOST = 4096  # far below the 32,767 that one Credit frame can carry
_FEWEST = 2


class CreditPolicy:
    """Decides when to ask for more chunks.

    Args:
        max_bytes: what may be on the way or waiting, as far as sizes can be foreseen.
        expects: bytes that a chunk is expected to have; 0: not known.
    """

    def __init__(self, max_bytes: int, expects: int = 0) -> None:
        self._max_bytes = max_bytes
        self._size = float(expects)
        self._target = _MOST if expects else 1
        self._owed = 1  # chunks that the broker may still send

    def received(self, chunks: int, size: int) -> None:
        """Chunks have come, together of so many bytes."""
        self._owed -= chunks
        mean = size / chunks
        # Rising at once and falling slowly: memory is what is bounded.
        self._size = mean if mean > self._size else 0.9 * self._size + 0.1 * mean

    def is_low(self, left: int | None = None) -> bool:
        """Whether little is on the way, and more could be asked for once it is taken.

        Args:
            left: as in `grant`.
        """
        return self._owed <= self._target // 2 and (left is None or left > self._owed)

    def grant(self, waiting: int, left: int | None = None) -> int:
        """How many more chunks to ask for now.

        Args:
            waiting: chunks that have come and wait to be taken.
            left: chunks that may still be wanted, at most; None: any number. What comes
                behind the end costs the broker as much as the rest.

        Returns:
            0 until half of the room is free, so that one frame asks for many.
        """
        room = self._max_bytes / self._size if self._size else _FEWEST
        # At most twice as many as before: a log that begins with tiny chunks may go on with
        # large ones, and what is asked for cannot be taken back.
        target = int(min(_MOST, 2 * self._target, max(_FEWEST, room)))
        missing, enough = target - self._owed - waiting, target // 2
        if left is not None:
            missing, enough = min(missing, left - self._owed), min(enough, left - self._owed)
        if missing < max(1, enough):
            return 0
        self._target = target
        self._owed += missing
        return missing

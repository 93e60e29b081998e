"""Shared memory in slots, which are free again when nobody looks into them any more."""

from __future__ import annotations

import mmap
import threading
import weakref
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    U8 = NDArray[np.uint8]

__all__ = ["Arena"]


class Arena:
    """Memory that processes have in common which are forked after it is made.

    What is never written takes no memory.

    Args:
        slots: how many.
        slot_bytes: of each.
    """

    def __init__(self, slots: int, slot_bytes: int) -> None:
        self._memory = mmap.mmap(-1, slots * slot_bytes)
        self._slot_bytes = slot_bytes
        self._free = list(range(slots))
        self._lock = threading.Lock()

    def lease(self) -> tuple[int, U8] | None:
        """A free slot and its memory; `None` if there is none.

        The slot is free again once the array, and all that is a view of it, is gone.
        """
        with self._lock:
            if not self._free:
                return None
            slot = self._free.pop()
        room = self.room(slot)
        weakref.finalize(room, self._give_back, slot).atexit = False
        return slot, room

    def room(self, slot: int) -> U8:
        """The memory of a slot, uint8."""
        return np.frombuffer(self._memory, np.uint8, self._slot_bytes, slot * self._slot_bytes)

    def _give_back(self, slot: int) -> None:
        # Runs wherever the last view goes, also while this thread is in `lease`.
        self._free.append(slot)

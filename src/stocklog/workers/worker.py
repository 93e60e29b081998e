"""A process that runs functions on what is given to it, and dies with the one that made it."""

from __future__ import annotations

import contextlib
import gc
import logging
import multiprocessing
import os
import pickle
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from stocklog.workers.arena import Arena
from stocklog.workers.parcels import NoRoomError, Parcel, lay, lift

if TYPE_CHECKING:
    from numpy.typing import NDArray

    U8 = NDArray[np.uint8]

__all__ = ["Worker"]

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

_SLOTS = 4
_SLOT_BYTES = 24 << 20
_END_S = 2.0


class _GoneError(Exception):
    """The worker did not do it."""


class Worker:
    """Another process, forked off this one, which so shares the memory of what is loaded.

    Make it before this process has threads or locks: `start` does not where it has.
    """

    def __init__(self) -> None:
        self._arena = Arena(_SLOTS, _SLOT_BYTES)
        self._lock = threading.Lock()
        self._given: dict[int, tuple[Future[Any], U8]] = {}
        self._next = 0
        # A search for cycles writes into every object: what is loaded would not stay shared.
        gc.freeze()
        context = multiprocessing.get_context("fork")
        self._link, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, self._link, self._arena), name="stocklog-worker",
            daemon=True,
        )  # fmt: skip
        # Ctrl-C reaches both, and this one decides. The new one has it blocked from its first
        # moment on, and for ever: a handler could be replaced (Polars does so).
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with warnings.catch_warnings():
                # Python 3.12 warns of threads: those of OpenBLAS, which is made to be forked.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self._listener = threading.Thread(target=self._listen, name="stocklog-worker", daemon=True)
        self._listener.start()

    @classmethod
    def start(cls) -> Worker | None:
        """A worker; `None` where there is no second processor for it, or no safe fork."""
        if sys.platform != "linux" or threading.active_count() > 1:
            return None
        if len(os.sched_getaffinity(0)) < 2 or _polars_has_threads():
            return None
        try:
            return cls()
        except OSError as error:
            log.info("no worker: %s", error, extra={"event": "no_worker", "cause": str(error)})
            return None

    @property
    def busy(self) -> int:
        """How many items it has that are not done."""
        return len(self._given)

    def submit(self, function: Callable[[Item], Result], item: Item) -> Callable[[], Result] | None:
        """Have a function run there.

        Args:
            function: of a module, so that it goes by its name.
            item: its argument; it is copied.

        Returns:
            What waits for the result. If the worker fails at it, or is gone, it is done here,
            where an error shows. `None` if the worker cannot take the item now.
        """
        lease = self._arena.lease()
        if lease is None:
            return None
        slot, room = lease
        try:
            parcel = lay((function, item), room)
        except NoRoomError:
            return None
        future: Future[Result] = Future()
        with self._lock:
            if self._next < 0:
                return None
            number = self._next
            self._next += 1
            self._given[number] = (future, room)
        try:
            self._link.send_bytes(pickle.dumps((number, slot, parcel)))
        except OSError:
            self._fail()
        return partial(_answer, future, function, item)

    def _listen(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                number, parcel = pickle.loads(self._link.recv_bytes())  # noqa: S301 - our own
                self._settle(number, parcel)
        self._fail()

    def _settle(self, number: int, parcel: Parcel | None) -> None:
        with self._lock:
            future, room = self._given.pop(number, (None, None))
        if future is None or room is None:
            return
        if parcel is None:
            future.set_exception(_GoneError())
        else:
            future.set_result(lift(parcel, room))

    def _fail(self) -> None:
        """Nothing comes any more."""
        with self._lock:
            self._next = -1
            given, self._given = list(self._given.values()), {}
        for future, _ in given:
            future.set_exception(_GoneError())

    def close(self) -> None:
        """End it, whatever it is doing."""
        self._process.terminate()
        self._process.join(_END_S)
        self._listener.join(_END_S)
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _polars_has_threads() -> bool:
    """Whether Polars has begun to compute: a process forked now would wait for its threads."""
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it has ended
            if re.fullmatch(r"polars-\d+", (task / "comm").read_text().strip()):
                return True
    return False


def _answer(future: Future[Result], function: Callable[[Item], Result], item: Item) -> Result:
    try:
        return future.result()
    except _GoneError:
        return function(item)


def _serve(link: Connection, others: Connection, arena: Arena) -> None:
    """Run what comes until the other end is closed, also because that process was killed."""
    others.close()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(EOFError, OSError):
        while True:
            number, slot, parcel = pickle.loads(link.recv_bytes())  # noqa: S301 - our own
            room = arena.room(slot)
            link.send_bytes(pickle.dumps((number, _done(parcel, room))))


def _done(parcel: Parcel, room: U8) -> Parcel | None:
    try:
        function, item = lift(parcel, room)
        return lay(function(item), room, parcel.end)
    except Exception:
        # It is done again over there, where the error reaches whoever it concerns.
        log.debug("a worker failed", exc_info=True)
        return None

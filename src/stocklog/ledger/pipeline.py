"""Work in several threads: the next items are made while this one is used."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["OnTick", "Tick", "ahead", "ignore", "mapped"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_POLL = 0.1
"""Seconds after which a blocked side looks whether the other has ended."""


@dataclass(frozen=True, slots=True)
class Tick:
    """How far a job is.

    Attributes:
        updates: updates done so far (for jobs that publish: confirmed).
        fraction: the part of the work that is done, 0 to 1; `None` if the end is not known.
        unconfirmed_bytes: bytes sent that the broker has not confirmed yet.
        lag: messages between here and the end of the stream, `None` if not known.
    """

    updates: int
    fraction: float | None = None
    unconfirmed_bytes: int = 0
    lag: int | None = None


OnTick = Callable[[Tick], None]


def ignore(tick: Tick) -> None:
    """The `OnTick` of a caller who does not want to know."""


@dataclass(slots=True)
class _End(Generic[Item]):
    error: BaseException | None


def ahead(
    items: Iterable[Item], *, depth: int = 2, stop: threading.Event | None = None
) -> Generator[Item, None, None]:
    """Iterate in a worker thread, at most `depth` items ahead of the one who takes them.

    Args:
        items: where the items come from; iterated in the worker only.
        depth: how many finished items may wait. With the one being made and the one being
            used this bounds what is in memory.
        stop: ends the iteration early once it is set, also while the worker is blocked.

    Yields:
        The items in their order.

    Raises:
        BaseException: whatever the iteration of `items` raised, once its items are used up.
    """
    ready: queue.Queue[Item | _End[Item]] = queue.Queue(depth)
    left = threading.Event()

    def work() -> None:
        end: _End[Item] = _End(None)
        try:
            for item in items:
                if not _put(ready, item, left):
                    break
                del item  # or it would be kept while the next one is made
        except BaseException as error:  # handed to the other thread, which raises it
            end = _End(error)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
        _put(ready, end, left)

    worker = threading.Thread(target=work, name="stocklog-ahead", daemon=True)
    worker.start()
    try:
        while not (stop and stop.is_set()):
            try:
                item = ready.get(timeout=_POLL)
            except queue.Empty:
                continue
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
            del item
    finally:
        left.set()
        worker.join(timeout=2 * _POLL)


def mapped(
    items: Iterable[Item],
    function: Callable[[Item], Result],
    *,
    workers: int | None = None,
    stop: threading.Event | None = None,
) -> Generator[Result, None, None]:
    """Apply a function to items in worker threads; the results keep the items' order.

    It pays where the function lets go of Python's lock for long, as NumPy, Polars and Arrow
    do on columns: two workers on two cores decode a fifth to a third faster than one.

    Args:
        items: where the items come from; iterated in a thread of its own.
        function: what makes a result of an item; called in several threads at once.
        workers: how many threads; None: two, or one where this process has one processor.
        stop: ends the iteration early once it is set.

    Yields:
        The results in the order of the items. At most `workers` + 2 items are in work or
        finished while one result is being used.

    Raises:
        BaseException: whatever `items` or the function raised, after the results before it.
    """
    threads = workers or min(2, _processors())
    pool = ThreadPoolExecutor(threads, thread_name_prefix="stocklog-mapped")
    try:
        begun = (pool.submit(function, item) for item in items)
        with closing(ahead(begun, depth=max(1, threads - 1), stop=stop)) as futures:
            for future in futures:
                yield future.result()
                del future
    finally:
        pool.shutdown(cancel_futures=True)


def _processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _put(
    ready: queue.Queue[Item | _End[Item]], item: Item | _End[Item], left: threading.Event
) -> bool:
    while not left.is_set():
        try:
            ready.put(item, timeout=_POLL)
        except queue.Full:
            continue
        return True
    return False

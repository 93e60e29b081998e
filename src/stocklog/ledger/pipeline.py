"""Work in several threads: the next items are made while this one is used."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from stocklog.workers import Worker

__all__ = ["Ahead", "OnTick", "Tick", "ahead", "ignore", "mapped"]

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
) -> Ahead[Item]:
    """Iterate in a worker thread, at most `depth` items ahead of the one who takes them.

    It begins at once, before the first item is asked for.

    Args:
        items: where the items come from; iterated in the worker only.
        depth: how many finished items may wait. With the one being made and the one being
            used this bounds what is in memory.
        stop: ends the iteration early once it is set, also while the worker is blocked.

    Returns:
        An iterator over the items in their order. It raises whatever the iteration of `items`
        raised, once its items are used up.
    """
    return Ahead(items, depth, stop)


class Ahead(Generic[Item]):
    """Items that a worker thread gets ahead; see `ahead`. Ends it when closed, or let go of."""

    def __init__(self, items: Iterable[Item], depth: int, stop: threading.Event | None) -> None:
        self._ready: queue.Queue[Item | _End[Item]] = queue.Queue(depth)
        self._stop = stop
        self._left = threading.Event()
        self._worker = threading.Thread(
            target=_get, args=(items, self._ready, self._left), name="stocklog-ahead", daemon=True
        )
        self._worker.start()

    def __del__(self) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        while not (self._left.is_set() or (self._stop and self._stop.is_set())):
            try:
                item = self._ready.get(timeout=_POLL)
            except queue.Empty:
                continue
            if not isinstance(item, _End):
                return item
            self.close()
            if item.error is not None:
                raise item.error
        self.close()
        raise StopIteration

    def close(self) -> None:
        """End it; what was got and not taken is lost."""
        self._left.set()
        if threading.current_thread() is not self._worker:  # which may be the last to let go of it
            self._worker.join(timeout=2 * _POLL)


def _get(
    items: Iterable[Item], ready: queue.Queue[Item | _End[Item]], left: threading.Event
) -> None:
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


def mapped(
    items: Iterable[Item],
    function: Callable[[Item], Result],
    *,
    workers: int | None = None,
    stop: threading.Event | None = None,
    helper: Worker | None = None,
) -> Generator[Result, None, None]:
    """Apply a function to items in worker threads; the results keep the items' order.

    It pays where the function lets go of Python's lock for long, as NumPy, Polars and Arrow
    do on columns: two workers on two cores decode a fifth to a third faster than one.

    Args:
        items: where the items come from; iterated in a thread of its own.
        function: what makes a result of an item; called in several threads at once.
        workers: how many threads; None: two, or one where this process has one processor.
        stop: ends the iteration early once it is set.
        helper: another process that takes what one of the threads would else do, and more where
            it is faster. The function must then be one of a module.

    Yields:
        The results in the order of the items. At most `workers` + 2 items (with a helper one
        more) are in work or finished while one result is being used.

    Raises:
        BaseException: whatever `items` or the function raised, after the results before it.
    """
    threads = workers or min(2, _processors())
    depth = max(1, threads - 1)
    if helper is not None:
        threads, depth = max(1, threads - 1), depth + 1
    pool = ThreadPoolExecutor(threads, thread_name_prefix="stocklog-mapped")
    try:
        begun = _begun(items, function, pool, helper)
        with closing(ahead(begun, depth=depth, stop=stop)) as results:
            for result in results:
                yield result()
                del result
    finally:
        pool.shutdown(cancel_futures=True)


def _begun(
    items: Iterable[Item],
    function: Callable[[Item], Result],
    pool: ThreadPoolExecutor,
    helper: Worker | None,
) -> Iterator[Callable[[], Result]]:
    """Have each item done by whoever has less to do; the answers wait for it."""
    here: list[Future[Result]] = []
    for item in items:
        here = [future for future in here if not future.done()]
        if helper is not None and helper.busy <= len(here):
            there = helper.submit(function, item)
            if there is not None:
                yield there
                continue
        here.append(pool.submit(function, item))
        yield here[-1].result


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

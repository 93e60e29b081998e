"""Where a store stands, for a question that needs it to have something."""

from __future__ import annotations

from stocklog.errors import StoreError
from stocklog.stores.model import Position, Store

__all__ = ["standing"]


def standing(store: Store, stream: str | None = None) -> Position:
    """Where a store stands.

    Args:
        store: which is asked.
        stream: the stream that it must be of; None: any.

    Raises:
        StoreError: nothing of a log is in it, or it is another stream's.
    """
    position = store.position()
    if position is None or position.last_offset < 0:
        raise StoreError(
            f"The store {store.where} is empty", "Fill it from the log with `stocklog project`"
        )
    if stream is not None and position.stream != stream:
        raise StoreError(
            f"{store.where} is the store of the stream {position.stream!r}, not of {stream!r}",
            "Name that stream with --stream",
        )
    return position

"""What `--at` and `--as-known-at` mean, and whether a store can answer about that."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from stocklog.errors import StoreError, UsageError
from stocklog.inventory import timestamps
from stocklog.ledger.standing import standing
from stocklog.stores.asof import Limits
from stocklog.stores.model import Position, Store
from stocklog.stores.segments import SegmentInfo
from stocklog.stream.offsets import Start, parse_offset

__all__ = ["limits_of", "parse_time"]


_TIMES = "Write a time with a zone (2026-11-24T14:05Z) or how long ago (15m, 2h, 7d)"
_FOREVER = Limits().at


def parse_time(moment: str | datetime, what: str) -> int:
    """A moment of happening in microseconds since 1970.

    Args:
        moment: RFC 3339 text with a zone (seconds may be left out), a duration (`2h` ago),
            or an aware datetime.
        what: how the argument is called, for the error.

    Raises:
        UsageError: it cannot be meant.
    """
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise UsageError(f"The time of {what} has no zone: {moment}", _TIMES)
        return timestamps.from_datetime(moment)
    try:
        return timestamps.parse(moment)
    except ValueError:
        pass
    spec = parse_offset(moment)
    if spec.start is not Start.TIME or spec.end is not None:
        raise UsageError(f"{what} is {moment!r}, which is no time", _TIMES)
    return spec.value * 1000


def limits_of(
    store: Store,
    infos: list[SegmentInfo],
    at: str | datetime | None,
    as_known_at: str | int | datetime | None,
) -> Limits:
    """What counts for a question, if the store can answer it.

    Args:
        store: which is asked.
        infos: its segments.
        at: a moment of happening.
        as_known_at: an offset, or a time of the broker's clock.

    Returns:
        The limits.

    Raises:
        UsageError: a moment cannot be meant.
        StoreError: the store does not know about that moment; it says from where on.
    """
    position = standing(store)
    known = _FOREVER
    if as_known_at is not None:
        known = _known(store, position, infos, as_known_at)
    if at is None:
        return Limits(known=known)
    moment = parse_time(at, "--at")
    if position.first_offset > 0 and moment < position.first_recorded_at * 1000:
        raise StoreError(
            f"{store.where} cannot tell what was there at {at}: it begins with offset "
            f"{position.first_offset}, which the broker wrote at "
            f"{_shown(position.first_recorded_at)}, and what came before was cut by retention",
            "Ask about a later time",
        )
    return Limits(moment, known)


def _known(
    store: Store,
    position: Position,
    infos: list[SegmentInfo],
    moment: str | int | datetime,
) -> int:
    if isinstance(moment, datetime):
        offset = _offset_at(store, position, infos, parse_time(moment, "as_known_at") // 1000)
    else:
        spec = parse_offset(str(moment))
        if spec.end is not None or spec.start not in (Start.OFFSET, Start.TIME):
            raise UsageError(
                f"--as-known-at is {str(moment)!r}, which is neither an offset nor a time", _TIMES
            )
        offset = spec.value
        if spec.start is Start.TIME:
            offset = _offset_at(store, position, infos, spec.value)
    if offset > position.last_offset:
        raise StoreError(
            f"{store.where} stands at offset {position.last_offset} and does not know about "
            f"offset {offset} yet",
            "Bring it up to date with `stocklog project --exit-at-end`",
        )
    if 0 < position.first_offset > offset:
        raise StoreError(
            f"{store.where} begins with offset {position.first_offset}; what the log held at "
            f"offset {offset} was cut by retention before the store was made",
            "Ask about a later offset or time",
        )
    return offset


def _offset_at(store: Store, position: Position, infos: list[SegmentInfo], time_ms: int) -> int:
    """The last offset that the broker had written at a time; -1 if there was none."""
    if time_ms < position.first_recorded_at:
        if position.first_offset > 0:
            raise StoreError(
                f"{store.where} begins with what the broker wrote at "
                f"{_shown(position.first_recorded_at)}; what came before was cut by retention",
                "Ask about a later time",
            )
        return -1
    for info in reversed(infos):
        clock = store.clock(info.id)
        written = np.flatnonzero(clock.times <= time_ms)
        if written.size:
            row = int(written[-1]) + 1
            return int(clock.offsets[row]) - 1 if row < len(clock.offsets) else info.last_offset
    return -1


def _shown(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

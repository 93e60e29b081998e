"""Objects in shared memory: their large buffers lie there, the rest is pickled.

Pickle's protocol 5 hands the buffers of NumPy and Arrow arrays out of its stream. A buffer that
several columns share is laid down once, and one that lies in the room already stays where it is.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

    U8 = NDArray[np.uint8]

__all__ = ["NoRoomError", "Parcel", "lay", "lift"]

_ALIGN = 64


class NoRoomError(Exception):
    """The buffers do not fit into the room."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is needed to have the object again.

    Attributes:
        pickled: the object without its buffers.
        places: begin and size of each buffer in the room.
        end: where room is left behind them.
    """

    pickled: bytes
    places: tuple[tuple[int, int], ...]
    end: int


def lay(value: object, room: U8, begin: int = 0) -> Parcel:
    """Lay an object's buffers into a room.

    Args:
        value: anything that can be pickled; NumPy and Arrow arrays, Polars frames and
            memoryviews are what the room is for.
        room: where to; written from `begin` on.
        begin: what lies before it stays, and may be part of the value.

    Raises:
        NoRoomError: it does not fit.
    """
    laying = _Laying(room, begin)
    out = io.BytesIO()
    _Pickler(out, laying.add).dump(value)
    return Parcel(out.getvalue(), tuple(laying.places), laying.end)


def lift(parcel: Parcel, room: U8) -> Any:
    """Have an object again; its arrays are views of the room, which they keep alive."""
    view = memoryview(room.data)
    buffers = [view[begin : begin + size] for begin, size in parcel.places]
    return pickle.loads(parcel.pickled, buffers=buffers)  # noqa: S301 - of our own process


class _Laying:
    """Buffers on their way into a room."""

    def __init__(self, room: U8, begin: int) -> None:
        self.places: list[tuple[int, int]] = []
        self.end = begin
        self._room = room
        self._room_begins = room.ctypes.data
        self._known: dict[tuple[int, int], int] = {}

    def add(self, buffer: pickle.PickleBuffer) -> None:
        data = np.frombuffer(buffer.raw(), np.uint8) if buffer.raw().nbytes else None
        if data is None:
            self.places.append((0, 0))
            return
        address, size = data.ctypes.data, data.size
        inside = address - self._room_begins
        if not 0 <= inside <= self._room.size - size:
            inside = self._known.get((address, size), -1)
            if inside < 0:
                inside = self._known[address, size] = self._copied(data)
        self.places.append((inside, size))

    def _copied(self, data: U8) -> int:
        begin = -(-self.end // _ALIGN) * _ALIGN
        end = begin + data.size
        if end > self._room.size:
            raise NoRoomError(f"{end} bytes, of {self._room.size}")
        self._room[begin:end] = data
        self.end = end
        return begin


class _Pickler(pickle.Pickler):
    """Knows how Polars frames go: as Arrow, without columns that hold nothing."""

    def __init__(self, out: io.BytesIO, add: Callable[[pickle.PickleBuffer], None]) -> None:
        super().__init__(out, protocol=5, buffer_callback=add)

    def reducer_override(self, value: object) -> Any:
        if isinstance(value, pl.DataFrame):
            return _frame_of, _parts_of(value)
        if isinstance(value, memoryview):
            return _as_it_is, (pickle.PickleBuffer(value),)
        return NotImplemented


def _as_it_is(value: memoryview) -> memoryview:
    return value


def _parts_of(frame: pl.DataFrame) -> tuple[int, pl.Schema, Any]:
    """Rows, schema, and an Arrow table of the columns that hold anything."""
    counts = frame.null_count().row(0)
    full = [name for name, nulls in zip(frame.columns, counts, strict=True) if nulls < frame.height]
    return frame.height, frame.schema, frame.select(full).to_arrow(compat_level=_NEWEST)


_NEWEST = pl.CompatLevel.newest()


def _frame_of(height: int, schema: pl.Schema, table: pa.Table) -> pl.DataFrame:
    held = pl.DataFrame(table)
    if len(held.columns) == len(schema):
        return held
    empty = {name: _nulls(name, dtype, height) for name, dtype in schema.items()}
    return pl.DataFrame([held[n] if n in held.columns else each for n, each in empty.items()])


def _nulls(name: str, dtype: pl.DataType, height: int) -> pl.Series:
    return pl.Series(name, [None], dtype=dtype).new_from_index(0, height)

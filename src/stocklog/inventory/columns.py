"""What the short ways have in common: rules that are told from bytes, and columns without a copy.

Both read texts as Arrow string views into the bodies, so that a text becomes a cell of a
column without being copied.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from stocklog.inventory.fields import MIN_INT64, REASONS, TYPES, UPDATE_SCHEMA
from stocklog.inventory.scan import occurrences
from stocklog.inventory.vocabulary import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stocklog.inventory.bodies import Bodies
    from stocklog.inventory.window import Window

__all__ = [
    "KINDS",
    "REASON_WORDS",
    "Found",
    "Optionals",
    "clean_rows",
    "no_hidden_quotes",
    "readable_rows",
    "right_signs",
]

KINDS = Vocabulary(TYPES)
REASON_WORDS = Vocabulary(REASONS)
_COUNT, _TRANSFER = KINDS.code("count"), KINDS.code("transfer")

#: The lowest quantity of each type.
_LOWEST = np.full(len(TYPES), MIN_INT64, np.int64)
_LOWEST[[_COUNT, _TRANSFER]] = 0, 1

_ARROW_TYPES = {
    pl.String: pa.string_view(),
    pl.Int64: pa.int64(),
    pl.Datetime("us", "UTC"): pa.timestamp("us", "UTC"),
}
_ARROW_SCHEMA = pa.schema([(name, _ARROW_TYPES[dtype]) for name, dtype in UPDATE_SCHEMA.items()])
_NULLS = {name: pa.nulls(0, _ARROW_SCHEMA.field(name).type) for name in UPDATE_SCHEMA}


@dataclass
class Optionals:
    """The optional fields of m rows.

    Attributes:
        present: by field, bool[m]; fields that no row has are left out.
        texts: by field, uint64[m, 2] string views, zeros where absent.
        integers: by field, int64[m], 0 where absent.
    """

    present: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    texts: dict[str, NDArray[np.uint64]] = field(default_factory=dict)
    integers: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def put(self, name: str, count: int, rows: NDArray[np.int64], values: NDArray[Any]) -> None:
        """Keep the values of a field.

        Args:
            name: the field.
            count: how many rows there are.
            rows: int64[k], those that have it.
            values: int64[k] integers, or uint64[k, 2] string views.
        """
        present = self.present[name] = np.zeros(count, np.bool_)
        present[rows] = True
        whole = np.zeros((count, *values.shape[1:]), values.dtype)
        whole[rows] = values
        (self.integers if values.ndim == 1 else self.texts)[name] = whole


@dataclass
class Found:
    """The fields of m rows.

    Attributes:
        window: the bytes that the views look into.
        views: by field, the required texts as uint64[m, 2] string views.
        kinds: int64[m], the codes of the types in `KINDS`.
        quantity: int64[m].
        micros: int64[m], `occurred_at` in microseconds since 1970.
        optionals: the others.
    """

    window: Window
    views: dict[str, NDArray[np.uint64]]
    kinds: NDArray[np.int64]
    quantity: NDArray[np.int64]
    micros: NDArray[np.int64]
    optionals: Optionals

    def keep_rules(self) -> NDArray[np.bool_]:
        """Which rows keep the rules that tie fields to each other, and `uom`'s own, bool[m]."""
        right = right_signs(self.kinds, self.quantity)
        present, texts = self.optionals.present, self.optionals.texts
        transfer = self.kinds == _TRANSFER
        targets = present.get("to_location_id")
        if targets is None:
            right &= ~transfer
        else:
            right &= transfer == targets
            rows = np.flatnonzero(targets)
            places, views = self.views["location_id"][rows], texts["to_location_id"][rows]
            right[rows] &= ~self.window.same_text(places, views)
        if "expected_quantity" in present:
            right &= ~present["expected_quantity"] | (self.kinds == _COUNT)
        if "uom" in present:
            rows = np.flatnonzero(present["uom"])
            right[rows] &= _units(texts["uom"][rows])
        return right

    def frame(self) -> pl.DataFrame:
        """All rows in the columns of `UPDATE_SCHEMA`; the texts share the bodies' memory."""
        data = pa.py_buffer(self.window.data)
        optionals = self.optionals
        numbers = {"quantity": self.quantity, "occurred_at": self.micros, **optionals.integers}
        texts = self.views | optionals.texts
        columns = []
        for column in _ARROW_SCHEMA:
            name, present = column.name, optionals.present.get(column.name)
            if name in numbers:
                buffers = [pa.py_buffer(numbers[name])]
            elif name in texts:
                buffers = [pa.py_buffer(np.ascontiguousarray(texts[name])), data]
            else:
                columns.append(_nulls(name, self.micros.size))
                continue
            bits = None if present is None else np.packbits(present, bitorder="little")
            bitmap = None if bits is None else pa.py_buffer(bits)
            columns.append(pa.Array.from_buffers(column.type, self.micros.size, [bitmap, *buffers]))
        # One crossing for all columns: each costs tens of microseconds when it crosses alone.
        return pl.DataFrame(pa.RecordBatch.from_arrays(columns, schema=_ARROW_SCHEMA))


def right_signs(kinds: NDArray[np.int64], quantity: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows have a quantity that their type can have, bool[m].

    Args:
        kinds: int64[m], the types' places in `TYPES`.
        quantity: int64[m].
    """
    lowest = _LOWEST[kinds]
    # Adjustments and reservations take any number but 0, the others have a lowest one.
    right: NDArray[np.bool_] = (quantity >= lowest) & ((quantity != 0) | (lowest == 0))
    return right


def clean_rows(bodies: Bodies) -> NDArray[np.bool_]:
    """Which bodies are UTF-8 without a backslash or a control character."""
    clean = readable_rows(bodies)
    if occurrences(bodies.lines, ord("\\")):
        clean &= bodies.count(ord("\\")) == 0
    return clean


def readable_rows(bodies: Bodies) -> NDArray[np.bool_]:
    """Which bodies are UTF-8 without a control character."""
    clean = np.ones(bodies.starts.size, np.bool_)
    lines = bodies.lines
    if lines.min() < 0x20:
        clean &= bodies.sum(bodies.data < 0x20) == 0
    if lines.max() >= 0x80:
        clean &= bodies.utf8()
    return clean


def no_hidden_quotes(
    bodies: Bodies,
    found: int,
    rows: NDArray[np.int64],
    good: NDArray[np.bool_],
    quotes: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Which rows hold no quotes but those that they must, bool[m].

    A good row has at least these, so equal sums mean equal rows. Only if the sums differ is each
    row counted.

    Args:
        bodies: n bodies.
        found: how many quotes stand in them all.
        rows: int64[m], which bodies.
        good: bool[m], those whose quotes matter.
        quotes: int64[m], how many each must hold.
    """
    if rows.size < bodies.starts.size or not good.all():
        others = np.ones(bodies.starts.size, np.bool_)
        others[rows[good]] = False
        found -= occurrences(bodies.select(np.flatnonzero(others)).lines, ord('"'))
    if found == int(quotes[good].sum()):
        return good
    equal: NDArray[np.bool_] = bodies.count(ord('"'))[rows] == quotes
    return equal


def _units(views: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which string views hold one to three capital letters and digits."""
    length = views[:, 0] & np.uint64(0xFFFFFFFF)
    right = length <= 3
    for place in range(3):
        char = (views[:, 0] >> np.uint64(32 + 8 * place)) & np.uint64(0xFF)
        capital = (char >= ord("A")) & (char <= ord("Z"))
        right &= (length <= place) | capital | ((char >= ord("0")) & (char <= ord("9")))
    return right


def _nulls(name: str, count: int) -> Any:
    """A column without a value, cut from one that all blocks share."""
    if count > len(_NULLS[name]):
        _NULLS[name] = pa.nulls(count, _ARROW_SCHEMA.field(name).type)
    return _NULLS[name].slice(0, count)

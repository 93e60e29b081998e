"""Columns of updates -> their JSON bodies, a whole batch at a time.

The canonical form: no blanks, fields in the record's order, absent ones left out,
unknown fields (`extra`) last, times with six digits and `Z`, UTF-8.

A row is a run of tokens: constant text and values. A value that stands in an Arrow
dictionary is rendered once per dictionary, together with the constant text around
it, and kept in the pool (`pieces`); the batch's own texts are put behind it. An
n x k matrix of piece numbers then becomes n rows in one `take`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stocklog.inventory.arrow_arrays import int64_array, integers, truths
from stocklog.inventory.arrow_columns import arrow_columns, int64_values
from stocklog.inventory.clock import Clock
from stocklog.inventory.escapes import binary_parts, escaped, wrapped
from stocklog.inventory.fields import INTEGERS, OPTIONAL, REQUIRED
from stocklog.inventory.pieces import Pool

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    Part: TypeAlias = "int | NDArray[np.int32]"

__all__ = ["Encoded", "Encoder", "encode"]

#: Integers that are rendered beforehand.
_LOW, _HIGH = -1_000, 10_000

#: The pool is emptied of rendered dictionaries when it has grown past this many bytes.
_MAX_POOL = 32 << 20

#: Optional fields are rare when at most one row in so many has any.
_RARE = 4

#: Rows may be that much longer than those of the batch before without more room being made.
_ROOM = 1.05

#: Dictionaries remembered for each field.
_MAX_KNOWN = 4


@dataclass(frozen=True)
class Encoded:
    """Rows of bytes, one behind the other.

    Attributes:
        data: uint8, writable, contiguous, owned by the receiver alone.
        starts: int64[n + 1]: row i is `data[starts[i]:starts[i + 1]]`, its lead first.
    """

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]


def encode(batch: pl.DataFrame | pa.Table | pa.RecordBatch, lead: bytes = b"") -> Encoded:
    """Writes each update as canonical JSON behind a copy of `lead`.

    Blocks of about 10,000 rows are the quickest. Each thread has an encoder of its own,
    which remembers the dictionaries it has rendered (some 32 MB at most).

    Args:
        batch: n valid updates in columns named as in `UPDATE_SCHEMA`; optional ones may be
            missing. Text as strings or dictionaries, integers of any width, times in
            microseconds UTC. Values are not validated here.
        lead: bytes put in front of every body, verbatim.

    Raises:
        UsageError: a column is missing, has another type, or a required one has nulls.
    """
    encoder: Encoder | None = getattr(_threads, "encoder", None)
    if encoder is None:
        encoder = _threads.encoder = Encoder()
    return encoder.encode(batch, lead)


_threads = threading.local()


@dataclass(frozen=True)
class _Value:
    """A field's place in the row: its column and the constant text that goes with it.

    For a required field `before` is what could not be merged elsewhere. An optional
    field's `before` and `after` are written only where it is present.
    """

    name: str
    column: Any
    before: bytes = b""
    after: bytes = b""

    @property
    def optional(self) -> bool:
        return self.name in OPTIONAL or self.name == "extra"


Tokens: TypeAlias = "list[bytes | _Value]"


def _head(columns: dict[str, Any], lead: bytes) -> Tokens:
    """A row's required fields as constant text and values."""
    tokens: Tokens = []
    text = lead + b"{"
    for name in REQUIRED:
        quote = b"" if name in INTEGERS else b'"'
        tokens += [text + b'"' + name.encode() + b'":' + quote, _Value(name, columns[name])]
        text = (b"Z" if name == "occurred_at" else b"") + quote + b","
    return [*tokens, text[:-1]]


def _tail(columns: dict[str, Any]) -> Tokens:
    """A row's optional fields and its end."""
    tokens: Tokens = []
    for name, column in columns.items():
        if name == "extra":
            tokens.append(_Value(name, column, b","))
        elif name in OPTIONAL:
            quote = b"" if name in INTEGERS else b'"'
            tokens.append(_Value(name, column, b',"' + name.encode() + b'":' + quote, quote))
    return [*tokens, b"}"]


def _rows_with_optional(columns: dict[str, Any]) -> NDArray[np.intp]:
    """Rows that have any optional field, rising."""
    present = np.zeros(len(columns["update_id"]), np.bool_)
    for name, column in columns.items():
        if name not in REQUIRED:
            present |= truths(column.is_valid())
    return np.flatnonzero(present)


class Encoder:
    """Encodes batch after batch and keeps what it has rendered. Not for two threads at once."""

    def __init__(self) -> None:
        self._row_bytes = 0.0  # of the last batch's rows, and some more
        self._reset()

    def _reset(self) -> None:
        self._pool = Pool()
        self._constants: dict[bytes, int] = {}
        self._dictionaries: dict[tuple[bytes, bytes], list[tuple[Any, int]]] = {}
        numbers = int64_array(np.arange(_LOW, _HIGH)).cast(pa.large_string())
        self._numbers = self._pool.add(*binary_parts(numbers)) - _LOW
        self._clock = Clock(self._pool)
        self._nothing = self._pool.add_one(b"")

    def encode(self, batch: pl.DataFrame | pa.Table | pa.RecordBatch, lead: bytes = b"") -> Encoded:
        """As the function `encode`."""
        if self._pool.size > _MAX_POOL:
            self._reset()
        columns = arrow_columns(batch)
        count = len(columns["update_id"])
        if not count:
            return Encoded(np.empty(0, np.uint8), np.zeros(1, np.int64))
        rows = _rows_with_optional(columns)
        head, tail = _head(columns, lead), _tail(columns)
        ends: list[Part | _Value] = []
        # Fields that few rows have would cost every row a piece each: such rows get their
        # ends rendered first, by themselves, as one piece.
        if rows.size * _RARE < count:
            end = self._constant(b"}")[0]
            if rows.size:
                ends = self._kept_parts(_tail(_filtered(columns, rows)))
            steps = self._kept_parts(head)
        else:
            steps = self._kept_parts(head + tail)
        kept = self._pool.count
        try:
            parts = [part for step in steps for part in self._own_parts(step)]
            if rows.size * _RARE < count:
                parts.append(self._ends(ends, rows, end, count))
            data, borders = self._pool.take(_matrix(parts, count), self._row_bytes * count)
        finally:
            self._pool.cut(kept)
        self._row_bytes = data.size / count * _ROOM
        return Encoded(data, np.ascontiguousarray(borders[:: len(parts)]))

    def _ends(
        self, steps: list[Part | _Value], rows: NDArray[np.intp], end: int, count: int
    ) -> Part:
        """Piece numbers of the ends of all rows, where only `rows` have optional fields."""
        if not rows.size:
            return end
        parts = [part for step in steps for part in self._own_parts(step)]
        data, borders = self._pool.take(_matrix(parts, rows.size))
        first = self._pool.add(data, np.ascontiguousarray(borders[:: len(parts)]))
        numbers = np.full(count, end, np.int32)
        numbers[rows] = np.arange(first, first + rows.size, dtype=np.int32)
        return numbers

    def _kept_parts(self, tokens: list[bytes | _Value]) -> list[Part | _Value]:
        """First pass: what stays in the pool. Constant text goes into the pieces beside it."""
        steps: list[Part | _Value] = []
        before = b""
        for place, token in enumerate(tokens):
            if isinstance(token, bytes):
                before += token
                continue
            if token.name == "occurred_at":
                steps.append(replace(token, before=before))
                before = b""
            elif isinstance(token.column, pa.DictionaryArray) and not token.optional:
                after = tokens[place + 1]
                assert isinstance(after, bytes)  # a required value is followed by constant text
                steps.append(self._entries(token.column, before, after))
                tokens[place + 1] = before = b""
            else:
                steps += self._constant(before)
                before = b""
                steps += self._kept_optional(token)
        return [*steps, *self._constant(before)]

    def _kept_optional(self, token: _Value) -> list[Part | _Value]:
        if not token.optional:
            return [token]
        if isinstance(token.column, pa.DictionaryArray):
            return [self._entries(token.column, token.before, token.after)]
        if token.name in INTEGERS:
            absent = truths(token.column.is_null())
            label = self._constant(token.before)[0]
            return [np.where(absent, self._nothing, label).astype(np.int32), token]
        return [token]

    def _own_parts(self, step: Part | _Value) -> list[Part]:
        """Second pass: piece numbers of one step; the batch's own texts go behind the pool."""
        if not isinstance(step, _Value):
            return [step]
        column = step.column
        if step.name == "occurred_at":
            return [*self._clock.parts(int64_values(column), step.before)]
        if step.name in INTEGERS:
            return [self._integers(column)]
        pieces = _members(column) if step.name == "extra" else escaped(column)
        if step.optional:
            pieces = wrapped(step.before, pieces, step.after)
        first = self._pool.add(*binary_parts(pieces))
        return [np.arange(first, first + len(pieces), dtype=np.int32)]

    def _constant(self, text: bytes) -> list[int]:
        """The number of a constant piece; nothing for no text."""
        if not text:
            return []
        number = self._constants.get(text)
        if number is None:
            number = self._constants[text] = self._pool.add_one(text)
        return [number]

    def _entries(self, column: Any, before: bytes, after: bytes) -> NDArray[np.int32]:
        """Piece numbers of a dictionary column: `before`, the text, `after`; nothing for null."""
        first = self._dictionary(column.dictionary, before, after)
        codes = column.indices
        if not codes.null_count:
            return _int32(codes) + np.int32(first)
        absent = truths(codes.is_null())
        numbers = _int32(codes) + np.int32(first)  # senseless where null
        return np.where(absent, np.int32(self._nothing), numbers)

    def _dictionary(self, values: Any, before: bytes, after: bytes) -> int:
        """The number of the first entry of a rendered dictionary."""
        known = self._dictionaries.setdefault((before, after), [])
        for entries, first in known:
            if _same(entries, values):
                return first
        texts = escaped(values.cast(pa.large_string()))
        first = self._pool.add(*binary_parts(wrapped(before, texts, after)))
        known.insert(0, (values, first))
        del known[_MAX_KNOWN:]
        return first

    def _integers(self, column: Any) -> NDArray[np.int32]:
        """Piece numbers of integers; nothing for null."""
        absent = truths(column.is_null()) if column.null_count else None
        values = int64_values(column)
        if absent is not None:
            values = np.where(absent, 0, values)
        odd = (values < _LOW) | (values >= _HIGH)
        numbers = np.where(odd, 0, values).astype(np.int32) + np.int32(self._numbers)
        if odd.any():
            texts = int64_array(values[odd]).cast(pa.large_string())
            first = self._pool.add(*binary_parts(texts))
            numbers[odd] = np.arange(first, first + len(texts), dtype=np.int32)
        return numbers if absent is None else np.where(absent, np.int32(self._nothing), numbers)


def _matrix(parts: list[Part], count: int) -> NDArray[np.int32]:
    """Piece numbers of all rows, one row behind the other."""
    index = np.empty((count, len(parts)), np.int32)
    for place, part in enumerate(parts):
        index[:, place] = part
    return index.reshape(-1)


def _filtered(columns: dict[str, Any], rows: NDArray[np.intp]) -> dict[str, Any]:
    """The optional columns at some rows; those of nothing but nulls there cannot be."""
    index = int64_array(rows)
    return {name: column.take(index) for name, column in columns.items() if name not in REQUIRED}


def _int32(codes: Any) -> NDArray[np.int32]:
    return integers(codes).astype(np.int32, copy=False)


def _members(extra: Any) -> Any:
    """The inside of the braces of JSON objects given as text."""
    return pc.binary_slice(pc.utf8_trim_whitespace(extra).cast(pa.large_binary()), 1, -1)


def _same(known: Any, values: Any) -> bool:
    """Whether two dictionaries hold the same texts; quick if they share their memory."""
    if len(known) != len(values) or known.type != values.type:
        return False
    pairs = zip(known.buffers(), values.buffers(), strict=True)
    addresses = ((a.address if a else 0, b.address if b else 0) for a, b in pairs)
    if known.offset == values.offset and all(a == b for a, b in addresses):
        return True  # our reference keeps that memory from being used for anything else
    return bool(known.equals(values))

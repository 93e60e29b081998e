"""Where the entries of a chunk begin: the walk that finds every border.

    simple entry:  0 | size:31 | message
    sub-batch:     1 | codec:3 | reserved:4 | records:u16 | uncompressed:u32 | length:u32 | payload

An entry's start is known only from the entry before it, so the plain way is a step
per message. Here whole runs are taken at once. Hints, found by comparing bytes over
the buffer, say where entries *may* begin; wherever each hint plus its size gives the
next one, hints form a run. The walk starts at the first byte, which is an entry for
certain, and goes on from there: a run if one begins exactly there, a single step if
not. So the hints decide only the speed, never the result.

Payloads of uncompressed sub-batches are entries too and are walked in place;
compressed ones are stepped over.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from stocklog.errors import ProtocolError

__all__ = ["BATCH_HEADER", "I64", "U8", "EntryError", "Items", "find_items", "read_u16", "read_u32"]

U8: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"
I64: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"

BATCH_HEADER = 11
"""Bytes of a sub-batch before its payload."""

_SIZE = struct.Struct(">I")
_BATCH = struct.Struct(">BHII")

# Bytes looked at in one go, so that the masks stay in the processor's cache.
_BLOCK = 128 << 10
# With messages above this many bytes on average a step each costs less than comparing their bytes.
_LARGE = 4096
_ZERO_WORD = b"\0" * 8
# Times a byte number: the product's top byte is the place of a word's only set byte.
_PLACE = np.uint64(0x0001020304050607)


class EntryError(ProtocolError):
    """An entry that breaks the layout.

    Attributes:
        position: where it begins in the buffer that was walked.
    """

    def __init__(self, what: str, position: int) -> None:
        super().__init__(f"{what} (at byte {position} of the data)")
        self.position = position


@dataclass(frozen=True, slots=True)
class Items:
    """What a walk found, both ascending.

    Attributes:
        entries: int64, start of each simple entry, those inside uncompressed
            sub-batches included.
        batches: int64, start of each sub-batch's header.
    """

    entries: I64
    batches: I64


def read_u32(data: U8, at: I64) -> I64:
    """Read big-endian 32-bit numbers.

    Args:
        data: the buffer.
        at: int64[n], where each begins; the caller makes sure that 4 bytes are there.

    Returns:
        int64[n].
    """
    if len(data) < 4:
        return np.zeros(len(at), np.int64)
    view = np.ndarray((len(data) - 3,), ">u4", data.data, strides=(1,))
    return view[at].astype(np.int64)


def read_u16(data: U8, at: I64) -> I64:
    """Read big-endian 16-bit numbers; as `read_u32`."""
    if len(data) < 2:
        return np.zeros(len(at), np.int64)
    view = np.ndarray((len(data) - 1,), ">u2", data.data, strides=(1,))
    return view[at].astype(np.int64)


def find_items(data: U8, expected: int) -> Items:
    """Walk the whole buffer from entry to entry.

    Args:
        data: the entries of one chunk or of several, one behind the other.
        expected: how many messages are said to be inside; a walk that finds more
            stops, and it decides which way is worth its cost.

    Returns:
        The starts of all entries, in order; they tile the buffer.

    Raises:
        EntryError: an entry runs past the end, a sub-batch's first byte is not one, or
            there are more messages than expected.
    """
    return _Walk(data, expected).run()


class _Walk:
    def __init__(self, data: U8, expected: int) -> None:
        self._data = data
        self._view = data.data
        self._expected = expected
        self._runs: _Runs | None = None
        self._pieces: list[I64] = []
        self._loose: list[int] = []
        self._count = 0
        self._batches: list[int] = []
        self._batch_pieces: list[I64] = []
        if len(data) > _LARGE * max(expected, 1):
            self._runs = _Runs.none()

    def run(self) -> Items:
        size = len(self._data)
        view = self._view
        at = 0
        while at < size:
            if view[at] >= 0x80:
                at = self._step_batch(at, size)
                continue
            if self._runs is None:
                self._runs = _Runs.find(self._data, at, self._expected)
            run = self._runs.starting.get(at)
            at = self._step_simple(at, size) if run is None else self._take_run(run)
            if self._count > self._expected:
                raise EntryError(f"it holds more than the {self._expected} records it says", at)
        self._flush()
        return Items(_join(self._pieces), _join([*self._batch_pieces, _int64(self._batches)]))

    def _step_simple(self, at: int, size: int) -> int:
        if at + 4 > size:
            raise EntryError(f"an entry is cut after {size - at} bytes of its size", at)
        length: int = _SIZE.unpack_from(self._view, at)[0]
        if at + 4 + length > size:
            raise EntryError(
                f"an entry says it has {length} bytes, but {size - at - 4} are there", at
            )
        self._loose.append(at)
        self._count += 1
        return at + 4 + length

    def _step_batch(self, at: int, size: int) -> int:
        if at + BATCH_HEADER > size:
            raise EntryError(f"a sub-batch is cut after {size - at} bytes of its header", at)
        first, _, _, length = _BATCH.unpack_from(self._view, at)
        if first & 0x0F:
            raise EntryError(
                f"an entry begins with the byte {first:#04x}, which has no meaning", at
            )
        if at + BATCH_HEADER + length > size:
            left = size - at - BATCH_HEADER
            raise EntryError(f"a sub-batch says it has {length} bytes, but {left} are there", at)
        self._batches.append(at)
        return at + BATCH_HEADER + (length if first & 0x70 else 0)

    def _take_run(self, number: int) -> int:
        assert self._runs is not None
        entries, batches, end = self._runs.take(number)
        self._flush()
        self._pieces.append(entries)
        self._count += len(entries)
        if len(batches):
            self._batch_pieces += [_int64(self._batches), batches]
            self._batches = []
        return end

    def _flush(self) -> None:
        if self._loose:
            self._pieces.append(_int64(self._loose))
            self._loose = []


class _Runs:
    """Hints joined to runs: stretches in which each entry's end is the next one's start.

    The header of an uncompressed sub-batch between two entries does not end a run.
    """

    def __init__(self, data: U8, hints: I64) -> None:
        self._hints = hints
        self._ends = hints + (read_u32(data, hints) + 4)
        inside = self._ends <= len(data)
        if not inside.all():
            self._hints, self._ends = hints[inside], self._ends[inside]
        gap = self._hints[1:] - self._ends[:-1]
        linked = gap == 0
        at = np.flatnonzero(gap == BATCH_HEADER)
        at = at[data[self._ends[at]] == 0x80]
        linked[at] = True
        self._before_batch = at
        breaks = np.flatnonzero(~linked) + 1
        n = len(self._hints)
        first = np.concatenate(([0], breaks)) if n else breaks
        self._bounds = [*first.tolist(), n]
        self._batch_bounds = np.searchsorted(at, self._bounds).tolist()
        self.starting: dict[int, int] = dict(
            zip(self._hints[first].tolist(), range(len(first)), strict=True)
        )

    @classmethod
    def none(cls) -> _Runs:
        return cls(np.zeros(0, np.uint8), np.zeros(0, np.int64))

    @classmethod
    def find(cls, data: U8, at: int, expected: int) -> _Runs:
        hints = _section_hints(data, at)
        if 10 * len(hints) < 9 * expected:
            hints = _size_hints(data, at)
        return cls(data, hints)

    def take(self, number: int) -> tuple[I64, I64, int]:
        """Entries and inner sub-batch headers of a run, and where it ends."""
        low, high = self._bounds[number], self._bounds[number + 1]
        # A header found behind the run's last entry lies between it and another run's first.
        batches = self._before_batch[self._batch_bounds[number] : self._batch_bounds[number + 1]]
        return self._hints[low:high], self._ends[batches], int(self._ends[high - 1])


def _section_hints(data: U8, at: int) -> I64:
    """Places four bytes before `00 53`, with which nearly every AMQP 1.0 message begins."""
    found = _find_pair(data, at + 4, 0x00, 0x53)
    return found - 4


def _size_hints(data: U8, at: int) -> I64:
    """Places of two zero bytes: what a size below 64 KiB begins with.

    Two rounds leave those whose end is such a place itself, a sub-batch or the buffer's end.
    """
    hints = _find_pair(data, at, 0x00, 0x00)
    hints = hints[hints <= len(data) - 4]
    ends = hints + (read_u32(data, hints) + 4)
    for _ in range(2):
        may_begin = np.zeros(len(data) + 1, np.bool_)
        may_begin[hints] = True
        may_begin[-1] = True
        may_begin[:-1] |= (data & 0x8F) == 0x80
        kept = ends <= len(data)
        kept[kept] = may_begin[ends[kept]]
        hints, ends = hints[kept], ends[kept]
    return hints


def _find_pair(data: U8, at: int, one: int, two: int) -> I64:
    """Positions from `at` on of two neighbouring bytes, all or none.

    None when they are so many that listing them would take more memory than the data.
    """
    found: list[I64] = []
    total = 0
    size = len(data) - 1
    mask = np.empty(_BLOCK, np.bool_)
    other = np.empty(_BLOCK, np.bool_)
    for begin in range(at, size, _BLOCK):
        n = min(_BLOCK, size - begin)
        np.equal(data[begin : begin + n], one, out=mask[:n])
        np.equal(data[begin + 1 : begin + 1 + n], two, out=other[:n])
        np.logical_and(mask, other, out=mask)
        mask[n:] = False
        positions = _set_places(mask)
        total += len(positions)
        if total > len(data) // 4 + 1024:
            return np.zeros(0, np.int64)
        found.append(positions + begin)
    return _join(found)


def _set_places(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> I64:
    """What `flatnonzero` gives, some times faster where few are set."""
    words = mask.view(np.uint64)
    at = np.flatnonzero(words != 0)
    word = words[at]
    if (word & (word - np.uint64(1))).any():
        return np.flatnonzero(mask)
    return at * 8 + ((word * _PLACE) >> np.uint64(56)).astype(np.int64)


def _int64(positions: list[int]) -> I64:
    return np.array(positions, np.int64)


def _join(parts: list[I64]) -> I64:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)

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

# Bytes compared in one go: more are slower (new memory for the masks), fewer too (calls).
_BLOCK = 512 << 10
# With messages larger than this on average, a step each costs less than comparing bytes.
_LARGE = 4096


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

    def run(self) -> Items:
        size = len(self._data)
        view = self._view
        at = 0
        while at < size:
            if view[at] >= 0x80:
                at = self._step_batch(at, size)
                continue
            if self._runs is None:
                self._runs = _Runs(self._data, at, self._expected)
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

    def __init__(self, data: U8, at: int, expected: int) -> None:
        hints, ends = _choose_hints(data, at, expected)
        linked, batches = _link(data, hints, ends)
        # Bytes that look like a beginning inside of messages cut runs into pieces.
        if 10 * np.count_nonzero(linked) < 9 * len(hints) - 10:
            hints, ends = _without_lone(data, hints, ends, at)
            linked, batches = _link(data, hints, ends)
        self._hints = hints
        self._ends = ends
        self._before_batch = batches
        first = np.flatnonzero(np.concatenate(([len(hints) > 0], ~linked)))
        self._bounds = [*first.tolist(), len(hints)]
        self._batch_bounds = np.searchsorted(batches, self._bounds).tolist()
        self.starting: dict[int, int] = dict(
            zip(hints[first].tolist(), range(len(first)), strict=True)
        )

    def take(self, number: int) -> tuple[I64, I64, int]:
        """Entries and inner sub-batch headers of a run, and where it ends."""
        low, high = self._bounds[number], self._bounds[number + 1]
        # A header found behind the run's last entry lies between it and another run's first.
        batches = self._before_batch[self._batch_bounds[number] : self._batch_bounds[number + 1]]
        return self._hints[low:high], self._ends[batches], int(self._ends[high - 1])


def _choose_hints(data: U8, at: int, expected: int) -> tuple[I64, I64]:
    """Starts and ends of what may be entries, from the first source that gives enough."""
    hints = ends = np.zeros(0, np.int64)
    if len(data) > _LARGE * max(expected, 1):
        return hints, ends
    for source in (_like_first, _any_section, _any_size):
        hints = source(data, at)
        ends = hints + (read_u32(data, hints) + 4)
        inside = ends <= len(data)
        if not inside.all():
            hints, ends = hints[inside], ends[inside]
        if 10 * len(hints) >= 9 * expected:
            break
    return hints, ends


def _link(data: U8, hints: I64, ends: I64) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], I64]:
    """Whether each hint leads to the next, and which lead there over a sub-batch's header."""
    gap = hints[1:] - ends[:-1]
    linked = gap == 0
    batches = np.flatnonzero(gap == BATCH_HEADER)
    batches = batches[data[ends[batches]] == 0x80]
    linked[batches] = True
    return linked, batches


def _without_lone(data: U8, hints: I64, ends: I64, at: int) -> tuple[I64, I64]:
    """Leave out hints that lead nowhere and those that nothing leads to.

    An entry ends where another begins, at a sub-batch, or at the buffer's end; and it
    begins where another ends, behind a sub-batch's header, or where the walk stands.
    """

    def is_batch(places: I64) -> np.ndarray[Any, np.dtype[np.bool_]]:
        found: np.ndarray[Any, np.dtype[np.bool_]] = data[places] & 0x8F == 0x80
        return found

    marks = np.zeros(len(data) + 1, np.bool_)
    for _ in range(2):
        marks[hints] = True
        kept = marks[ends] | (ends == len(data)) | is_batch(np.minimum(ends, len(data) - 1))
        marks[hints] = False
        hints, ends = hints[kept], ends[kept]
        marks[ends] = True
        kept = marks[hints] | (hints == at) | is_batch(np.maximum(hints - BATCH_HEADER, 0))
        marks[ends] = False
        hints, ends = hints[kept], ends[kept]
    return hints, ends


def _like_first(data: U8, at: int) -> I64:
    """Entries whose message begins with the same section in the same form as the first's.

    The form's byte, 0xB0 or the like, is rare in text: one comparison leaves few places.
    """
    if at + 8 > len(data) or data[at + 7] < 0x80:
        return np.zeros(0, np.int64)
    places = _find(data, at + 7, int(data[at + 7])) - 7
    words = np.ndarray((len(data) - 3,), "<u4", data.data, strides=(1,))
    like: I64 = places[words[places + 4] == words[at + 4]]
    return like


def _any_section(data: U8, at: int) -> I64:
    """Entries whose message begins with `00 53`, as all sections in the usual form do."""
    return _find(data, at + 4, 0x00, 0x53) - 4


def _any_size(data: U8, at: int) -> I64:
    """Places of two zero bytes, with which sizes below 64 KiB begin."""
    return _find(data[: len(data) - 2], at, 0x00, 0x00)


def _find(data: U8, at: int, first: int, second: int | None = None) -> I64:
    """Positions from `at` on of a byte, or of two neighbouring ones: all or none.

    None when they are so many that listing them would take more memory than the data.
    """
    found: list[I64] = []
    total = 0
    size = len(data) - (second is not None)
    mask = np.empty(min(_BLOCK, max(size - at, 0) + 7 & -8), np.bool_)
    other = mask if second is None else np.empty_like(mask)
    for begin in range(at, size, _BLOCK):
        n = min(_BLOCK, size - begin)
        np.equal(data[begin : begin + n], first, out=mask[:n])
        if second is not None:
            np.equal(data[begin + 1 : begin + 1 + n], second, out=other[:n])
            np.logical_and(mask[:n], other[:n], out=mask[:n])
        mask[n:] = False
        positions = _set_places(mask)
        total += len(positions)
        if total > len(data) // 4 + 1024:
            return np.zeros(0, np.int64)
        found.append(positions + begin)
    return _join(found)


def _set_places(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> I64:
    """What `flatnonzero` gives, some times faster where few are set: words first, then bytes."""
    words = mask.view(np.uint64)
    at = np.flatnonzero(words != 0)
    inside = np.flatnonzero(words[at].view(np.bool_))
    places: I64 = at[inside >> 3] * 8 + (inside & 7)
    return places


def _int64(positions: list[int]) -> I64:
    return np.array(positions, np.int64)


def _join(parts: list[I64]) -> I64:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)

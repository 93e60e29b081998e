"""Which lines of a CSV block make which record, where quotes or odd bytes leave doubt.

Most lines are one record each and are left to a fast reader. The others come here one by one:
lines with an odd number of quotes (a field with a line end inside, or a quote that is never
closed), NUL bytes, bytes that are not UTF-8, carriage returns inside, or too many bytes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stocklog.inventory.feeds.blocks import MAX_LINE, Block

__all__ = [
    "MAX_JOINED_LINES",
    "Odd",
    "OddLines",
    "Resolver",
    "find_odd_lines",
    "split_as_arrow",
    "wrong_width",
]

# A field with more line ends than this is taken for a quote that was never closed.
MAX_JOINED_LINES = 100

NOT_UTF8 = "not valid UTF-8: give --encoding (for example cp1252) if the file is in another one"
NUL = "a NUL byte inside the row"
TOO_LONG = f"the row is longer than {MAX_LINE:,} bytes (only its start is kept here)"
OPEN_QUOTE = "a quote is opened and not closed"
INNER_RETURN = "a carriage return inside the row, outside of quotes"

BoolArray = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Odd:
    """What odd lines turned out to be.

    Attributes:
        rows: first line of a good record -> its fields.
        spans: first line of a record of several lines -> the line after its last.
        rejects: line -> reason.
        carried: the first line that cannot be decided before more of the feed is there, or None.
    """

    rows: dict[int, Sequence[str]] = field(default_factory=dict)
    spans: dict[int, int] = field(default_factory=dict)
    rejects: dict[int, str] = field(default_factory=dict)
    carried: int | None = None


@dataclass(slots=True)
class OddLines:
    """The lines of a block that need a closer look.

    Attributes:
        odd: bool[lines], every line to look at.
        quotes: int64[lines], quotes in each line, or None if the block has none.
        unreadable: lines that are not UTF-8.
        blank: bool[lines], lines with nothing in them; no record, unless inside quotes.
    """

    odd: BoolArray
    quotes: npt.NDArray[np.int64] | None
    unreadable: set[int]
    blank: BoolArray


def find_odd_lines(block: Block, *, quotes: bool = True) -> OddLines:
    """Find the lines of a block that a plain split would not get right.

    Args:
        block: the block, with one line at least.
        quotes: whether quotes and carriage returns inside a line matter.
    """
    view, starts, ends = block.view, block.starts, block.ends
    lengths = ends - starts
    last = view[ends - 1]
    before = view[np.maximum(ends - 2, starts)]
    fed = last == 10
    odd = lengths - fed > MAX_LINE
    blank = (fed & (lengths == 1)) | (fed & (lengths == 2) & (before == 13))
    blank |= ~fed & (last == 13) & (lengths == 1)
    counts = None
    if quotes and b'"' in block.data:
        counts = np.add.reduceat(view == 34, starts, dtype=np.int64)
        odd |= (counts & 1) == 1
    if b"\0" in block.data:
        odd |= np.logical_or.reduceat(view == 0, starts)
    if quotes and b"\r" in block.data:
        ordinary = (fed & (before == 13) & (lengths >= 2)) | (~fed & (last == 13))
        if block.data.count(b"\r") != int(np.count_nonzero(ordinary)):
            odd |= np.add.reduceat(view == 13, starts, dtype=np.int64) > ordinary
    unreadable = _unreadable_lines(block)
    odd[list(unreadable)] = True
    return OddLines(odd, counts, unreadable, blank)


def _unreadable_lines(block: Block) -> set[int]:
    try:
        block.data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        return set()
    high = np.flatnonzero(np.maximum.reduceat(block.view, block.starts) >= 128)
    return {int(index) for index in high if not _is_utf8(block.line(int(index)))}


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


class Resolver:
    """Decides about odd lines, in order.

    The decision about a line depends on the lines after it alone, never on where a block ends:
    where the block ends too early, the line is carried into the next one.

    Args:
        block: the block.
        lines: its odd lines.
        width: number of columns.
        delimiter: one character.
    """

    def __init__(self, block: Block, lines: OddLines, width: int, delimiter: str) -> None:
        self._block = block
        self._lines = lines
        self._width = width
        self._delimiter = delimiter
        self._delimiter_bytes = delimiter.encode()

    def resolve(self) -> Odd:
        """Return what each odd line is."""
        found = Odd()
        taken_until = 0
        for line in np.flatnonzero(self._lines.odd):
            index = int(line)
            if index < taken_until:
                continue
            taken_until = self._resolve_line(index, found)
            if found.carried is not None:
                break
        return found

    def _resolve_line(self, index: int, found: Odd) -> int:
        """Decide about one line; return the first line that is still free."""
        raw = self._block.line(index)
        reason = self._unusable(index, raw)
        if reason is None:
            is_open = self._is_open(index)
            if is_open or b"\r" in raw:
                fields = self._parse(raw)
            else:  # it is here only because of another line of its block
                fields = split_as_arrow(raw, self._delimiter)
            if fields is None and is_open:
                return self._join(index, found)
            reason = self._store(index, fields, raw, found)
        if reason is not None:
            found.rejects[index] = reason
        return index + 1

    def _unusable(self, index: int, raw: bytes) -> str | None:
        if self._block.length(index) > MAX_LINE:
            return TOO_LONG
        if index in self._lines.unreadable:
            return NOT_UTF8
        return NUL if b"\0" in raw else None

    def _store(self, index: int, fields: list[str] | None, raw: bytes, found: Odd) -> str | None:
        if fields is None:
            return INNER_RETURN if b"\r" in raw else OPEN_QUOTE
        if len(fields) != self._width:
            return wrong_width(self._width, len(fields))
        found.rows[index] = fields
        return None

    def _is_open(self, index: int) -> bool:
        return self._lines.quotes is not None and bool(self._lines.quotes[index] & 1)

    def _parse(self, raw: bytes) -> list[str] | None:
        """Return the fields of exactly one record, or None if `raw` is not one."""
        try:
            lines = io.StringIO(raw.decode("utf-8"), newline="\n")
            records = list(csv.reader(lines, delimiter=self._delimiter, strict=True))
        except (csv.Error, UnicodeDecodeError):
            return None
        return records[0] if len(records) == 1 else None

    def _join(self, index: int, found: Odd) -> int:
        """Look for the line that closes the quote which line `index` opens."""
        block, starts, ends = self._block, self._block.starts, self._block.ends
        for last in range(index + 1, index + 1 + MAX_JOINED_LINES):
            if last >= len(ends):
                if block.closed:
                    break
                found.carried = index
                return index
            if ends[last] - starts[index] > MAX_LINE:
                break
            if self._is_open(last):
                raw = block.data[starts[index] : ends[last]].rstrip(b"\r\n")
                fields = self._parse(raw)
                if fields is None or len(fields) != self._width:
                    break
                found.rows[index] = fields
                found.spans[index] = last + 1
                return last + 1
            if self._is_whole_row(last):
                break
        found.rejects[index] = OPEN_QUOTE
        return index + 1

    def _is_whole_row(self, index: int) -> bool:
        """Whether a line inside a quote looks like a row: then the quote is a lone one.

        Text with exactly as many delimiters as the file has is far rarer than a stray quote, and
        taking the line for text would lose a good row.
        """
        wanted = self._width - 1
        start, end = int(self._block.starts[index]), int(self._block.ends[index])
        if self._lines.blank[index]:
            return False
        return self._block.data.count(self._delimiter_bytes, start, end) == wanted


def split_as_arrow(raw: bytes, delimiter: str) -> list[str] | None:
    """Split one line as Arrow does, which takes what stands behind a closing quote for text.

    So the result for a line is the same whether Arrow splits it or not.

    Args:
        raw: the line without its line end, UTF-8, no carriage return in it.
        delimiter: one character.

    Returns:
        Its fields, or None if it leaves a quote open, so that Arrow would go on in the next line.
    """
    text, fields, at = raw.decode("utf-8"), list[str](), 0
    while True:
        quoted = ""
        if text.startswith('"', at):
            end = text.find('"', at + 1)
            while end >= 0 and text.startswith('"', end + 1):  # two are one inside
                end = text.find('"', end + 2)
            if end < 0:
                return None
            quoted, at = text[at + 1 : end].replace('""', '"'), end + 1
        end = text.find(delimiter, at)
        if end < 0:
            return [*fields, quoted + text[at:]]
        fields.append(quoted + text[at:end])
        at = end + 1


def wrong_width(expected: int, actual: int) -> str:
    """The reason for a row with too few or too many fields."""
    return f"{actual:,} fields where the header has {expected:,}"

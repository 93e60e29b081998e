"""JSON Lines: blocks of lines to columns, strictly, with every bad row kept.

Polars reads whole pieces quickly but leniently: it drops unknown members, takes ``5`` for text and
the first of two equal keys. So a piece counts only if sums over its bytes prove that every line
holds known members alone, once each, texts in quotes. Anything else is read line by line.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

from stocklog.errors import FeedError
from stocklog.inventory.feeds.blocks import MAX_LINE, Block, BlockReader
from stocklog.inventory.feeds.json_rows import JsonRow, read_row
from stocklog.inventory.feeds.known_lines import KnownLines, read_known, takes_lines_as_they_are
from stocklog.inventory.feeds.model import IntArray, RawRows, Reject, long_line_text, text_of
from stocklog.inventory.feeds.null_members import count_nulls
from stocklog.inventory.feeds.plan import Plan
from stocklog.inventory.feeds.records import NOT_UTF8, TOO_LONG, find_odd_lines
from stocklog.inventory.feeds.source import ByteSource
from stocklog.inventory.fields import FIELDS, INTEGERS
from stocklog.workers import Worker

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stocklog.inventory.proven import Proven

__all__ = ["JsonRows"]

# Lines read at once. One odd line among them makes them be tried again in four parts each time, and
# only a part of few lines goes the slow way.
PIECE = 1 << 20
FEW_LINES = 500
# Where lines are not all of one form, so many blocks are read as any others before the next try.
PASSED_OVER = 8
# A line with an escape or an array goes the slow way. Without them a quote begins or ends a text,
# and a colon that is not inside a text ends a key, always.
DOUBTS = (b"\\", b"[")
# Members that may stand in any line of what `consume --format jsonl` wrote; they are not kept.
_BESIDE: dict[str, pl.DataType] = {"offset": pl.Int64(), "recorded_at": pl.String()}
_QUICK_SCHEMA: dict[str, pl.DataType] = {
    **{name: pl.Int64() if name in INTEGERS else pl.String() for name in FIELDS},
    **_BESIDE,
}
_TEXTS = [name for name, dtype in _QUICK_SCHEMA.items() if dtype == pl.String]
_TIMES = ("occurred_at", "recorded_at")

_Piece: TypeAlias = tuple[IntArray, pl.DataFrame | None]
"""Lines, and what was read of them; None for what must go slowly."""


@dataclass(frozen=True, slots=True)
class _Lot:
    """The lines of a block that are read together.

    Attributes:
        block: the block.
        rows: int64[n], which of its lines.
        slow: bool, for each line of the block: it must be read by itself.
        numbers: int64[n], the rows' numbers in the feed.
        unreadable: lines that are not UTF-8.
        position: how far the feed was read.
    """

    block: Block
    rows: IntArray
    slow: NDArray[np.bool_]
    numbers: IntArray
    unreadable: set[int]
    position: int


class JsonRows:
    """Iterates over a JSON Lines feed's rows, block by block.

    Args:
        source: the bytes, for their position.
        blocks: the lines.
        plan: where the fields come from; with expressions every line goes the slow way.
        file: the feed's name for rejects.
        strict_start: refuse a feed whose first line is no JSON object (the name alone said so).
        helper: another process that proves lines of one form.
    """

    def __init__(
        self,
        source: ByteSource,
        blocks: BlockReader,
        plan: Plan,
        file: str,
        *,
        strict_start: bool,
        helper: Worker | None = None,
    ) -> None:
        self._source = source
        self._blocks = blocks
        self._file = file
        self._unproven = strict_start
        self._helper = helper
        # Blocks that are begun before the one in front of them is finished; one more where another
        # process is not to wait for its next.
        self._ahead = 1 if helper is None else 2
        self._next_row = 1
        # Several threads take it and put a larger one in its place; one that gets lost costs time.
        self._met: frozenset[str] = frozenset()
        self._taken = frozenset(plan.taken)
        self._texts = frozenset(plan.columns) - self._taken
        self._as_they_are = takes_lines_as_they_are(plan)
        self._to_pass_over = 0
        self._as_text = frozenset(name for each in plan.mapped for name in each.columns)
        names = [*plan.taken, *sorted(self._texts)]
        self._schema: dict[str, pl.DataType] = {
            name: pl.Int64() if name in INTEGERS and name not in self._as_text else pl.String()
            for name in names
        }
        self._schema["extra"] = pl.String()

    def __iter__(self) -> Iterator[RawRows]:
        # Polars lets go of Python's lock: the pieces of a block that has no form of its own are
        # read side by side, and a file's next block while whoever iterates works on this one.
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "stocklog-jsonl") as pool:
            begun: deque[Callable[[], RawRows]] = deque()
            try:
                while (block := self._blocks.next()) is not None:
                    begun.append(self._begin(block, pool))
                    # A pipe's lines go on as they come.
                    most = 0 if self._source.total_bytes is None else self._ahead
                    while len(begun) > most:
                        yield begun.popleft()()
            except FeedError:
                # What came before the damage is read all the same.
                yield from (each() for each in begun)
                raise
            yield from (each() for each in begun)

    def _begin(self, block: Block, pool: ThreadPoolExecutor) -> Callable[[], RawRows]:
        """Have a block's lines read; the answer waits for them."""
        if block.long_line:
            row = self._long_line(block)
            return lambda: row
        lines = find_odd_lines(block, quotes=False)
        self._check_start(block, lines.blank)
        slow = lines.odd.copy()
        for doubt in DOUBTS:
            _mark(block, doubt, slow)
        if self._as_text:
            slow[:] = True
        slow &= ~lines.blank
        rows = np.flatnonzero(~lines.blank)
        numbers = np.arange(self._next_row, self._next_row + len(rows), dtype=np.int64)
        self._next_row += len(rows)
        lot = _Lot(block, rows, slow, numbers, lines.unreadable, self._source.position)
        if self._tries_form(len(rows)):
            # Not in the pool: its many short steps would wait for Python's lock more than they
            # gained (two cores: an eighth slower). And not before it is asked for: nothing
            # else goes on meanwhile, so the block before this one would only come later.
            known = self._proving(KnownLines.of(block, rows))
            return lambda: self._with_known(lot, known(), pool)
        read = self._start(lot, pool)
        return lambda: self._finish(lot, read)

    def _proving(self, lines: KnownLines) -> Callable[[], Proven | None]:
        """Have lines proven, in another process if there is one."""
        there = None if self._helper is None else self._helper.submit(read_known, lines)
        return there or partial(read_known, lines)

    def _tries_form(self, rows: int) -> bool:
        """Whether a block is worth a look whether its lines have one form."""
        if not self._as_they_are or rows <= FEW_LINES:
            return False
        if self._to_pass_over:
            self._to_pass_over -= 1
            return False
        return True

    def _with_known(self, lot: _Lot, proven: Proven | None, pool: ThreadPoolExecutor) -> RawRows:
        """The rows of a block: what is valid beyond doubt, and the few others."""
        rest = np.ones(len(lot.rows), np.bool_)
        if proven is not None:
            rest[proven.rows] = False
        if proven is None or np.count_nonzero(rest) > FEW_LINES:
            self._to_pass_over = PASSED_OVER
            return self._finish(lot, self._start(lot, pool))
        slow = np.ones_like(lot.slow)
        others = replace(lot, rows=lot.rows[rest], numbers=lot.numbers[rest], slow=slow)
        raw = self._finish(others, self._start(others, pool))
        raw.known = (lot.numbers[proven.rows], proven.updates)
        return raw

    def _start(self, lot: _Lot, pool: ThreadPoolExecutor) -> Iterator[list[_Piece]]:
        block, rows = lot.block, lot.rows
        runs = _runs(block, rows, lot.slow)
        return pool.map(lambda run: self._quick_pieces(block, rows[run[0] : run[1]], run[2]), runs)

    def _finish(self, lot: _Lot, read: Iterator[list[_Piece]]) -> RawRows:
        block, rows = lot.block, lot.rows
        columns, problems = self._joined(block, chain.from_iterable(read), lot.unreadable)
        return RawRows(
            columns=columns,
            lines=rows + block.first_line,
            row_numbers=lot.numbers,
            row_text=lambda positions: [_shown(block, int(rows[p])) for p in positions],
            rejects=[],
            problems=problems,
            bytes_read=lot.position,
            may_hold_nul=bool(lot.slow.any()) or b"\0" in block.data,
        )

    def _joined(
        self,
        block: Block,
        read: Iterable[_Piece],
        unreadable: set[int],
    ) -> tuple[pl.DataFrame, dict[int, str]]:
        """Join what was read of a block, reading the slow lines now; and their problems."""
        parts: list[pl.DataFrame] = []
        problems: dict[int, str] = {}
        done = 0
        for piece, frame in read:
            if frame is None:
                frame = self._slow(block, piece, done, unreadable, problems)
            parts.append(frame)
            done += frame.height
        return pl.concat(parts) if parts else pl.DataFrame(schema=self._schema), problems

    def _quick_pieces(self, block: Block, rows: IntArray, is_slow: bool) -> list[_Piece]:
        """Read lines that follow each other in ever smaller parts; None for what must go slowly."""
        frame = None if is_slow else self._quick(block, rows)
        if frame is not None or is_slow or len(rows) <= FEW_LINES:
            return [(rows, frame)]
        parts = np.array_split(rows, 4)
        return [piece for part in parts for piece in self._quick_pieces(block, part, is_slow=False)]

    def _quick(self, block: Block, rows: IntArray) -> pl.DataFrame | None:
        """Read lines that follow each other, or return None if they need a closer look."""
        piece = block.data[block.starts[rows[0]] : block.ends[rows[-1]]]
        starts = block.starts[rows] - block.starts[rows[0]]
        ends = block.line(int(rows[0])) + block.line(int(rows[-1]))
        # Fewer columns are read faster: those of these two lines, and what earlier pieces had. If
        # other lines have more, the sums show it.
        named = {name for name in _QUICK_SCHEMA if f'"{name}"'.encode() in ends}
        likely = {n: dtype for n, dtype in _QUICK_SCHEMA.items() if n in named | self._met}
        frame = self._proven(piece, starts, likely) if likely else None
        if frame is None and len(likely) < len(_QUICK_SCHEMA):
            frame = self._proven(piece, starts, _QUICK_SCHEMA)
        return frame

    def _proven(
        self, piece: bytes, starts: IntArray, schema: dict[str, pl.DataType]
    ) -> pl.DataFrame | None:
        """Read a piece, or return None if its sums do not prove it."""
        try:
            frame = pl.read_ndjson(piece, schema=schema)
        except (pl.exceptions.PolarsError, ValueError, OverflowError):
            return None
        if frame.height != len(starts):
            return None
        absent = frame.null_count().row(0, named=True)
        members = sum(frame.height - nulls for nulls in absent.values())
        text_names = [name for name in _TEXTS if name in schema]
        texts = sum(frame.height - absent[name] for name in text_names)
        nulls = count_nulls(piece, frame, starts, [n for n, count in absent.items() if count])
        if nulls is None:
            return None
        # Every member has a colon, so more of them are unknown, repeated or nested members;
        # and every text has two quotes, so fewer are numbers where text must stand.
        # One brace a line: no value is an object, whose text would bring colons and quotes along.
        view = np.frombuffer(piece, np.uint8)
        if np.count_nonzero(view == ord("{")) != frame.height:
            return None
        if np.count_nonzero(view == ord('"')) != 2 * (members + texts + nulls):
            return None
        colons = int(np.count_nonzero(view == ord(":"))) - members - nulls
        # Other texts than times seldom have any; only then those are counted too.
        times = [name for name in _TIMES if name in schema]
        if colons != _colons_inside(frame, times) and colons != _colons_inside(frame, text_names):
            return None
        self._met |= {name for name, nulls in absent.items() if nulls < frame.height}
        return self._complete(frame)

    def _complete(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the columns of a proven piece in the reader's schema; absent ones are null."""
        return pl.DataFrame(
            [
                frame[name]
                if name in frame.columns and name != "extra"
                else pl.Series(name, [None], dtype=dtype).new_from_index(0, frame.height)
                for name, dtype in self._schema.items()
            ]
        )

    def _slow(
        self,
        block: Block,
        rows: IntArray,
        position: int,
        unreadable: set[int],
        problems: dict[int, str],
    ) -> pl.DataFrame:
        """Read lines one by one; a bad one becomes a row of nulls and a problem."""
        found: list[JsonRow] = []
        for offset, row in enumerate(rows.tolist()):
            result = JsonRow(problem=NOT_UTF8)
            if block.length(row) > MAX_LINE:
                result = JsonRow(problem=TOO_LONG)
            elif row not in unreadable:
                result = read_row(block.line(row), self._taken, self._texts, self._as_text)
            if result.problem:
                problems[position + offset] = result.problem
            found.append(result)
        return pl.DataFrame(
            {name: [row.values.get(name) for row in found] for name in self._schema},
            schema=self._schema,
        )

    def _check_start(self, block: Block, blank: np.ndarray) -> None:
        """Refuse a feed that is plainly something else, by its first line that is not blank."""
        rows = np.flatnonzero(~blank)
        if not self._unproven or not len(rows):
            return
        self._unproven = False
        first = block.line(int(rows[0])).lstrip()
        if first.startswith(b"["):
            raise FeedError(
                f"{self._file} is a JSON array, not JSON Lines",
                "Write one object a line, e.g. `jq -c '.[]' FILE | stocklog load -`",
            )
        if not first.startswith(b"{"):
            raise FeedError(
                f"{self._file} is not JSON Lines: its first line is {text_of(first[:60])[0]!r}",
                "Give --input-format if its name says the wrong thing",
            )

    def _long_line(self, block: Block) -> RawRows:
        self._next_row += 1
        nothing = np.zeros(0, np.int64)
        text = long_line_text(block.long_line, block.long_line_length)
        reject = Reject(self._file, block.first_line, TOO_LONG, text)
        empty = pl.DataFrame(schema=self._schema)
        return RawRows(empty, nothing, nothing, lambda _: [], [reject], {}, self._source.position)


def _colons_inside(frame: pl.DataFrame, texts: Sequence[str]) -> int:
    """Count the colons inside of some of a frame's texts."""
    if not texts:
        return 0
    counts = frame.select(pl.col(*texts).str.count_matches(":", literal=True).sum())
    return sum(counts.row(0))


def _mark(block: Block, doubt: bytes, slow: np.ndarray) -> None:
    """Mark the lines that hold `doubt`."""
    data, at = block.data, block.data.find(doubt)
    while at >= 0:
        line = int(np.searchsorted(block.ends, at, side="right"))
        slow[line] = True
        at = data.find(doubt, int(block.ends[line]))


def _runs(block: Block, rows: IntArray, slow: np.ndarray) -> Iterator[tuple[int, int, bool]]:
    """Cut rows into runs of one kind: (first, after the last, slow); quick runs of one piece each.

    Quick rows follow each other in the block's bytes: a blank line between them ends a run.
    """
    if not len(rows):
        return
    kind = slow[rows]
    size = block.starts[rows] // PIECE
    cut = (kind[1:] != kind[:-1]) | (~kind[1:] & ((np.diff(rows) != 1) | (np.diff(size) != 0)))
    borders = [0, *(np.flatnonzero(cut) + 1).tolist(), len(rows)]
    for first, last in pairwise(borders):
        yield first, last, bool(kind[first])


def _shown(block: Block, line: int) -> tuple[str, bool]:
    length = block.length(line)
    if length > MAX_LINE:
        start = int(block.starts[line])
        return long_line_text(block.data[start : start + length], length), False
    return text_of(block.line(line))

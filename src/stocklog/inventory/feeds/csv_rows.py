"""CSV: blocks of lines to columns of text, with every bad row kept.

The bulk goes through pyarrow's reader, which reports rows of the wrong width with their number.
What it cannot be trusted with (see `records`) is cut out beforehand and looked at row by row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

from stocklog.inventory.feeds.blocks import Block, BlockReader
from stocklog.inventory.feeds.header import Header
from stocklog.inventory.feeds.model import IntArray, RawRows, Reject, long_line_text, text_of
from stocklog.inventory.feeds.records import (
    TOO_LONG,
    Odd,
    OddLines,
    Resolver,
    find_odd_lines,
    split_as_arrow,
    wrong_width,
)
from stocklog.inventory.feeds.source import ByteSource

__all__ = ["CsvRows"]


class CsvRows:
    """Iterates over a CSV feed's rows, block by block.

    Args:
        source: the bytes, for their position.
        blocks: the lines after the header.
        header: the header line.
        columns: positions in the header of the columns to keep.
        file: the feed's name for rejects.
    """

    def __init__(
        self,
        source: ByteSource,
        blocks: BlockReader,
        header: Header,
        columns: Sequence[int],
        file: str,
    ) -> None:
        self._source = source
        self._blocks = blocks
        self._header = header
        self._columns = list(columns)
        self._file = file
        self._next_row = 1

    def __iter__(self) -> Iterator[RawRows]:
        while (block := self._blocks.next()) is not None:
            yield self._long_line(block) if block.long_line else self._rows(block)

    def _rows(self, block: Block) -> RawRows:
        lines = find_odd_lines(block)
        while True:
            odd = Resolver(block, lines, len(self._header.names), self._header.delimiter).resolve()
            plain = self._plain_lines(block, lines, odd)
            table, narrow = self._split(block, plain)
            if table is not None and not self._ends_open(block, plain, lines):
                if odd.carried is not None:
                    self._blocks.give_back(block, odd.carried, undecided=True)
                return self._assemble(block, plain, table, narrow, lines, odd)
            # Somewhere a quote opens that an even number of quotes had hidden.
            assert lines.quotes is not None
            lines.odd |= lines.quotes > 0

    def _ends_open(self, block: Block, plain: IntArray, lines: OddLines) -> bool:
        """Whether the last plain line leaves a quote open, which Arrow forgives at the end."""
        if lines.quotes is None or not len(plain) or not lines.quotes[plain[-1]]:
            return False
        return split_as_arrow(block.line(int(plain[-1])), self._header.delimiter) is None

    def _plain_lines(self, block: Block, lines: OddLines, odd: Odd) -> IntArray:
        """Return the lines that are one record each, in order."""
        plain = ~(lines.odd | lines.blank)
        for first, after in odd.spans.items():
            plain[first:after] = False
        if odd.carried is not None:
            plain[odd.carried :] = False
        return np.flatnonzero(plain)

    def _split(self, block: Block, plain: IntArray) -> tuple[pl.DataFrame | None, dict[int, int]]:
        """Split plain lines into columns.

        Returns:
            The columns, and position in `plain` -> number of fields, for the rows of the wrong
            width, which are not in the columns. None instead of columns if rows were swallowed.
        """
        narrow: dict[int, int] = {}
        if not len(plain):
            return self._frame([]), narrow

        def skip(row: Any) -> str:
            narrow[row.number - 1] = row.actual_columns
            return "skip"

        data = _bytes_of(block, plain)
        names = [f"{position}" for position in range(len(self._header.names))]
        kept = [names[position] for position in self._columns] or names[:1]
        try:
            table = pa_csv.read_csv(
                pa.py_buffer(data),
                read_options=pa_csv.ReadOptions(
                    use_threads=False, block_size=len(data) + 1, column_names=names
                ),
                parse_options=pa_csv.ParseOptions(
                    delimiter=self._header.delimiter,
                    quote_char='"' if b'"' in data else False,
                    ignore_empty_lines=False,
                    invalid_row_handler=skip,
                ),
                convert_options=pa_csv.ConvertOptions(
                    check_utf8=False,  # done for the whole block before
                    column_types=dict.fromkeys(kept, pa.string()),
                    null_values=[""],
                    strings_can_be_null=True,
                    include_columns=kept,
                ),
            )
        except pa.ArrowInvalid:
            if b'"' not in data:
                raise
            return None, {}
        if table.num_rows + len(narrow) != len(plain):
            return None, {}
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        return frame.rename(self._titles(kept)), narrow

    def _titles(self, kept: Sequence[str]) -> dict[str, str]:
        return {position: self._header.names[int(position)] for position in kept}

    def _frame(self, rows: Sequence[Sequence[str]]) -> pl.DataFrame:
        positions = self._columns or [0]
        return pl.DataFrame(
            {self._header.names[p]: [row[p] or None for row in rows] for p in positions},
            schema={self._header.names[p]: pl.String for p in positions},
        )

    def _assemble(
        self,
        block: Block,
        plain: IntArray,
        table: pl.DataFrame,
        narrow: dict[int, int],
        lines: OddLines,
        odd: Odd,
    ) -> RawRows:
        """Put plain rows, odd rows and rejects back into the feed's order and number them."""
        reasons = dict(odd.rejects)
        for position, actual in narrow.items():
            reasons[int(plain[position])] = wrong_width(len(self._header.names), actual)
        good = np.delete(plain, list(narrow)) if narrow else plain
        if odd.rows:
            table = pl.concat([table, self._frame(list(odd.rows.values()))])
            good = np.concatenate([good, np.fromiter(odd.rows, np.int64, len(odd.rows))])
            order = np.argsort(good, kind="stable")
            table, good = table[order], good[order]
        numbers = self._number(block, lines, odd)

        def row_text(positions: IntArray) -> list[tuple[str, bool]]:
            return [text_of(_record(block, odd, int(good[p]))) for p in positions]

        rejects = [self._reject(block, odd, line, reasons[line]) for line in sorted(reasons)]
        return RawRows(
            columns=table,
            lines=good + block.first_line,
            row_numbers=numbers[good],
            row_text=row_text,
            rejects=rejects,
            problems={},
            bytes_read=self._source.position,
            may_hold_nul=b"\0" in block.data,
        )

    def _number(self, block: Block, lines: OddLines, odd: Odd) -> IntArray:
        """Return the row number of each line that begins a record; other lines' are meaningless."""
        begins = ~lines.blank
        for first, after in odd.spans.items():
            begins[first + 1 : after] = False
        if odd.carried is not None:
            begins = begins[: odd.carried]
        numbers = np.cumsum(begins, dtype=np.int64) + (self._next_row - 1)
        self._next_row += int(np.count_nonzero(begins))
        return numbers

    def _reject(self, block: Block, odd: Odd, line: int, reason: str) -> Reject:
        if reason == TOO_LONG:
            start, length = int(block.starts[line]), block.length(line)
            text = long_line_text(block.data[start : start + length], length)
            return Reject(self._file, block.first_line + line, reason, text)
        text, is_base64 = text_of(_record(block, odd, line))
        return Reject(self._file, block.first_line + line, reason, text, is_base64)

    def _long_line(self, block: Block) -> RawRows:
        self._next_row += 1
        text = long_line_text(block.long_line, block.long_line_length)
        reject = Reject(self._file, block.first_line, TOO_LONG, text)
        nothing = np.zeros(0, np.int64)
        return RawRows(
            self._frame([]), nothing, nothing, lambda _: [], [reject], {}, self._source.position
        )


def _record(block: Block, odd: Odd, line: int) -> bytes:
    after = odd.spans.get(line, line + 1)
    return block.data[block.starts[line] : block.ends[after - 1]].rstrip(b"\r\n")


def _bytes_of(block: Block, lines: npt.NDArray[np.int64]) -> bytes:
    """Return the bytes of some of a block's lines, in order; without a copy if it is all."""
    if len(lines) == len(block.ends):
        return block.data
    breaks = np.flatnonzero(np.diff(lines) != 1)
    firsts = lines[np.concatenate([[0], breaks + 1])]
    lasts = lines[np.concatenate([breaks, [len(lines) - 1]])]
    view = memoryview(block.data)
    return b"".join(
        view[start:end]
        for start, end in zip(
            block.starts[firsts].tolist(), block.ends[lasts].tolist(), strict=True
        )
    )

"""Polars frames on stdout: aligned text, JSON Lines, or CSV, however long they are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

__all__ = ["print_frame", "text_lines"]

_ROWS = 50_000


def print_frame(frame: pl.DataFrame, form: str) -> None:
    """Print a frame, a line a row. Times are RFC 3339 in UTC.

    Args:
        frame: columns of texts, integers, booleans and times.
        form: `text`, `jsonl` or `csv`; nulls are `-` in text, null in JSON Lines, empty in
            CSV.
    """
    frame = _with_written_times(frame)
    if form == "jsonl":
        for part in frame.iter_slices(_ROWS):
            sys.stdout.write(part.write_ndjson())
    elif form == "csv":
        sys.stdout.write(frame.head(0).write_csv())
        for part in frame.iter_slices(_ROWS):
            sys.stdout.write(part.write_csv(include_header=False))
    else:
        for line in _text_lines(frame):
            sys.stdout.write(line + "\n")
    sys.stdout.flush()


def text_lines(frame: pl.DataFrame) -> Iterator[str]:
    """The lines of a frame as text: headings, then a line a row, each column as wide as it must be.

    Args:
        frame: as for `print_frame`.
    """
    return _text_lines(_with_written_times(frame))


def _with_written_times(frame: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    times = [
        pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")
        for name, kind in frame.schema.items()
        if isinstance(kind, pl.Datetime)
    ]
    return frame.with_columns(times) if times else frame


def _text_lines(frame: pl.DataFrame) -> Iterator[str]:
    """Columns padded to their widest value, numbers to the right."""
    import polars as pl

    numeric = {name for name, kind in frame.schema.items() if kind.is_integer()}
    texts = frame.select(
        pl.col(name).cast(pl.String).str.replace_all(r"[\x00-\x1f\x7f]", "?").fill_null("-")
        for name in frame.columns
    )
    heads = {name: name.replace("_", " ") for name in frame.columns}
    cells = []
    for name in frame.columns:
        widest = texts[name].str.len_chars().max()
        width = max(len(heads[name]), widest if isinstance(widest, int) else 0)
        column = pl.col(name)
        if name in numeric:
            heads[name] = heads[name].rjust(width)
            cells.append(column.str.pad_start(width))
        else:
            heads[name] = heads[name].ljust(width)
            cells.append(column.str.pad_end(width))
    yield "  ".join(heads.values()).rstrip()
    for part in texts.iter_slices(_ROWS):
        lines = part.select(pl.concat_str(cells, separator="  ").str.strip_chars_end())
        yield "\n".join(lines.to_series())

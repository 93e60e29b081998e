"""A CSV file's header line and delimiter."""

from __future__ import annotations

import csv
from dataclasses import dataclass

from stocklog.errors import FeedError
from stocklog.inventory.feeds.blocks import Block, BlockReader

__all__ = ["Header", "read_header"]

DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class Header:
    """What the header line says.

    Attributes:
        names: the columns' names, blanks around them removed; a column without one is called
            ``column N``, N from 1.
        delimiter: one character.
    """

    names: tuple[str, ...]
    delimiter: str


def read_header(blocks: BlockReader, file: str, delimiter: str | None) -> Header | None:
    """Read up to the header line and give everything after it back to `blocks`.

    Blank lines before it are passed over, and so is the line ``sep=;`` with which spreadsheets
    announce their delimiter.

    Args:
        blocks: the feed, at its start.
        file: the feed's name for errors.
        delimiter: what the options say, or None to recognise it.

    Returns:
        The header, or None for a feed without any line.

    Raises:
        FeedError: the first line cannot be a header.
    """
    while (block := blocks.next()) is not None:
        if block.long_line:
            raise FeedError(
                f"{file} begins with a line of {block.long_line_length:,} bytes",
                "A CSV feed begins with a header line that names its columns",
            )
        for index in range(len(block.ends)):
            line = _text(block, index, file)
            if not line.strip():
                continue
            if line.lower().startswith("sep=") and len(line) == 5:
                delimiter = delimiter or line[4]
                continue
            blocks.give_back(block, index + 1)
            found = delimiter or _recognise(line)
            return Header(_names(line, found, file), found)
    return None


def _text(block: Block, index: int, file: str) -> str:
    raw = block.line(index)
    if b"\0" in raw:
        raise FeedError(
            f"{file} is not text: its line {block.first_line + index} has NUL bytes",
            "If it is UTF-16, give --encoding utf-16-le or utf-16-be",
        )
    if b"\r" in raw:
        raise FeedError(
            f"{file} ends its lines with a carriage return alone",
            "Turn them into line feeds first, e.g. `tr '\\r' '\\n' < FILE | stocklog load -`",
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FeedError(
            f"the header line of {file} is not in the expected encoding "
            f"(byte 0x{raw[error.start]:02X} at position {error.start + 1})",
            "Give --encoding, for example cp1252 or latin-1",
        ) from error


def _recognise(line: str) -> str:
    """Return the delimiter that occurs most outside of quotes; a comma if none does."""
    outside = "".join(line.split('"')[::2])
    return max(DELIMITERS, key=outside.count)


def _names(line: str, delimiter: str, file: str) -> tuple[str, ...]:
    try:
        (fields,) = csv.reader([line], delimiter=delimiter, strict=True)
    except (csv.Error, ValueError) as error:
        raise FeedError(
            f"the header line of {file} cannot be split into columns ({error})",
            "Give --delimiter if it was recognised wrongly",
        ) from error
    names = (field.strip() for field in fields)
    return tuple(name or f"column {number}" for number, name in enumerate(names, 1))

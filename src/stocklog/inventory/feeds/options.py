"""How a feed is to be read: every option, checked when it is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

import polars as pl

from stocklog.errors import UsageError
from stocklog.inventory import timestamps
from stocklog.inventory.feeds import moments, whole_numbers
from stocklog.inventory.feeds.encoding import canonical_encoding
from stocklog.inventory.fields import FIELDS, INTEGERS, problems

__all__ = ["FORMATS", "FeedOptions", "parse_assignments"]

FORMATS = ("csv", "jsonl", "parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedOptions:
    """Options of one load.

    Attributes:
        input_format: ``csv``, ``jsonl``, ``parquet``, or None to tell it by name and content.
        delimiter: CSV: one character (``tab`` means the tab), or None to recognise it
            among comma, semicolon, tab and ``|`` by the header line.
        encoding: CSV and JSON Lines: a text encoding, or None for UTF-8 or what a byte-order mark
            tells.
        decimal_comma: CSV: numbers are written ``3,0``, thousands ``1.000``.
        mapping: field of the record -> SQL expression over the feed's columns.
        constants: field of the record -> value for every row; text is read like text in a CSV
            file. A constant beats a column of the same name.
        timezone: IANA name of the zone of times that name none, or None to refuse them.
        keep_extra: keep the other columns of CSV and Parquet in `extra`; JSON Lines always does.
        run: 1, or the number of the deliberate repetition of the load: it becomes part of the
            update ids that are made.

    Raises:
        UsageError: an option cannot be meant; the error says what to give.
    """

    input_format: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    decimal_comma: bool = False
    mapping: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, object] = field(default_factory=dict)
    timezone: str | None = None
    keep_extra: bool = False
    run: int = 1

    def __post_init__(self) -> None:
        if self.input_format is not None and self.input_format not in FORMATS:
            raise UsageError(
                f"the input format {self.input_format!r} is not known",
                f"Give one of {', '.join(FORMATS)}",
            )
        if self.run < 1:
            raise UsageError(f"the run {self.run} cannot be", "Runs are counted from 1")
        if self.encoding is not None:
            object.__setattr__(self, "encoding", canonical_encoding(self.encoding))
        if self.delimiter is not None:
            object.__setattr__(self, "delimiter", _delimiter(self.delimiter))
        if self.timezone is not None:
            _check_zone(self.timezone)
        _check_fields("--map", self.mapping)
        _check_fields("--set", self.constants)
        for name in self.mapping:
            if name in self.constants:
                raise UsageError(f"the field {name} is given by --map and by --set", "Give it once")
        object.__setattr__(self, "mapping", dict(self.mapping))
        typed = {name: self._constant(name, value) for name, value in self.constants.items()}
        object.__setattr__(self, "constants", typed)

    def _constant(self, name: str, value: object) -> object:
        """Return a constant in its field's type: str, int, or datetime in UTC."""
        if name == "update_id":
            raise UsageError(
                "--set update_id would give every update the same id",
                "Map it from a column, or leave it out: ids are made then",
            )
        typed, reason = value, None
        if isinstance(value, str) and name in INTEGERS:
            numbers, why = whole_numbers.from_text(
                pl.Series([value]), decimal_comma=self.decimal_comma
            )
            typed, reason = numbers[0], why[0] if why is not None else None
        elif isinstance(value, str) and name == "occurred_at":
            times = moments.from_text(pl.Series([value]), self.timezone)
            typed, reason = times.values[0], times.reasons[0] if times.reasons is not None else None
        elif isinstance(value, datetime) and value.tzinfo is None:
            reason = moments.NO_ZONE
        if reason is None:
            reason = _broken_rule(name, typed)
        if reason is not None:
            raise UsageError(f"--set {name}={value}: {reason}", "Give another value")
        return typed


def parse_assignments(texts: Iterable[str], option: str) -> dict[str, str]:
    """Split ``FIELD=VALUE`` texts at their first equals sign.

    Args:
        texts: as given on the command line.
        option: ``--map`` or ``--set``, for errors.

    Raises:
        UsageError: a text has no equals sign, or a field is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UsageError(
                f"{option} {text} names no field",
                f"Write {option} FIELD=…, for example sku=article",
            )
        if name in found:
            raise UsageError(f"{option} gives the field {name} twice", "Give it once")
        found[name] = value
    return found


def _broken_rule(name: str, value: object) -> str | None:
    seen = timestamps.from_datetime(value) if isinstance(value, datetime) else value
    start = f"{name} is "
    for problem in problems({name: seen}):
        if problem.startswith(start) and not problem.startswith(f"{start}missing"):
            return problem.partition(": ")[2]
    return None


def _check_fields(option: str, given: Mapping[str, object]) -> None:
    for name in given:
        if name not in FIELDS:
            raise UsageError(
                f"{option} {name}=…: updates have no field {name!r}",
                f"The fields are {', '.join(FIELDS)}",
            )


def _delimiter(text: str) -> str:
    character = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(character) != 1 or not character.isascii() or character in '"\r\n\0':
        raise UsageError(
            f"the delimiter {text!r} cannot be", "Give one ASCII character, such as ; or tab"
        )
    return character


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
        pl.Series([datetime(2026, 1, 1)]).dt.replace_time_zone(name)
    except (KeyError, ValueError, OSError, pl.exceptions.PolarsError) as error:
        raise UsageError(
            f"the time zone {name!r} is not known",
            "Give an IANA name, for example Europe/Madrid, America/New_York or UTC",
        ) from error

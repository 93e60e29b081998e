"""The rules of the record over whole columns.

`fields.problems` states each rule for one update and words it; here the same rules
are vectors that only answer yes or no. A row that fails here is handed to
`problems` for its reasons, so the two cannot disagree in words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from stocklog.errors import UsageError
from stocklog.inventory.escapes import binary_parts
from stocklog.inventory.fields import (
    REASONS,
    REQUIRED,
    TEXT_LIMITS,
    TYPES,
    UOM_FORM,
    UPDATE_SCHEMA,
    check_extra,
    problems,
)
from stocklog.inventory.timestamps import MAX_MICROS, MIN_MICROS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Validation", "bad_rows", "reasons_of", "validate"]


@dataclass(frozen=True)
class Validation:
    """What `validate` found.

    Attributes:
        valid: bool[n], which rows are valid updates.
        reasons: for each invalid row (by number from 0) what is wrong with it.
    """

    valid: NDArray[np.bool_]
    reasons: dict[int, str] = field(default_factory=dict)

    @property
    def all_valid(self) -> bool:
        """Whether every row is a valid update."""
        return not self.reasons


def validate(frame: pl.DataFrame) -> Validation:
    """Checks every rule of the record on every row.

    Args:
        frame: n updates in the columns of `UPDATE_SCHEMA` (`to_frame` makes them so).

    Raises:
        UsageError: the columns are not those of `UPDATE_SCHEMA`.
    """
    if dict(frame.schema) != UPDATE_SCHEMA:
        raise UsageError(
            "the frame does not have the columns of UPDATE_SCHEMA", "Pass it through to_frame first"
        )
    bad = bad_rows(frame)
    return Validation(~bad, reasons_of(frame, np.flatnonzero(bad)))


def reasons_of(frame: pl.DataFrame, rows: NDArray[np.int64]) -> dict[int, str]:
    """The reasons of rows that `bad_rows` marked, by row number."""
    if not rows.size:
        return {}
    odd = frame[rows].with_columns(pl.col("occurred_at").to_physical())
    return {
        int(row): "; ".join(problems(values))
        for row, values in zip(rows, odd.iter_rows(named=True), strict=True)
    }


def bad_rows(frame: pl.DataFrame, *, may_hold_nul: bool = True) -> NDArray[np.bool_]:
    """Which rows break a rule.

    Args:
        frame: n updates in the columns of `UPDATE_SCHEMA`.
        may_hold_nul: False if no text can hold U+0000 (the caller has seen the bytes).

    Returns:
        bool[n], True where a rule is broken.
    """
    used = tuple(name for name in UPDATE_SCHEMA if frame[name].null_count() < frame.height)
    if not frame.height:
        return np.zeros(0, np.bool_)
    if not set(REQUIRED).issubset(used):
        return np.ones(frame.height, np.bool_)
    texts = frame.select(name for name in TEXT_LIMITS if name in used)
    broken = _broken(used, _of_odd_length(texts), _with_nul(texts) if may_hold_nul else ())
    bad = frame.select(broken).to_series().to_numpy()
    if "extra" in used:
        bad = bad | _bad_extras(frame["extra"])
    result: NDArray[np.bool_] = bad
    return result


def _bad_extras(extra: pl.Series) -> NDArray[np.bool_]:
    """Unknown fields are rare and free in form, so these texts are read one by one."""
    bad = np.zeros(len(extra), np.bool_)
    present = extra.is_not_null().arg_true()
    wrong = [bool(check_extra(text)) for text in extra.gather(present)]
    bad[present.to_numpy()] = wrong
    return bad


def _of_odd_length(texts: pl.DataFrame) -> tuple[str, ...]:
    """The columns that may have a text of a wrong length: most batches have none."""
    # Characters are never more than bytes: where no text has too many bytes, none is too long.
    lengths = pl.all().str.len_bytes()
    shortest, longest = texts.select(lengths.min()).row(0), texts.select(lengths.max()).row(0)
    extremes = zip(texts.columns, shortest, longest, strict=True)
    return tuple(name for name, low, high in extremes if low < 1 or high > TEXT_LIMITS[name])


def _with_nul(texts: pl.DataFrame) -> tuple[str, ...]:
    """The columns that have a text with U+0000: a look at all of their bytes at once tells."""
    names = []
    for name in texts.columns:
        column = texts[name].rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
        data, _ = binary_parts(column)
        if data.size and not data.min():
            names.append(name)
    return tuple(names)


@cache
def _broken(used: tuple[str, ...], odd: tuple[str, ...], with_nul: tuple[str, ...]) -> pl.Expr:
    """One expression over the columns in use that is True where a rule is broken.

    Args:
        used: names of the columns that are not wholly null.
        odd: those of them that may have texts of a wrong length.
        with_nul: those of them that have texts with U+0000.
    """
    rules: list[pl.Expr] = [pl.col(name).is_null() for name in REQUIRED]
    for name in odd:
        text, limit = pl.col(name).str, TEXT_LIMITS[name]
        rules.append(text.len_bytes() == 0)
        rules.append((text.len_bytes() > limit) & (text.len_chars() > limit))
    rules.extend(pl.col(name).str.contains("\0", literal=True) for name in with_nul)
    rules.append(~pl.col("type").is_in(TYPES))
    rules.append(~pl.col("reason").is_in(REASONS))
    moment = pl.col("occurred_at").to_physical()
    rules.append(~moment.is_between(MIN_MICROS, MAX_MICROS))
    rules.append(_wrong_sign())
    rules.append(_wrong_target(pl.col("to_location_id") if "to_location_id" in used else None))
    if "expected_quantity" in used:
        rules.append(pl.col("expected_quantity").is_not_null() & (pl.col("type") != "count"))
    if "uom" in used:
        rules.append(~pl.col("uom").str.contains(UOM_FORM))
    broken = rules[0]
    for rule in rules[1:]:
        # A null says nothing about this rule: absence is judged by the first rules alone.
        broken = broken | rule.fill_null(value=False)
    return broken


def _wrong_sign() -> pl.Expr:
    kind, quantity = pl.col("type"), pl.col("quantity")
    return ((quantity == 0) & (kind != "count")) | (
        (quantity < 0) & kind.is_in(("count", "transfer"))
    )


def _wrong_target(target: pl.Expr | None) -> pl.Expr:
    transfer = pl.col("type") == "transfer"
    if target is None:
        return transfer
    return (
        (transfer & target.is_null())
        | (transfer & (target == pl.col("location_id")).fill_null(value=False))
        | (~transfer & target.is_not_null())
    )

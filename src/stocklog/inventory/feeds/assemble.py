"""Rows as a format's reader found them -> valid updates and rejects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from stocklog.errors import UsageError
from stocklog.inventory.arrow_arrays import int64_array
from stocklog.inventory.feeds import moments, whole_numbers
from stocklog.inventory.feeds.expressions import Expression, as_number
from stocklog.inventory.feeds.extras import extra_column
from stocklog.inventory.feeds.ids import IdMaker
from stocklog.inventory.feeds.model import FeedBatch, IntArray, RawRows, Reject
from stocklog.inventory.feeds.options import FeedOptions
from stocklog.inventory.feeds.plan import Plan
from stocklog.inventory.fields import INTEGERS, UPDATE_SCHEMA, problems
from stocklog.inventory.validation import bad_rows

__all__ = ["Assembler"]

# So many times without a zone, and none with one, are a file without zones: better one error that
# names --timezone than ten million rejects.
ENOUGH_NAIVE = 1000
Reasons = dict[str, pl.Series]


class Assembler:
    """Turns raw rows into batches of updates.

    Args:
        file: the feed's name.
        source: value of `source` where the feed gives none.
        plan: where the fields come from.
        options: the load's options.
        ids: makes update ids.
        point_is_doubtful: see `whole_numbers.from_text`.
        total_bytes: for `FeedBatch`.
    """

    def __init__(
        self,
        file: str,
        source: str,
        plan: Plan,
        options: FeedOptions,
        ids: IdMaker,
        *,
        point_is_doubtful: bool = False,
        total_bytes: int | None = None,
    ) -> None:
        self._file = file
        self._source = source
        self._plan = plan
        self._options = options
        self._ids = ids
        self._point_is_doubtful = point_is_doubtful
        self._total_bytes = total_bytes
        self._naive = 0
        self._zoned = 0

    def assemble(self, raw: RawRows) -> FeedBatch:
        """Return the batch of one piece of the feed.

        Raises:
            UsageError: the feed's times have no zone and the options name none.
        """
        if raw.known is not None:
            numbers, updates = raw.known
            self._zoned += len(numbers)
            if not len(raw.lines):
                return self._batch(raw, updates, numbers, raw.rejects, raw.dictionaries)
        reasons: Reasons = {}
        frame = self._fields(raw, reasons)
        # An expression can make what no column has.
        may_hold_nul = raw.may_hold_nul or bool(self._plan.mapped)
        bad = bad_rows(frame, may_hold_nul=may_hold_nul)
        for why in reasons.values():
            bad |= why.is_not_null().to_numpy()
        for position in raw.problems:
            bad[position] = True
        if "extra" in raw.columns.columns and "extra" not in self._plan.columns:
            frame = frame.with_columns(raw.columns["extra"])
        elif self._plan.extra:
            kept = extra_column(raw.columns.select(self._plan.extra))
            frame = frame.with_columns(kept.alias("extra"))
        rejects = raw.rejects
        numbers = raw.row_numbers
        dictionaries = self._dictionaries(raw, frame)
        if bad.any():
            rejects = self._rejects(raw, frame, np.flatnonzero(bad), reasons)
            frame = frame.filter(pl.Series(~bad))
            numbers = numbers[~bad]
            good = int64_array(np.flatnonzero(~bad))
            dictionaries = {name: column.take(good) for name, column in dictionaries.items()}
        if raw.known is not None:
            assert isinstance(raw.known[1], pl.DataFrame)
            frame, numbers = _merged(frame, numbers, raw.known[0], raw.known[1])
            dictionaries = {}
        return self._batch(raw, frame, numbers, rejects, dictionaries)

    def _dictionaries(self, raw: RawRows, frame: pl.DataFrame) -> dict[str, Any]:
        """Return the dictionaries of the fields that are columns of the file just as they stand."""
        return {
            name: column
            for name, column in raw.dictionaries.items()
            if name in self._plan.taken
            and frame[name].dtype == pl.String
            and frame[name].null_count() == column.null_count  # nothing was made up
        }

    def _batch(
        self,
        raw: RawRows,
        rows: pl.DataFrame | pa.RecordBatch,
        numbers: IntArray,
        rejects: list[Reject],
        dictionaries: Mapping[str, Any],
    ) -> FeedBatch:
        return FeedBatch(
            rows=rows,
            row_numbers=numbers,
            rejects=rejects,
            rows_read=len(numbers) + len(rejects),
            bytes_read=raw.bytes_read,
            total_bytes=self._total_bytes,
            dictionaries=dictionaries,
        )

    def finish(self) -> None:
        """Say at the end of the feed if all of its times lacked a zone.

        Raises:
            UsageError: they did.
        """
        if self._naive and not self._zoned:
            raise self._zoneless()

    def _fields(self, raw: RawRows, reasons: Reasons) -> pl.DataFrame:
        """Return all fields in the record's schema; note why a value could not be read."""
        columns = raw.columns
        twins: Reasons = {}
        for name in self._plan.numbers:
            numbers, why = self._whole(columns[name])
            columns = columns.with_columns(numbers.alias(as_number(name)))
            if why is not None:
                twins[name] = why
        values: dict[str, pl.Series | pl.Expr] = {}
        for name in self._plan.taken:
            values[name] = self._convert(name, columns[name], reasons)
        for expression in self._plan.mapped:
            column = self._evaluate(expression, columns, reasons)
            value = self._convert(expression.field, column, reasons)
            values[expression.field] = value
            self._blame(expression, columns, value, twins, reasons)
        for name, constant in self._plan.constants.items():
            values[name] = pl.lit(constant, dtype=UPDATE_SCHEMA[name])
        self._make_up(raw, values)
        absent = pl.lit(None)
        return columns.select(
            _named(values.get(name, absent), name).cast(dtype)
            for name, dtype in UPDATE_SCHEMA.items()
        )

    def _make_up(self, raw: RawRows, values: dict[str, pl.Series | pl.Expr]) -> None:
        """Fill in ids and source where the feed has none."""
        given = values.get("update_id")
        if not isinstance(given, pl.Series):
            values["update_id"] = self._ids.make(raw.row_numbers)
        elif given.null_count():
            empty = given.is_null()
            made = self._ids.make(raw.row_numbers[empty.to_numpy()])
            values["update_id"] = given.scatter(empty.arg_true(), made)
        source = values.get("source", pl.lit(self._source))
        if isinstance(source, pl.Series) and source.null_count():
            source = source.fill_null(self._source)
        values["source"] = source

    def _evaluate(
        self, expression: Expression, columns: pl.DataFrame, reasons: Reasons
    ) -> pl.Series:
        try:
            return columns.select(expression.expr).to_series()
        except pl.exceptions.PolarsError as error:
            first = str(error).partition("\n")[0]
            raise UsageError(
                f"--map {expression.field}={expression.sql} failed on {self._file}: {first}",
                "Change the expression so that it can be computed for every row",
            ) from error

    def _convert(self, name: str, column: pl.Series, reasons: Reasons) -> pl.Series:
        if isinstance(column.dtype, (pl.Categorical, pl.Enum)):
            column = column.cast(pl.String)
        if column.dtype == pl.Null:
            return column.cast(UPDATE_SCHEMA[name])
        why: pl.Series | None = None
        if name == "occurred_at":
            column, why = self._times(column)
        elif name in INTEGERS:
            column, why = self._whole(column)
        elif column.dtype != pl.String:
            column = column.cast(pl.String)
        if why is not None:
            reasons[name] = why
        return column

    def _whole(self, column: pl.Series) -> tuple[pl.Series, pl.Series | None]:
        if column.dtype == pl.String:
            return whole_numbers.from_text(
                column,
                decimal_comma=self._options.decimal_comma,
                point_is_doubtful=self._point_is_doubtful,
            )
        return whole_numbers.from_numbers(column)

    def _times(self, column: pl.Series) -> tuple[pl.Series, pl.Series | None]:
        read = moments.from_text if column.dtype == pl.String else moments.from_datetimes
        found = read(column, self._options.timezone)
        if self._options.timezone is None:
            self._naive += found.naive
            self._zoned += found.zoned
            if self._naive >= ENOUGH_NAIVE and not self._zoned:
                raise self._zoneless()
        return found.values, found.reasons

    def _zoneless(self) -> UsageError:
        return UsageError(
            f"the times of {self._file} name no time zone",
            "Give --timezone with the zone that they are meant in, for example "
            "--timezone Europe/Madrid or --timezone UTC",
        )

    def _blame(
        self,
        expression: Expression,
        columns: pl.DataFrame,
        value: pl.Series,
        twins: Mapping[str, pl.Series],
        reasons: Reasons,
    ) -> None:
        """Say why an expression gave nothing for a row that has something to compute from."""
        if not value.null_count() or not expression.columns:
            return
        read = sorted(expression.columns)
        has_input = columns.select(
            pl.any_horizontal(pl.col(name).is_not_null() for name in read)
        ).to_series()
        lost = value.is_null() & has_input
        if not lost.any():
            return
        why = pl.when(pl.lit(lost)).then(
            pl.lit(f"without a value: nothing comes out of {expression.sql}")
        )
        known = [
            pl.lit(twins[name]) + f" (column {name})"
            for name in read
            if name in twins and name in expression.numbers
        ]
        told = pl.when(pl.lit(lost)).then(pl.coalesce(*known)) if known else pl.lit(None)
        earlier = reasons.get(expression.field)
        first = pl.lit(earlier) if earlier is not None else pl.lit(None, dtype=pl.String)
        reasons[expression.field] = columns.select(pl.coalesce(first, told, why)).to_series()

    def _rejects(
        self, raw: RawRows, frame: pl.DataFrame, rows: IntArray, reasons: Reasons
    ) -> list[Reject]:
        """Return all rejects of the piece in the feed's order, those of the reader included."""
        values = frame[rows].with_columns(pl.col("occurred_at").to_physical())
        whys = {name: why.gather(rows).to_list() for name, why in reasons.items()}
        found = list(raw.rejects)
        texts = raw.row_text(rows)
        for index, (row, update) in enumerate(zip(rows, values.iter_rows(named=True), strict=True)):
            known = {name: why[index] for name, why in whys.items() if why[index] is not None}
            reason = raw.problems.get(int(row)) or _reason(known, update)
            text, is_base64 = texts[index]
            found.append(Reject(self._file, int(raw.lines[row]), reason, text, is_base64))
        found.sort(key=lambda reject: reject.line)
        return found


def _merged(
    frame: pl.DataFrame, numbers: IntArray, known: IntArray, updates: pl.DataFrame
) -> tuple[pl.DataFrame, IntArray]:
    """Put rows in the feed's order that were read in different ways."""
    if not frame.height:
        return updates, known
    both = np.concatenate([known, numbers])
    order = np.argsort(both, kind="stable")
    return pl.concat([updates, frame])[order], both[order]


def _reason(known: Mapping[str, str], update: Mapping[str, object]) -> str:
    parts = [f"{name} is {why}" for name, why in known.items()]
    unsaid = tuple(f"{name} is missing:" for name in known)
    # The row is kept beside its reason, and reasons are summed: none repeats the value.
    found = problems(update, naming_values=False)
    parts += [text for text in found if not text.startswith(unsaid)]
    return "; ".join(parts)


def _named(value: pl.Series | pl.Expr, name: str) -> pl.Expr:
    return (pl.lit(value) if isinstance(value, pl.Series) else value).alias(name)

"""Where each field of the record comes from in one feed, decided before the first row is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from stocklog.errors import UsageError
from stocklog.inventory.feeds.expressions import Expression, as_number, compile_expression
from stocklog.inventory.feeds.options import FeedOptions
from stocklog.inventory.fields import FIELDS, INTEGERS, REQUIRED

__all__ = ["NOT_KEPT", "Plan", "make_json_plan", "make_plan"]

# Fields that are made when the feed has none.
MADE = ("update_id", "source")
# What the broker adds to an update when it is read; a producer never sends them.
NOT_KEPT = frozenset({"offset", "recorded_at"})


@dataclass(frozen=True, slots=True)
class Plan:
    """The sources of the fields.

    Attributes:
        taken: fields taken from the column of their own name.
        mapped: fields given by an expression.
        constants: fields that are the same in every row, typed.
        columns: the feed's columns that must be read, in the feed's order.
        extra: those of them that are kept in `extra`.
        numbers: text columns whose whole-number twin an expression reads.
    """

    taken: tuple[str, ...]
    mapped: tuple[Expression, ...]
    constants: Mapping[str, object]
    columns: tuple[str, ...]
    extra: tuple[str, ...]
    numbers: tuple[str, ...]

    @property
    def is_plain(self) -> bool:
        """Whether each field is the column of its own name, and nothing else is read or made."""
        made = self.mapped or self.constants or self.extra
        return not made and set(REQUIRED) <= set(self.taken) == set(self.columns)

    @property
    def makes_ids(self) -> bool:
        """Whether no column and no expression gives `update_id`."""
        return "update_id" not in self.taken and all(e.field != "update_id" for e in self.mapped)


def make_plan(file: str, schema: Sequence[tuple[str, pl.DataType]], options: FeedOptions) -> Plan:
    """Decide where each field comes from.

    Args:
        file: the feed's name for errors.
        schema: the feed's columns with their types; a name may occur twice.
        options: the load's options.

    Raises:
        UsageError: a required field has no source, a type cannot serve, an expression is wrong.
    """
    names = [name for name, _ in schema]
    types = dict(schema)
    texts = [name for name, dtype in schema if dtype == pl.String]
    mapped = tuple(
        compile_expression(name, sql, names, texts) for name, sql in options.mapping.items()
    )
    constants = dict(options.constants)
    given = set(options.mapping) | set(constants)
    taken = tuple(name for name in FIELDS if name in types and name not in given)
    missing = [n for n in REQUIRED if n not in given and n not in taken and n not in MADE]
    if missing:
        raise _missing(file, missing, names)
    for name in taken:
        _check_type(file, name, types[name])
    read = set(taken) | {name for expression in mapped for name in expression.columns}
    twice = sorted(name for name, count in Counter(names).items() if count > 1 and name in read)
    if twice:
        raise UsageError(
            f"{file} has two columns called {twice[0]!r}", "Rename one of them in its header"
        )
    extra = tuple(
        name
        for name in dict.fromkeys(names)
        if options.keep_extra and name not in FIELDS and name not in NOT_KEPT
    )
    columns = tuple(name for name in dict.fromkeys(names) if name in read or name in extra)
    numbers = tuple(sorted({name for expression in mapped for name in expression.numbers}))
    plan = Plan(taken, mapped, constants, columns, extra, numbers)
    _check_expressions(file, plan, types)
    return plan


def make_json_plan(options: FeedOptions) -> Plan:
    """Decide where each field comes from in a JSON Lines feed.

    Its lines name their own members, so nothing can be checked beforehand. An expression sees each
    top-level member as text, as in a CSV file.

    Raises:
        UsageError: an expression is wrong.
    """
    mapped = tuple(
        compile_expression(name, sql, None, None) for name, sql in options.mapping.items()
    )
    given = set(options.mapping) | set(options.constants)
    taken = tuple(name for name in FIELDS if name not in given)
    read = {name for expression in mapped for name in expression.columns}
    columns = (*taken, *sorted(read - set(taken)))
    numbers = tuple(sorted({name for expression in mapped for name in expression.numbers}))
    plan = Plan(taken, mapped, dict(options.constants), columns, (), numbers)
    _check_expressions("the feed", plan, dict.fromkeys(columns, pl.String()))
    return plan


def _missing(file: str, missing: Sequence[str], names: Sequence[str]) -> UsageError:
    example = names[0] if names else "column"
    doubled = example.replace('"', '""')
    quoted = example if example.isidentifier() else f'"{doubled}"'
    has = ", ".join(names) if names else "none"
    return UsageError(
        f"{file} has no column for {', '.join(missing)}; its columns are {has}",
        f"Say where each comes from: --map {missing[0]}='{quoted}' takes it from a column "
        f"(or any SQL expression), --set {missing[0]}=VALUE gives every row the same",
    )


def _check_type(file: str, name: str, dtype: pl.DataType, where: str = "") -> None:
    """Refuse what could never become the field, before anything is read."""
    where = where or f"the column {name} of {file}"
    if name in INTEGERS:
        fits = dtype.is_numeric() or dtype in (pl.String, pl.Null) or _is_dictionary(dtype)
        wanted = "a whole number"
    elif name == "occurred_at":
        fits = isinstance(dtype, pl.Datetime) or dtype in (pl.String, pl.Null)
        wanted = "a time"
    else:
        fits = dtype.is_integer() or dtype in (pl.String, pl.Null) or _is_dictionary(dtype)
        wanted = "text"
    if fits:
        return
    remedy = f"Map it, for example --map {name}='CAST({name} AS VARCHAR)'"
    if dtype.is_float():
        remedy = f"If its values are whole numbers, give --map {name}='CAST({name} AS BIGINT)'"
    if dtype == pl.Date:
        remedy = f"A date has no time of day; give --map {name}='CAST({name} AS TIMESTAMP)'"
    raise UsageError(f"{where} is {dtype}, but {name} is {wanted}", remedy)


def _is_dictionary(dtype: pl.DataType) -> bool:
    return isinstance(dtype, (pl.Categorical, pl.Enum))


def _check_expressions(file: str, plan: Plan, types: Mapping[str, pl.DataType]) -> None:
    """Evaluate each expression on no rows: what its types cannot do shows here."""
    schema = {name: types[name] for name in plan.columns}
    schema.update({as_number(name): pl.Int64() for name in plan.numbers})
    empty = pl.DataFrame(schema=schema)
    for expression in plan.mapped:
        where = f"--map {expression.field}={expression.sql}"
        try:
            dtype = empty.select(expression.expr).dtypes[0]
        except pl.exceptions.PolarsError as error:
            first = str(error).partition("\n")[0]
            raise UsageError(
                f"{where} cannot be computed from the columns of {file}: {first}",
                "The columns of CSV and JSON Lines feeds are text: compare with text ('1'), or use "
                "CAST(column AS BIGINT)",
            ) from error
        _check_type(file, expression.field, dtype, where)

"""``--map FIELD=EXPRESSION``: an SQL expression over a feed's columns, made safe for a feed.

Polars parses the SQL. Its tree is then looked at and changed, because a feed needs what SQL does
not promise: a bad value costs its row, never the batch (casts give null instead of an error), no
row may depend on another (aggregates and windows are refused), and text columns take part in
arithmetic as numbers (``-quantity`` works on a CSV file, whose columns are all text).
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import polars as pl

from stocklog.errors import UsageError

__all__ = ["Expression", "as_number", "compile_expression"]

# Nodes that look at one row alone. Anything else (Agg, Over, Len, Explode, Filter, Sort, Slice,
# Gather, Selector, AnonymousFunction, Eval ...) is refused.
ROW_NODES = {"Alias", "BinaryExpr", "Cast", "Column", "Function", "Literal", "Ternary"}
# Functions that do look at one row alone: whole families, and single ones by name.
ROW_FAMILIES = {"StringExpr", "TemporalExpr", "StructExpr", "ListExpr", "ArrayExpr", "Bitwise"}
ROW_FUNCTIONS = {
    "Abs", "Atan2", "Cbrt", "Ceil", "Clip", "Coalesce", "Cosh", "Exp", "FillNull", "Floor", "Log",
    "Log1p", "MaxHorizontal", "MeanHorizontal", "MinHorizontal", "Mod", "Negate", "Pow", "Round",
    "RoundSF", "Sign", "Sql", "Sqrt", "SumHorizontal", "Trigonometry", "Truncate",
}  # fmt: skip
NOT_ROW_BOOLEANS = {"Any", "All", "IsFirstDistinct", "IsLastDistinct", "IsUnique", "IsDuplicated"}
ARITHMETIC = {"Plus", "Minus", "Multiply", "Divide", "TrueDivide", "FloorDivide", "Modulus"}
COMPARISONS = {"Eq", "NotEq", "Lt", "LtEq", "Gt", "GtEq"}
NUMBER_FUNCTIONS = {"Abs", "Sign", "Negate", "Floor", "Ceil", "Binary"}


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled mapping.

    Attributes:
        field: the field of the record that it gives.
        sql: as it was written.
        expr: gives the column `field`; it looks at each row alone and casts without errors.
        columns: the feed's columns that it reads.
        numbers: those of them, all text, whose `as_number` twin it reads.
    """

    field: str
    sql: str
    expr: pl.Expr
    columns: frozenset[str]
    numbers: frozenset[str]


def as_number(column: str) -> str:
    """Return the name of a text column's twin that holds its whole numbers as int64."""
    return f"{column}\x1fnumber"


def compile_expression(
    field: str, sql: str, columns: Collection[str] | None, texts: Collection[str] | None
) -> Expression:
    """Compile ``--map field=sql``.

    Args:
        field: a field of the record.
        sql: the expression.
        columns: the names of all columns of the feed, or None if it is not known.
        texts: those of them that are text, or None for all.

    Raises:
        UsageError: it cannot be parsed, names a column that is not there, or mixes rows.
    """
    where = f"--map {field}={sql}"
    try:
        parsed = pl.sql_expr(sql)
        tree = json.loads(parsed.meta.serialize(format="json"))
    except (pl.exceptions.PolarsError, ValueError, TypeError) as error:
        raise UsageError(
            f"{where} cannot be understood: {error}",
            'Give one SQL expression over the columns, for example --map sku="TRIM(article)"; '
            "a name with blanks goes into double quotes, text into single ones",
        ) from error
    rewriter = _Rewriter(where, None if texts is None else frozenset(texts))
    tree = rewriter.rewrite(tree)
    unknown = sorted(rewriter.columns - set(columns)) if columns is not None else []
    if columns is not None and unknown:
        raise UsageError(
            f"{where}: the feed has no column {', '.join(map(repr, unknown))}",
            f"Its columns are {', '.join(columns)}",
        )
    expr = pl.Expr.deserialize(io.StringIO(json.dumps(tree)), format="json").alias(field)
    return Expression(field, sql, expr, frozenset(rewriter.columns), frozenset(rewriter.numbers))


class _Rewriter:
    """Walks an expression's serialised tree."""

    def __init__(self, where: str, texts: frozenset[str] | None) -> None:
        self._where = where
        self._texts = texts
        self.columns: set[str] = set()
        self.numbers: set[str] = set()

    def rewrite(self, node: Any) -> Any:
        if not isinstance(node, dict) or len(node) != 1:
            raise self._refuse(node)
        ((kind, body),) = node.items()
        if kind not in ROW_NODES:
            raise self._refuse(kind)
        return getattr(self, f"_{kind.lower()}")(body)

    def _column(self, name: str) -> Any:
        self.columns.add(name)
        return {"Column": name}

    def _literal(self, body: Any) -> Any:
        return {"Literal": body}

    def _alias(self, body: Any) -> Any:
        return self.rewrite(body[0])

    def _cast(self, body: Any) -> Any:
        return {"Cast": {**body, "expr": self.rewrite(body["expr"]), "options": "NonStrict"}}

    def _ternary(self, body: Any) -> Any:
        return {"Ternary": {part: self.rewrite(inner) for part, inner in body.items()}}

    def _binaryexpr(self, body: Any) -> Any:
        operator, left, right = body["op"], body["left"], body["right"]
        if (operator in ARITHMETIC and not (_is_text(left) or _is_text(right))) or (
            operator in COMPARISONS and (_is_number(left) or _is_number(right))
        ):
            left, right = self._number(left), self._number(right)
        else:
            left, right = self.rewrite(left), self.rewrite(right)
        return {"BinaryExpr": {"op": operator, "left": left, "right": right}}

    def _function(self, body: Any) -> Any:
        function = body["function"]
        name = function if isinstance(function, str) else next(iter(function))
        detail = None if isinstance(function, str) else function[name]
        if name == "Boolean":
            check = next(iter(detail)) if isinstance(detail, dict) else str(detail)
            if check in NOT_ROW_BOOLEANS:
                raise self._refuse(check)
        elif name not in ROW_FAMILIES and name not in ROW_FUNCTIONS:
            raise self._refuse(name)
        # SQL's own arithmetic (*, /, %) comes as {"Sql": {"Binary": …}}.
        inner = next(iter(detail)) if name == "Sql" and isinstance(detail, dict) else name
        visit = self._number if inner in NUMBER_FUNCTIONS else self.rewrite
        if name == "StringExpr" and isinstance(detail, dict) and "Strptime" in detail:
            dtype, options = detail["Strptime"]
            function = {name: {"Strptime": [dtype, {**options, "strict": False}]}}
        return {
            "Function": {"input": [visit(each) for each in body["input"]], "function": function}
        }

    def _number(self, node: Any) -> Any:
        """Rewrite an operand; a text column stands for its numbers there."""
        name = node.get("Column") if isinstance(node, dict) else None
        if isinstance(name, str) and (self._texts is None or name in self._texts):
            self.columns.add(name)
            self.numbers.add(name)
            return {"Column": as_number(name)}
        return self.rewrite(node)

    def _refuse(self, node: Any) -> UsageError:
        what = node if isinstance(node, str) else next(iter(node), "?") if node else "?"
        return UsageError(
            f"{self._where}: it needs more than the row itself ({what})",
            "Use an expression over one row's columns; sums, windows, sorting and other "
            "aggregates belong into the job that writes the file",
        )


def _is_text(node: Any) -> bool:
    """Whether an operand is text for certain: a text literal, or something cast to text."""
    literal = node.get("Literal")
    if isinstance(literal, dict):
        scalar = literal.get("Scalar")
        return isinstance(scalar, dict) and "String" in scalar
    cast = node.get("Cast")
    return isinstance(cast, dict) and cast.get("dtype") == {"Literal": "String"}


def _is_number(node: Any) -> bool:
    """Whether an operand is a number for certain: a numeric literal, or arithmetic."""
    literal = node.get("Literal")
    if isinstance(literal, dict):
        return "Dyn" in literal and not isinstance(literal["Dyn"], str)
    binary = node.get("BinaryExpr")
    if isinstance(binary, dict):
        return binary["op"] in ARITHMETIC and not (
            _is_text(binary["left"]) or _is_text(binary["right"])
        )
    function = node.get("Function")
    if not isinstance(function, dict):
        return False
    name = function["function"]
    return name in ("Abs", "Sign", "Negate") or (
        isinstance(name, dict) and "Binary" in name.get("Sql", {})
    )

"""Anyone's JSON -> columns: Polars reads the lines, and each row is then proven.

Polars' NDJSON reader is strict about syntax and about integers (text, floats, booleans
and 20 digits stop it), but it hides things: unknown members and all but the first of
a name that comes twice are skipped, a number where text is expected becomes text, and
some halves of surrogate pairs become other characters. So a row counts only if this
accounts for every mark in its bytes:

- one `{` and no `[`: the members are plain values;
- as many colons as found fields and optional fields that are null (and as stand inside
  the found texts): no member is hidden;
- two quotes for each such member and two more for each found text: nothing that is
  not text became text;
- no control character, and no escape of half a surrogate pair.

What is not proven is left to the row way, which decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from stocklog.inventory import timestamps
from stocklog.inventory.escape_scan import Escapes, scan_escapes
from stocklog.inventory.fields import FIELDS, INTEGERS, UPDATE_SCHEMA
from stocklog.inventory.nulls import count_nulls
from stocklog.inventory.proven import Proven
from stocklog.inventory.validation import bad_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stocklog.inventory.bodies import Bodies

__all__ = ["read_general"]

_SCHEMA = {name: UPDATE_SCHEMA[name] for name in FIELDS} | {"occurred_at": pl.String()}

_TEXTS = tuple(name for name, dtype in _SCHEMA.items() if dtype == pl.String)

#: When a block of lines does not parse, it is tried again in this many parts ...
_PARTS = 8

#: ... down to this many lines, which are then left to the row way.
_FEW = 24


def read_general(bodies: Bodies) -> Proven:
    """Reads bodies of any JSON form; what it cannot prove is not in the result."""
    fine = _flat(bodies)
    if bodies.lines.max() >= 0x80:
        fine &= bodies.utf8()
    likely = np.flatnonzero(fine)
    rows, frames = [], []
    pending = [likely]
    while pending:
        block = pending.pop()
        chosen = bodies.select(block)
        frame = _parse(chosen)
        if frame is not None:
            good, updates = _prove(chosen, frame)
            rows.append(block[good])
            frames.append(updates)
        elif block.size > _FEW:
            pending.extend(reversed(np.array_split(block, _PARTS)))
    if not frames:
        return Proven.none()
    return Proven(np.concatenate(rows), pl.concat(frames))


def _parse(bodies: Bodies) -> pl.DataFrame | None:
    """One row a body, or None if Polars stopped at any of them."""
    if not bodies.starts.size:
        return None
    bodies.data[bodies.starts + bodies.lengths] = ord("\n")
    try:
        frame = pl.read_ndjson(bodies.lines.tobytes(), schema=_SCHEMA)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    finally:
        bodies.data[bodies.starts + bodies.lengths] = ord(" ")
    return frame if frame.height == bodies.starts.size else None


def _flat(bodies: Bodies) -> NDArray[np.bool_]:
    """Which bodies hold one brace, no bracket and no control character.

    This also keeps deep nesting away from Polars, which has no bound for it.
    """
    lines, count = bodies.lines, bodies.starts.size
    flat = np.ones(count, np.bool_)
    if np.count_nonzero(lines == ord("{")) != count:
        flat &= bodies.count(ord("{")) == 1
    else:
        # As many as bodies, and each must begin with one (blanks before it: the slow check).
        first = bodies.data[bodies.starts] == ord("{")
        if not first.all():
            flat &= bodies.count(ord("{")) == 1
    if (lines == ord("[")).any():
        flat &= bodies.count(ord("[")) == 0
    if lines.min() < 0x20:
        flat &= bodies.sum(bodies.data < 0x20) == 0
    return flat


def _prove(bodies: Bodies, frame: pl.DataFrame) -> tuple[NDArray[np.bool_], pl.DataFrame]:
    """Which rows are proven and valid, bool[n], and those rows."""
    micros, good = timestamps.parse_column(frame["occurred_at"])
    escapes = scan_escapes(bodies) if (bodies.lines == ord("\\")).any() else None
    if good.all() and _accounted_at_once(bodies, frame, escapes):
        good = good if escapes is None else good & ~escapes.odd
    else:
        good &= _accounted(bodies, frame, escapes)
    moments = pl.Series("occurred_at", micros).cast(UPDATE_SCHEMA["occurred_at"])
    updates = frame.with_columns(moments, pl.lit(None, dtype=pl.String).alias("extra"))
    good &= ~bad_rows(updates, may_hold_nul=escapes is not None)
    return good, updates if good.all() else updates.filter(pl.Series(good))


def _accounted_at_once(bodies: Bodies, frame: pl.DataFrame, escapes: Escapes | None) -> bool:
    """Whether the marks of all rows together are accounted for.

    No row can have fewer colons than are accounted for, so equal sums mean equal rows;
    likewise no row whose colons are right can have more quotes. That holds if each time
    is right (it has at least two colons) and no other text holds a colon, else the sums
    differ and the rows are looked at one by one.
    """
    texts = sum(frame.height - frame[name].null_count() for name in _TEXTS)
    integers = sum(frame.height - frame[name].null_count() for name in INTEGERS)
    lines = bodies.lines
    colons, quotes = np.count_nonzero(lines == ord(":")), np.count_nonzero(lines == ord('"'))
    if escapes is not None:
        colons, quotes = colons + escapes.colons.sum(), quotes - escapes.quotes.sum()
    if colons != texts + integers + 2 * frame.height:
        return False
    return bool(quotes == 4 * texts + 2 * integers)


def _accounted(bodies: Bodies, frame: pl.DataFrame, escapes: Escapes | None) -> NDArray[np.bool_]:
    """Row by row (in vectors): whether every colon and every quote is accounted for."""
    needed = frame.select(
        texts=pl.sum_horizontal(pl.col(*_TEXTS).is_not_null().cast(pl.Int64)),
        integers=pl.sum_horizontal(pl.col(*INTEGERS).is_not_null().cast(pl.Int64)),
        inside=pl.sum_horizontal(
            pl.col(*_TEXTS).str.count_matches(":", literal=True).fill_null(0).cast(pl.Int64)
        ),
    )
    texts, integers, inside = (column.to_numpy() for column in needed)
    plain = np.ones(frame.height, np.bool_)
    colons, quotes = bodies.count(ord(":")), bodies.count(ord('"'))
    fine = np.ones(frame.height, np.bool_)
    if escapes is not None:
        # An escaped quote is no mark of the form; an escaped colon is seen only in the text.
        quotes = quotes - escapes.quotes
        colons = colons + escapes.colons
        fine = ~escapes.odd
        plain = ~escapes.present
    hidden = colons - (texts + integers + inside)
    rows = np.flatnonzero(plain & (hidden > 0))
    if rows.size:
        hidden[rows] -= count_nulls(bodies.select(rows), frame[rows])
        quotes[rows] -= 2 * (colons - (texts + integers + inside))[rows]
    result: NDArray[np.bool_] = fine & (hidden == 0) & (quotes == 4 * texts + 2 * integers)
    return result

"""Optional fields that are written as null, counted in the bytes of flat JSON objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import polars as pl
import pyarrow as pa

from stocklog.inventory.fields import OPTIONAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stocklog.inventory.bodies import Bodies

__all__ = ["count_nulls"]


def count_nulls(bodies: Bodies, frame: pl.DataFrame) -> NDArray[np.int64]:
    """How many members of each body are optional fields with the value null.

    Where no backslash stands, a name between two quotes with a colon behind it is the name
    of a member: a text cannot hold a quote, and nothing but texts can hold letters there.

    Args:
        bodies: n flat JSON objects without a backslash.
        frame: what Polars read from them. A field that it found in a row, or that is null
            twice there, comes twice in that body: such a row gets -1.

    Returns:
        int64[n].
    """
    borders = np.append(bodies.starts, bodies.lines.size)
    texts = pa.LargeStringArray.from_buffers(
        bodies.starts.size, pa.py_buffer(borders), pa.py_buffer(bodies.data)
    )
    lines = cast("pl.Series", pl.from_arrow(texts))
    total = np.zeros(bodies.starts.size, np.int64)
    twice = np.zeros(bodies.starts.size, np.bool_)
    for name in OPTIONAL:
        nulls = lines.str.count_matches(f'"{name}" *: *null *[,}}]').to_numpy().astype(np.int64)
        twice |= nulls > frame[name].is_null().to_numpy()
        total += nulls
    return np.where(twice, -1, total)

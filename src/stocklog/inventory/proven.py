"""What the ways of decoding hand to each other: rows that are valid beyond doubt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from stocklog.inventory.fields import UPDATE_SCHEMA

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Proven"]


@dataclass(frozen=True)
class Proven:
    """Rows that are valid updates beyond doubt.

    Attributes:
        rows: int64[m], their numbers among the bodies, rising.
        updates: m rows in the columns of `UPDATE_SCHEMA`.
    """

    rows: NDArray[np.int64]
    updates: pl.DataFrame

    @classmethod
    def none(cls) -> Proven:
        """No row at all."""
        return _NONE

    @classmethod
    def of(cls, rows: NDArray[np.int64], updates: pl.DataFrame, good: NDArray[np.bool_]) -> Proven:
        """Those rows that are good."""
        if good.all():
            return cls(rows, updates)
        return cls(rows[good], updates.filter(pl.Series(good)))


_NONE = Proven(np.zeros(0, np.int64), pl.DataFrame(schema=UPDATE_SCHEMA))

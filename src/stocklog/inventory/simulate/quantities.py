"""How many: quantity tables, and the book figure beside a count."""

from __future__ import annotations

import numpy as np

from stocklog.inventory.simulate.layouts import QUANTITY_CLASSES
from stocklog.inventory.simulate.tables import Int64s, quantile_table
from stocklog.inventory.simulate.timeline import mix64

__all__ = ["expected_quantities", "quantity_tables"]

# Together, in a profile's mix, these give a median of 3, a mean of 10 and a 99th percentile
# of 100 a line, with rare extremes. Knots are (of 4,096, value).
_LINE = (
    (0, 1),
    (1_000, 1),
    (1_001, 2),
    (1_850, 2),
    (1_851, 3),
    (2_550, 3),
    (2_551, 4),
    (2_950, 5),
    (3_400, 7),
    (3_750, 11),
    (3_950, 18),
    (4_060, 36),
    (4_080, 84),
    (4_090, 150),
    (4_095, 1_200),
)
_RECEIPT = (
    (0, 6),
    (1_000, 24),
    (2_048, 48),
    (3_100, 84),
    (3_700, 144),
    (4_050, 330),
    (4_095, 6_000),
)
_COUNT = (
    (0, 0),
    (240, 0),
    (1_200, 1),
    (2_048, 4),
    (3_000, 9),
    (3_800, 24),
    (4_050, 66),
    (4_095, 1_500),
)
_MISCOUNTS = quantile_table(
    ((0, -12), (400, -3), (1_229, -1), (1_230, 0), (2_867, 0), (2_868, 1), (3_696, 3), (4_095, 12))
)
"""Book figure less the figure counted, one of 4,096."""


def quantity_tables(receipt_scale: int) -> Int64s:
    """Return the quantity tables of all of QUANTITY_CLASSES, one behind the other.

    Args:
        receipt_scale: receipts are so many twelfths of the table's values.

    Returns:
        int64[classes * 4096], signed; no 0 except in counts.
    """
    receipt = tuple((entry, value * receipt_scale // 12) for entry, value in _RECEIPT)
    magnitudes = {
        "line": quantile_table(_LINE),
        "receipt": quantile_table(receipt, unit=6),
        "count": quantile_table(_COUNT),
    }
    # Sign 0: entries with an odd number are negative.
    mixed = 1 - 2 * (np.arange(len(magnitudes["line"]), dtype=np.int64) & 1)
    return np.concatenate(
        [magnitudes[name] * (sign if sign else mixed) for name, sign in QUANTITY_CLASSES]
    )


def expected_quantities(counted: Int64s, words: Int64s) -> tuple[Int64s, Int64s]:
    """Decide which counts carry the book figure that the counter saw, and what it was.

    Half of the counts carry one; about 60 % of these differ from what was counted, as
    studies of shops found.

    Args:
        counted: int64[c], quantities of counts.
        words: int64[c], random words of these rows.

    Returns:
        Two int64 arrays: places among the counts that carry a figure, and their figures,
        not negative.
    """
    draws = mix64(words.view(np.uint64))
    places = np.flatnonzero(draws & 1)
    off = _MISCOUNTS.take((draws.take(places) >> 1) & (len(_MISCOUNTS) - 1))
    return places, np.maximum(counted.take(places) + off, 0)

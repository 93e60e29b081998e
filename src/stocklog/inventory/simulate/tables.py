"""Inverse distributions as integer tables: from random bits to codes and quantities.

Every table is built by integer arithmetic from literals, so it is the same on
every machine. A draw is then a look-up: no floating-point number takes part.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from stocklog.inventory.simulate.normal import ONE, STEPS, cumulative

__all__ = [
    "DRAW_BITS",
    "Int64s",
    "Popularity",
    "lognormal_popularity",
    "quantile_table",
    "weighted_table",
    "zipf_popularity",
]

Int64s = npt.NDArray[np.int64]

DRAW_BITS = 12
"""Bits of a draw that pick an entry of a table: 4,096 entries, which stay in the L1 cache."""

_ENTRIES = 1 << DRAW_BITS
_FINE_BITS = 20
_POINT_BITS = 16


@dataclass(frozen=True)
class Popularity:
    """How often each rank is drawn: the inverse cumulative distribution, piecewise linear.

    Rank 0 is the most popular. The upper bits of a draw pick one of 4,096 pieces of
    equal probability, the lower ones a place in it.

    Attributes:
        starts: int64[4096], the rank (fixed point, 16 bits after the point) where a piece begins.
        widths: int64[4096], how many ranks (fixed point) a piece spans.
    """

    starts: Int64s
    widths: Int64s

    @classmethod
    def from_edges(cls, edges: Int64s) -> Popularity:
        """Make the table from the 4,097 ranks (fixed point) between the pieces."""
        return cls(edges[:-1].copy(), np.diff(edges))

    def ranks(self, words: Int64s) -> Int64s:
        """Draw a rank for each word from its lowest 32 bits.

        Args:
            words: int64[n], random; only bits 0 to 31 are looked at.

        Returns:
            int64[n], ranks from 0.
        """
        piece = words & (_ENTRIES - 1)
        fine = words >> DRAW_BITS
        fine &= (1 << _FINE_BITS) - 1
        fine *= self.widths.take(piece)
        fine >>= _FINE_BITS
        fine += self.starts.take(piece)
        fine >>= _POINT_BITS
        return fine


def lognormal_popularity(ranks: int, sigma_steps: int) -> Popularity:
    """Popularity whose weights are lognormal: the quantiles of a lognormal distribution.

    The most popular share q of the ranks takes the share v of all draws, where
    v = F(z) and q = F(z - sigma) for the normal distribution F.

    Args:
        ranks: how many ranks there are.
        sigma_steps: sigma of the logarithm, in units of 1/STEPS.
    """
    knots = [
        (cumulative(step), cumulative(step - sigma_steps))
        for step in range(-8 * STEPS, 8 * STEPS + 1)
    ]
    knots = [(0, 0), *knots, (ONE, ONE)]
    edges = np.empty(_ENTRIES + 1, np.int64)
    knot = 0
    for entry in range(_ENTRIES + 1):
        share = entry * ONE // _ENTRIES
        while knots[knot + 1][0] < share:
            knot += 1
        (v0, q0), (v1, q1) = knots[knot], knots[knot + 1]
        place = q0 + (share - v0) * (q1 - q0) // (v1 - v0)
        edges[entry] = place * (ranks << _POINT_BITS) // ONE
    edges[-1] = ranks << _POINT_BITS
    return Popularity.from_edges(edges)


def zipf_popularity(ranks: int) -> Popularity:
    """Popularity after Zipf with exponent 1: rank r (from 1) has the weight 1/r.

    Args:
        ranks: how many ranks there are, at most 100 million.
    """
    weights = (1 << 40) // np.arange(1, ranks + 1, dtype=np.int64)
    sums = np.cumsum(weights)
    total = int(sums[-1])
    targets = np.array([entry * total // _ENTRIES for entry in range(_ENTRIES)], np.int64)
    rank = np.searchsorted(sums, targets, side="right")
    rest = targets - (sums[rank] - weights[rank])
    edges = np.empty(_ENTRIES + 1, np.int64)
    edges[:-1] = (rank << _POINT_BITS) + (rest << _POINT_BITS) // weights[rank]
    edges[-1] = ranks << _POINT_BITS
    return Popularity.from_edges(edges)


def weighted_table(weights: tuple[int, ...]) -> Int64s:
    """Return 4,096 entries, each the number of a weight, as often as its weight asks.

    Args:
        weights: positive whole numbers, at most a few hundred of them.
    """
    sums = np.cumsum(np.array(weights, np.int64))
    targets = np.arange(_ENTRIES, dtype=np.int64) * int(sums[-1]) // _ENTRIES
    return np.searchsorted(sums, targets, side="right").astype(np.int64)


def quantile_table(knots: tuple[tuple[int, int], ...], unit: int = 1) -> Int64s:
    """Return 4,096 values that rise from knot to knot in a straight line.

    Args:
        knots: (entry, value) with rising entries; the first entry is 0, the last 4,095.
        unit: values are rounded up to a multiple of this (a case, a pallet).
    """
    values = np.empty(_ENTRIES, np.int64)
    for (e0, v0), (e1, v1) in pairwise(knots):
        steps = np.arange(e1 - e0 + 1, dtype=np.int64)
        values[e0 : e1 + 1] = v0 + steps * (v1 - v0) // (e1 - e0)
    return -(-values // unit) * unit

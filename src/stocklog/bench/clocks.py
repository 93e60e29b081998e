"""From publishing to delivery: when each update was due, and when it was in hand.

Both processes read CLOCK_MONOTONIC, which is one clock for the whole machine.
Updates of one block share a moment, so that no Python object an update is made.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["latencies", "percentiles"]

Edges = list[tuple[int, float]]
"""(updates so far, moment) after each block."""


def latencies(published: Edges, delivered: Edges) -> npt.NDArray[np.float64]:
    """Milliseconds of each update, float64[n], in the order of the log.

    Args:
        published: edges of the producer, whose first update has offset 0.
        delivered: edges of the reader; updates delivered later than it stopped are left off.
    """
    count = min(published[-1][0], delivered[-1][0])
    return (_moments(delivered, count) - _moments(published, count)) * 1000.0


def _moments(edges: Edges, count: int) -> npt.NDArray[np.float64]:
    ends = np.array([end for end, _ in edges])
    moments = np.array([moment for _, moment in edges])
    return moments[np.searchsorted(ends, np.arange(count), "right")]


def percentiles(values: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Median, 95th and 99th percentile, and the largest."""
    p50, p95, p99 = np.percentile(values, [50, 95, 99]).tolist()
    return {"p50": p50, "p95": p95, "p99": p99, "max": float(values.max())}

"""Random logs for property tests of stock: late, doubled, counted late, transferred."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

SKUS = ("A", "B", "ü-long-sku-with-more-than-twelve-bytes")
PLACES = ("here", "there", "far")
SOURCES = ("till", "wms")
HOUR = 3_600_000_000
START = 1_790_000_000_000_000


@st.composite
def logs(draw: st.DrawFn, most: int = 60) -> list[dict[str, Any]]:
    """A log with rising offsets (with holes), times in any order, and deliveries doubled."""
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["adjustment"] * 4 + ["count"] * 2 + ["transfer", "reservation"]),
                st.sampled_from(SKUS),
                st.permutations(PLACES),
                st.integers(-20, 20),
                st.integers(0, 12),
                st.sampled_from(SOURCES),
                st.sampled_from([0] * 8 + [1, 2, 7]),  # a doubled delivery of one so far back
                st.sampled_from([1] * 9 + [4]),
            ),
            max_size=most,
        )
    )
    log: list[dict[str, Any]] = []
    offset = -1
    for number, (kind, sku, places, quantity, hour, source, back, step) in enumerate(steps):
        offset += step
        if back and back <= len(log):
            # The same id again, with another content: the first in the log wins.
            update = {**log[-back], "offset": offset}
            update["quantity"] = abs(quantity) + 1
            log.append(update)
            continue
        if kind == "count":
            quantity = abs(quantity)
        elif kind == "transfer":
            quantity = abs(quantity) + 1
        update = {
            "offset": offset,
            "update_id": f"u{number}" if number % 3 else f"a-much-longer-id/{number}",
            "type": kind,
            "sku": sku,
            "location_id": places[0],
            "quantity": quantity or (0 if kind == "count" else 1),
            "occurred_at": START + hour * HOUR,
            "reason": "other",
            "source": source,
        }
        if kind == "transfer":
            update["to_location_id"] = places[1]
        log.append(update)
    return log


def moments() -> st.SearchStrategy[int]:
    """Moments between, at, before and after the times of `logs`."""
    return st.integers(-1, 25).map(lambda half: START + half * HOUR // 2)

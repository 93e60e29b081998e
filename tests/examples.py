"""How many examples a property is tried on: a tenth of them in `./test quick`."""

from __future__ import annotations

import os

QUICK = os.environ.get("STOCKLOG_TEST_QUICK") == "1"


def examples(count: int) -> int:
    """Returns `count`, or a tenth of it (but 5) where only the quick tests run."""
    return max(5, count // 10) if QUICK else count

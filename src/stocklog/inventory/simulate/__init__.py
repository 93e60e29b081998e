"""Simulated inventory updates: three kinds of trade, reproducible on every machine.

`Simulator` is the face. `profiles` holds the trades as literals; `normal` and
`tables` turn random bits into ranks and quantities by integers alone; `timeline`
tells when the n-th update happens; `layouts` prepares the order of documents in a
block; `blocks` draws a block from its number; `dirt` adds what real sources do;
`texts` writes names and ids.
"""

from __future__ import annotations

from stocklog.inventory.simulate.profiles import PROFILES
from stocklog.inventory.simulate.simulator import MAX_BATCH, SEEDED_START, Simulator

__all__ = ["MAX_BATCH", "PROFILES", "SEEDED_START", "Simulator"]

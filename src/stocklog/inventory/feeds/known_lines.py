"""JSON lines of one form, ours or another program's: read and proven by the codec's short way.

What `inventory.canonical` proves is a valid update, so such lines need no conversion and no
validation of their own. All others are read as any JSON line.
"""

from __future__ import annotations

import numpy as np

from stocklog.inventory.bodies import Bodies
from stocklog.inventory.canonical import read_canonical
from stocklog.inventory.feeds.blocks import Block
from stocklog.inventory.feeds.model import IntArray
from stocklog.inventory.feeds.plan import Plan
from stocklog.inventory.fields import FIELDS
from stocklog.inventory.form import learn_form
from stocklog.inventory.proven import Proven
from stocklog.inventory.words import PAD

__all__ = ["read_known", "takes_lines_as_they_are"]

_LINE_ENDS = (ord("\n"), ord("\r"))


def takes_lines_as_they_are(plan: Plan) -> bool:
    """Whether a valid update in a line is the update that is wanted: no option changes a field."""
    return not plan.mapped and not plan.constants and set(FIELDS) <= set(plan.taken)


def read_known(block: Block, rows: IntArray) -> Proven | None:
    """Read the lines that are in the form of one of them.

    Args:
        block: the block.
        rows: int64[n], the lines to read, rising, none of them blank; lines between them are
            blank. One line at least.

    Returns:
        Those that are valid beyond doubt, by their places in `rows`; None if there is no form.
    """
    for place in (0, len(rows) // 2, len(rows) - 1):
        form = learn_form(block.line(int(rows[place])))
        if form is not None:
            return read_canonical(_as_bodies(block, rows), form)
    return None


def _as_bodies(block: Block, rows: IntArray) -> Bodies:
    """Copy lines of a block as bodies: their line ends become blanks."""
    origin, end = int(block.starts[rows[0]]), int(block.ends[rows[-1]])
    data = np.zeros(end - origin + 1 + PAD, np.uint8)
    data[: end - origin] = block.view[origin:end]
    data[end - origin] = ord(" ")
    starts, lengths = block.starts[rows] - origin, (block.ends - block.starts)[rows]
    for line_end in _LINE_ENDS:  # `\r` before `\n`, or at the end of a feed, is a line's end, too
        last = starts + lengths - 1
        has = (lengths > 0) & (data[last] == line_end)
        data[last[has]] = ord(" ")
        lengths -= has
    return Bodies(data, starts, lengths)

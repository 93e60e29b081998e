"""JSON lines of one form, ours or another program's: read and proven by the codec's short way.

What `inventory.canonical` proves is a valid update, so such lines need no conversion and no
validation of their own. All others are read as any JSON line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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

__all__ = ["KnownLines", "read_known", "takes_lines_as_they_are"]

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LINE_ENDS = (ord("\n"), ord("\r"))


def takes_lines_as_they_are(plan: Plan) -> bool:
    """Whether a valid update in a line is the update that is wanted: no option changes a field."""
    return not plan.mapped and not plan.constants and set(FIELDS) <= set(plan.taken)


@dataclass(frozen=True, slots=True)
class KnownLines:
    """Lines to be read, none of them blank.

    Attributes:
        data: uint8, the lines and blank ones between them.
        starts: int64[n], where each begins, rising.
        ends: int64[n], the position behind its line end.
    """

    data: NDArray[np.uint8]
    starts: IntArray
    ends: IntArray

    @classmethod
    def of(cls, block: Block, rows: IntArray) -> KnownLines:
        """Lines of a block.

        Args:
            block: the block.
            rows: int64[n], which of its lines, rising; lines between them are blank.
        """
        origin, end = int(block.starts[rows[0]]), int(block.ends[rows[-1]])
        starts, ends = block.starts[rows] - origin, block.ends[rows] - origin
        return cls(block.view[origin:end], starts, ends)

    def line(self, place: int) -> bytes:
        """One line without its line end."""
        return self.data[self.starts[place] : self.ends[place]].tobytes().rstrip(b"\r\n")


def read_known(lines: KnownLines) -> Proven | None:
    """Read lines, one at least, that are in the form of one of them.

    Returns:
        Those that are valid beyond doubt, by their places; None if there is no form.
    """
    last = lines.starts.size - 1
    for place in (0, (last + 1) // 2, last):
        form = learn_form(lines.line(place))
        if form is not None:
            return read_canonical(_as_bodies(lines), form)
    return None


def _as_bodies(lines: KnownLines) -> Bodies:
    """Copy lines as bodies: their line ends become blanks."""
    data = np.zeros(lines.data.size + 1 + PAD, np.uint8)
    data[: lines.data.size] = lines.data
    data[lines.data.size] = ord(" ")
    starts, lengths = lines.starts, lines.ends - lines.starts
    for line_end in _LINE_ENDS:  # `\r` before `\n`, or at the end of a feed, is a line's end, too
        last = starts + lengths - 1
        has = (lengths > 0) & (data[last] == line_end)
        data[last[has]] = ord(" ")
        lengths -= has
    return Bodies(data, starts, lengths)

"""A log is taken for empty only when it stays so: a node that starts shows none for a moment.

Seen after kill -9 of a 4.0.5 under load: a reader of a range found no last message, ended
at once, and had read nothing of what was there.
"""

from __future__ import annotations

import pytest

from stocklog.protocol.chunk import ChunkHeader
from stocklog.protocol.frames import Offset
from stocklog.stream.positions import LAST, Probe

HEADER = ChunkHeader(0, 1, 5, 0, 1, 100, 0, 0)


class Starting(Probe):
    """A probe of a node that shows its messages from the so-many-th question on."""

    shows_after = 0
    asked = 0

    def _knows_no_commit(self) -> bool:
        return False

    def _first_chunk(self, offset: Offset) -> ChunkHeader | None:
        self.asked += 1
        return HEADER if self.asked > self.shows_after else None


@pytest.mark.parametrize("questions", [0, 1, 2, 3, 4])
def test_a_message_that_shows_a_moment_later_is_found(questions: int) -> None:
    probe = Starting(None, "s")  # type: ignore[arg-type]
    probe.shows_after = questions
    assert probe.last() == 104
    probe.asked = 0
    assert probe.first() == 100


def test_a_log_that_stays_empty_is_empty() -> None:
    probe = Starting(None, "s")  # type: ignore[arg-type]
    probe.shows_after = 1_000_000
    assert probe.last() is None
    assert probe.first() is None
    assert probe._first_chunk(LAST) is None

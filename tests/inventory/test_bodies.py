"""Bodies gathered from a buffer are themselves, whatever lies between them there."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stocklog.inventory.bodies import gather
from stocklog.inventory.words import PAD

BODIES = st.lists(st.binary(max_size=40), min_size=1, max_size=8)


@given(bodies=BODIES, data=st.data())
def test_only_blanks_stand_between_gathered_bodies(
    bodies: list[bytes], data: st.DataObject
) -> None:
    # Chunks have 9 or 12 bytes between two bodies; both sides of where that way is taken.
    least, most = data.draw(st.sampled_from([(0, 20), (7, 16), (8, 16), (8, 17), (9, 12)]))
    text, starts = data.draw(st.binary(max_size=20)), []
    for body in bodies:
        starts.append(len(text))
        text += body + data.draw(st.binary(min_size=least, max_size=most))
    buffer = np.frombuffer(text or b"x", np.uint8)
    lengths = np.array([len(body) for body in bodies])
    gathered = gather(buffer, np.array(starts), lengths)
    assert [gathered.body(row) for row in range(len(bodies))] == bodies
    lines = gathered.lines.tobytes()
    ends = gathered.starts + gathered.lengths
    between = zip(ends.tolist(), [*gathered.starts[1:].tolist(), len(lines)], strict=True)
    for end, begin in between:
        assert begin > end
        assert set(lines[end:begin]) == {ord(" ")}
    assert gathered.starts[0] == 0
    assert not gathered.data[len(lines) :].any()
    assert gathered.data.size - len(lines) == PAD

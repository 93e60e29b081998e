"""Bodies that one foreign writer wrote alike are read by the short way, with the same result."""

from __future__ import annotations

import json

import numpy as np
import pytest
import reference
import update_strategies as some
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_codec_properties import check

from examples import examples
from stocklog.inventory.bodies import gather
from stocklog.inventory.canonical import read_canonical
from stocklog.inventory.codec import decode
from stocklog.inventory.form import CANONICAL, Form, learn_form

SEPARATORS = [(",", ":"), (", ", ": "), (",", ": "), (", ", ":")]


def written(
    update: dict, order: tuple[str, ...], separators: tuple[str, str], nulls: bool
) -> bytes:
    members = json.loads(reference.encode(update))
    names = [*order, *(name for name in reference.OPTIONAL if nulls or name in members)]
    return json.dumps({name: members.get(name) for name in names}, separators=separators).encode()


def laid(bodies: list[bytes]) -> tuple[np.ndarray, ...]:
    lengths = np.array([*map(len, bodies)], np.int64)
    return np.frombuffer(b"".join(bodies), np.uint8), np.cumsum(lengths) - lengths, lengths


@pytest.mark.parametrize("separators", SEPARATORS)
@pytest.mark.parametrize("nulls", [False, True])
@pytest.mark.parametrize("shift", range(8))
def test_the_short_way_itself_reads_another_writers_form(
    separators: tuple[str, str], nulls: bool, shift: int
) -> None:
    order = CANONICAL.order[shift:] + CANONICAL.order[:shift]
    update = {
        "update_id": "a/1/1", "type": "count", "sku": "a-long-article-number", "quantity": 3,
        "location_id": "L", "reason": "other", "source": "a", "expected_quantity": -7,
        "occurred_at": some.datetime(2026, 1, 5, 8, 0, 0, 7, tzinfo=some.UTC), "reference": "r",
    }  # fmt: skip
    plain = {k: v for k, v in update.items() if k not in reference.OPTIONAL}
    bodies = [written(each, order, separators, nulls) for each in (plain, update, plain)]
    form = learn_form(bodies[0])
    assert isinstance(form, Form)
    assert form.order == order
    assert read_canonical(gather(*laid(bodies)), form).rows.tolist() == [0, 1, 2]
    check(decode(*laid(bodies)), bodies)


@settings(
    max_examples=examples(200),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_bodies_of_one_form_are_read_as_the_reference_reads_them(data: st.DataObject) -> None:
    updates = data.draw(st.lists(some.updates(extras=False), min_size=1, max_size=8))
    order = tuple(data.draw(st.permutations(CANONICAL.order)))
    separators, nulls = data.draw(st.sampled_from(SEPARATORS)), data.draw(st.booleans())
    bodies = [written(update, order, separators, nulls) for update in updates]
    for _ in range(data.draw(st.integers(0, 3))):
        row = data.draw(st.integers(0, len(bodies) - 1))
        place = data.draw(st.integers(0, len(bodies[row])))
        piece = data.draw(
            st.sampled_from([b"", b'"', b"\\", b",", b"}", b"\n", b"\xff", b"0", b"null", b":",
                             b'"uom":null,', b'"sku":"B",', b'"x":1,', b" ", b"-"])
        )  # fmt: skip
        cut = data.draw(st.sampled_from([0, 0, 1, 2, 7]))
        bodies[row] = bodies[row][:place] + piece + bodies[row][place + cut :]
    check(decode(*laid(bodies)), bodies)


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'{"sku": "A"}', b'{"sku":null}', b"x" * 300])
def test_a_body_without_a_form_teaches_none(body: bytes) -> None:
    assert learn_form(body) is None

"""Flat objects in any order of fields are proven by their bytes, and nothing else is."""

from __future__ import annotations

import json

import numpy as np
import pytest
import reference
import update_strategies as some
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_codec_properties import dicts

from examples import examples
from stocklog.inventory.any_order import read_any_order
from stocklog.inventory.bodies import gather

PLAIN = {
    "update_id": "a/1/1", "type": "count", "sku": "MILK-1L", "location_id": "shop-12",
    "quantity": 3, "occurred_at": "2026-01-05T08:00:05.599775Z", "reason": "other", "source": "a",
}  # fmt: skip
FULL = PLAIN | {
    "expected_quantity": -7, "reference": "r", "uom": "KGM", "source_seq": 12345678901,
}  # fmt: skip
MOVE = PLAIN | {"type": "transfer", "to_location_id": "shop-13", "reason": "transfer"}


def proven(bodies: list[bytes]) -> dict[int, dict]:
    """The rows that are proven, and their updates."""
    lengths = np.array([*map(len, bodies)], np.int64)
    starts = np.cumsum(lengths) - lengths
    found = read_any_order(gather(np.frombuffer(b"".join(bodies), np.uint8), starts, lengths))
    return dict(zip(found.rows.tolist(), dicts(found.updates), strict=True))


def shuffled(update: dict, seed: int, separators: tuple[str, str] = (", ", ": ")) -> bytes:
    names = sorted(update)
    np.random.default_rng(seed).shuffle(names)
    return json.dumps({name: update[name] for name in names}, separators=separators).encode()


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (",", ": ")])
@pytest.mark.parametrize("update", [PLAIN, FULL, MOVE])
def test_each_body_may_have_an_order_of_its_own(update: dict, separators: tuple[str, str]) -> None:
    bodies = [shuffled(update, seed, separators) for seed in range(30)]
    found = proven(bodies)
    assert [found[row] for row in range(30)] == [reference.decode(body) for body in bodies]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"a/1/1", rb"a\/1\/1"),
        (b"MILK", rb"\u004dILK"),
        (b"MILK", rb"M\u00d1LK"),
        (b"MILK", rb"\u20ac\u0416"),
        (b"MILK", rb"\u0026\u003c\u20AC\u0430\/\u00e9K"),
        (b"MILK", "MÑLK".encode()),
        (b'"sku"', rb'"\u0073ku"'),
        (b".599775Z", b"Z"),
        (b".599775Z", b".5+01:00"),
        (b'"count"', b'"count", "uom": null'),
        (b'"a"', b'"a", "to_location_id": null, "source_seq": null'),
    ],
)
def test_escapes_times_and_nulls_of_other_programs_are_proven(old: bytes, new: bytes) -> None:
    bodies = [shuffled(PLAIN, seed).replace(old, new) for seed in range(8)]
    assert all(new in body for body in bodies)
    found = proven(bodies)
    assert [found[row] for row in range(8)] == [reference.decode(body) for body in bodies]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"MILK", rb"MI\"LK"),
        (b"MILK", rb"MI\\LK"),
        (b"MILK", rb"MI\nLK"),
        (b"MILK", rb"\u00zzILK"),
        (b"MILK", rb"\ud83dILK"),
        (b"MILK", rb"\u0022ILK"),
        (b"MILK", b"MI\nLK"),
        (b"MILK", b"MI\xffLK"),
        (b'"sku"', b'"SKU"'),
        (b'"sku"', b'"expected/quantity"'),
        (b'"sku"', b'sku"'),
        (b'"sku": ', b'"sku":  '),
        (b'"sku": ', b'"sku" : '),
        (b'"sku": ', rb'\u0020"sku": '),
        (b'"sku": "', b'"sku": null, "sku": "'),
        (b'"sku": "', b'"uom": null, "uom": null, "sku": "'),
        (b"quantity", b"expected_quantity"),
        (b": 3", b': "3"'),
        (b": 3", b": 3.0"),
        (b": 3", b": 03"),
        (b": 3", b": -3"),
        (b": 3", b": null"),
        (b": 3", b": 3 "),
        (b": 3", rb": \u0033"),
        (b": 3", rb": 3\/"),
        (b": 3", rb": 3\u00e9"),
        (b": 3", rb": 3\u0020"),
        (b": 3", rb': 3, "uom": \u006eull'),
        (b'"sku": ', rb'"sku"\u003a '),
        (b": 3", b": [3]"),
        (b"count", b"counts"),
        (b"2026", b"3026-"),
        (b"MILK-1L", b""),
        (b"MILK", b"M" * 70),
        (b"{", b" {"),
        (b"{", b"{{"),
        (b"}", b"}}"),
        (b"}", b",}"),
        (b"}", b""),
    ],
)
def test_what_is_not_proven_is_left_to_others(old: bytes, new: bytes) -> None:
    good = shuffled(PLAIN, 1)
    bodies = [body for seed in range(9) for body in (good, shuffled(PLAIN, seed).replace(old, new))]
    assert list(proven(bodies)) == [*range(0, 18, 2)]


@settings(
    max_examples=examples(300),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_nothing_is_proven_that_the_reference_reads_otherwise(data: st.DataObject) -> None:
    updates = data.draw(st.lists(some.updates(extras=False), min_size=1, max_size=8))
    bodies = []
    for update in updates:
        members = json.loads(reference.encode(update))
        names = data.draw(st.permutations(sorted(members)))
        separators = data.draw(st.sampled_from([(",", ":"), (", ", ": ")]))
        is_ascii = data.draw(st.booleans())
        text = json.dumps(
            {n: members[n] for n in names}, separators=separators, ensure_ascii=is_ascii
        )
        bodies.append(text.replace("/", data.draw(st.sampled_from(["/", "\\/"]))).encode())
    for _ in range(data.draw(st.integers(0, 4))):
        row = data.draw(st.integers(0, len(bodies) - 1))
        place = data.draw(st.integers(0, len(bodies[row])))
        piece = data.draw(
            st.sampled_from([b"", b'"', b"\\", b",", b"}", b"\n", b"\xff", b"0", b"null", b":",
                             b'"uom":null,', b'"sku":"B",', b'"x":1,', b" ", b"-", b"\\/",
                             b"\\u0041", b"\\u00e9", b"\\ud800", b'":', b'"sku": "'])
        )  # fmt: skip
        cut = data.draw(st.sampled_from([0, 0, 1, 2, 7]))
        bodies[row] = bodies[row][:place] + piece + bodies[row][place + cut :]
    for row, update in proven(bodies).items():
        assert update == reference.decode(bodies[row])

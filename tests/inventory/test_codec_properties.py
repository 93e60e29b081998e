"""The batch codec, the row codec and a plain reference agree on every body."""

from __future__ import annotations

import json
from datetime import datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import reference
import update_strategies as some
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from examples import examples
from stocklog.errors import InvalidUpdateError
from stocklog.inventory.codec import Decoded, decode, decode_row, encode, encode_row
from stocklog.inventory.update import UPDATE_SCHEMA, Update, to_frame, validate

SLOW_TO_DRAW = settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def dicts(frame: pl.DataFrame) -> list[dict]:
    """Rows as the reference writes them."""
    rows = []
    for row in frame.iter_rows(named=True):
        update = {name: value for name, value in row.items() if value is not None}
        if "extra" in update:
            update["extra"] = reference.load(update["extra"].encode())
        rows.append(update)
    return rows


def frame_of(updates: list[dict]) -> pl.DataFrame:
    return to_frame([with_text(update) for update in updates])


def with_text(update: dict) -> dict:
    if "extra" not in update:
        return update
    text = json.dumps(update["extra"], ensure_ascii=False, separators=(",", ":"))
    return {**update, "extra": text}


def scattered(bodies: list[bytes], order: list[int], gap: int) -> tuple[np.ndarray, ...]:
    """The bodies laid into a read-only buffer in another order, with senseless bytes between."""
    starts = np.zeros(len(bodies), np.int64)
    data = b""
    for place in order:
        data += b'"\\\n\x00{}:\xff'[:gap] * 2
        starts[place] = len(data)
        data += bodies[place]
    return np.frombuffer(data, np.uint8), starts, np.array([*map(len, bodies)], np.int64)


def check(found: Decoded, bodies: list[bytes]) -> None:
    expected = [reference.decode(body) for body in bodies]
    assert found.valid.tolist() == [update is not None for update in expected]
    assert dicts(found.updates) == [update for update in expected if update is not None]
    assert dict(found.updates.schema) == UPDATE_SCHEMA
    assert set(found.reasons) == {i for i, update in enumerate(expected) if update is None}
    assert all(found.reasons.values())


@pytest.mark.parametrize("short_way", [True, False])
@SLOW_TO_DRAW
@given(data=st.data())
def test_bodies_of_every_kind_are_read_as_the_reference_reads_them(
    short_way: bool, data: st.DataObject
) -> None:
    bodies = data.draw(st.lists(some.BODIES, max_size=12))
    order = data.draw(st.permutations(range(len(bodies))))
    buffer, starts, lengths = scattered(bodies, order, data.draw(st.integers(0, 8)))
    before = buffer.tobytes()
    check(decode(buffer, starts, lengths, short_way=short_way), bodies)
    assert buffer.tobytes() == before


@SLOW_TO_DRAW
@given(body=some.BODIES)
def test_a_row_is_read_as_the_reference_reads_it(body: bytes) -> None:
    expected = reference.decode(body)
    if expected is None:
        with pytest.raises(InvalidUpdateError) as caught:
            decode_row(body)
        assert caught.value.reasons
        return
    update = decode_row(body).to_dict()
    if "extra" in update:
        update["extra"] = reference.load(update["extra"].encode())
    assert update == expected


@SLOW_TO_DRAW
@given(updates=st.lists(some.updates(), min_size=1, max_size=8), lead=st.binary(max_size=20))
def test_batches_rows_and_the_reference_write_the_same_bytes(
    updates: list[dict], lead: bytes
) -> None:
    frame = frame_of(updates)
    assert validate(frame).all_valid
    rows = b"".join(lead + reference.encode(update) for update in updates)
    written = encode(frame, lead)
    assert written.data.tobytes() == rows
    assert written.starts.tolist() == list(
        np.cumsum([0, *(len(lead + reference.encode(update)) for update in updates)])
    )
    assert encode(dictionaries(frame), lead).data.tobytes() == rows
    made = [Update(**with_text(update)) for update in updates]
    assert b"".join(lead + encode_row(update) for update in made) == rows


def dictionaries(frame: pl.DataFrame) -> pa.Table:
    """The frame as Arrow with every text column as a dictionary, but for the ids."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    for place, name in enumerate(table.schema.names):
        text = pa.types.is_large_string(table.schema.field(place).type)
        if text and name not in {"update_id", "extra"}:
            table = table.set_column(place, name, table.column(place).dictionary_encode())
    return table


@pytest.mark.parametrize("short_way", [True, False])
@SLOW_TO_DRAW
@given(updates=st.lists(some.updates(), min_size=1, max_size=8))
def test_what_is_written_is_read_back(short_way: bool, updates: list[dict]) -> None:
    frame = frame_of(updates)
    written = encode(frame, b"twelve bytes")
    starts, lengths = written.starts[:-1] + 12, np.diff(written.starts) - 12
    found = decode(written.data, starts, lengths, short_way=short_way)
    assert found.valid.all()
    assert found.updates.equals(frame)


@SLOW_TO_DRAW
@given(updates=st.lists(some.updates(), min_size=1, max_size=6), data=st.data())
def test_columns_rows_and_the_reference_judge_alike(
    updates: list[dict], data: st.DataObject
) -> None:
    for update in updates:
        name = data.draw(st.sampled_from([*reference.FIELDS, None]))
        if name is not None:
            _spoil(update, name, data)
    frame = frame_of(updates)
    found = validate(frame)
    expected = [is_valid(update) for update in updates]
    assert found.valid.tolist() == expected
    assert set(found.reasons) == {i for i, good in enumerate(expected) if not good}
    for update, good in zip(updates, expected, strict=True):
        if good:
            Update(**with_text(update))
        else:
            with pytest.raises(InvalidUpdateError):
                Update(**with_text(update))


def _spoil(update: dict, name: str, data: st.DataObject) -> None:
    """Gives one field another value of its type, often one that breaks a rule."""
    if name in reference.INTEGERS:
        update[name] = data.draw(st.sampled_from([0, -1, 1, 2**63 - 1, -(2**63)]))
    elif name != "occurred_at":
        wrong = ["", "x" * 65, "é" * 65, "x" * 257, "a\0b", "sale", "count", "transfer", "kg", "L"]
        update[name] = data.draw(st.sampled_from(wrong))


def is_valid(update: dict) -> bool:
    assert isinstance(update["occurred_at"], datetime)
    return reference.fields_are_right(update) and reference.relations_are_right(update)

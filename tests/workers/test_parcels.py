"""What is laid into shared memory comes out equal, and no byte of it lies there twice."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stocklog.inventory.codec import decode, encode
from stocklog.inventory.simulate import Simulator
from stocklog.inventory.update import UPDATE_SCHEMA
from stocklog.workers.parcels import NoRoomError, lay, lift


def room(size: int = 1 << 22) -> np.ndarray:
    return np.zeros(size, np.uint8)


def decoded(count: int) -> pl.DataFrame:
    written = encode(Simulator("grocery", 1).batch(count), b"")
    return decode(written.data, written.starts[:-1], np.diff(written.starts)).updates


@pytest.mark.parametrize("count", [0, 1, 50, 3000])
def test_a_decoded_frame_comes_out_equal(count: int) -> None:
    frame = decoded(count)
    found = lift(lay({"updates": frame, "n": count}, place := room()), place)
    assert found["n"] == count
    assert found["updates"].equals(frame)
    assert dict(found["updates"].schema) == UPDATE_SCHEMA


def test_bytes_that_columns_share_are_laid_once() -> None:
    frame = decoded(3000)
    written = encode(frame, b"")
    parcel = lay(frame, room())
    # Sixteen bytes for a cell of text, eight for a number, and the bodies once.
    cells = 14 * 16 * 3000
    assert parcel.end < cells + 1.2 * written.data.size


def test_what_lies_in_the_room_stays_where_it_is() -> None:
    place = room()
    place[:800] = np.arange(800, dtype=np.uint16) % 251
    inside = place[:800].view(np.int64)
    parcel = lay((inside[10:], inside), place, begin=800)
    assert parcel.end == 800
    assert [array.tolist() for array in lift(parcel, place)] == [
        inside[10:].tolist(), inside.tolist(),
    ]  # fmt: skip


def test_arrays_that_come_out_are_views_of_the_room() -> None:
    place = room()
    found = lift(lay(np.arange(100), place), place)
    assert np.shares_memory(found, place)


def test_tables_and_plain_bytes_go_too() -> None:
    table = pa.table({"a": ["x", None, "y" * 30], "b": [1, 2, None]})
    lines = memoryview(b"one\ntwo\n")[4:]
    place = room()
    found_table, found_lines, text = lift(lay((table, lines, "t"), place), place)
    assert found_table.equals(table)
    assert (bytes(found_lines), text) == (b"two\n", "t")


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(NoRoomError):
        lay(np.zeros(1000), room(4096))


@given(
    st.lists(
        st.tuples(st.text(max_size=30) | st.none(), st.integers(-(2**63), 2**63 - 1) | st.none()),
        max_size=20,
    )
)
def test_any_frame_comes_out_equal(rows: list[tuple[str | None, int | None]]) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.Int64}, orient="row")
    place = room(1 << 16)
    assert lift(lay(frame, place), place).equals(frame)

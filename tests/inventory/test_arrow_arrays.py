"""Arrow arrays made of buffers say the same as those that pyarrow makes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from stocklog.inventory import arrow_arrays as made

ENCODE = """
import polars as pl
from stocklog.inventory import codec
from stocklog.inventory.simulate import Simulator
from stocklog.inventory.update import to_frame, validate
batch = Simulator("grocery", 5, dirt=True).batch(30_000)
frame = to_frame(batch).with_columns(reference=pl.col("sku"), extra=pl.lit('{"a":1}'))
assert validate(frame).all_valid
for rows in (batch, frame):
    encoded = codec.encode(rows, b"x")
    starts = encoded.starts
    codec.decode(encoded.data, starts[:-1] + 1, starts[1:] - starts[:-1] - 1)
"""


@pytest.mark.parametrize("texts", [[], [""], ["a", "", "é😀", "b\0c"]])
def test_texts(texts: list[str]) -> None:
    assert made.text_array(texts).equals(pa.array(texts, pa.string()))


@pytest.mark.parametrize("values", [[], [0, -(2**63), 2**63 - 1]])
def test_integers(values: list[int]) -> None:
    array = made.int64_array(np.array(values, np.int64))
    assert array.equals(pa.array(values, pa.int64()))
    assert made.int64_array(np.array([1, 2], np.int8)).equals(pa.array([1, 2], pa.int64()))
    assert made.integers(array).tolist() == values


@pytest.mark.parametrize("kind", [pa.uint8(), pa.int16(), pa.int32(), pa.uint64()])
def test_slices_of_integers_begin_where_they_begin(kind: pa.DataType) -> None:
    assert made.integers(pa.array(range(20), kind)[3:17]).tolist() == list(range(3, 17))


@pytest.mark.parametrize(("begin", "end"), [(0, 20), (3, 17), (8, 9), (5, 5), (9, 20)])
def test_truths_of_any_slice(begin: int, end: int) -> None:
    wanted = [n % 3 == 0 for n in range(20)]
    found = made.truths(pa.array(wanted)[begin:end])
    assert found.dtype == np.bool_
    assert found.tolist() == wanted[begin:end]


def test_bytes() -> None:
    assert made.bytes_scalar(b"a\0").equals(pa.scalar(b"a\0", pa.large_binary()))
    assert made.bytes_scalar(b"").equals(pa.scalar(b"", pa.large_binary()))


@pytest.mark.slow
def test_pandas_is_not_imported_on_the_way_out_or_in(tmp_path: Path) -> None:
    package = tmp_path / "pandas"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('pandas was imported')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", ENCODE],
        capture_output=True, text=True, check=False, timeout=60, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

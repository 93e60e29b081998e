"""The updates that the ledger is measured on, and the measurement in small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import cast

import polars as pl
import pytest

from stocklog.bench.ledger_updates import LOCATIONS, _late_counts, fold
from stocklog.broker import NodeInfo
from stocklog.inventory.simulate import Simulator
from stocklog.inventory.update import to_frame, validate


def folded(keys: int, rows: int = 50_000) -> tuple[pl.DataFrame, pl.DataFrame]:
    before = Simulator("grocery", 7, dirt=True).batch(rows)
    return (
        cast("pl.DataFrame", pl.from_arrow(before)),
        to_frame(fold(before, keys)),
    )


@pytest.mark.parametrize("keys", [2 * LOCATIONS, 1000, 500_000])
def test_folded_updates_are_valid_and_over_as_many_keys_at_most(keys: int) -> None:
    before, after = folded(keys)
    assert validate(after).all_valid
    assert after.select("sku", "location_id").n_unique() <= keys
    assert after["location_id"].n_unique() <= LOCATIONS
    same = ["update_id", "quantity", "occurred_at", "source_seq"]
    assert after.select(same).equals(before.select(same))
    moves = after.filter(pl.col("type") == "transfer")
    assert moves.height > 0
    assert (moves["location_id"] != moves["to_location_id"]).all()


def test_a_repeated_delivery_stays_one() -> None:
    _, after = folded(1000)
    doubled = after.filter(after["update_id"].is_duplicated())
    assert doubled.height > 0
    assert doubled.unique().height == doubled["update_id"].n_unique()


def test_late_counts_are_valid_each_of_another_key() -> None:
    frames = [to_frame(batch) for batch in _late_counts(900, 1000, 7, 1_764_000_000_000_000)]
    counts = pl.concat([frame.drop(pl.col(pl.Null)) for frame in frames])
    assert counts.height == 900
    assert counts.select("sku", "location_id").n_unique() == 900
    assert counts["type"].unique().to_list() == ["count"]
    assert all(validate(frame).all_valid for frame in frames)


@pytest.mark.slow
def test_the_ledger_is_measured_from_the_broker_to_the_answer(
    one_broker: NodeInfo, tmp_path: Path
) -> None:
    words = ["bench", "ledger", "--count", "100000", "--keys", "1000", "-o", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "stocklog", *words],
        env={**os.environ, "STOCKLOG_URI": one_broker.uri},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "bench-ledger.json").read_text())
    steps, questions = (section["figures"] for section in report["sections"])
    assert steps["all of the log"]["updates"] == 100_000
    assert steps["a flood of duplicates"]["updates"] == 25_000
    assert steps["a file of late counts"]["updates"] == 780
    assert questions["stock, all keys"]["rows"] == 1000
    assert all(figures["median_ms"] > 0 for figures in questions.values())

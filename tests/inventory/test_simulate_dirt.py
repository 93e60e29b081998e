"""Dirt on request, and its absence without."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from stocklog.inventory.simulate import PROFILES, Simulator
from stocklog.inventory.simulate.dirt import Schedule, arrival_order
from stocklog.inventory.simulate.timeline import mix64

ALL = list(PROFILES)
ROWS = 2_000_000
pytestmark = pytest.mark.slow  # shares of two million updates


@pytest.fixture(
    scope="module",
    params=ALL,
)
def dirty(request: pytest.FixtureRequest) -> tuple[str, pl.DataFrame]:
    """Two million updates with dirt; `place` is their order, `swept` marks count sweeps."""
    simulator = Simulator(request.param, seed=21, dirt=True)
    batch = simulator.batch(ROWS)
    counted_at_once = (
        pl.len().over(pl.col("update_id").str.slice(0, 24)) > 1_000
    )  # source, tag and document
    rows = pl.DataFrame(pl.from_arrow(batch)).with_row_index("place")
    ranks = batch.column("sku").indices.to_numpy()
    return request.param, rows.with_columns(rank=ranks, swept=counted_at_once)


def late_by(rows: pl.DataFrame) -> pl.Series:
    """How far each update outside the sweeps lies behind the newest one before it."""
    regular = rows.filter(~pl.col("swept")).unique("update_id", keep="first", maintain_order=True)
    return regular.select(pl.col("occurred_at").cum_max() - pl.col("occurred_at")).to_series()


def test_one_percent_is_late_by_minutes_and_one_in_2000_by_hours(
    dirty: tuple[str, pl.DataFrame],
) -> None:
    late = late_by(dirty[1])
    minutes = late.is_between(timedelta(seconds=60), timedelta(minutes=46)).mean()
    hours = (late > timedelta(minutes=59)).mean()
    assert minutes == pytest.approx(0.01, rel=0.15)
    assert hours == pytest.approx(0.0005, rel=0.6)
    assert late.max() < timedelta(hours=31)  # type: ignore[operator]
    assert late.is_between(timedelta(0), timedelta(0)).mean() > 0.98  # type: ignore[operator]


def test_half_a_percent_is_delivered_again_later_and_the_same(
    dirty: tuple[str, pl.DataFrame],
) -> None:
    rows = dirty[1].drop("rank", "swept")
    first = rows.unique("update_id", keep="first", maintain_order=True)
    again = rows.join(first.select("place"), on="place", how="anti")
    assert len(again) / len(rows) == pytest.approx(0.005, rel=0.05)
    pairs = again.join(first, on="update_id", suffix="_first")
    assert len(pairs) == len(again)
    gap = pairs["place"].cast(pl.Int64) - pairs["place_first"].cast(pl.Int64)
    assert gap.min() >= 1  # type: ignore[operator]
    content = again.drop("place").sort("update_id")
    same = first.drop("place").join(again.select("update_id"), on="update_id", how="semi")
    assert content.unique("update_id").sort("update_id").equals(same.sort("update_id"))


def test_one_in_a_thousand_names_a_sku_that_no_list_has(dirty: tuple[str, pl.DataFrame]) -> None:
    profile, rows = dirty
    listed = Simulator(profile, seed=21, dirt=True).listed_skus
    unlisted = rows.filter(pl.col("rank") >= listed)
    assert len(unlisted) / len(rows) == pytest.approx(0.001, rel=0.1)
    clean = set(Simulator(profile, seed=21).dictionaries["sku"].to_pylist())
    assert clean.isdisjoint(unlisted["sku"].cast(pl.String).unique().to_list())


def test_whole_locations_are_counted_within_an_hour(dirty: tuple[str, pl.DataFrame]) -> None:
    profile, rows = dirty
    swept = rows.filter(pl.col("swept"))
    assert len(swept) / len(rows) == pytest.approx(0.02, abs=0.001)
    assert set(swept["type"].cast(pl.String)) == {"count"}
    size = PROFILES[profile].sweep_skus
    for start in range(0, len(swept), size):
        sweep = swept[start : start + size]
        assert sweep["location_id"].n_unique() == sweep["source"].n_unique() == 1
        assert sorted(sweep["rank"].to_list()) == list(range(size))
        moments = sweep["occurred_at"]
        assert moments.is_sorted()
        assert moments[-1] - moments[0] < timedelta(hours=1)
    places = {swept["location_id"].cast(pl.String)[i] for i in range(0, len(swept), size)}
    assert len(places) == len(swept) // size


def test_the_regular_mix_stays_as_it_is(dirty: tuple[str, pl.DataFrame]) -> None:
    profile, rows = dirty
    regular = rows.filter(~pl.col("swept"))
    counts = dict(regular["reason"].cast(pl.String).value_counts(normalize=True).iter_rows())
    for kind in PROFILES[profile].kinds:
        assert counts[kind.reason] == pytest.approx(kind.permille / 1_000, rel=0.03)


@pytest.mark.parametrize("profile", ALL)
def test_without_dirt_nothing_is_late_repeated_or_unlisted(profile: str) -> None:
    simulator = Simulator(profile, seed=21)
    batch = simulator.batch(300_000)
    rows = pl.DataFrame(pl.from_arrow(batch))
    assert rows["occurred_at"].is_sorted()
    assert rows["update_id"].n_unique() == len(rows)
    assert batch.column("sku").indices.to_numpy().max() < simulator.listed_skus


@pytest.mark.parametrize("seed", range(20))
def test_a_repetition_arrives_after_its_first_delivery(seed: int) -> None:
    words = mix64(np.arange(20, dtype=np.uint64) + np.uint64(seed * 1_000))
    order = arrival_order(5_000, words)
    assert len(order) == 5_100
    first = np.unique(order, return_index=True)[1]
    # What remains when repetitions are taken out is every row in its own order.
    assert np.array_equal(order[np.sort(first)], np.arange(5_000))


@pytest.mark.parametrize("sweep_blocks", [0, 1, 2, 5])
def test_the_number_of_sweeps_before_a_block_is_the_number_of_sweeps_before_it(
    sweep_blocks: int,
) -> None:
    schedule = Schedule(sweep_blocks)
    seen: list[tuple[int, int]] = []
    for block in range(600):
        assert schedule.sweep_blocks_before(block) == len(seen)
        sweep = schedule.sweep_of(block)
        if sweep is not None:
            seen.append(sweep)
    assert seen == [(n, part) for n in range(60) for part in range(sweep_blocks)][: len(seen)]
    assert bool(seen) == bool(sweep_blocks)

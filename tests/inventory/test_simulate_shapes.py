"""What the simulated trades look like: the figures that real retail data shows."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from fractions import Fraction

import numpy as np
import polars as pl
import pytest

from stocklog.inventory.simulate import PROFILES, Simulator
from stocklog.inventory.simulate.normal import ONE, STEPS, cumulative
from stocklog.inventory.simulate.tables import (
    lognormal_popularity,
    quantile_table,
    weighted_table,
    zipf_popularity,
)
from stocklog.inventory.simulate.timeline import Timeline, mix64

pytestmark = pytest.mark.slow  # a million draws for each shape

ALL = list(PROFILES)
MILLION = 1_000_000

MIX = {
    "grocery": {
        "sale": 92,
        "receipt": 4,
        "damage": 1,
        "shrinkage": 0.5,
        "transfer": 1,
        "return": 0.5,
        "cycle_count": 1,
    },
    "fashion": {
        "reserve": 35,
        "sale": 28,
        "return": 12,
        "receipt": 8,
        "transfer": 7,
        "release": 5,
        "cycle_count": 4,
        "correction": 1,
    },
    "marketplace": {
        "sale": 52,
        "correction": 4,
        "damage": 2,
        "shrinkage": 1,
        "found": 1,
        "cycle_count": 30,
        "receipt": 5,
        "return": 5,
    },
}

SIZES = {
    "grocery": ((30_000, 60_000), (50, 500)),
    "fashion": ((200_000, 1_000_000), (5, 30)),
    "marketplace": ((1_000_000, 10_000_000), (1, 200)),
}


@pytest.fixture(scope="module")
def millions() -> dict[str, pl.DataFrame]:
    """The first million updates of each profile; `rank` holds the codes of `sku`."""
    frames = {}
    for name in ALL:
        batch = Simulator(name, seed=11).batch(MILLION)
        ranks = batch.column("sku").indices.to_numpy()
        frames[name] = pl.DataFrame(pl.from_arrow(batch)).with_columns(rank=ranks)
    return frames


def texts(frame: pl.DataFrame, name: str) -> pl.Series:
    return frame[name].cast(pl.String)


@pytest.mark.parametrize("profile", ALL)
def test_the_mix_is_exact(profile: str, millions: dict[str, pl.DataFrame]) -> None:
    counts = texts(millions[profile], "reason").value_counts(name="n")
    assert dict(counts.iter_rows()) == {k: int(v * 10_000) for k, v in MIX[profile].items()}
    assert sum(MIX[profile].values()) == 100


@pytest.mark.parametrize("profile", ALL)
def test_signs_and_types_follow_the_reason(profile: str, millions: dict[str, pl.DataFrame]) -> None:
    rows = millions[profile].select(
        pl.col("type").cast(pl.String), pl.col("reason").cast(pl.String), "quantity"
    )
    types = {"reserve": "reservation", "release": "reservation", "cycle_count": "count"}
    types["transfer"] = "transfer"
    outward = {"sale", "damage", "shrinkage", "release"}
    for (reason,), part in rows.group_by("reason"):
        assert set(part["type"]) == {types.get(str(reason), "adjustment")}
        low, high = part["quantity"].min(), part["quantity"].max()
        if reason == "correction":
            assert low < 0 < high
        elif reason == "cycle_count":
            assert low == 0 < high
        else:
            assert high < 0 if reason in outward else low > 0


@pytest.mark.parametrize("profile", ALL)
def test_quantities_have_median_3_mean_10_and_rare_extremes(
    profile: str, millions: dict[str, pl.DataFrame]
) -> None:
    quantity = millions[profile]["quantity"].abs()
    assert quantity.median() == 3
    assert 9 <= quantity.mean() <= 12  # type: ignore[operator]
    assert 85 <= quantity.quantile(0.99) <= 120  # type: ignore[operator]
    assert quantity.max() >= 1_000  # type: ignore[operator]


@pytest.mark.parametrize("profile", ALL)
def test_sizes_lie_in_the_measured_ranges(profile: str, millions: dict[str, pl.DataFrame]) -> None:
    skus, locations = SIZES[profile]
    simulator = Simulator(profile, seed=11)
    assert skus[0] <= simulator.listed_skus == len(simulator.dictionaries["sku"]) <= skus[1]
    assert locations[0] <= len(simulator.dictionaries["location_id"]) <= locations[1]
    assert texts(millions[profile], "sku").n_unique() >= 30_000
    assert texts(millions[profile], "location_id").n_unique() == PROFILES[profile].locations


@pytest.mark.parametrize(("profile", "sigma"), [("grocery", 1.7), ("fashion", 2.0)])
def test_popularity_is_lognormal(
    profile: str, sigma: float, millions: dict[str, pl.DataFrame]
) -> None:
    """The most popular share q of the SKUs takes F(F^-1(q) + sigma) of the lines."""
    skus = PROFILES[profile].skus
    codes = millions[profile]["rank"].to_numpy()
    for deviations in (-3.0, -2.0, -1.2815515655, -0.5, 0.5):
        share = 0.5 * math.erfc(-deviations / math.sqrt(2))
        taken = np.count_nonzero(codes < share * skus) / MILLION
        assert taken == pytest.approx(
            0.5 * math.erfc(-(deviations + sigma) / math.sqrt(2)), abs=0.003
        )


def test_popularity_in_a_marketplace_is_zipf(millions: dict[str, pl.DataFrame]) -> None:
    codes = millions["marketplace"]["rank"].to_numpy()
    counts = np.bincount(codes, minlength=PROFILES["marketplace"].skus)
    harmonic = math.log(PROFILES["marketplace"].skus) + 0.5772156649
    for rank in (1, 2, 3, 10, 100):
        expected = MILLION / harmonic / rank
        assert counts[rank - 1] == pytest.approx(expected, rel=5 / math.sqrt(expected))
    for rank in (1_000, 30_000, 500_000):
        share = (math.log(rank) + 0.5772156649) / harmonic
        assert counts[:rank].sum() / MILLION == pytest.approx(share, abs=0.003)


@pytest.mark.parametrize("profile", ALL)
def test_best_sellers_are_scattered_over_the_sku_texts(profile: str) -> None:
    listed = Simulator(profile, seed=1).dictionaries["sku"].to_pylist()
    assert len(set(listed)) == len(listed)
    assert sorted(listed[:1_000]) != listed[:1_000]
    assert len(set(sorted(listed)[:1_000]) & set(listed[:1_000])) < 100


def test_half_of_the_counts_carry_a_book_figure_and_three_in_five_of_these_differ(
    millions: dict[str, pl.DataFrame],
) -> None:
    counts = millions["marketplace"].filter(pl.col("type").cast(pl.String) == "count")
    booked = counts.drop_nulls("expected_quantity")
    assert len(booked) / len(counts) == pytest.approx(0.5, abs=0.01)
    differ = booked.filter(pl.col("expected_quantity") != pl.col("quantity"))
    assert 0.5 < len(differ) / len(booked) < 0.65
    assert booked["expected_quantity"].min() == 0


@pytest.mark.parametrize("profile", ALL)
def test_minutes_come_in_bursts_with_the_mean_rate_of_the_profile(profile: str) -> None:
    """Over some 28 days: p99 of a minute about 8 times the mean, maximum about 40 times."""
    trade = PROFILES[profile]
    loads = []
    start = datetime(2026, 1, 5, tzinfo=UTC)
    timeline = Timeline(start, trade.updates_per_minute, trade.day_curve, key=99)
    day = trade.updates_per_minute * 1_440
    for number in range(30):
        step = max(1, trade.updates_per_minute // 600)
        places = np.arange(number * day, (number + 1) * day, step, dtype=np.int64)
        minutes = timeline.moments(places, np.zeros(len(places), np.int64)) // 60_000_000
        loads.append(minutes)
    first = int(start.timestamp()) // 60
    load = np.bincount(np.concatenate(loads) - first)
    load = load[: len(load) // 1_440 * 1_440].reshape(-1, 1_440)
    assert len(load) >= 24
    usual = load[load.sum(axis=1) < 2 * np.median(load.sum(axis=1))]
    mean = usual.mean()
    assert mean * step == pytest.approx(trade.updates_per_minute, rel=0.05)
    assert 6.5 <= np.quantile(usual, 0.99) / mean <= 9.5
    assert 25 <= usual.max() / mean <= 50
    hours = usual.reshape(-1, 24, 60).mean(axis=(0, 2))
    assert set(np.argsort(hours)[-5:]) <= set(range(9, 18))
    assert hours[:5].max() < hours.max() / 3


def test_an_event_day_has_three_to_four_times_the_updates_of_a_usual_one() -> None:
    timeline = Timeline(datetime(2026, 1, 1, tzinfo=UTC), 600, (1,) * 24, key=5)
    ends = np.arange(0, 600 * 1_440 * 200, 3_000, dtype=np.int64)
    days = timeline.moments(ends, np.zeros(len(ends), np.int64)) // 86_400_000_000
    load = np.unique(days, return_counts=True)[1][:-1]
    ratios = load / np.median(load)
    events = ratios[ratios > 2]
    assert 1 <= len(events) <= 12
    assert ((events > 3) & (events < 4)).all()
    assert (ratios[ratios <= 2] < 1.5).all()


def test_moments_are_the_same_in_any_order_of_asking() -> None:
    places = np.arange(0, 9_000_000, 1_234, dtype=np.int64)
    jitter = mix64(places.astype(np.uint64)) & 0xFFFF

    def timeline() -> Timeline:
        return Timeline(datetime(2026, 1, 5, 8, tzinfo=UTC), 600, tuple(range(1, 25)), key=1)

    whole = timeline().moments(places, jitter)
    backwards = timeline()
    parts = [backwards.moments(p, j) for p, j in zip(places[::-1], jitter[::-1], strict=True)
             for p, j in [(np.array([p]), np.array([j]))]][::-1]  # fmt: skip
    assert np.array_equal(whole, np.concatenate(parts))
    assert (np.diff(whole) >= 0).all()


@pytest.mark.parametrize("step", range(-9 * STEPS, 9 * STEPS + 1, 7))
def test_the_stored_normal_distribution_is_the_normal_distribution(step: int) -> None:
    exact = 0.5 * math.erfc(-step / STEPS / math.sqrt(2))
    assert cumulative(step) / ONE == pytest.approx(exact, abs=2**-49)


@pytest.mark.parametrize("ranks", [1, 2, 1_000, 40_000])
def test_popularity_reaches_every_rank_and_no_other(ranks: int) -> None:
    for popularity in (lognormal_popularity(ranks, 34), zipf_popularity(ranks)):
        pieces = np.arange(4_096, dtype=np.int64)
        for fine in (0, (1 << 20) - 1):
            drawn = popularity.ranks(pieces | fine << 12 | 0x7FFF << 32)
            assert drawn.min() >= 0
            assert drawn.max() <= ranks - 1
            assert (np.diff(drawn) >= 0).all()
        assert popularity.ranks(np.zeros(1, np.int64))[0] == 0
        assert popularity.ranks(np.array([0xFFFFFFFF]))[0] == ranks - 1


def test_a_weighted_table_shares_its_entries_by_weight() -> None:
    shares = np.bincount(weighted_table((1, 2, 5)))
    for share, weight in zip(shares, (1, 2, 5), strict=True):
        assert abs(Fraction(int(share), 4_096) - Fraction(weight, 8)) < Fraction(1, 2_048)


def test_a_quantile_table_meets_its_knots_and_rounds_up_to_whole_units() -> None:
    table = quantile_table(((0, 1), (4_095, 4_096)), unit=6)
    assert table[0] == 6
    assert table[-1] == 4_098
    assert (table % 6 == 0).all()
    assert (np.diff(table) >= 0).all()

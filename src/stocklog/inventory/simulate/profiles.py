"""The three kinds of trade that can be simulated, as literals.

The figures follow measurements of real retail data: sizes, the mix of updates,
the popularity of SKUs, lines a document, updates a minute, the day's curve.
"""

from __future__ import annotations

from dataclasses import dataclass

from stocklog.errors import UsageError

__all__ = ["PROFILES", "Kind", "Profile", "find_profile"]


@dataclass(frozen=True)
class Kind:
    """One kind of update: what it says and how much of a profile it is.

    Attributes:
        type: the update's type.
        reason: the update's reason.
        permille: its share of all updates, in thousandths.
        quantity: name of a quantity table: "line" (small numbers), "receipt" (whole
            cases), "count" (absolute, from 0).
        sign: 1, -1, or 0 for both signs.
        source: first part of the source's name, three letters.
        sources: 0 for a source at each location (`pos-042` at `store-042`), else how many
            sources share all locations (`wms-001` to `wms-004`); these number their
            updates in `source_seq`.
        lines: lines of one document after another, repeated; at most 99 each.
    """

    type: str
    reason: str
    permille: int
    quantity: str
    sign: int
    source: str
    sources: int
    lines: tuple[int, ...]


@dataclass(frozen=True)
class Profile:
    """A kind of trade.

    Attributes:
        name: what `--profile` takes.
        skus: number of listed SKUs.
        sku_style: how SKUs are written; see `texts.sku_texts`.
        sigma_steps: sigma of the lognormal popularity in twentieths; 0 for Zipf with exponent 1.
        locations: number of locations.
        location_style: first part of a location's name.
        updates_per_minute: the mean over a normal day of simulated time.
        day_curve: relative load at each full hour (UTC), straight lines between.
        receipt_scale: receipts are so many twelfths of the table's values.
        sweep_skus: how many SKUs one location carries, all counted in a sweep.
        kinds: the mix; the shares add up to 1,000.
    """

    name: str
    skus: int
    sku_style: str
    sigma_steps: int
    locations: int
    location_style: str
    updates_per_minute: int
    day_curve: tuple[int, ...]
    receipt_scale: int
    sweep_skus: int
    kinds: tuple[Kind, ...]


# Quantiles of the basket sizes of a year of a grocery chain (mean 9.4, median 5), in mixed order.
_BASKET = (5, 1, 12, 2, 24, 1, 8, 3, 35, 1, 6, 15, 1, 4, 18, 2, 10, 1, 50, 7, 3)
_SMALL_BASKET = (1, 2, 1, 3, 1, 1, 4, 1, 2, 6)
_SINGLE = (1, 1, 1, 2, 1, 1, 3)
_DELIVERY = (12, 40, 6, 25, 80)
_SHEET = (10, 25)

_SHOP_HOURS = (
    2, 1, 1, 1, 1, 3, 8, 20, 40, 58, 70, 76, 78, 76, 72, 70, 66, 58, 50, 42, 30, 16, 8, 4,
)  # fmt: skip
_ALWAYS_OPEN = (
    20, 16, 14, 12, 14, 18, 26, 36, 46, 56, 62, 64, 62, 62, 60, 58, 54, 50, 48, 48, 50, 46, 38, 28,
)  # fmt: skip

GROCERY = Profile(
    name="grocery",
    skus=40_000,
    sku_style="number",
    sigma_steps=34,
    locations=240,
    location_style="store",
    updates_per_minute=6_000,
    day_curve=_SHOP_HOURS,
    receipt_scale=12,
    sweep_skus=40_000,
    kinds=(
        Kind("adjustment", "sale", 920, "line", -1, "pos", 0, _BASKET),
        Kind("adjustment", "receipt", 40, "receipt", 1, "wms", 4, _DELIVERY),
        Kind("adjustment", "damage", 10, "line", -1, "hht", 0, _SINGLE),
        Kind("adjustment", "shrinkage", 5, "line", -1, "hht", 0, _SINGLE),
        Kind("transfer", "transfer", 10, "line", 1, "wms", 4, _SHEET),
        Kind("adjustment", "return", 5, "line", 1, "pos", 0, _SINGLE),
        Kind("count", "cycle_count", 10, "count", 1, "hht", 0, _SHEET),
    ),
)

FASHION = Profile(
    name="fashion",
    skus=200_000,
    sku_style="variant",
    sigma_steps=40,
    locations=24,
    location_style="shop",
    updates_per_minute=3_000,
    day_curve=_SHOP_HOURS,
    receipt_scale=6,
    sweep_skus=20_000,
    kinds=(
        Kind("reservation", "reserve", 350, "line", 1, "web", 0, _SMALL_BASKET),
        Kind("adjustment", "sale", 280, "line", -1, "pos", 0, _SMALL_BASKET),
        Kind("adjustment", "return", 120, "line", 1, "pos", 0, _SINGLE),
        Kind("adjustment", "receipt", 80, "receipt", 1, "wms", 2, _DELIVERY),
        Kind("transfer", "transfer", 70, "line", 1, "wms", 2, _SHEET),
        Kind("reservation", "release", 50, "line", -1, "web", 0, _SMALL_BASKET),
        Kind("count", "cycle_count", 40, "count", 1, "hht", 0, _SHEET),
        Kind("adjustment", "correction", 10, "line", 0, "hht", 0, _SINGLE),
    ),
)

MARKETPLACE = Profile(
    name="marketplace",
    skus=1_000_000,
    sku_style="catalogue",
    sigma_steps=0,
    locations=80,
    location_style="fc",
    updates_per_minute=60_000,
    day_curve=_ALWAYS_OPEN,
    receipt_scale=6,
    sweep_skus=20_000,
    kinds=(
        Kind("adjustment", "sale", 520, "line", -1, "api", 0, _SMALL_BASKET),
        Kind("adjustment", "correction", 40, "line", 0, "api", 0, _SINGLE),
        Kind("adjustment", "damage", 20, "line", -1, "api", 0, _SINGLE),
        Kind("adjustment", "shrinkage", 10, "line", -1, "api", 0, _SINGLE),
        Kind("adjustment", "found", 10, "line", 1, "api", 0, _SINGLE),
        Kind("count", "cycle_count", 300, "count", 1, "erp", 0, _DELIVERY),
        Kind("adjustment", "receipt", 50, "receipt", 1, "wms", 8, _DELIVERY),
        Kind("adjustment", "return", 50, "line", 1, "api", 0, _SINGLE),
    ),
)

PROFILES: dict[str, Profile] = {p.name: p for p in (GROCERY, FASHION, MARKETPLACE)}
"""All profiles by name; the first is the default."""


def find_profile(name: str) -> Profile:
    """Return the profile of that name.

    Raises:
        UsageError: there is none; the error names those that exist.
    """
    try:
        return PROFILES[name]
    except (KeyError, TypeError):
        raise UsageError(f"no profile {name!r}", f"Choose one of {', '.join(PROFILES)}.") from None

"""Questions to a store: what the stock is, was, and why. Polars frames out.

with open_ledger() as ledger:
    ledger.stock(location="L042")
    ledger.stock(at="2026-11-24T13:00Z", as_known_at="2026-11-24T14:05Z")
    ledger.why("SKU-1", "L042")
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

from stocklog.errors import StoreError, UsageError
from stocklog.inventory.balances import Balances
from stocklog.ledger.flagged import flags_of
from stocklog.ledger.moments import limits_of, parse_time
from stocklog.ledger.why import lines_of
from stocklog.stores.asof import Limits, balance_of, balances_of_all
from stocklog.stores.model import Names, Position, Store
from stocklog.stores.segments import SegmentInfo
from stocklog.stores.uri import open_store

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]

__all__ = ["DIFF_SCHEMA", "STOCK_SCHEMA", "Ledger", "check_key", "open_ledger"]

STOCK_SCHEMA = {
    "sku": pl.String(),
    "location_id": pl.String(),
    "on_hand": pl.Int64(),
    "reserved": pl.Int64(),
    "available": pl.Int64(),
}
"""Columns of an answer of `Ledger.stock`; `available` is `on_hand` - `reserved`."""

DIFF_SCHEMA = {
    "sku": pl.String(),
    "location_id": pl.String(),
    "on_hand_before": pl.Int64(),
    "on_hand_after": pl.Int64(),
    "on_hand_change": pl.Int64(),
    "reserved_before": pl.Int64(),
    "reserved_after": pl.Int64(),
    "reserved_change": pl.Int64(),
}
"""Columns of an answer of `Ledger.diff`."""

_ON_HAND, _RESERVED = map(Balances.COLUMNS.index, ("on_hand", "reserved"))


def open_ledger(store: str | None = None, *, stream: str = "inventory_updates") -> Ledger:
    """Open a store to ask it; others may write it meanwhile.

    Args:
        store: `sqlite:///file.db` (relative to here), `sqlite:////folder/file.db` or
            `postgresql://user@host/database?schema=NAME`. Left out: the stream's own, in
            the user's state directory.
        stream: whose store that is.

    Returns:
        The ledger; use it in a `with` statement or close it.

    Raises:
        UsageError: the URI cannot be meant.
        StoreError: there is no store, or it cannot be read.
    """
    return Ledger(open_store(store, stream))


class Ledger:
    """Answers questions from a store. Made by `open_ledger`.

    Args:
        store: open; closed with the ledger.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def position(self) -> Position:
        """What the store is of, and where it stands.

        Raises:
            StoreError: it is empty.
        """
        position = self.store.position()
        if position is None:
            raise StoreError(
                f"The store {self.store.where} is empty",
                "Fill it from the log with `stocklog project`",
            )
        return position

    def stock(
        self,
        *,
        sku: str | None = None,
        location: str | None = None,
        at: str | datetime | None = None,
        as_known_at: str | int | datetime | None = None,
    ) -> pl.DataFrame:
        """What is there, now or at any moment.

        Args:
            sku: only of this SKU.
            location: only at this location.
            at: as of what had happened then: RFC 3339 text with a zone, a duration (`2h`
                ago), or an aware datetime.
            as_known_at: as of what the log held then: an offset, or a time of the broker's
                clock in the same forms. Both together tell what was believed at the one
                about the other.

        Returns:
            A frame with the columns of `STOCK_SCHEMA`, a row for each key of which anything
            counts, by SKU and location.

        Raises:
            UsageError: a moment cannot be meant.
            StoreError: the store cannot answer about that moment.
        """
        with self.store.snapshot():
            infos = self.store.segments()
            limits = limits_of(self.store, infos, at, as_known_at)
            if sku is not None and location is not None:
                return self._stock_of_one(infos, sku, location, limits)
            names = self.store.names()
            on_hand, reserved, present = self._all(infos, len(names.key_skus), limits)
            rows = np.flatnonzero(present)
            for wanted, texts, codes in (
                (sku, names.skus, names.key_skus),
                (location, names.locations, names.key_locations),
            ):
                if wanted is not None:
                    code = texts.index_of(wanted)
                    rows = rows[codes[rows] == (-1 if code is None else code)]
            rows = rows[_by_name(names, rows)]
        return _frame(
            names.skus.gather(names.key_skus[rows]),
            names.locations.gather(names.key_locations[rows]),
            on_hand[rows],
            reserved[rows],
        )

    def _stock_of_one(
        self, infos: list[SegmentInfo], sku: str, location: str, limits: Limits
    ) -> pl.DataFrame:
        key = self.store.key(sku, location)
        found = None
        if key is not None:
            if limits == Limits():
                columns = self.store.balances(key)
                found = int(columns[_ON_HAND, 0]), int(columns[_RESERVED, 0])
            else:
                found = balance_of(self.store, infos, key, limits)
        if found is None:
            return pl.DataFrame(schema=STOCK_SCHEMA)
        return _frame([sku], [location], *(np.array([value], np.int64) for value in found))

    def _all(
        self, infos: list[SegmentInfo], keys: int, limits: Limits
    ) -> tuple[I64, I64, NDArray[np.bool_]]:
        if all(limits.covers(info) for info in infos if info.legs):
            on_hand, reserved = self.store.stock()
            return on_hand, reserved, np.ones(keys, np.bool_)
        return balances_of_all(self.store, infos, keys, limits)

    def why(
        self,
        sku: str,
        location: str,
        *,
        start: str | datetime | None = None,
        end: str | datetime | None = None,
        as_known_at: str | int | datetime | None = None,
    ) -> pl.DataFrame:
        """The ledger of one key: every update, what it did, and the balance after it.

        Args:
            sku: of the key.
            location: of the key.
            start: only lines that happened then or later; the balances hold what came before.
            end: only what happened then or earlier.
            as_known_at: only what the log held then.

        Returns:
            A frame in event order with the columns of `WHY_SCHEMA`: `kind` is adjustment,
            count, transfer_out, transfer_in or reservation; `quantity` what it adds, of a
            count what was found; `on_hand` and `reserved` the balances after it; `corrected`
            by how much a count changed what was on hand, else null; `late_after` the highest
            offset that came before this one and happened after it, null if there is none: then
            the update arrived late. A late one changes the balances from its own line on, up
            to the next count.

        Raises:
            UsageError: a moment cannot be meant.
            StoreError: there is no such key, or the store cannot answer about that moment.
        """
        first = -(2**63) if start is None else parse_time(start, "--from")
        with self.store.snapshot():
            infos = self.store.segments()
            limits = limits_of(self.store, infos, end, as_known_at)
            key = self.store.key(sku, location)
            if key is None:
                raise StoreError(
                    f"{self.store.where} has no update of {sku!r} at {location!r}",
                    "`stocklog stock --sku` lists where a SKU is; case counts",
                )
            return lines_of(self.store, infos, key, limits, first)

    def diff(
        self,
        before: str | datetime | None,
        after: str | datetime | None = None,
        *,
        as_known_at: str | int | datetime | None = None,
    ) -> pl.DataFrame:
        """What changed between two moments of happening, by key.

        Args:
            before: the one moment, as `at` of `stock`; `None` is now.
            after: the other.
            as_known_at: only what the log held then.

        Returns:
            A frame with the columns of `DIFF_SCHEMA`, a row for each key whose balances
            differ, the largest change on hand first. A key that was not there yet had 0.

        Raises:
            UsageError: a moment cannot be meant.
            StoreError: the store cannot answer about one of them.
        """
        with self.store.snapshot():
            left, right = (
                self.stock(at=moment, as_known_at=as_known_at) for moment in (before, after)
            )
        both = left.join(right, on=["sku", "location_id"], how="full", suffix="_2", coalesce=True)
        columns = ["sku", "location_id"]
        found = both.select(
            *columns,
            *(
                pl.col(f"{name}{suffix}").fill_null(0).alias(f"{name}_{word}")
                for name in ("on_hand", "reserved")
                for suffix, word in (("", "before"), ("_2", "after"))
            ),
        ).with_columns(
            (pl.col(f"{name}_after") - pl.col(f"{name}_before")).alias(f"{name}_change")
            for name in ("on_hand", "reserved")
        )
        changed = found.filter((pl.col("on_hand_change") != 0) | (pl.col("reserved_change") != 0))
        # The absolute value of the lowest int64 does not fit, so of negative ones.
        largest = pl.min_horizontal("on_hand_change", -pl.col("on_hand_change"))
        also = pl.min_horizontal("reserved_change", -pl.col("reserved_change"))
        return changed.sort(largest, also, *columns).select(*DIFF_SCHEMA)

    def flags(
        self,
        kinds: Collection[str] | None = None,
        *,
        skus: Collection[str] | None = None,
        locations: Collection[str] | None = None,
    ) -> pl.DataFrame:
        """What is out of the ordinary.

        Args:
            kinds: only these of `late`, `duplicate`, `gap`, `reordered`, `moved`, `negative`,
                `unknown_sku`, `unknown_location`; left out: all.
            skus: the SKUs that are known, for `unknown_sku`.
            locations: the locations that are known, for `unknown_location`.

        Returns:
            A frame with the columns of `FLAGS_SCHEMA`. `detail` is for late: by how many
            microseconds; duplicate: the offset of the first delivery; gap: how many numbers
            of `source_seq` are missing; reordered: how far it is below the highest before;
            moved: how far the stock was from the book figure of the count; negative: what is
            on hand. `offset` is null for flags of a key or a name.

        Raises:
            UsageError: a kind is none.
        """
        with self.store.snapshot():
            return flags_of(self.store, self.store.segments(), kinds, skus, locations)

    def reconcile(self, counts: pl.DataFrame) -> pl.DataFrame:
        """Hold a physical count against the book. `stocklog.ledger.reconcile` also posts.

        Args:
            counts: a row for each key that was counted: `sku`, `location_id`, `quantity` (what
                was found, Int64), `occurred_at` (when it was counted, Datetime with zone), and
                `update_id` if it is to be recognised in the history.

        Returns:
            A frame with the columns of `RECONCILE_SCHEMA`: the counted lines in their order,
            then the keys that were not counted. See `stocklog.ledger.reconcile.Reconciliation`.

        Raises:
            StoreError: the store is empty, or begins later than a count.
            UsageError: columns or types that cannot be counts.
        """
        from stocklog.ledger.reconcile import as_counts, reconcile

        return reconcile(self.store, as_counts(counts)).lines

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<stocklog.Ledger of {self.store.where}>"


def _frame(
    skus: pl.Series | list[str], locations: pl.Series | list[str], on_hand: I64, reserved: I64
) -> pl.DataFrame:
    columns = {
        "sku": skus,
        "location_id": locations,
        "on_hand": on_hand,
        "reserved": reserved,
        "available": on_hand - reserved,
    }
    return pl.DataFrame(columns, schema=STOCK_SCHEMA)


def _by_name(names: Names, keys: I64) -> I64:
    """The order of keys by SKU and location; names are compared once each, not once a key."""
    places = len(names.locations)
    skus, locations = _ranks(names.skus), _ranks(names.locations)
    return np.argsort(skus[names.key_skus[keys]] * places + locations[names.key_locations[keys]])


def _ranks(texts: pl.Series) -> I64:
    ranks = np.empty(len(texts), np.int64)
    ranks[texts.arg_sort().to_numpy()] = np.arange(len(texts))
    return ranks


def check_key(text: str) -> tuple[str, str]:
    """Read SKU@LOCATION; the last @ divides.

    Raises:
        UsageError: there is no @, or nothing on one side of it.
    """
    sku, _, location = text.rpartition("@")
    if not sku or not location:
        raise UsageError(f"{text!r} names no key", "Write SKU@LOCATION, for example 4711@L042")
    return sku, location

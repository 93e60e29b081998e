"""A day of a shop: a till that was offline, a count, and what the stock is, was, and why."""

from __future__ import annotations

import tempfile
from contextlib import closing
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from stocklog.demo.telling import Teller, expect
from stocklog.errors import UsageError
from stocklog.ledger.picture import check_picture, draw
from stocklog.ledger.produce import ProducePlan, produce
from stocklog.ledger.producer import Producer
from stocklog.ledger.project import project
from stocklog.ledger.questions import Ledger, open_ledger
from stocklog.stores.uri import open_store
from stocklog.stream import StreamClient

__all__ = ["Day"]

SKU, SHOP = "COFFEE-250", "shop-12"

Row = tuple[str, str, int, str, str]
"""Time of the day, type, quantity, reason, source."""

_MORNING_SALES = ("07:40", "08:10", "08:25", "09:05", "09:50", "10:15")
_NOON_SALES = ("11:00", "11:35", "12:20", "12:45")
_AFTERNOON_SALES = ("13:30", "14:10", "15:00")

MORNING: list[Row] = [
    ("07:00", "count", 60, "opening", "handheld-3"),
    *((at, "adjustment", -2, "sale", "till-7") for at in _MORNING_SALES),
    ("10:30", "adjustment", 48, "receipt", "back-office"),
    *((at, "adjustment", -3, "sale", "till-7") for at in _NOON_SALES),
]
"""60 in the morning, 48 received, 24 sold: 84 at noon."""

AFTERNOON: list[Row] = [
    *((at, "adjustment", -3, "sale", "till-7") for at in _AFTERNOON_SALES),
    ("15:40", "count", 66, "cycle_count", "handheld-3"),
    ("16:20", "transfer", 12, "transfer", "back-office"),
    ("17:05", "adjustment", -1, "damage", "back-office"),
]
"""The log says 75 when 66 are counted; 12 go to another shop, one breaks: 53."""

LATE: list[Row] = [
    *((at, "adjustment", -2, "sale", "till-9") for at in ("13:05", "13:50", "14:25", "15:10")),
    ("16:45", "adjustment", -2, "sale", "till-9"),
]
"""What a till sold while it was offline: four sales before the count, one after it."""


class Day:
    """The second part of the demo, one method for each thing that happens.

    Args:
        client: connected.
        stream: an empty stream.
        tell: shows what happens.
        picture: where the ledger of the item is drawn.
        count: updates of all other items.
    """

    def __init__(
        self,
        client: StreamClient,
        stream: str,
        tell: Teller,
        picture: Path,
        *,
        count: int = 50_000,
    ) -> None:
        self._client, self._stream, self._tell = client, stream, tell
        self._picture, self._count = picture, count
        # Yesterday, so that nothing of it lies in the future.
        self._day = datetime.now(UTC).date() - timedelta(days=1)
        self.facts: dict[str, Any] = {}

    def run(self) -> dict[str, Any]:
        """All of it; the store lives in a temporary folder.

        Returns:
            The measured figures.

        Raises:
            DemoError: an answer is not what it must be.
            StreamError: the broker failed.
            StoreError: the store failed, as on a full disk.
        """
        with tempfile.TemporaryDirectory(prefix="stocklog-demo-") as folder:
            self._store = f"sqlite:///{folder}/day.db"
            self.business()
            with open_ledger(self._store, stream=self._stream) as ledger:
                before = self.evening(ledger)
                self.late_till()
                self.then(ledger, before)
                self.why(ledger)
        return self.facts

    def business(self) -> None:
        """What the log gets in time, and the store that follows it."""
        self._tell.step(
            f"A day of shops: {self._count:,} updates, and between them those of {SKU} at {SHOP}. "
            "`stocklog project` makes stock of them."
        )
        opening = datetime.combine(self._day, time(7), UTC)
        plan = ProducePlan(count=self._count // 2, start=opening)
        produce(self._client, self._stream, plan)
        self._send(MORNING)
        produce(self._client, self._stream, plan)
        self._send(AFTERNOON)
        self._project(2 * (self._count // 2) + len(MORNING) + len(AFTERNOON))

    def evening(self, ledger: Ledger) -> int:
        """The stock before the till reports; the offset up to which that is all that is known."""
        self._tell.step(f"What is there in the evening? `stocklog stock --sku {SKU}`")
        found = ledger.stock(sku=SKU)
        self._tell.table(found)
        expect(f"{SKU} at {SHOP}", _on_hand(found), 53)
        return ledger.position.last_offset

    def late_till(self) -> None:
        """Sales of hours ago arrive."""
        self._tell.step(
            "Till 9 was offline since 13:00. Now its 5 sales arrive, behind a count at 15:40: four "
            "happened before it, so they change what was, and one after it, so it changes what is."
        )
        self._send(LATE)
        self._project(len(LATE))

    def then(self, ledger: Ledger, before: int) -> None:
        """Any moment, by two clocks."""
        now = ledger.stock(sku=SKU, location=SHOP)
        expect(f"{SKU} after the late till", _on_hand(now), 51)
        self._tell.fact("on hand now: 51, it was 53")
        moment = self._time("14:30")
        believed = ledger.stock(sku=SKU, location=SHOP, at=moment, as_known_at=before)
        true = ledger.stock(sku=SKU, location=SHOP, at=moment)
        expect("what was believed about 14:30", _on_hand(believed), 78)
        expect("what is known about 14:30", _on_hand(true), 72)
        self._tell.fact(
            "on hand at 14:30: 78 as the log knew it then, 72 as it knows now: "
            f"`stocklog stock --at {moment:%Y-%m-%dT%H:%MZ} --as-known-at {before}`, and without"
        )

    def why(self, ledger: Ledger) -> None:
        """The item's own ledger."""
        self._tell.step(f"Why 51? `stocklog why {SKU}@{SHOP} --plot FILE`; from 13:00 on:")
        lines = ledger.why(SKU, SHOP)
        afternoon = lines.filter(pl.col("occurred_at") >= self._time("13:00"))
        self._tell.table(
            afternoon.select(
                pl.col("occurred_at").dt.strftime("%H:%M").alias("time"),
                *("kind", "quantity", "on_hand", "corrected", "late_after", "reason", "source"),
            )
        )
        late = lines["late_after"].count()
        expect("late updates", late, len(LATE))
        count = lines.filter(pl.col("reason") == "cycle_count")
        expect("what the count corrected", count["corrected"].to_list(), [-1])
        self._tell.fact(
            "late_after: it came in behind that offset. With the late sales in their place the "
            "count at 15:40 is short of 1, not of 9."
        )
        self.facts["late"] = late
        self._draw(lines)

    def _draw(self, lines: pl.DataFrame) -> None:
        try:
            check_picture(self._picture)
        except UsageError as problem:
            self._tell.fact(f"{problem.what}: {problem.remedy}")
            return
        self._picture.parent.mkdir(parents=True, exist_ok=True)
        draw(lines, f"{SKU}@{SHOP}", self._picture)
        self._tell.fact(f"its picture: {self._picture}")
        self.facts["picture"] = str(self._picture)

    def _project(self, updates: int) -> None:
        with closing(open_store(self._store, self._stream, writing=True)) as store:
            done = project(self._client, self._stream, store, until_end=True)
        expect("updates projected", done.updates, updates)
        self._tell.fact(
            f"{done.updates:,} updates applied in {done.seconds:.2f} s; "
            f"the store stands at offset {done.last_offset:,}"
        )

    def _send(self, rows: list[Row]) -> None:
        with Producer(self._client, self._stream) as producer:
            producer.send(self._updates(rows))

    def _updates(self, rows: list[Row]) -> pl.DataFrame:
        times, types, quantities, reasons, sources = zip(*rows, strict=True)
        return pl.DataFrame(
            {
                "update_id": [f"{source}/{at}" for source, at in zip(sources, times, strict=True)],
                "type": types,
                "sku": SKU,
                "location_id": SHOP,
                "to_location_id": ["shop-7" if kind == "transfer" else None for kind in types],
                "quantity": quantities,
                "occurred_at": [self._time(at) for at in times],
                "reason": reasons,
                "source": sources,
            }
        )

    def _time(self, clock: str) -> datetime:
        return datetime.combine(self._day, time.fromisoformat(clock), UTC)


def _on_hand(found: pl.DataFrame) -> int | None:
    """Of the one shop, `None` if the answer does not have it."""
    rows = found.filter(pl.col("location_id") == SHOP)["on_hand"].to_list()
    return rows[0] if len(rows) == 1 else None

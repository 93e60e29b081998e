"""One inventory update in hand: the row face of the record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from stocklog.errors import InvalidUpdateError
from stocklog.inventory import timestamps
from stocklog.inventory.fields import FIELDS, UPDATE_SCHEMA, plainly_valid, problems

__all__ = ["Update", "invalid"]


def invalid(reasons: list[str], which: str = "") -> InvalidUpdateError:
    """The error for one update that breaks rules.

    Args:
        reasons: at least one text from `fields.problems`.
        which: where it stands, such as "row 7"; empty if there is only one.
    """
    where = f"the update in {which}" if which else "the update"
    return InvalidUpdateError(
        f"{where} is not valid: {'; '.join(reasons)}",
        "Correct it at its source; nothing was sent",
        reasons=tuple(reasons),
    )


class Update(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One inventory update; it cannot be made with values that break a rule.

    Args:
        update_id: idempotency key made by the source, 1 to 64 characters.
        type: `adjustment`, `count`, `transfer` or `reservation`.
        sku: article, 1 to 64 characters, compared exactly.
        location_id: where the stock lies; for a transfer where it leaves from.
        quantity: int64 in the base unit; signed and not 0 for adjustments and
            reservations, 0 or more for counts, 1 or more for transfers.
        occurred_at: when it happened at the source; a datetime with a zone, or RFC 3339
            text. Kept in UTC.
        reason: one of `REASONS`.
        source: the producing system or file, 1 to 64 characters.
        to_location_id: transfers only: where the stock goes.
        expected_quantity: counts only: the book figure that the counter saw.
        reference: order, purchase order or count sheet, 1 to 256 characters.
        uom: UN/ECE Rec 20 code; EA is meant when absent.
        source_seq: int64 that rises by one per source.
        extra: text of one JSON object holding the unknown fields that came along.

    Raises:
        InvalidUpdateError: a rule is broken; `reasons` names each.
    """

    update_id: str
    type: str
    sku: str
    location_id: str
    quantity: int
    occurred_at: datetime
    reason: str
    source: str
    to_location_id: str | None = None
    expected_quantity: int | None = None
    reference: str | None = None
    uom: str | None = None
    source_seq: int | None = None
    extra: str | None = None

    def __post_init__(self) -> None:
        moment: Any = self.occurred_at
        in_utc = type(moment) is datetime and moment.tzinfo is UTC
        # A datetime in UTC cannot lie outside the years that the record allows.
        micros: Any = 0 if in_utc else self._bring_to_utc(moment)
        if self.extra is None and plainly_valid(self, micros):
            return
        values = {name: getattr(self, name) for name in UPDATE_SCHEMA}
        values["occurred_at"] = micros
        reasons = problems(values)
        if reasons:
            raise invalid(reasons)

    def _bring_to_utc(self, moment: Any) -> int | ValueError | None:
        """Keep the time as a datetime in UTC, if it can be read: its microseconds, or why not."""
        try:
            if isinstance(moment, str):
                micros = timestamps.parse(moment)
            elif isinstance(moment, datetime):
                micros = timestamps.from_datetime(moment)
            else:
                return None if moment is None else ValueError(_not_a_time(moment))
            msgspec.structs.force_setattr(self, "occurred_at", timestamps.to_datetime(micros))
        except (ValueError, OverflowError) as error:
            return ValueError(f"occurred_at is {str(moment)[:40]!r}: {error}")
        return micros

    @property
    def occurred_micros(self) -> int:
        """`occurred_at` in microseconds since 1970, UTC."""
        return timestamps.from_datetime(self.occurred_at)

    def to_dict(self) -> dict[str, Any]:
        """The fields that are present, in the order of the record."""
        values = ((name, getattr(self, name)) for name in (*FIELDS, "extra"))
        return {name: value for name, value in values if value is not None}


def _not_a_time(moment: object) -> str:
    return f"occurred_at is {moment!r}: it must be a datetime with a zone or RFC 3339 text"

"""The generator's face: endless, reproducible inventory updates as Arrow batches."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stocklog.errors import UsageError
from stocklog.inventory.arrow_arrays import text_array
from stocklog.inventory.simulate import dirt as dirt_module
from stocklog.inventory.simulate.blocks import BLOCK, Block, Blocks, make_codes
from stocklog.inventory.simulate.profiles import find_profile
from stocklog.inventory.simulate.texts import fixed_width_texts, sku_texts

__all__ = ["MAX_BATCH", "SEEDED_START", "Simulator"]

SEEDED_START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
"""When simulated time begins if a seed is given and no start: a Monday morning."""

MAX_BATCH = 10_000_000
"""Most updates that one batch may have."""

_FIRST_YEAR, _LAST_YEAR = 1970, 9000
_SOURCE_PREFIX = re.compile(r"[A-Za-z0-9._:-]{0,24}")

_CODES = pa.dictionary(pa.int32(), pa.string())
_SCHEMA = pa.schema(
    [
        pa.field("update_id", pa.string(), nullable=False),
        pa.field("type", _CODES, nullable=False),
        pa.field("sku", _CODES, nullable=False),
        pa.field("location_id", _CODES, nullable=False),
        pa.field("quantity", pa.int64(), nullable=False),
        pa.field("occurred_at", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("reason", _CODES, nullable=False),
        pa.field("source", _CODES, nullable=False),
        pa.field("to_location_id", _CODES),
        pa.field("expected_quantity", pa.int64()),
        pa.field("source_seq", pa.int64()),
    ]
)


class Simulator:
    """Makes inventory updates without end, in the order in which a log would get them.

    The updates depend on the arguments alone: not on the machine, nor on how they are cut into
    batches. Every update is valid. `update_id` is `source/document/line`, where the document
    holds a tag of the run (profile, seed, start, dirt), so ids are unique within a run and
    differ between runs. Stock starts at 0: there are no openings, and a key may go negative.

    Simulated time advances as the profile's trade does (on average 6,000 updates a minute for
    "grocery", 3,000 for "fashion", 60,000 for "marketplace"), in bursts and with the curve of a
    day. Sources of warehouses (`wms-001` ...) number their updates in `source_seq`, from 1; tills
    and hand-held terminals do not. About half of the counts carry `expected_quantity`. `reference`,
    `uom` and unknown fields are never there.

    Args:
        profile: "grocery", "fashion" or "marketplace".
        seed: what everything is drawn from, a whole number from 0. Without one, a new one is
            drawn from the operating system and kept in `seed`.
        start: when simulated time begins; must have a zone. Without one: SEEDED_START if a seed
            was given, else now.
        dirt: add what real sources do: late updates (1 % by minutes, 0.05 % by hours), repeated
            deliveries (0.5 %), SKUs that no list has (0.1 %), counts in sweeps (2 %). Without
            it `occurred_at` never falls.
        source_prefix: what every source's name begins with, up to 24 letters, digits and `._:-`.

    Attributes:
        profile: name of the profile.
        seed: the seed; with it and `start` the same run can be made again or gone on with.
        start: when simulated time begins, UTC.
        dirt: whether there is dirt.
        source_prefix: what every source's name begins with.
        schema: the Arrow schema of every batch.
        position: how many updates were made or skipped so far.

    Raises:
        UsageError: an argument cannot be meant.
    """

    BLOCK = BLOCK
    """Updates that are drawn together: batches of this size, from a multiple of it on, are
    cheapest."""

    def __init__(
        self,
        profile: str = "grocery",
        seed: int | None = None,
        start: datetime | None = None,
        *,
        dirt: bool = False,
        source_prefix: str = "",
    ) -> None:
        found = find_profile(profile)
        _check_prefix(source_prefix)
        self.profile = found.name
        self.start = _find_start(start, seeded=seed is not None)
        self.seed = secrets.randbits(63) if seed is None else _check_seed(seed)
        self.dirt = dirt
        self.source_prefix = source_prefix
        self.schema = _SCHEMA
        self.position = 0
        self.listed_skus = found.skus
        codes = make_codes(found, source_prefix)
        self._blocks = Blocks(
            found,
            codes,
            seed=self.seed,
            start=self.start,
            dirty=dirt,
        )
        self._dictionaries = {
            "type": text_array(codes.types),
            "sku": sku_texts(found.sku_style, found.skus, dirt_module.UNLISTED if dirt else 0),
            "location_id": text_array(codes.locations),
            "reason": text_array(codes.reasons),
            "source": text_array(codes.sources),
        }
        self._dictionaries["to_location_id"] = self._dictionaries["location_id"]
        self._block: tuple[int, Block] | None = None

    @property
    def dictionaries(self) -> dict[str, pa.StringArray]:
        """The dictionary of each text column; the same for every batch."""
        return dict(self._dictionaries)

    def batch(self, n: int) -> pa.RecordBatch:
        """Make the next n updates.

        Args:
            n: how many, from 0 to MAX_BATCH.

        Returns:
            A batch with `schema`: text columns other than `update_id` are dictionary-encoded
            (int32 codes) over `dictionaries`, whose memory is the same in every batch. Codes
            of `sku` are ranks: 0 is the best seller.

        Raises:
            UsageError: n is out of range.
        """
        if not 0 <= n <= MAX_BATCH:
            raise UsageError(f"a batch of {n:,} updates", f"Ask for 0 to {MAX_BATCH:,} at a time.")
        pieces = self._pieces(self.position, self.position + n)
        self.position += n
        columns = (
            pieces[0] if len(pieces) == 1 else [_join(parts) for parts in zip(*pieces, strict=True)]
        )
        return self._wrap(_texts([piece[0] for piece in pieces]), columns)

    def skip(self, n: int) -> None:
        """Pass over the next n updates without making them; takes no time however many.

        Raises:
            UsageError: n is negative.
        """
        if n < 0:
            raise UsageError(f"cannot skip {n:,} updates", "Make a new Simulator to go back.")
        self.position += n

    def _pieces(self, begin: int, end: int) -> list[list[npt.NDArray[np.generic]]]:
        """Cut updates `begin` to `end` out of their blocks: the columns of each piece."""
        pieces = []
        for number in range(begin // BLOCK, max(end - 1, begin) // BLOCK + 1):
            first = number * BLOCK
            cut = slice(max(begin - first, 0), min(end - first, BLOCK))
            pieces.append([column[cut] for column in self._draw(number).columns()])
        return pieces

    def _draw(self, number: int) -> Block:
        """Draw a block, or take the last one if it was not used up."""
        if self._block is None or self._block[0] != number:
            self._block = (number, self._blocks.draw(number))
        return self._block[1]

    def _wrap(self, ids: pa.StringArray, columns: list[Any]) -> pa.RecordBatch:
        _, types, skus, places, quantities, moments, reasons, sources, *optional = columns
        to_places, transfers, expected, has_expected, seqs, has_seq = optional
        arrays = [
            ids,
            self._coded("type", types),
            self._coded("sku", skus),
            self._coded("location_id", places),
            _numbers(pa.int64(), quantities),
            _numbers(pa.timestamp("us", "UTC"), moments),
            self._coded("reason", reasons),
            self._coded("source", sources),
            self._coded("to_location_id", to_places, transfers),
            _numbers(pa.int64(), expected, has_expected),
            _numbers(pa.int64(), seqs, has_seq),
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)

    def _coded(self, name: str, codes: Any, present: Any = None) -> pa.DictionaryArray:
        indices = _numbers(pa.int32(), codes, present)
        return pa.DictionaryArray.from_arrays(indices, self._dictionaries[name], safe=False)


def _numbers(kind: pa.DataType, values: Any, present: Any = None) -> pa.Array:
    """Wrap a column without copying it; `present` is its mask, None if every row has a value."""
    mask, nulls = None, 0
    if present is not None:
        mask = pa.py_buffer(np.packbits(present, bitorder="little"))
        nulls = len(present) - int(np.count_nonzero(present))
    return pa.Array.from_buffers(kind, len(values), [mask, pa.py_buffer(values)], nulls)


def _join(parts: tuple[Any, ...]) -> Any:
    """Join a column's pieces; ids (two-dimensional, of different widths) are joined elsewhere."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts[0].ndim == 1 else None


def _texts(pieces: list[Any]) -> pa.StringArray:
    """Join the ids of all pieces; each piece has a width of its own."""
    if len(pieces) == 1:
        return fixed_width_texts(pieces[0])
    lengths = np.repeat([p.shape[1] for p in pieces], [p.shape[0] for p in pieces])
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    data = np.concatenate([piece.ravel() for piece in pieces])
    return pa.StringArray.from_buffers(len(lengths), pa.py_buffer(offsets), pa.py_buffer(data))


def _check_prefix(prefix: str) -> None:
    if not _SOURCE_PREFIX.fullmatch(prefix):
        raise UsageError(
            f"source prefix {prefix!r}", "Use at most 24 letters, digits and the signs ._:-"
        )


def _check_seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UsageError(f"seed {seed!r}", "A seed is a whole number from 0.")
    return seed


def _find_start(start: datetime | None, *, seeded: bool) -> datetime:
    if start is None:
        return SEEDED_START if seeded else datetime.now(UTC)
    if start.tzinfo is None or start.utcoffset() is None:
        raise UsageError(
            f"start {start.isoformat()} names no time zone",
            "Give one, for example 2026-01-05T08:00:00Z.",
        )
    start = start.astimezone(UTC)
    if not _FIRST_YEAR <= start.year < _LAST_YEAR:
        raise UsageError(
            f"start {start.isoformat()}", f"Give a year from {_FIRST_YEAR} to {_LAST_YEAR - 1}."
        )
    return start

"""Draws one block of updates, from its number alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from stocklog.inventory.simulate import dirt
from stocklog.inventory.simulate.layouts import Bools, Codes, Layout, make_layouts
from stocklog.inventory.simulate.profiles import Profile
from stocklog.inventory.simulate.quantities import expected_quantities, quantity_tables
from stocklog.inventory.simulate.tables import (
    DRAW_BITS,
    Int64s,
    Popularity,
    lognormal_popularity,
    weighted_table,
    zipf_popularity,
)
from stocklog.inventory.simulate.texts import Bytes, base32, digits, numbered
from stocklog.inventory.simulate.timeline import Timeline

__all__ = ["BLOCK", "Block", "Blocks", "make_codes"]

BLOCK = 20_000
"""Updates that are drawn together."""

Int32s = npt.NDArray[np.int32]

_DRAW_MASK = (1 << DRAW_BITS) - 1
_TAG_WIDTH = 8
_FOUR_DIGITS = digits(np.arange(10_000, dtype=np.int64), 4)
_SCHEME = "stocklog simulate 1"
"""Part of every key: to be raised when the same seed is meant to give other updates."""


@dataclass(frozen=True)
class Block:
    """Columns of the updates of one block; text columns are codes.

    Attributes:
        update_ids: uint8[n, width], ASCII.
        types: int32[n].
        skus: int32[n].
        locations: int32[n].
        quantities: int64[n].
        moments: int64[n], microseconds since 1970.
        reasons: int32[n].
        sources: int32[n].
        to_locations: int32[n], where `transfers`.
        transfers: bool[n].
        expected: int64[n], where `has_expected`.
        has_expected: bool[n].
        source_seqs: int64[n], where `has_source_seq`.
        has_source_seq: bool[n].
    """

    update_ids: Bytes
    types: Int32s
    skus: Int32s
    locations: Int32s
    quantities: Int64s
    moments: Int64s
    reasons: Int32s
    sources: Int32s
    to_locations: Int32s
    transfers: Bools
    expected: Int64s
    has_expected: Bools
    source_seqs: Int64s
    has_source_seq: Bools

    def columns(self) -> list[npt.NDArray[np.generic]]:
        """Return the columns in the order of the attributes."""
        return list(vars(self).values())


def make_codes(profile: Profile, source_prefix: str) -> Codes:
    """List what the codes of a profile's columns stand for."""
    sources: list[str] = []
    first: dict[tuple[str, int], int] = {}
    for kind in profile.kinds:
        key = (kind.source, kind.sources)
        if key not in first:
            first[key] = len(sources)
            sources += numbered(source_prefix + kind.source, kind.sources or profile.locations, 3)
    return Codes(
        types=list(dict.fromkeys(kind.type for kind in profile.kinds)),
        reasons=list(dict.fromkeys(kind.reason for kind in profile.kinds)),
        locations=numbered(profile.location_style, profile.locations, 3),
        sources=sources,
        first_source=first,
    )


class Blocks:
    """Draws blocks by number. The same arguments give the same blocks on every machine.

    Args:
        profile: the kind of trade.
        codes: codes of its columns, from `make_codes`.
        seed: what everything is drawn from, not negative.
        start: when simulated time begins.
        dirty: whether to add dirt.
    """

    def __init__(
        self,
        profile: Profile,
        codes: Codes,
        *,
        seed: int,
        start: datetime,
        dirty: bool,
    ) -> None:
        self._profile = profile
        self._dirty = dirty
        # Without repetitions; with dirt, repeated deliveries fill the rest of a block.
        self._rows = BLOCK - dirt.REPEATED if dirty else BLOCK
        self._layouts = make_layouts(profile, codes, self._rows)
        self._documents = len(self._layouts[0].starts)
        self._words = BLOCK + self._documents + dirt.REPEAT_WORDS + 1
        draws = _digest(_SCHEME, profile.name, str(seed))
        self._key = int.from_bytes(draws)
        self._random = np.random.PCG64(self._key)
        self._next = 0
        run = _digest(_SCHEME, profile.name, str(seed), start.isoformat(), str(dirty))
        tag = base32(int.from_bytes(run), _TAG_WIDTH)
        self._popularity = _popularity(profile)
        self._places = weighted_table(tuple(60 + n * 37 % 101 for n in range(profile.locations)))
        self._quantities = quantity_tables(profile.receipt_scale)
        self._timeline = Timeline(
            start, profile.updates_per_minute, profile.day_curve, int.from_bytes(draws[:8])
        )
        heads = "".join(f"{name}/{tag}-" for name in codes.sources).encode()
        self._source_heads = np.frombuffer(heads, np.uint8).reshape(len(codes.sources), -1)
        self._schedule = dirt.Schedule(profile.sweep_skus // BLOCK if dirty else 0)
        self._counting = next(k for k in profile.kinds if k.type == "count")
        self._codes = codes

    def draw(self, number: int) -> Block:
        """Draw the block with this number, from 0. It has BLOCK updates.

        Blocks may be drawn in any order; in rising order without gaps is quickest.
        """
        words = self._draw_words(number)
        sweeps = self._schedule.sweep_blocks_before(number)
        sweep = self._schedule.sweep_of(number)
        if sweep is not None:
            return self._sweep(number - sweeps, sweeps, sweep, words)
        block = self._regular(number - sweeps, sweeps, words)
        if not self._dirty:
            return block
        order = dirt.arrival_order(self._rows, words[-dirt.REPEAT_WORDS :])
        return Block(*(column.take(order, axis=0) for column in block.columns()))  # type: ignore[arg-type]

    def _draw_words(self, number: int) -> Int64s:
        """Return the random words of a block: each block has its own stretch of the sequence."""
        if number != self._next:
            self._random = np.random.PCG64(self._key).advance(number * self._words)
        self._next = number + 1
        words: npt.NDArray[np.uint64] = self._random.random_raw(self._words)
        return words.view(np.int64)

    def _regular(self, regular: int, sweeps: int, words: Int64s) -> Block:
        layout = self._layouts[int(words[BLOCK]) % len(self._layouts)]
        rows = words[: self._rows]
        documents = words[BLOCK + 1 : BLOCK + 1 + self._documents]
        locations = self._places.take(documents & _DRAW_MASK)
        sources = layout.source_base + layout.source_by_location * locations
        numbers = regular * self._rows + layout.starts
        moments = self._timeline.moments(numbers, (documents >> 12) & 0xFFFF)
        skus = self._popularity.ranks(rows)
        if self._dirty:
            moments -= dirt.delays(documents)
            unlisted = dirt.unlisted_rows(rows)
            skus[unlisted] = self._profile.skus + skus[unlisted] % dirt.UNLISTED
        draws = (rows >> 32) & _DRAW_MASK
        draws += layout.quantity_base
        quantities = self._quantities.take(draws)
        expected, has_expected = _expected(layout.counts, quantities, rows)
        return Block(
            update_ids=self._update_ids(layout, sources, regular * self._documents + sweeps),
            types=layout.types,
            skus=skus.astype(np.int32),
            locations=np.repeat(locations.astype(np.int32), layout.lengths),
            quantities=quantities,
            moments=np.repeat(moments, layout.lengths),
            reasons=layout.reasons,
            sources=np.repeat(sources.astype(np.int32), layout.lengths),
            to_locations=self._to_locations(layout, locations, documents),
            transfers=layout.is_transfer,
            expected=expected,
            has_expected=has_expected,
            source_seqs=self._source_seqs(layout, regular),
            has_source_seq=layout.is_numbered,
        )

    def _to_locations(self, layout: Layout, locations: Int64s, documents: Int64s) -> Int32s:
        """Send each transfer to another location than its own."""
        count = self._profile.locations
        hop = 1 + ((documents.take(layout.transfer_documents) >> 28) & 0xFFFF) % (count - 1)
        values = np.zeros(self._rows, np.int32)
        values[layout.transfers] = (locations.take(layout.transfer_documents) + hop) % count
        return values

    def _source_seqs(self, layout: Layout, regular: int) -> Int64s:
        values = np.zeros(self._rows, np.int64)
        values[layout.numbered] = regular * layout.numbers_step + layout.numbers
        return values

    def _update_ids(self, layout: Layout, sources: Int64s, first_document: int) -> Bytes:
        """Write `source/document/line`; a document's number holds the run's tag."""
        heads = self._id_heads(sources, first_document, room=2)
        # Whole ids are gathered as one item each; the line is written into them afterwards.
        width = heads.shape[1]
        ids = heads.view(f"V{width}").ravel().take(layout.documents)
        rows = ids.view(np.uint8).reshape(-1, width)
        rows[:, -2] = layout.line_digits[:, 0]
        rows[:, -1] = layout.line_digits[:, 1]
        return rows

    def _id_heads(self, sources: Int64s, first_document: int, room: int) -> Bytes:
        """Write `source/document/` with room for the line's digits behind."""
        end = first_document + len(sources)
        upper_width = max(7, len(str(end - 1))) - 4
        head = self._source_heads.shape[1]
        width = head + upper_width + 5
        out = np.empty((len(sources), width + room), np.uint8)
        out[:, :head] = self._source_heads.take(sources, axis=0)
        # Documents are numbered one after another: the last four digits are runs of a table.
        for upper in range(first_document // 10_000, (end - 1) // 10_000 + 1):
            low = max(first_document, upper * 10_000)
            high = min(end, (upper + 1) * 10_000)
            part = out[low - first_document : high - first_document]
            text = f"{upper:0{upper_width}d}".encode()
            part[:, head : width - 5] = np.frombuffer(text, np.uint8)
            part[:, width - 5 : width - 1] = _FOUR_DIGITS[
                low - upper * 10_000 : high - upper * 10_000
            ]
        out[:, width - 1] = ord("/")
        return out

    def _sweep(self, regular: int, sweeps: int, sweep: tuple[int, int], words: Int64s) -> Block:
        """Count a part of one location's SKUs; handed in late, when the counting is over."""
        which, part = sweep
        kind = self._counting
        location = (which * 37 + 5) % self._profile.locations
        source = self._codes.first_source[kind.source, kind.sources] + location
        skus = part * BLOCK + np.arange(BLOCK, dtype=np.int64)
        end = self._timeline.moments(
            np.array([regular * self._rows], np.int64), np.zeros(1, np.int64)
        )
        draws = (words[:BLOCK] >> 32) & _DRAW_MASK
        table = self._layouts[0].quantity_base[self._layouts[0].counts[0]]
        quantities = self._quantities.take(draws + table)
        expected, has_expected = _expected(np.arange(BLOCK), quantities, words[:BLOCK])
        document = regular * self._documents + sweeps
        head = self._id_heads(np.array([source], np.int64), document, room=0)
        lines = digits(np.arange(1, BLOCK + 1, dtype=np.int64), 5)
        return Block(
            update_ids=np.hstack([np.broadcast_to(head, (BLOCK, head.shape[1])), lines]),
            types=_full(self._codes.types.index(kind.type)),
            skus=skus.astype(np.int32),
            locations=_full(location),
            quantities=quantities,
            moments=end - dirt.SWEEP_US + skus * dirt.SWEEP_US // self._profile.sweep_skus,
            reasons=_full(self._codes.reasons.index(kind.reason)),
            sources=_full(source),
            to_locations=_full(0),
            transfers=np.zeros(BLOCK, np.bool_),
            expected=expected,
            has_expected=has_expected,
            source_seqs=np.zeros(BLOCK, np.int64),
            has_source_seq=np.zeros(BLOCK, np.bool_),
        )


def _popularity(profile: Profile) -> Popularity:
    if profile.sigma_steps:
        return lognormal_popularity(profile.skus, profile.sigma_steps)
    return zipf_popularity(profile.skus)


def _expected(counts: Int64s, quantities: Int64s, words: Int64s) -> tuple[Int64s, Bools]:
    places, figures = expected_quantities(quantities.take(counts), words.take(counts))
    values = np.zeros(len(quantities), np.int64)
    present = np.zeros(len(quantities), np.bool_)
    rows = counts.take(places)
    values[rows] = figures
    present[rows] = True
    return values, present


def _full(code: int) -> Int32s:
    return np.full(BLOCK, code, np.int32)


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\n".join(parts).encode()).digest()

"""Layouts: where the documents of a block lie, and everything that follows from that alone.

A block is 20,000 updates made together. It is a row of documents (a receipt of a
till, a delivery, a count sheet), each of one kind, one source, one location and
one moment. The number of updates of each kind in a block is fixed, so the mix is
exact in every block, and so are the documents of each kind; only their order
differs, and a few orders are prepared beforehand. So most columns of a block
are ready before it is drawn, and the running numbers at its start follow from
its number without a look at the blocks before.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle

import numpy as np
import numpy.typing as npt

from stocklog.inventory.simulate.profiles import Kind, Profile
from stocklog.inventory.simulate.tables import DRAW_BITS, Int64s
from stocklog.inventory.simulate.texts import Bytes, digits
from stocklog.inventory.simulate.timeline import mix64

__all__ = ["LAYOUTS", "QUANTITY_CLASSES", "Bools", "Codes", "Layout", "make_layouts"]

Bools = npt.NDArray[np.bool_]

LAYOUTS = 16
"""Orders of documents that are prepared; each block picks one."""

QUANTITY_CLASSES = tuple(
    (name, sign) for name in ("line", "receipt", "count") for sign in (-1, 0, 1)
)


@dataclass(frozen=True)
class Codes:
    """What the integer codes of the columns stand for.

    Attributes:
        types: update types.
        reasons: reasons.
        locations: names of locations.
        sources: names of sources, all of the same length.
        first_source: for (letters, number of shared sources) of a kind: the code of the first.
    """

    types: list[str]
    reasons: list[str]
    locations: list[str]
    sources: list[str]
    first_source: dict[tuple[str, int], int]


@dataclass(frozen=True)
class Layout:
    """One order of a block's documents.

    Attributes of documents (d of them, in order):
        starts: int64[d], the document's first row.
        lengths: int64[d], its rows.
        source_base: int64[d], code of its source, or of the source at location 0.
        source_by_location: int64[d], 1 where the location's number is to be added, else 0.

    Attributes of rows (n of them):
        documents: int64[n], the row's document.
        line_digits: uint8[n, 2], the row's line in its document from 01, ASCII.
        types: int32[n], codes.
        reasons: int32[n], codes.
        quantity_base: int64[n], where the row's quantity table begins.
        transfers: int64[], rows that are transfers.
        transfer_documents: int64[], the documents of these.
        is_transfer: bool[n].
        counts: int64[], rows that are counts.
        numbered: int64[], rows whose source numbers its updates.
        is_numbered: bool[n].
        numbers: int64[], for these: the number within the block, from 1.
        numbers_step: int64[], for these: how many numbers the source uses up in each block.
    """

    starts: Int64s
    lengths: Int64s
    source_base: Int64s
    source_by_location: Int64s
    documents: Int64s
    line_digits: Bytes
    types: np.ndarray[tuple[int], np.dtype[np.int32]]
    reasons: np.ndarray[tuple[int], np.dtype[np.int32]]
    quantity_base: Int64s
    transfers: Int64s
    transfer_documents: Int64s
    is_transfer: Bools
    counts: Int64s
    numbered: Int64s
    is_numbered: Bools
    numbers: Int64s
    numbers_step: Int64s


def make_layouts(profile: Profile, codes: Codes, rows: int) -> list[Layout]:
    """Prepare the layouts of a profile.

    Args:
        profile: the kinds and their shares.
        codes: codes of the columns.
        rows: updates in a block.

    Returns:
        LAYOUTS layouts with the same documents in different order.
    """
    kinds, lengths, sources = _documents(profile, rows)
    layouts = []
    for number in range(LAYOUTS):
        draws = mix64(np.arange(len(kinds), dtype=np.uint64) + np.uint64(number << 32))
        order = np.argsort(draws, kind="stable")
        layouts.append(_lay_out(profile, codes, kinds[order], lengths[order], sources[order]))
    return layouts


def _documents(profile: Profile, rows: int) -> tuple[Int64s, Int64s, Int64s]:
    """Cut the rows of each kind into documents: kind, length and shared source of each."""
    kinds: list[int] = []
    lengths: list[int] = []
    sources: list[int] = []
    for number, (kind, left) in enumerate(zip(profile.kinds, _shares(profile, rows), strict=True)):
        for length in cycle(kind.lines):
            if left == 0:
                break
            kinds.append(number)
            lengths.append(min(length, left))
            sources.append(len(sources) % kind.sources if kind.sources else 0)
            left -= lengths[-1]
    return np.array(kinds, np.int64), np.array(lengths, np.int64), np.array(sources, np.int64)


def _shares(profile: Profile, rows: int) -> list[int]:
    """Share the rows among the kinds; what does not divide goes to the largest kind."""
    shares = [rows * kind.permille // 1_000 for kind in profile.kinds]
    shares[shares.index(max(shares))] += rows - sum(shares)
    return shares


def _lay_out(
    profile: Profile, codes: Codes, kinds: Int64s, lengths: Int64s, shared: Int64s
) -> Layout:
    starts = np.cumsum(lengths) - lengths
    documents = np.repeat(np.arange(len(kinds), dtype=np.int64), lengths)
    by_kind = _KindColumns.of(profile.kinds, codes)
    row_kinds = kinds.take(documents)
    source_base = by_kind.source_base.take(kinds) + shared
    is_transfer = by_kind.transfers.take(row_kinds) == 1
    is_numbered = by_kind.numbered.take(row_kinds) == 1
    transfers = np.flatnonzero(is_transfer)
    numbered = np.flatnonzero(is_numbered)
    lines = np.arange(1, len(documents) + 1, dtype=np.int64) - starts.take(documents)
    numbers, step = _running_numbers(source_base.take(documents.take(numbered)))
    return Layout(
        starts=starts,
        lengths=lengths,
        source_base=source_base,
        source_by_location=by_kind.source_by_location.take(kinds),
        documents=documents,
        line_digits=digits(lines, 2),
        types=by_kind.types.take(row_kinds).astype(np.int32),
        reasons=by_kind.reasons.take(row_kinds).astype(np.int32),
        quantity_base=by_kind.quantity_base.take(row_kinds),
        transfers=transfers,
        transfer_documents=documents.take(transfers),
        is_transfer=is_transfer,
        counts=np.flatnonzero(by_kind.counts.take(row_kinds)),
        numbered=numbered,
        is_numbered=is_numbered,
        numbers=numbers,
        numbers_step=step,
    )


def _running_numbers(sources: Int64s) -> tuple[Int64s, Int64s]:
    """Number the rows of each source from 1; also tell how many rows each source has."""
    numbers = np.zeros(len(sources), np.int64)
    step = np.zeros(len(sources), np.int64)
    for source in np.unique(sources):
        places = np.flatnonzero(sources == source)
        numbers[places] = np.arange(1, len(places) + 1)
        step[places] = len(places)
    return numbers, step


@dataclass(frozen=True)
class _KindColumns:
    """Facts about the kinds of a profile as arrays, one entry a kind."""

    types: Int64s
    reasons: Int64s
    quantity_base: Int64s
    source_base: Int64s
    source_by_location: Int64s
    transfers: Int64s
    counts: Int64s
    numbered: Int64s

    @classmethod
    def of(cls, kinds: tuple[Kind, ...], codes: Codes) -> _KindColumns:
        def column(values: list[int]) -> Int64s:
            return np.array(values, np.int64)

        return cls(
            types=column([codes.types.index(k.type) for k in kinds]),
            reasons=column([codes.reasons.index(k.reason) for k in kinds]),
            quantity_base=column(
                [QUANTITY_CLASSES.index((k.quantity, k.sign)) << DRAW_BITS for k in kinds]
            ),
            source_base=column([codes.first_source[k.source, k.sources] for k in kinds]),
            source_by_location=column([int(k.sources == 0) for k in kinds]),
            transfers=column([int(k.type == "transfer") for k in kinds]),
            counts=column([int(k.type == "count") for k in kinds]),
            numbered=column([int(k.sources > 0) for k in kinds]),
        )

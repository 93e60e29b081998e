"""Numbers for things: tables that give out codes 0, 1, 2 ... for whole columns at once.

The library's own dictionaries are of no use here: the codes are stored, so they must
belong to us for life.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64: TypeAlias = NDArray[np.int64]
    U64: TypeAlias = NDArray[np.uint64]

__all__ = ["TextTable", "WordTable", "mix", "own_texts"]

_FIRST_BITS = 12
# 2**64 / golden ratio, and the finaliser of MurmurHash3: they spread neighbours apart.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_HALF = np.uint64(33)


def mix(words: U64) -> U64:
    """Spread 64-bit words, so that any bits of the result tell them apart.

    Args:
        words: uint64[n].

    Returns:
        uint64[n], one to one.
    """
    mixed = words * _GOLDEN
    mixed ^= mixed >> _HALF
    mixed *= _MIX
    mixed ^= mixed >> _HALF
    return mixed


class WordTable:
    """Codes for distinct 64-bit words, in the order in which they first came.

    An open table with linear steps, at most half full, worked on by whole columns.
    """

    def __init__(self) -> None:
        self._bits = _FIRST_BITS
        self._count = 0
        self._slot_words = np.zeros(1 << self._bits, np.uint64)
        self._slot_codes = np.full(1 << self._bits, -1, np.int32)

    def __len__(self) -> int:
        return self._count

    def codes(self, words: U64) -> tuple[I64, I64]:
        """The codes of words; new words get the next ones.

        Args:
            words: uint64[n].

        Returns:
            int64[n], the codes; int64[m], for each new code, rising, the row in which its
            word first came.
        """
        found = self.find(words)
        missing = np.flatnonzero(found < 0)
        if not missing.size:
            return found, missing
        first, inverse = _first_places(words[missing])
        codes = self._count + np.arange(len(first), dtype=np.int64)
        self._reserve(self._count + len(first))
        rows = missing[first]
        self._insert(words[rows], codes)
        self._count += len(first)
        found[missing] = codes[inverse]
        return found, rows

    def find(self, words: U64) -> I64:
        """The codes of words, -1 for those that have none."""
        mask = np.int64((1 << self._bits) - 1)
        place = self._home(words)
        codes = self._slot_codes[place].astype(np.int64)
        other = np.flatnonzero((codes >= 0) & (self._slot_words[place] != words))
        place = place[other]
        while other.size:
            place = (place + 1) & mask
            there = self._slot_codes[place]
            codes[other] = there
            on = (there >= 0) & (self._slot_words[place] != words[other])
            other, place = other[on], place[on]
        return codes

    def _home(self, words: U64) -> I64:
        return (mix(words) >> np.uint64(64 - self._bits)).astype(np.int64)

    def _reserve(self, count: int) -> None:
        if 2 * count <= 1 << self._bits:
            return
        taken = self._slot_codes >= 0
        words, codes = self._slot_words[taken], self._slot_codes[taken].astype(np.int64)
        self._bits = int(2 * count).bit_length() + 1
        self._slot_words = np.zeros(1 << self._bits, np.uint64)
        self._slot_codes = np.full(1 << self._bits, -1, np.int32)
        self._insert(words, codes)

    def _insert(self, words: U64, codes: I64) -> None:
        """Put in words that are not there and differ from each other."""
        mask = np.int64((1 << self._bits) - 1)
        place = self._home(words)
        left = np.arange(len(words), dtype=np.int64)
        while left.size:
            free = self._slot_codes[place] < 0
            # Of several that want one place the last to be written gets it.
            self._slot_codes[place[free]] = codes[left[free]]
            won = self._slot_codes[place] == codes[left]
            self._slot_words[place[won]] = words[left[won]]
            left, place = left[~won], (place[~won] + 1) & mask


def _first_places(words: U64) -> tuple[I64, I64]:
    """Distinct words in the order in which they come: first rows, and which one each row is."""
    _, first, inverse = np.unique(words, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return first[order].astype(np.int64), rank[inverse]


class TextTable:
    """Codes for distinct texts, in the order in which they first came.

    A text is found by its 64-bit hash, and each match is confirmed on the whole text; the
    hash is never stored, so it may change with the library that makes it.
    """

    def __init__(self) -> None:
        self._words = WordTable()
        self._code_of_word = np.zeros(0, np.int64)
        self._texts = pl.Series("text", [], pl.String)
        self._colliding: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._texts)

    @property
    def texts(self) -> pl.Series:
        """All texts, by code."""
        return self._texts

    def codes(self, texts: pl.Series) -> I64:
        """The codes of texts; new texts get the next ones.

        Args:
            texts: strings, no nulls.

        Returns:
            int64[n].
        """
        words, new = self._words.codes(texts.hash(0).to_numpy())
        if new.size:
            self._code_of_word = np.concatenate(
                [self._code_of_word, len(self) + np.arange(len(new), dtype=np.int64)]
            )
            self._texts = _appended(self._texts, texts.gather(new))
        codes: I64 = self._code_of_word[words]
        same = (self._texts.gather(codes) == texts).to_numpy()
        if not same.all():
            for row in np.flatnonzero(~same).tolist():
                codes[row] = self._code_of_colliding(texts[row])
        return codes

    def _code_of_colliding(self, text: str) -> int:
        """The code of a text whose hash is that of another text."""
        if text not in self._colliding:
            self._colliding[text] = len(self)
            self._texts = _appended(self._texts, pl.Series("text", [text]))
        return self._colliding[text]

    def find(self, text: str) -> int | None:
        """The code of one text, if it has one."""
        place = self._texts.index_of(text)
        return None if place is None else int(place)


def own_texts(texts: pl.Series) -> pl.Series:
    """The same texts in memory of their own, so that what they were cut out of can go.

    Args:
        texts: strings, no nulls.
    """
    own = pl.Series("text", texts.to_arrow(compat_level=pl.CompatLevel.oldest()))
    return own.cast(pl.String)


def _appended(texts: pl.Series, new: pl.Series) -> pl.Series:
    """The texts with the new ones behind them."""
    return pl.concat([texts, own_texts(new)], rechunk=True)

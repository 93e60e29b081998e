"""Codes, blobs and the memory of ids: each alone, with the cases that a log seldom has."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from stocklog.errors import StoreError, UsageError
from stocklog.stores import seen as seen_module
from stocklog.stores import tables
from stocklog.stores.packing import (
    pack,
    pack_many,
    pack_texts,
    split,
    unpack,
    unpack_many,
    unpack_some,
    unpack_some_texts,
    unpack_texts,
)
from stocklog.stores.run_files import RunFiles
from stocklog.stores.seen import Seen, id_words
from stocklog.stores.segments import SegmentInfo, mergeable
from stocklog.stores.tables import TextTable, WordTable
from stocklog.stores.uri import default_path, parse_store

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=30)


@given(st.lists(st.one_of(st.integers(-3, 300), INT64), max_size=50))
def test_integers_come_back_out_of_a_blob(values: list[int]) -> None:
    column = np.array(values, np.int64)
    assert unpack(pack(column)).tolist() == values
    many = unpack_many(pack_many([column, column[:1], column[:0]]))
    assert [part.tolist() for part in many] == [values, values[:1], []]
    parts = split(pack_many([column, column[:1]]))
    assert [unpack(part).tolist() for part in parts] == [values, values[:1]]
    every_other = np.arange(0, len(values), 2)
    assert unpack_some(pack(column), every_other).tolist() == values[::2]


@given(TEXTS)
def test_texts_come_back_out_of_a_blob(values: list[str]) -> None:
    column = pl.Series("t", values, pl.String)
    assert unpack_texts(pack_texts(column)).to_list() == values
    assert unpack_texts(pack_texts(column[1:])).to_list() == values[1:]
    every_other = np.arange(0, len(values), 2)
    assert unpack_some_texts(pack_texts(column), every_other) == values[::2]


@given(st.binary(max_size=60))
def test_a_damaged_blob_is_a_store_error_and_nothing_else(blob: bytes) -> None:
    some: Any = lambda blob: unpack_some_texts(blob, np.arange(2))  # noqa: E731
    some_integers: Any = lambda blob: unpack_some(blob, np.arange(2))  # noqa: E731
    for read in (unpack, unpack_many, unpack_texts, some, some_integers, split):
        with contextlib.suppress(StoreError):
            read(blob)


def test_a_blob_that_was_cut_is_damaged() -> None:
    numbers = pack(np.arange(5000) * 977)
    texts = pack_texts(pl.Series("t", [f"text {n}" for n in range(500)]))
    for blob, read in ((numbers, unpack), (texts, unpack_texts)):
        for cut in (3, 12, len(blob) - 1):
            with pytest.raises(StoreError, match="damaged"):
                read(blob[:cut])


def test_a_damaged_number_of_values_costs_no_memory() -> None:
    # All alike, so that no bytes behind the head say how many there are.
    blob = b"\x00\xff\xff\xff\xff" + bytes(8)
    for damaged, read in (
        (blob, unpack),
        (pack_many([np.arange(3)]) + len(blob).to_bytes(4, "little") + blob, unpack_many),
        (len(blob).to_bytes(4, "little") + blob + bytes(5), unpack_texts),
    ):
        with pytest.raises(StoreError, match="damaged"):
            read(damaged)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 60), max_size=60), max_size=5))
def test_words_get_codes_in_the_order_in_which_they_come(batches: list[list[int]]) -> None:
    table, known = WordTable(), {}
    for batch in batches:
        before = len(known)
        wanted = [known.setdefault(word, len(known)) for word in batch]
        codes, new = table.codes(np.array(batch, np.uint64))
        assert codes.tolist() == wanted
        assert [batch[row] for row in new] == list(known)[before:]
    assert len(table) == len(known)


def test_a_table_grows_over_many_words() -> None:
    words = tables.mix(np.arange(50_000, dtype=np.uint64))
    table = WordTable()
    for first in range(0, 50_000, 7_000):
        table.codes(words[first : first + 7_000])
    assert (table.find(words) == np.arange(50_000)).all()
    assert (table.find(words + np.uint64(1))[:5] == -1).all()


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=4), st.booleans())
def test_texts_get_codes_also_where_their_hashes_are_equal(
    batches: list[list[str]], colliding: bool
) -> None:
    table, known = TextTable(), {}
    with pytest.MonkeyPatch.context() as patch:
        if colliding:
            poor = lambda texts, *_: texts.str.len_chars().cast(pl.UInt64)  # noqa: E731
            patch.setattr(pl.Series, "hash", poor)
        for batch in batches:
            codes = table.codes(pl.Series("t", batch, pl.String)).tolist()
            texts = table.texts
            assert [texts[code] for code in codes] == batch
            for text, code in zip(batch, codes, strict=True):
                assert known.setdefault(text, code) == code
    assert len(table) == len(known) == len(set(known.values()))


class Memory:
    """A `Seen` beside a plain dictionary."""

    def __init__(self, folder: Path | None = None) -> None:
        self.ids: list[str] = []
        self.sources: list[int] = []
        self.folder = folder
        self.seen = Seen(self._lookup, files=RunFiles(folder))

    def reopened(self) -> int:
        """Go on as another process would: what the runs do not have is taken again.

        Returns how many had to be.
        """
        kept = self.seen.kept
        self.seen = Seen(self._lookup, files=RunFiles(self.folder))
        self.seen.resume(kept)
        self.seen.committed(kept)
        known = len(self.seen)
        sources, ids = self._lookup(np.arange(known, len(self.ids)))
        self.seen.add(id_words(ids, sources))
        return len(self.ids) - known

    def _lookup(self, numbers: Any) -> Any:
        assert (np.diff(numbers) >= 0).all()
        chosen = numbers.tolist()
        sources = np.array([self.sources[n] for n in chosen], np.int64)
        return sources, pl.Series("id", [self.ids[n] for n in chosen], pl.String)

    def take(self, batch: list[tuple[int, str]]) -> list[int]:
        sources = np.array([source for source, _ in batch], np.int64)
        ids = pl.Series("id", [name for _, name in batch], pl.String)
        words = id_words(ids, sources)
        before = len(self.ids)
        numbers, new = self.seen.take(words, sources, ids)
        for row in np.flatnonzero(new).tolist():
            assert numbers[row] == len(self.ids)
            self.sources.append(batch[row][0])
            self.ids.append(batch[row][1])
        # As the test has it, an update that this very batch brought first is new.
        return [number if number < before else -1 for number in numbers.tolist()]


@settings(max_examples=examples(60), deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 1), st.text("ab", max_size=4)), max_size=20),
             max_size=20),
    st.booleans(),
)  # fmt: skip
def test_each_id_of_a_source_is_new_once_even_where_all_hashes_are_alike(
    batches: list[list[tuple[int, str]]], colliding: bool
) -> None:
    memory, known = Memory(), {}
    with pytest.MonkeyPatch.context() as patch:
        if colliding:
            alike = lambda ids, sources: np.full(len(ids), 7 << 33, np.uint64)  # noqa: E731
            patch.setattr(seen_module, "id_words", alike)
            patch.setitem(globals(), "id_words", alike)
        for batch in batches:
            found = memory.take(batch)
            assert found == [known.get(one, -1) for one in batch]
            for one in batch:
                known.setdefault(one, len(known))
    assert len(memory.seen) == len(known)


def test_ids_are_known_again_from_merged_runs_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_module, "_FILED", 500)
    monkeypatch.setattr(seen_module, "_CAPACITY", 500)
    memory = Memory()
    for first in range(0, 6000, 100):
        assert memory.take([(n % 3, f"id-{n}") for n in range(first, first + 100)]) == [-1] * 100
    assert any(isinstance(run.words, np.memmap) for run in memory.seen._runs)
    assert len(memory.seen._filters) > 1
    assert memory.take([(n % 3, f"id-{n}") for n in range(0, 6000, 7)]) == list(range(0, 6000, 7))
    assert memory.take([((n + 1) % 3, f"id-{n}") for n in range(50)]) == [-1] * 50


def test_a_store_that_is_opened_again_reads_only_the_ids_that_no_file_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(seen_module, "_FILED", 100)
    folder = tmp_path / "s.db-seen"
    memory = Memory(folder)
    for first in range(0, 4000, 100):
        memory.take([(n % 3, f"id-{n}") for n in range(first, first + 100)])
    memory.take([(0, f"tail-{n}") for n in range(30)])
    assert memory.reopened() == 30
    # What was merged into larger runs is gone, and nothing else.
    assert {file.name for file in folder.iterdir()} == {run.name for run in memory.seen.kept}
    assert memory.take([(n % 3, f"id-{n}") for n in range(4000)]) == list(range(4000))
    assert memory.take([(0, "tail-29"), (0, "tail-30"), (1, "id-0")]) == [4029, -1, -1]


@pytest.mark.parametrize("harm", ["removed", "cut", "another hash", "out of the way"])
def test_runs_that_are_gone_or_of_no_use_are_made_again(
    harm: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(seen_module, "_FILED", 100)
    folder = tmp_path / "s.db-seen"
    memory = Memory(folder)
    for first in range(0, 300, 100):
        memory.take([(0, f"id-{n}") for n in range(first, first + 100)])
    second = folder / memory.seen.kept[1].name
    if harm == "removed":
        second.unlink()
    elif harm == "cut":
        second.write_bytes(second.read_bytes()[:-8])
    elif harm == "another hash":
        monkeypatch.setattr(seen_module, "_fingerprint", lambda: "0" * 16)
    else:
        folder.rename(tmp_path / "elsewhere")
    assert memory.reopened() == (300 if harm in ("another hash", "out of the way") else 200)
    assert memory.take([(0, f"id-{n}") for n in range(301)]) == [*range(300), -1]


def test_where_no_file_can_be_kept_ids_are_known_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(seen_module, "_FILED", 100)
    (tmp_path / "taken").write_text("a file where the folder should be")
    memory = Memory(tmp_path / "taken")
    memory.take([(0, f"id-{n}") for n in range(200)])
    assert memory.seen.kept == ()
    assert memory.take([(0, f"id-{n}") for n in range(201)]) == [*range(200), -1]


def info(rows: int) -> SegmentInfo:
    return SegmentInfo(0, 0, 0, 0, rows, rows, 0, 0, 0)


def test_eight_small_segments_become_one_and_large_ones_stay() -> None:
    assert mergeable([]) == 0
    assert mergeable([info(10)] * 7) == 0
    assert mergeable([info(10)] * 8) == 8
    assert mergeable([info(10_000), *[info(10)] * 8]) == 8
    assert mergeable([*[info(3000)] * 7, info(10)]) == 0
    assert mergeable([*[info(3000)] * 7, info(4000)]) == 8
    assert mergeable([info(1_000_000)] * 50) == 0


def test_the_number_of_segments_stays_small_however_small_the_commits() -> None:
    sizes: list[int] = []
    for _ in range(20_000):
        sizes.append(50)
        while count := mergeable([info(size) for size in sizes]):
            sizes[-count:] = [sum(sizes[-count:])]
    assert sum(sizes) == 1_000_000
    assert len(sizes) < 40


def test_three_slashes_are_relative_and_four_absolute() -> None:
    assert parse_store("sqlite:///x.db") == Path("x.db")
    assert parse_store("sqlite:////var/x%20y.db") == Path("/var/x y.db")


@pytest.mark.parametrize(
    "uri", ["x.db", "sqlite://x.db", "sqlite:///", "sqlite:////", "mysql:///x", "postgresql://h/d"]
)
def test_a_uri_that_names_no_store_is_wrong_usage(uri: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_store(uri)
    assert "sqlite:////" in refused.value.remedy


def test_every_stream_has_a_file_of_its_own() -> None:
    names = ["a", "a/b", "a%2Fb", ".a", "..", "A b", "é", "x" * 255, "x" * 254 + "y"]
    files = {default_path(name).name for name in names}
    assert len(files) == len(names)
    assert all(len(file.encode()) < 240 and "/" not in file for file in files)
    assert default_path("inventory_updates").name == "inventory_updates.db"

"""`consume --name` and named consumers in Python: they go on behind what was handled."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from shell import PATIENCE, Done, run

import stocklog
from stocklog.broker import NodeInfo
from stocklog.inventory import codec
from stocklog.inventory.simulate import Simulator
from stocklog.ledger.batch import Batch
from stocklog.ledger.consume import consume
from stocklog.ledger.memory import Memory
from stocklog.stream import StreamArguments, StreamClient

Consume = Callable[..., Done]
Launch = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def filled(client: StreamClient, stream_name: str) -> str:
    """A stream of 12,000 updates in chunks of 1,000."""
    client.create_stream(stream_name)
    add(client, stream_name, 12)
    return stream_name


def add(client: StreamClient, stream: str, thousands: int, size: int = 1_000) -> None:
    simulator = Simulator("grocery", 1)
    with client.publisher(stream, sub_batch=1) as publisher:
        for _ in range(thousands):
            block = codec.encode(simulator.batch(size), publisher.lead)
            publisher.send(block.data, block.starts)
            publisher.flush(20)


def take_little(client: StreamClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Subscribers that hand over a chunk or two at a time."""
    subscriber = client.subscriber
    monkeypatch.setattr(client, "subscriber", lambda *a, **k: subscriber(*a, **k, max_bytes=1_000))


def offsets(done: Done) -> list[int]:
    assert done.status in (0, 4), done.err
    return [json.loads(line)["offset"] for line in done.out.splitlines()]


@pytest.fixture
def read(on: dict[str, str], filled: str) -> Consume:
    def call(*words: str) -> Done:
        return run("consume", "-f", "jsonl", "--name", "r", "-s", filled, *words, env=on)

    return call


def test_a_named_reader_goes_on_behind_what_it_has_printed(
    read: Consume, client: StreamClient, filled: str
) -> None:
    assert offsets(read("first", "-n", "1234")) == list(range(1_234))
    assert client.query_offset("r", filled) == 1_233
    # A stored offset wins over OFFSET, whatever form that has.
    assert offsets(read("last", "-n", "766")) == list(range(1_234, 2_000))
    assert offsets(read("10..2002")) == [2_000, 2_001, 2_002]
    done = read("10..2002")
    assert (offsets(done), "has handled all up to offset 2002" in done.err) == ([], True)
    rest = read("-e")
    assert offsets(rest)[0] == 2_003
    assert offsets(rest)[-1] == 11_999
    assert "'r' goes on behind offset 11999" in rest.err
    assert offsets(read("-e")) == []
    assert offsets(read("11990", "-e", "--reset")) == list(range(11_990, 12_000))
    assert offsets(read("0..4", "--reset")) == list(range(5))
    assert client.query_offset("r", filled) == 4


class Failing:
    """A sink that does not take the third batch."""

    holds_back = False
    drops_all = False

    def __init__(self, client: StreamClient, stream: str) -> None:
        self.taken: list[int] = []
        self.stored: list[int | None] = []
        self._client, self._stream = client, stream

    def prepare(self, batch: Batch) -> Batch:
        return batch

    def write(self, batch: Batch) -> None:
        self.stored.append(self._client.query_offset("r", self._stream))
        if len(self.taken) == 2:
            raise OSError("no space left on device")
        self.taken.append(batch.last_offset)

    def close(self) -> None:
        pass


def test_an_offset_is_never_stored_before_its_batch_was_handled(
    client: StreamClient, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stocklog.ledger.memory.STORE_EVERY", 1)
    take_little(client, monkeypatch)
    sink = Failing(client, filled)
    memory = Memory(client, filled, "r")
    with pytest.raises(OSError, match="no space"):
        consume(client, filled, sink, offset="first", until_end=True, memory=memory)
    assert sink.stored == [None, *sink.taken]
    assert client.query_offset("r", filled) == sink.taken[-1]


def test_a_killed_reader_has_written_all_that_is_stored_and_misses_nothing(
    launch: Launch, on: dict[str, str], client: StreamClient, filled: str, tmp_path: Path
) -> None:
    path = tmp_path / "out.jsonl"
    words = ["consume", "first", "--name", "r", "-s", filled, "-f", "jsonl", "-o", str(path)]
    process = launch(words, on)
    deadline = time.monotonic() + PATIENCE
    while client.query_offset("r", filled) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    add(client, filled, 60)
    process.kill()
    process.wait()
    stored = client.query_offset("r", filled)
    whole = path.read_text().rpartition("\n")[0]  # the last line may be torn
    written = [json.loads(line)["offset"] for line in whole.splitlines()]
    assert stored is not None
    assert written[-1] >= stored
    done = run(*words, "-e", env=on)
    assert done.status == 0, done.err
    after = [json.loads(line)["offset"] for line in path.read_text().splitlines()]
    assert after[: len(written)] == written
    # What was written and not stored comes again. (The stored offsets take offsets too.)
    with client.subscriber(filled, "first", until_end=True) as subscriber:
        log = [offset for block in subscriber for offset in block.offsets.tolist()]
    assert after[len(written) :] == [offset for offset in log if offset > stored]
    assert sorted(set(after)) == log


def test_parquet_is_handled_once_the_file_is_whole(
    read: Consume, client: StreamClient, filled: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.parquet"
    assert read("first", "-n", "5000", "-f", "parquet", "-o", str(path)).status == 0
    assert client.query_offset("r", filled) == 4_999
    again = read("first", "-f", "parquet", "-o", str(path))
    assert (again.status, "is there already" in again.err) == (2, True)
    rest = tmp_path / "b.parquet"
    assert read("-e", "-f", "parquet", "-o", str(rest)).status == 0
    found = pl.concat([pl.read_parquet(path), pl.read_parquet(rest)])["offset"].to_list()
    assert found == list(range(12_000))


def test_options_of_named_readers_need_a_name(on: dict[str, str]) -> None:
    for words in (["--reset"], ["--on-truncated", "next"]):
        assert run("consume", *words, env=on).status == 2
    assert run("consume", "--name", "x" * 256, env=on).status == 2


# -- retention --------------------------------------------------------------------------------


@pytest.fixture
def overtaken(on: dict[str, str], client: StreamClient, stream_name: str) -> tuple[str, int]:
    """A stream of which reader "r" handled 100 before retention cut more, and where it begins."""
    client.create_stream(
        stream_name, StreamArguments(max_length_bytes=200_000, max_segment_size=50_000)
    )
    add(client, stream_name, 1, 100)
    words = ["consume", "first", "-e", "--name", "r", "-s", stream_name, "-f", "none"]
    assert run(*words, env=on).status == 0
    for _ in range(60):
        add(client, stream_name, 1, 200)
        first = client.begin_offset(stream_name)
        if first is not None and first > 1_000:
            return stream_name, first
    raise AssertionError("nothing was cut")


def test_a_reader_whose_place_was_cut_says_so_and_goes_on_with_the_first(
    on: dict[str, str], client: StreamClient, overtaken: tuple[str, int], tmp_path: Path
) -> None:
    stream, first = overtaken
    kept = tmp_path / "s.json"
    words = ["consume", "-e", "--name", "r", "-s", stream, "-f", "jsonl", "--summary", str(kept)]
    done = run(*words, env=on)
    assert done.status == 4, done.err
    assert f"Offsets 100 to {first - 1} are gone" in done.err
    # The broker begins a segment with a record of its own, where names of readers stand.
    assert offsets(done)[0] == client.first_offset(stream) == first + 1
    assert json.loads(kept.read_text())["gaps"] == [[100, first - 1]]
    assert run(*words, env=on).status == 0  # told once


def test_a_reader_whose_place_was_cut_goes_on_with_what_is_new(
    on: dict[str, str], client: StreamClient, overtaken: tuple[str, int]
) -> None:
    stream, first = overtaken
    last = client.last_offset(stream)
    words = ["consume", "-e", "--name", "r", "-s", stream, "-f", "jsonl"]
    done = run(*words, "--on-truncated", "next", env=on)
    assert done.status == 4
    assert offsets(done) == []
    assert f"Offsets 100 to {first - 1} are gone" in done.err
    assert f"behind offset {last} with what is new" in done.err
    assert run(*words, env=on).status == 0  # told once


def test_a_reader_whose_place_was_cut_may_make_it_an_error(
    on: dict[str, str], overtaken: tuple[str, int]
) -> None:
    stream, first = overtaken
    words = ["consume", "-e", "--name", "r", "-s", stream, "--on-truncated", "fail"]
    done = run(*words, env=on)
    assert (done.status, done.out) == (1, "")
    assert f"Offsets 100 to {first - 1} are gone" in done.err


# -- in Python --------------------------------------------------------------------------------


def test_a_named_consumer_stores_after_a_batch_was_handled(
    broker: NodeInfo, client: StreamClient, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stocklog.connect(broker.uri) as connected:
        take_little(connected.stream_client, monkeypatch)
        seen: list[int] = []
        with connected.consumer(filled, offset="first", name="py") as reader:
            for number, batch in enumerate(reader):
                if number == 2:
                    break  # this one is not handled
                seen.append(batch.last_offset)
        assert client.query_offset("py", filled) == reader.stored_offset == seen[-1]
        with connected.consumer(filled, offset="last", name="py", until_end=True) as reader:
            first = reader.next()
            assert first is not None
            assert first.first_offset == seen[-1] + 1
            assert client.query_offset("py", filled) == seen[-1]
            reader.handled()
            assert client.query_offset("py", filled) == first.last_offset
            rest = list(reader)
            assert rest[-1].last_offset == 11_999
        assert client.query_offset("py", filled) == 11_999
        with connected.consumer(filled, offset="0..3", name="py") as reader:
            assert list(reader) == []
        with connected.consumer(filled, offset="0..3", name="py", reset=True) as reader:
            assert sum(map(len, reader)) == 4
        with pytest.raises(stocklog.UsageError):
            connected.consumer(filled, reset=True)
        unnamed = connected.consumer(filled)
        with pytest.raises(stocklog.UsageError):
            unnamed.handled()


def test_a_named_consumer_is_told_what_was_cut(
    broker: NodeInfo, client: StreamClient, overtaken: tuple[str, int]
) -> None:
    stream, first = overtaken
    client.store_offset("py", stream, 100)
    with stocklog.connect(broker.uri) as connected:
        reader = connected.consumer(stream, name="py", until_end=True)
        assert reader.gaps == [(101, first - 1)]
        assert f"Offsets 101 to {first - 1} are gone" in reader.notes[0]
        with pytest.raises(stocklog.StreamError, match="are gone"):
            connected.consumer(stream, name="py", on_truncated="fail")

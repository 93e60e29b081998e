"""The exercise's own commands, as they stand, on a fresh clone and in either order."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from docpages import Block
from terminal import Terminal, clean_copy, terminal

pytestmark = [pytest.mark.commands, pytest.mark.slow, pytest.mark.timeout(900)]

PRODUCER = (
    "cd python/producer && uv venv && source .venv/bin/activate && uv sync && python producer.py"
)
CONSUMER = (
    "cd python/consumer && uv venv && source .venv/bin/activate && uv sync && python consumer.py"
)
AGAIN = {
    "producer": "cd python/producer && source .venv/bin/activate && python producer.py",
    "consumer": "cd python/consumer && source .venv/bin/activate && python consumer.py",
}
UPDATES = 100_000
LINE = re.compile(
    r" *(?P<offset>\d+) +\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z +\S+ +\S+ .*"
    r"(adjustment|count|transfer|reservation) +\w+$"
)


def typed(code: str, *, status: int = 0, until: str = "") -> Block:
    return Block("the exercise", 1, "sh", code + "\n", 130 if until else status, until)


def rows(place: Path, name: str) -> list[str]:
    return (place / name).read_text(encoding="utf-8").splitlines()


def offsets(lines: list[str]) -> list[int]:
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), next(line for line, match in zip(lines, found, strict=True) if not match)
    return [int(match["offset"]) for match in found if match]


def await_rows(place: Path, name: str, count: int) -> list[str]:
    deadline = time.monotonic() + 120
    while len(lines := rows(place, name)) < count:
        assert time.monotonic() < deadline, f"{len(lines)} of {count} lines"
        time.sleep(0.2)
    return lines


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clean_copy(tmp_path_factory.mktemp("exercise") / "tree")


@pytest.fixture
def one(tree: Path, tmp_path: Path) -> Iterator[Terminal]:
    """A terminal with no broker anywhere; the tree keeps what was installed in it."""
    with terminal(tree, tmp_path / "state") as opened:
        yield opened


def test_on_a_fresh_clone_the_consumer_may_come_first(one: Terminal) -> None:
    begun = one.run(typed(f"{CONSUMER} > ../../next.txt", until="from next"))
    assert "starting a private one" in begun
    sent = one.run(typed(PRODUCER))
    assert "starting a private one" not in sent
    assert "100,000 updates sent and confirmed in" in sent
    assert offsets(await_rows(one.place, "next.txt", UPDATES)) == list(range(UPDATES))
    (printed,) = one.interrupt_all()
    assert "100,000 updates read in" in printed
    assert len(rows(one.place, "next.txt")) == UPDATES


def test_uv_venv_a_second_time_refuses_as_the_readme_says(one: Terminal) -> None:
    one.run(typed("cd python/producer && uv venv --clear && uv sync"))
    printed = one.run(typed(PRODUCER, status=2))
    assert "already exists" in printed


def test_the_producer_may_come_first_and_each_reader_gets_its_own_range(one: Terminal) -> None:
    begun = one.run(typed(AGAIN["producer"]))
    assert "starting a private one" in begun
    one.run(typed(f"{AGAIN['consumer']} first > ../../first.txt", until="from first"))
    one.run(typed(f"{AGAIN['consumer']} last > ../../last.txt", until="from last"))
    one.run(typed(f"{AGAIN['consumer']} > ../../next.txt", until="from next"))
    await_rows(one.place, "first.txt", UPDATES)
    assert offsets(await_rows(one.place, "last.txt", 1)) == [UPDATES - 1]
    assert rows(one.place, "next.txt") == []
    one.run(typed(AGAIN["producer"]))
    wanted = {"first": 2 * UPDATES, "last": UPDATES + 1, "next": UPDATES}
    for name, count in wanted.items():
        lines = await_rows(one.place, f"{name}.txt", count)
        assert offsets(lines) == list(range(2 * UPDATES - count, 2 * UPDATES)), name
    assert len(one.interrupt_all()) == 3
    for name, count in wanted.items():
        assert len(rows(one.place, f"{name}.txt")) == count, f"{name}: something came twice"


def test_two_started_at_once_share_one_broker_and_one_stream(one: Terminal) -> None:
    together = (
        f"({AGAIN['producer']}) & first=$!\n({AGAIN['producer']}) & second=$!\n"
        "wait $first; wait $second"
    )
    printed = one.run(typed(together))
    assert printed.count("100,000 updates sent and confirmed in") == 2
    assert len(set(re.findall(r"@127\.0\.0\.1:(\d+)", printed))) == 1
    one.run(typed(f"{AGAIN['consumer']} first > ../../both.txt", until="from first"))
    assert offsets(await_rows(one.place, "both.txt", 2 * UPDATES)) == list(range(2 * UPDATES))
    one.interrupt_all()


@pytest.mark.parametrize("words", ["middle", "first last", "First"])
def test_another_word_is_refused_and_the_three_are_named(one: Terminal, words: str) -> None:
    printed = one.run(typed(f"{AGAIN['consumer']} {words}", status=2))
    assert all(word in printed for word in ("first", "last", "next"))


def test_a_closed_pipe_ends_the_consumer_quietly(one: Terminal) -> None:
    one.run(typed(AGAIN["producer"]))
    printed = one.run(typed(f"{AGAIN['consumer']} first | head -n 3"))
    assert "Traceback" not in printed
    assert "Error" not in printed

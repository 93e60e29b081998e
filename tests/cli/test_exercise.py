"""The exercise's two scripts against a broker that is there."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable

import pytest
from shell import PATIENCE, REPOSITORY, run

PRODUCER = str(REPOSITORY / "python/producer/producer.py")
CONSUMER = str(REPOSITORY / "python/consumer/consumer.py")


def lines(process: subprocess.Popen[str], count: int) -> list[list[str]]:
    """The cells of the first lines of stdout; how far apart they stand depends on the batch."""
    assert process.stdout is not None
    return [process.stdout.readline().split() for _ in range(count)]


def attach(process: subprocess.Popen[str]) -> str:
    """Wait until it says that it reads; what it said so far."""
    assert process.stderr is not None
    said = ""
    while "reading inventory_updates" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


def interrupt(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    return err


def test_producer_and_three_consumers(
    on_broker: dict[str, str], launch: Callable[..., subprocess.Popen[str]]
) -> None:
    done = run(env=on_broker, program=PRODUCER)
    assert done.status == 0, done.err
    assert "100,000 updates sent and confirmed in" in done.out
    assert "a second" in done.out
    assert "broker: " in done.err
    readers = {word: launch(words, on_broker, program=CONSUMER) for word, words in WORDS.items()}
    said = {word: attach(reader) for word, reader in readers.items()}
    run(env=on_broker, program=PRODUCER)
    first = lines(readers["first"], 200_000)
    last, new = lines(readers["last"], 100_001), lines(readers["next"], 100_000)
    assert first[-100_001:] == last
    assert last[1:] == new
    offsets = [int(line[0]) for line in first]
    assert offsets == list(range(offsets[0], offsets[0] + 200_000))
    for word, reader in readers.items():
        assert "broker: " in said[word]
        assert f"from {word}" in said[word]
        assert "updates read" in interrupt(reader)


WORDS = {"first": ["first"], "last": ["last"], "next": []}


@pytest.mark.parametrize("words", [["frist"], ["first", "last"], ["0"]])
def test_another_word_is_a_usage_error_that_names_the_three(
    alone: dict[str, str], words: list[str]
) -> None:
    done = run(*words, env=alone, program=CONSUMER)
    assert (done.status, done.out) == (2, "")
    assert all(word in done.err for word in ("first", "last", "next"))


def test_a_broker_that_does_not_answer_is_one_line(alone: dict[str, str]) -> None:
    env = {**alone, "STOCKLOG_URI": "rabbitmq-stream://a:b@127.0.0.1:9"}
    for program in (PRODUCER, CONSUMER):
        done = run(env=env, program=program)
        assert done.status == 1
        assert done.err.splitlines()[-1].startswith("error: ")
        assert "Traceback" not in done.err

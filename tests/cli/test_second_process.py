"""Commands with a second process: the same result with it, without it, and losing it."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from shell import run

from stocklog.stream import StreamClient

COUNT = 200_000


def children(pid: int) -> list[int]:
    """The processes that a process has started and that run."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def second_process(process: subprocess.Popen[str]) -> int:
    """The process id of a command's second process, once it is there."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        found = children(process.pid)
        if found:
            return found[0]
        time.sleep(0.002)
    raise AssertionError("there is no second process")


def wait_for(process: subprocess.Popen[str], word: str) -> None:
    """Until a command says something on stderr."""
    for line in process.stderr or ():
        if word in line:
            return
    raise AssertionError(f"it never said {word!r}")


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def filled(client: StreamClient, on: dict[str, str], stream_name: str) -> str:
    """A stream of updates, in blocks of which each is decoded by itself."""
    client.create_stream(stream_name)
    done = run("produce", "--count", str(COUNT), "--seed", "3", "--stream", stream_name, env=on)
    assert done.status == 0, done.err
    return stream_name


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor has no second process")
@pytest.mark.parametrize("form", ["jsonl", "csv", "none"])
def test_a_second_process_that_is_killed_costs_no_row(
    filled: str, on: dict[str, str], launch: Callable[..., subprocess.Popen[str]], form: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    words = ["consume", "first", "-e", "--stream", filled, "--format", form, "--output"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run(*words, str(whole), env=on).status == 0
    process = launch([*words, str(cut)], on)
    helper = second_process(process)
    wait_for(process, "reading")
    os.kill(helper, signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert f"{COUNT:,} updates" in err
    if form != "none":
        assert cut.read_bytes() == whole.read_bytes()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor has no second process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_second_process_ends_with_the_command(
    filled: str, on: dict[str, str], launch: Callable[..., subprocess.Popen[str]], number: int
) -> None:
    process = launch(["consume", "first", "--stream", filled, "--format", "none"], on)
    helper = second_process(process)
    wait_for(process, "reading")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == (-number if number == signal.SIGKILL else 130)
    deadline = time.monotonic() + 10
    while is_running(helper) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(helper)


def test_a_reader_that_waits_has_no_second_process(
    filled: str, on: dict[str, str], launch: Callable[..., subprocess.Popen[str]]
) -> None:
    process = launch(["consume", "next", "--stream", filled, "--format", "none"], on)
    wait_for(process, "waiting")
    assert children(process.pid) == []


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor has no second process")
@pytest.mark.parametrize("is_killed", [False, True])
def test_a_load_of_json_lines_is_whole_with_it_and_without(
    client: StreamClient, on: dict[str, str], stream_name: str, tmp_path: Path,
    launch: Callable[..., subprocess.Popen[str]], is_killed: bool,
) -> None:  # fmt: skip
    client.create_stream(stream_name)
    lines = [
        f'{{"type":"adjustment","sku":"S-{n % 99}","location_id":"here","quantity":{n + 1},'
        f'"occurred_at":"2026-11-24T13:05:{n % 60:02}.{n:06}Z","reason":"sale","source":"t",'
        f'"update_id":"t/{n}"}}'
        for n in range(90_000)
    ]
    lines[40_000] = lines[40_000].replace('"S-', '"\\u0053-')
    lines[50_000] = "{}"
    file = tmp_path / "updates.jsonl"
    file.write_text("\n".join(lines))
    process = launch(["load", str(file), "--stream", stream_name], on)
    helper = second_process(process)
    if is_killed:
        os.kill(helper, signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert "89,999 updates confirmed" in err
    assert not is_running(helper)
    out = tmp_path / "out.csv"
    words = ["consume", "first", "-e", "--stream", stream_name, "--format", "csv"]
    assert run(*words, "--output", str(out), env=on).status == 0
    rows = csv.DictReader(out.read_text().splitlines())
    quantities = [int(row["quantity"]) for row in rows]
    assert quantities == [n + 1 for n in range(90_000) if n != 50_000]

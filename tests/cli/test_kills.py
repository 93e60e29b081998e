"""`load` and `produce --name`, killed and interrupted at random moments, then run to the end.

STOCKLOG_KILLS=50 makes it 50 kills of each kind on each broker; STOCKLOG_KILLS_SEED draws others.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shell import PATIENCE, run

from stocklog.errors import StreamError
from stocklog.inventory.feeds import FeedOptions, open_feed
from stocklog.inventory.simulate import Simulator
from stocklog.ledger.batch import decode
from stocklog.stream import StreamClient

KILLS = int(os.environ.get("STOCKLOG_KILLS", "2"))
SEED = int(os.environ.get("STOCKLOG_KILLS_SEED", "1"))
ROWS = 60_000
Launch = Callable[..., subprocess.Popen[str]]


class Files:
    """Two files with bad rows here and there, and what is to come of them."""

    def __init__(self, folder: Path) -> None:
        self.paths = [folder / "first.csv", folder / "second.csv"]
        self.rejects = folder / "rejects.jsonl"
        for path, count in zip(self.paths, (ROWS * 2 // 3, ROWS // 3), strict=True):
            rows = "".join(
                f"{path.stem}-{n},shop-1,{0 if n % 997 == 0 else 1},2026-11-24T10:00:00Z\n"
                for n in range(count)
            )
            path.write_text(f"sku,location_id,quantity,occurred_at\n{rows}")
        constants = {"type": "adjustment", "reason": "sale", "source": "till"}
        self.words = [*map(str, self.paths), "--rejects", str(self.rejects)]
        self.words += [word for item in constants.items() for word in ("--set", "=".join(item))]
        self.ids: list[str] = []
        self.bad: list[tuple[str, int]] = []
        for path in self.paths:
            with open_feed(path, FeedOptions(constants=constants)) as feed:
                for batch in feed:
                    self.ids += batch.updates["update_id"].to_list()
                    self.bad += [(reject.file, reject.line) for reject in batch.rejects]

    def check_rejects(self) -> None:
        import json

        kept = [json.loads(line) for line in self.rejects.read_text().splitlines()]
        assert [(row["file"], row["line"]) for row in kept] == self.bad


def ids(client: StreamClient, stream: str) -> list[str]:
    with client.subscriber(stream, "first", until_end=True) as subscriber:
        return [i for block in subscriber for i in decode(block).updates["update_id"].to_list()]


def rows_in(client: StreamClient, stream: str) -> int:
    """Rows that the log has; none while the stream is being made."""
    with contextlib.suppress(StreamError):
        last = client.last_offset(stream) if client.stream_exists(stream) else None
        return 0 if last is None else last + 1
    return 0


def wait_for_rows(client: StreamClient, stream: str, least: int, process: Any) -> None:
    """Until the log has so many, or the process has ended."""
    while process.poll() is None:
        if rows_in(client, stream) >= least:
            return
        time.sleep(0.005)


def kill_at_random(
    process: subprocess.Popen[str],
    client: StreamClient,
    stream: str,
    choose: random.Random,
    longest: float,
) -> bool:
    """Kill it after some time, or once the log has some rows; whether it still ran."""
    if choose.random() < 0.4:
        time.sleep(choose.uniform(0.05, longest))
    else:
        wait_for_rows(client, stream, int(choose.uniform(1, ROWS)), process)
    struck = process.poll() is None
    process.kill()
    process.communicate(timeout=PATIENCE)
    return struck


def run_killed(
    words: list[str],
    env: dict[str, str],
    launch: Launch,
    client: StreamClient,
    stream: str,
    check: Callable[[list[str]], None],
) -> None:
    """Kill the command until `KILLS` kills have struck; each one to three it may end."""
    choose = random.Random(f"{SEED} {words[0]}")
    begun = time.monotonic()
    done = run(*words, "-s", f"{stream}-whole", env=env)
    longest = time.monotonic() - begun
    assert done.status in (0, 3), done.err
    check(ids(client, f"{stream}-whole"))
    struck = midway = 0
    for trial in itertools.count():
        name = f"{stream}-{trial}"
        for _ in range(choose.randint(1, 3)):
            process = launch([*words, "-s", name], env)
            if kill_at_random(process, client, name, choose, longest):
                struck += 1
                midway += 0 < rows_in(client, name) < ROWS * 0.99
        done = run(*words, "-s", name, env=env)
        assert done.status in (0, 3), done.err
        check(ids(client, name))
        client.delete_stream(name)
        print(f"{words[0]}, run {trial + 1}: {struck} kills struck, {midway} midway", flush=True)
        if struck >= KILLS and midway:
            break


@pytest.mark.parametrize("envelope", ["--sub-batch=500", "--sub-batch=1", "--codec=lz4"])
def test_a_load_that_is_killed_ends_with_every_row_once(
    on: dict[str, str],
    launch: Launch,
    client: StreamClient,
    stream_name: str,
    tmp_path: Path,
    envelope: str,
) -> None:
    files = Files(tmp_path)

    def check(found: list[str]) -> None:
        assert len(found) == len(files.ids)
        assert found == files.ids
        files.check_rejects()

    run_killed(["load", *files.words, envelope], on, launch, client, stream_name, check)


def test_a_named_production_that_is_killed_ends_with_every_update_once(
    on: dict[str, str], launch: Launch, client: StreamClient, stream_name: str
) -> None:
    expected = Simulator("grocery", 3).batch(ROWS + 250)["update_id"].to_pylist()

    def check(found: list[str]) -> None:
        assert len(found) == len(expected)
        assert found == expected

    words = ["produce", "--name", "p", "--seed", "3", "-n", str(ROWS + 250)]
    run_killed(words, on, launch, client, stream_name, check)


def interrupt(process: subprocess.Popen[str], client: StreamClient, stream: str) -> str:
    """Ctrl-C once the log has something; what it said."""
    wait_for_rows(client, stream, 1, process)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert "without a confirm" not in err
    assert time.monotonic() - begun < 15
    return err


def test_ctrl_c_during_load_drains_and_the_same_command_goes_on(
    on: dict[str, str], launch: Launch, client: StreamClient, stream_name: str, tmp_path: Path
) -> None:
    feed = tmp_path / "long.csv"
    rows = "".join(f"S{n},L,1,2026-11-24T10:00:00Z\n" for n in range(600_250))
    feed.write_text(f"sku,location_id,quantity,occurred_at\n{rows}")
    words = ["load", str(feed), "-s", stream_name, "--set", "type=adjustment"]
    words += ["--set", "reason=sale", "--set", "source=till"]
    interrupt(launch(words, on), client, stream_name)
    part = ids(client, stream_name)
    assert 0 < len(part) < 600_250
    assert len(part) % 500 == 0  # no block was cut short
    done = run(*words, env=on)
    assert done.status == 0, done.err
    assert f"the log had {len(part):,} before" in done.err
    whole = ids(client, stream_name)
    assert whole[: len(part)] == part
    assert [one.partition("/")[2] for one in whole] == [str(n) for n in range(1, 600_251)]


def test_ctrl_c_during_a_named_production_drains_and_the_same_command_goes_on(
    on: dict[str, str], launch: Launch, client: StreamClient, stream_name: str
) -> None:
    words = ["produce", "--name", "p", "-n", "9250", "-s", stream_name]
    interrupt(launch([*words, "--rate", "3000"], on), client, stream_name)
    part = ids(client, stream_name)
    assert 0 < len(part) < 9_250
    assert len(part) % 500 == 0
    done = run(*words, env=on)
    assert (done.status, f"the log had {len(part):,} before" in done.err) == (0, True), done.err
    whole = ids(client, stream_name)
    assert whole[: len(part)] == part
    assert len(set(whole)) == len(whole) == 9_250

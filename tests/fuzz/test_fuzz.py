"""The short form of scripts/fuzz.sh: some inputs for each target, the same ones every time."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import fuzzing
import pytest

from examples import examples

pytestmark = pytest.mark.slow

RUN = Path(__file__).with_name("run.py")
INPUTS = {"frames": 3000, "chunk": 1500, "amqp": 2000, "codec": 120, "feeds": 100}

_UPDATE = (
    b'{"update_id":"u","type":"adjustment","sku":"S","location_id":"L","quantity":1,'
    b'"occurred_at":"2026-11-24T14:02:11Z","reason":"sale","source":"t",'
)
FOUND = {
    # Atheris, 2026-11: refused, since UTF-8 has no such text; the plain reference took it.
    "codec: half a surrogate pair in a value": ("codec", _UPDATE + b'"x":{"y":"\\ud38d\\ude00"}}'),
    "codec: the same in a list": ("codec", _UPDATE + b'"x":["\\ud83d"]}'),
    "codec: the same in a value that another replaces": (
        "codec",
        _UPDATE + b'"x":"\\ude00","x":1}',
    ),
    # Atheris, 2026-11: the verdict on the fourth line depended on where the block ended.
    "feeds: a quote that two quotes hide": (
        "feeds",
        bytes([0 | 2 << 2, 3])
        + b"update_id,type,sku,location_id,quantity,occurred_at,reason,source\n"
        + b'a,count,"b"c,S,1,2026-11-24T14:05,sale,t\n'
        + b'a,count,"b"c,S,1,2026-11-24T14:05,x"y,"t\n'
        + b'a,count,"b,"c",S,1,"2026-11-24""t\n',
    ),
}


@pytest.mark.parametrize("name", fuzzing.TARGETS)
def test_mutated_inputs_break_no_promise(name: str) -> None:
    target = fuzzing.load(name)
    seeds = target.seeds()
    for data in seeds:
        target.check(data)
    check = fuzzing.bounded(target.check)
    for data in itertools.islice(fuzzing.mutations(seeds, seed=11), examples(INPUTS[name])):
        try:
            check(data)
        except Exception as error:
            error.add_note(f"the input: {data!r}")
            raise


@pytest.mark.parametrize(("name", "data"), FOUND.values(), ids=FOUND)
def test_what_fuzzing_found_stays_mended(name: str, data: bytes) -> None:
    fuzzing.load(name).check(data)


def test_the_mutator_makes_new_inputs_and_the_same_ones_for_the_same_number() -> None:
    seeds = fuzzing.load("chunk").seeds()
    first = list(itertools.islice(fuzzing.mutations(seeds, 1), 200))
    assert first == list(itertools.islice(fuzzing.mutations(seeds, 1), 200))
    assert first != list(itertools.islice(fuzzing.mutations(seeds, 2), 200))
    assert len(set(first) - set(seeds)) > 150
    assert max(map(len, first)) <= fuzzing.MAX_INPUT


@pytest.mark.parametrize("lie", ["raises", "wrong", "slow", "large"])
def test_a_broken_promise_of_each_kind_is_found(lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness itself: planted faults do not pass."""
    from stocklog.protocol import chunk as chunks

    honest = chunks.decode
    monkeypatch.setattr(fuzzing, "SECONDS", 0.2)
    kept: list[bytes] = []

    def lying(*args: object, **options: object) -> object:
        if lie == "raises":
            raise IndexError("a defect")
        if lie == "slow":
            import time

            time.sleep(0.3)
        if lie == "large":
            kept.append(b"x" * (fuzzing.MEGABYTES << 20) * 2)
        block = honest(*args, **options)  # type: ignore[arg-type]
        return block[:0] if lie == "wrong" else block

    target = fuzzing.load("chunk")
    monkeypatch.setattr(chunks, "decode", lying)
    expected = {"raises": IndexError}.get(lie, AssertionError)
    with pytest.raises(expected):
        fuzzing.bounded(target.check)(target.seeds()[1])
    kept.clear()


def test_the_runner_works_without_atheris_and_says_so() -> None:
    words = [sys.executable, str(RUN), "frames", "--seconds", "0.5", "--engine", "random"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "inputs at random, nothing found" in done.stderr

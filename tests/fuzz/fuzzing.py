"""What all fuzz targets share: names, bounds, and a mutator for where there is no Atheris.

A target is a module `fuzz_NAME` with two functions. `seeds()` makes the inputs to begin with;
`check(data)` reads any bytes, and raises only if a promise is broken: another exception than
stocklog's own, or another result than a plain reference.
"""

from __future__ import annotations

import importlib
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

TARGETS = ("frames", "chunk", "amqp", "codec", "feeds")
MAX_INPUT = 8192
SECONDS = 10
"""Seconds that one input may take, on a slow machine."""
MEGABYTES = 256
"""What one input of at most 8 kB may add to the highest memory that the process ever had."""

_TESTS = Path(__file__).resolve().parents[1]
_INTERESTING = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
)


def load(name: str) -> ModuleType:
    """Import a target; the plain references lie beside the tests that use them too."""
    for folder in ("fuzz", "protocol", "inventory", "inventory/feeds"):
        if str(_TESTS / folder) not in sys.path:
            sys.path.append(str(_TESTS / folder))
    return importlib.import_module(f"fuzz_{name}")


def bounded(check: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Hold a check to the bounds of time and memory as well."""

    def run(data: bytes) -> None:
        before, begun = _peak(), time.perf_counter()
        check(data)
        assert time.perf_counter() - begun < SECONDS, f"took more than {SECONDS} s"
        assert _peak() - before < MEGABYTES << 20, f"took more than {MEGABYTES} MB"

    return run


def _peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def mutations(seeds: list[bytes], seed: int) -> Iterator[bytes]:
    """Inputs near the seeds, without end; the same for the same number.

    Args:
        seeds: to begin with.
        seed: of the random numbers.
    """
    choose = random.Random(seed)
    while True:
        data = bytearray(choose.choice(seeds))
        for _ in range(choose.choice((1, 1, 2, 4, 8))):
            _mutate(data, choose, seeds)
        yield bytes(data[:MAX_INPUT])


def _mutate(data: bytearray, choose: random.Random, seeds: list[bytes]) -> None:
    at = choose.randrange(len(data) + 1)
    size = min(choose.choice((1, 1, 2, 4, 8, 30)), len(data) - at)
    kind = choose.randrange(6)
    if kind == 0 and at < len(data):
        data[at] ^= 1 << choose.randrange(8)
    elif kind == 1:
        width = choose.choice((1, 2, 4))
        number = choose.choice(_INTERESTING) & (1 << 8 * width) - 1
        data[at : at + width] = number.to_bytes(width, choose.choice(("big", "little")))
    elif kind == 2:
        del data[at : at + size]
    elif kind == 3:
        data[at:at] = choose.randbytes(size)
    elif kind == 4:
        data[at:at] = data[at : at + size] * choose.choice((1, 2, 50))
    else:
        other = choose.choice(seeds)
        begin = choose.randrange(len(other) + 1)
        data[at : at + size] = other[begin : begin + choose.choice((size, 40))]

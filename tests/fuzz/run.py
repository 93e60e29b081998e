"""Fuzzes one target for a while: `python tests/fuzz/run.py chunk --seconds 120`.

With Atheris the inputs follow the code that they reach; without it they are random changes of the
seeds, which is said. Exit status 0: nothing found; else the input is kept, and how to try it again.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

import fuzzing

RSS_MB = 2048


def main() -> int:
    """Parse, fuzz, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=fuzzing.TARGETS)
    parser.add_argument("inputs", nargs="*", type=Path, help="try only these files")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=("auto", "atheris", "random"), default="auto")
    parser.add_argument("--keep", type=Path, default=Path.cwd(), help="folder for what is found")
    given = parser.parse_args()
    atheris = None if given.engine == "random" or given.inputs else load_atheris(given.engine)
    if atheris is None:
        target = fuzzing.load(given.target)
    else:
        with atheris.instrument_imports(include=["stocklog"]):
            target = fuzzing.load(given.target)
    if given.inputs:
        for path in given.inputs:
            target.check(path.read_bytes())
        return 0
    check = fuzzing.bounded(target.check)
    for data in target.seeds():
        target.check(data)  # imports and pools are paid for before memory is measured
    if atheris is None:
        return fuzz_at_random(given, target)
    with tempfile.TemporaryDirectory(prefix="stocklog-corpus-") as corpus:
        for number, data in enumerate(target.seeds()):
            Path(corpus, f"{number:04}").write_bytes(data)
        words = [
            f"-max_total_time={max(1, round(given.seconds))}",
            f"-seed={given.seed}",
            f"-max_len={fuzzing.MAX_INPUT}",
            f"-timeout={fuzzing.SECONDS}",
            f"-rss_limit_mb={RSS_MB}",
            f"-artifact_prefix={given.keep}/{given.target}-",
            "-print_final_stats=1",
            corpus,
        ]
        atheris.Setup([sys.argv[0], *words], check)
        atheris.Fuzz()  # ends the process
    return 0


def load_atheris(engine: str) -> ModuleType | None:
    """Atheris, or None where there is none and it was not asked for by name."""
    try:
        import atheris
    except ImportError:
        if engine == "atheris":
            sys.exit("run.py: Atheris is not installed: uv run --group fuzz ... brings it")
        print("run.py: no Atheris here: random changes of the seeds instead", file=sys.stderr)
        return None
    return atheris


def fuzz_at_random(given: argparse.Namespace, target: ModuleType) -> int:
    """Try mutations of the seeds until the time is over or something is found."""
    check, tried, begun = fuzzing.bounded(target.check), 0, time.monotonic()
    for data in fuzzing.mutations(target.seeds(), given.seed):
        if time.monotonic() - begun > given.seconds:
            break
        faulthandler.dump_traceback_later(10 * fuzzing.SECONDS, exit=True)  # a hang is a finding
        try:
            check(data)
        except Exception:
            kept = given.keep / f"{given.target}-found-{os.getpid()}"
            kept.write_bytes(data)
            print(f"Found after {tried} inputs: {kept}", file=sys.stderr)
            print(f"Again: python {sys.argv[0]} {given.target} {kept}", file=sys.stderr)
            raise
        tried += 1
    faulthandler.cancel_dump_traceback_later()
    print(f"{given.target}: {tried} inputs at random, nothing found", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

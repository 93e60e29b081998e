#!/usr/bin/env python3
"""Keeps the exact versions of everything that stocklog installs, in three pyproject.toml.

uv.lock is not committed: it records where each file was downloaded, which differs from place to
place. The versions themselves stand under `[tool.uv]` as `constraint-dependencies` (and
`build-constraint-dependencies`, what builds the package), equal in the three projects: the root,
python/producer and python/consumer.

    python scripts/pins.py --check      exit 1 and a list of differences, if there are any
    python scripts/pins.py --write      add what is new, drop what is no longer needed
    python scripts/pins.py --upgrade    take the newest versions that fit, then write
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECTS = ("pyproject.toml", "python/producer/pyproject.toml", "python/consumer/pyproject.toml")
KEYS = ("constraint-dependencies", "build-constraint-dependencies")
OLDEST_PYTHON = "3.11"
HEADING = "# Exact versions, written by scripts/pins.py; the same in the three pyproject.toml."


def pins_of(pyproject: Path) -> dict[str, list[str]]:
    """Returns what one pyproject.toml pins: the list under each key, empty where there is none."""
    settings = tomllib.loads(pyproject.read_text()).get("tool", {}).get("uv", {})
    return {key: settings.get(key, []) for key in KEYS}


def resolve(*, keep: bool) -> dict[str, list[str]]:
    """Returns the exact closure of all extras and groups, for Python 3.11 and later.

    Args:
        keep: stay with the versions that are pinned now, where they still fit.
    """
    project = tomllib.loads((ROOT / PROJECTS[0]).read_text())
    now = pins_of(ROOT / PROJECTS[0]) if keep else {key: [] for key in KEYS}
    everything = [*project["project"]["dependencies"], *_extras(project), *_groups(project)]
    wanted = {KEYS[0]: everything, KEYS[1]: project["build-system"]["requires"]}
    return {key: _compile(wanted[key], now[key]) for key in KEYS}


def _extras(project: dict) -> list[str]:
    extras = project["project"].get("optional-dependencies", {})
    return [requirement for extra in extras.values() for requirement in extra]


def _groups(project: dict) -> list[str]:
    groups = project.get("dependency-groups", {})
    return [requirement for group in groups.values() for requirement in group]


def _compile(requirements: list[str], constraints: list[str]) -> list[str]:
    """Lets uv resolve; one version of each package for all Pythons where that is possible."""
    with tempfile.TemporaryDirectory() as folder:  # away from any pyproject.toml
        Path(folder, "wanted.in").write_text("\n".join(requirements))
        Path(folder, "pinned.txt").write_text("\n".join(constraints))
        command = ["uv", "pip", "compile", "wanted.in", "--constraints", "pinned.txt", "--quiet"]
        command += ["--universal", "--python-version", OLDEST_PYTHON, "--fork-strategy", "fewest"]
        command += ["--no-header", "--no-annotate"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    if done.returncode:
        sys.exit(f"pins.py: uv could not resolve the dependencies:\n{done.stderr}")
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def differences(wanted: dict[str, list[str]]) -> list[str]:
    """Returns one line for each pin that is missing, not needed, or not the same in a project."""
    found = []
    for name in PROJECTS:
        pins = pins_of(ROOT / name)
        for key in KEYS:
            found += [f"{name}: {key} lacks {pin}" for pin in wanted[key] if pin not in pins[key]]
            found += [
                f"{name}: {key} has {pin} for nothing"
                for pin in pins[key]
                if pin not in wanted[key]
            ]
    return found


def write(wanted: dict[str, list[str]]) -> None:
    """Puts the lists in place of the old ones, at the head of each `[tool.uv]` table."""
    for name in PROJECTS:
        path = ROOT / name
        text = path.read_text().replace(HEADING + "\n", "")
        for key in KEYS:
            text = re.sub(rf"(?ms)^{key} = \[.*?^\]\n", "", text)
        lists = "".join(
            f"{key} = [\n" + "".join(f'  "{pin}",\n' for pin in wanted[key]) + "]\n" for key in KEYS
        )
        path.write_text(text.replace("[tool.uv]\n", f"[tool.uv]\n{HEADING}\n{lists}", 1))


def main(arguments: list[str]) -> int:
    """Does what the one argument says; returns the exit status."""
    if len(arguments) != 1 or arguments[0] not in {"--check", "--write", "--upgrade"}:
        print(__doc__, file=sys.stderr)
        return 2
    wanted = resolve(keep=arguments[0] != "--upgrade")
    if arguments[0] != "--check":
        write(wanted)
        return 0
    wrong = differences(wanted)
    for line in wrong:
        print(line, file=sys.stderr)
    if wrong:
        print("Run: python scripts/pins.py --write", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The three pyproject.toml pin the same versions, and all of what is installed."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECTS = ["pyproject.toml", "python/producer/pyproject.toml", "python/consumer/pyproject.toml"]


def settings(project: str) -> dict:
    return tomllib.loads((ROOT / project).read_text())


def pins() -> dict[str, Requirement]:
    """The pins that hold for the Python that runs this."""
    lines = settings(PROJECTS[0])["tool"]["uv"]["constraint-dependencies"]
    requirements = [Requirement(line) for line in lines]
    return {
        canonicalize_name(one.name): one
        for one in requirements
        if one.marker is None or one.marker.evaluate()
    }


def wanted(requirements: list[str], seen: set[str]) -> set[str]:
    """Every package that these requirements bring, as the installed metadata tells."""
    for text in requirements:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        if name not in seen:
            seen.add(name)
            wanted(metadata.requires(name) or [], seen)
    return seen


@pytest.mark.parametrize("project", PROJECTS[1:])
@pytest.mark.parametrize("key", ["constraint-dependencies", "build-constraint-dependencies"])
def test_each_project_pins_what_the_root_pins(project: str, key: str) -> None:
    assert settings(project)["tool"]["uv"][key] == settings(PROJECTS[0])["tool"]["uv"][key]


@pytest.mark.parametrize("key", ["constraint-dependencies", "build-constraint-dependencies"])
def test_every_pin_names_one_exact_version(key: str) -> None:
    for line in settings(PROJECTS[0])["tool"]["uv"][key]:
        specifiers = list(Requirement(line).specifier)
        assert [one.operator for one in specifiers] == ["=="], line
        assert "*" not in specifiers[0].version, line


def test_whatever_is_installed_for_stocklog_is_pinned_at_the_version_that_is_installed() -> None:
    project = settings(PROJECTS[0])
    direct = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    pinned = pins()
    names = wanted(direct, set())
    assert len(names) > len(direct)
    for name in sorted(names):
        assert name in pinned, f"{name} has no pin: run scripts/pins.py --write"
        assert pinned[name].specifier.contains(metadata.version(name), prereleases=True), name


@pytest.mark.parametrize("project", PROJECTS[1:])
def test_the_exercises_projects_take_stocklog_from_this_tree_and_form_no_workspace(
    project: str,
) -> None:
    mine = settings(project)
    assert mine["project"]["dependencies"] == ["stocklog"]
    assert mine["tool"]["uv"]["sources"] == {"stocklog": {"path": "../..", "editable": True}}
    assert all("workspace" not in settings(one)["tool"]["uv"] for one in PROJECTS)
    assert mine["project"]["requires-python"] == settings(PROJECTS[0])["project"]["requires-python"]

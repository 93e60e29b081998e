"""Every command and program in the documents runs as it stands, in a clean copy of the tree."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from docpages import FRESH, TRANSLATED, pages, runnable, text_of
from terminal import Terminal, clean_copy, environment, terminal

pytestmark = [pytest.mark.commands, pytest.mark.slow, pytest.mark.timeout(1500)]

PREPARED = [page for page in pages() if page not in (*FRESH, *TRANSLATED) and runnable(page)]


@pytest.fixture(scope="session")
def prepared_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean copy in which ./run or ./test has been: there is a .venv."""
    base = tmp_path_factory.mktemp("prepared")
    place = clean_copy(base / "tree")
    subprocess.run(
        ["uv", "sync", "--quiet", "--no-dev"], cwd=place, env=environment(base), check=True
    )
    return place


@pytest.fixture
def untouched(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal in a clean copy in which nobody has typed anything."""
    with terminal(clean_copy(tmp_path / "tree"), tmp_path / "state") as one:
        yield one


def run_page(page: str, one: Terminal) -> None:
    for block in runnable(page):
        one.run(block)
    one.interrupt_all()


@pytest.mark.parametrize("page", FRESH)
def test_a_readme_runs_in_an_untouched_tree(page: str, untouched: Terminal) -> None:
    assert runnable(page)
    run_page(page, untouched)


@pytest.mark.parametrize("page", PREPARED)
def test_a_page_runs_where_the_environment_is_activated(
    page: str, prepared_tree: Path, tmp_path: Path
) -> None:
    assert "source .venv/bin/activate" in text_of(page), "the page does not say what comes first"
    with terminal(prepared_tree, tmp_path / "state", activated=True) as one:
        run_page(page, one)

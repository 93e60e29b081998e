"""How the tests lie: pytest puts each test's folder on the path, so names are shared by all."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_no_two_modules_of_the_tests_have_one_name() -> None:
    places = defaultdict(list)
    for path in TESTS.rglob("*.py"):
        if path.name != "conftest.py":
            places[path.name].append(str(path.relative_to(TESTS)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}

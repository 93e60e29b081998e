"""What all tests of the codec begin with."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest

# The package also has a function of this name, which a dotted text would find.
DECODE = importlib.import_module("stocklog.inventory.decode")


@pytest.fixture(autouse=True, scope="module")
def few_bodies_go_by_columns_too() -> Iterator[None]:
    """Tests hand over few bodies; without this they would see only the row reader."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DECODE, "_FEW", 0)
        yield

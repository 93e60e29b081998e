"""What all tests of the codec begin with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def few_bodies_go_by_columns_too() -> Iterator[None]:
    """Tests hand over few bodies; without this they would see only the row reader."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stocklog.inventory.decode._FEW", 0)
        yield

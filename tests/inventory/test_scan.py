"""Looks for bytes a tile at a time: the tiles' borders show nowhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stocklog.inventory import scan
from stocklog.inventory.escape_scan import code_of

TEXTS = st.binary(max_size=100) | st.text('":\\a', max_size=200).map(str.encode)


@pytest.mark.parametrize("tile", [8, 16, 1 << 18])
@given(text=TEXTS)
def test_bytes_and_name_ends_are_found_wherever_they_stand(tile: int, text: bytes) -> None:
    text += b" "  # as behind every body
    lines = np.frombuffer(text, np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_TILE", tile)
        ends, quotes = scan.name_ends(lines)
        backslashes = scan.places(lines, ord("\\"))
        assert scan.occurrences(lines, ord("a")) == text.count(b"a")
    assert quotes == text.count(b'"')
    assert ends.tolist() == [at for at in range(len(text)) if text[at : at + 2] == b'":']
    assert backslashes.tolist() == [at for at, byte in enumerate(text) if byte == ord("\\")]
    assert ends.dtype == backslashes.dtype == np.int64


def test_nothing_is_found_in_nothing() -> None:
    nothing = np.zeros(0, np.uint8)
    assert scan.places(nothing, 1).size == scan.occurrences(nothing, 1) == 0
    assert scan.name_ends(nothing)[0].size == 0


@given(digits=st.text(st.characters(codec="ascii"), min_size=4, max_size=4))
def test_four_hexadecimal_digits_are_a_number_and_nothing_else_is(digits: str) -> None:
    data = np.frombuffer(f"u{digits}".encode(), np.uint8)
    code, good = code_of(data, np.array([1]))
    assert good[0] == all(digit in "0123456789abcdefABCDEF" for digit in digits)
    if good[0]:
        assert code[0] == int(digits, 16)

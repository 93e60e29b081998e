"""JSON bodies: three ways of reading them, and one plain reference, say the same."""

from __future__ import annotations

import importlib
from unittest import mock

import numpy as np
import polars as pl
import reference

from stocklog.errors import InvalidUpdateError
from stocklog.inventory.codec import Decoded, decode, decode_row, encode

BODY = (
    b'{"update_id":"till-7/48214/1","type":"adjustment","sku":"MILK-1L","location_id":"shop-12",'
    b'"quantity":-2,"occurred_at":"2026-11-24T14:02:11.000000Z","reason":"sale","source":"till-7"}'
)
TRANSFER = BODY.replace(b"adjustment", b"transfer").replace(b"-2", b"2")[:-1]
_DEEP = 200
"""Levels of nesting beyond which the reference itself gives up."""


def seeds() -> list[bytes]:
    """Updates in our own form and in others', and bodies that are none."""
    spaced = BODY.replace(b":", b": ").replace(b",", b", ").replace(b"14: 02: 11", b"14:02:11")
    bodies = [
        BODY,
        spaced,
        TRANSFER + b',"to_location_id":"shop-9","reference":"TO-1","uom":"PCE","source_seq":7}',
        BODY.replace(b"adjustment", b"count").replace(b"-2", b"9")[:-1]
        + b',"expected_quantity":8}',
        BODY[:-1] + b',"x":{"y":[1,2.5,null,true,"\\u00e9\\ud83d\\ude00"]},"z":"\xc3\xa9"}',
        BODY.replace(b"MILK-1L", b'a\\"b\\\\c\\n'),
        BODY.replace(b"11.000000Z", b"11+02:00"),
        BODY.replace(b"-2", b"9223372036854775807"),
        BODY.replace(b"-2", b"2.0"),
        b"[]",
        b"\xef\xbb\xbf" + BODY,
    ]
    return [*bodies, b"\n".join(bodies), b"\n".join([BODY] * 9)]


@mock.patch.object(importlib.import_module("stocklog.inventory.decode"), "_FEW", 0)
def check(data: bytes) -> None:
    """Bodies between line ends, read as one block."""
    bodies = [body for body in data.split(b"\n") if not is_deep(body)]
    expected = [reference.decode(body) for body in bodies]
    lengths = np.array([len(body) for body in bodies], np.int64)
    buffer = np.frombuffer(b"".join(bodies), np.uint8)
    starts = np.cumsum(lengths) - lengths
    for short_way in (False, True):
        found = decode(buffer, starts, lengths, short_way=short_way)
        compare(found, expected)
    if found.updates.height:
        written_again(found.updates)
    for body, update in zip(bodies, expected, strict=True):
        check_row(body, update)


def is_deep(body: bytes) -> bool:
    """Whether it may be nested beyond what the reference can read."""
    return body.count(b"[") + body.count(b"{") > _DEEP


def compare(found: Decoded, expected: list[dict | None]) -> None:
    """Validity, values and reasons, row by row."""
    good = [update for update in expected if update is not None]
    assert found.valid.tolist() == [update is not None for update in expected]
    assert [plain(row) for row in found.updates.iter_rows(named=True)] == good
    assert set(found.reasons) == {i for i, update in enumerate(expected) if update is None}
    assert all(found.reasons.values())


def written_again(updates: pl.DataFrame) -> None:
    """What was read is encoded, and that is read as the same."""
    encoded = encode(updates)
    starts = encoded.starts[:-1]
    again = decode(encoded.data, starts, np.diff(encoded.starts))
    assert again.valid.all()
    assert again.updates.equals(updates)


def plain(row: dict) -> dict:
    """A row as the reference writes it."""
    update = {name: value for name, value in row.items() if value is not None}
    if "extra" in update:
        update["extra"] = reference.load(update["extra"].encode())
    return update


def check_row(body: bytes, expected: dict | None) -> None:
    """The reader of one row, which judges what the others do not prove."""
    try:
        update = decode_row(body).to_dict()
    except InvalidUpdateError as error:
        assert error.reasons
        assert expected is None
    else:
        assert plain(update) == expected

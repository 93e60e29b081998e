"""Feeds: CSV, JSON Lines and Parquet of any bytes; the same result however they are cut."""

from __future__ import annotations

import gzip
import io
import tempfile
from pathlib import Path

import polars as pl
import pyarrow.parquet as pa_parquet
import reference
from feed_helpers import Whole, csv_line, csv_text, drain, frame, row
from fuzz_codec import BODY, is_deep

from stocklog.errors import StocklogError
from stocklog.inventory.feeds import FeedOptions, open_feed
from stocklog.protocol.compression import compress

FORMATS = ("csv", "jsonl", "parquet", None)
OPTIONS: list[dict[str, object]] = [
    {},
    {"keep_extra": True},
    {"timezone": "Europe/Madrid", "decimal_comma": True},
    {"mapping": {"quantity": "-quantity"}, "constants": {"source": "fuzz"}},
]
_FOLDER = tempfile.TemporaryDirectory(prefix="stocklog-fuzz-")


def seeds() -> list[bytes]:
    """Feeds of each format, plain and packed, read with each set of options."""
    text = csv_text(*(csv_line(n) for n in range(1, 4))).encode()
    odd = csv_text('a,"b""c', 'x,count,"A,1",S,1,"2026-11-24",sale,t', "").encode()
    spanish = text.replace(b",", b";").replace(b"T14:05:00Z", b" 14:05")
    lines = b"\n".join([BODY, BODY.replace(b"MILK", b"\\u00e9"), b"{}", b"", b'{"a":'])
    contents = [(0, text), (0, odd), (0, spanish), (3, text), (3, lines), (1, lines)]
    contents += [(3, gzip.compress(text, mtime=0)), (3, bytes(compress(4, lines)))]
    contents += [(2, parquet(frame(3))), (2, parquet(pl.DataFrame([row(x=[1, 2], y={"z": "é"})])))]
    return [
        bytes([form | option << 2, size]) + content
        for form, content in contents
        for option in range(len(OPTIONS))
        for size in (3, 255)
    ]


def parquet(rows: pl.DataFrame) -> bytes:
    """The rows as a Parquet file, small and not compressed, so that its bytes can be reached."""
    out = io.BytesIO()
    pa_parquet.write_table(rows.to_arrow(), out, compression="none", store_schema=False)
    return out.getvalue()


def check(data: bytes) -> None:
    """Two bytes say how to read; the rest is the file."""
    if len(data) < 2:
        return
    form, options = FORMATS[data[0] & 3], OPTIONS[data[0] >> 2 & 3]
    if form == "parquet":
        read_file(data[2:], FeedOptions(input_format=form, **options))
        return
    chosen = FeedOptions(input_format=form, **options)
    whole = read(data[2:], chosen, 4 << 20)
    cut = read(data[2:], chosen, 1 + 4 * data[1])
    assert same(whole, cut)
    if form == "jsonl" and not options and whole.error is None:
        against_reference(data[2:], whole)


def read_file(content: bytes, options: FeedOptions) -> Whole:
    """Parquet cannot be read from a pipe."""
    path = Path(_FOLDER.name, "feed.parquet")
    path.write_bytes(content)
    whole = Whole()
    try:
        with open_feed(path, options) as feed:
            drain(feed, whole)
    except StocklogError as error:
        whole.error = error
    return whole


def read(content: bytes, options: FeedOptions, block_size: int) -> Whole:
    """Read all; an error that ends it is kept beside what came before."""
    whole = Whole()
    try:
        with open_feed("-", options, stream=io.BytesIO(content), block_size=block_size) as feed:
            drain(feed, whole)
    except StocklogError as error:
        whole.error = error
    return whole


def same(one: Whole, other: Whole) -> bool:
    """Whether two ways of cutting the same bytes gave the same; made ids differ by nature."""
    if (one.error is None) != (other.error is None):
        return False
    if one.error is not None:
        return True  # where it broke off depends on the blocks
    return (
        one.numbers == other.numbers
        and one.rejects == other.rejects
        and [without_id(update) for update in one.updates]
        == [without_id(update) for update in other.updates]
    )


def without_id(update: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in update.items() if name != "update_id"}


def against_reference(content: bytes, whole: Whole) -> None:
    """A line that is an update by the record's rules is taken as what it says."""
    found = {update["update_id"]: update for update in whole.updates}
    for line in content.split(b"\n"):
        expected = None if is_deep(line) or len(line) > 4000 else reference.decode(line.strip())
        if expected is None:
            continue
        update = found.get(expected["update_id"])
        assert update is not None, "refused, and the reference takes it"

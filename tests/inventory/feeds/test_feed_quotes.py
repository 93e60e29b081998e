"""Lines whose quotes are out of place: the same verdict wherever a block of bytes ends."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest
from feed_helpers import read
from pyarrow import csv as pa_csv

from stocklog.inventory.feeds.records import OPEN_QUOTE, split_as_arrow

REST = {
    "type": "count",
    "location_id": "S",
    "reason": "other",
    "occurred_at": "2026-11-24T00:00:00Z",
}


@pytest.mark.parametrize("block_size", [1, 8, 15, 30, 4 << 20])
def test_a_quote_that_two_quotes_hide_and_text_behind_one_are_judged_the_same(
    block_size: int,
) -> None:
    # Found by fuzzing. The fourth line ends inside a quote: as the last of its block it was taken,
    # and elsewhere it had every quoted line of its block judged by a stricter reader.
    text = 'sku,quantity\n"a"b,1\nc,2\nx"y,"4\n"f"g,4\nh,5\n'
    whole = read(text, block_size=block_size, constants=REST)
    assert whole.column("sku") == ["ab", "c", "fg", "h"]
    assert whole.numbers == [1, 2, 4, 5]
    assert whole.reasons == {4: OPEN_QUOTE}


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_quote_that_is_open_at_the_end_of_the_file_is_a_reject(end: str) -> None:
    whole = read('sku,quantity\nx"y,"4' + end, constants=REST)
    assert (whole.updates, whole.reasons) == ([], {2: OPEN_QUOTE})


def test_a_field_of_many_bytes_is_split_like_any_other() -> None:
    long = "x" * 300_000
    assert split_as_arrow(f'"a"b,"{long}""",c'.encode(), ",") == ["ab", long + '"', "c"]


def arrow_fields(line: str, width: int) -> list[str] | None:
    """The fields as Arrow gives them, with a good row behind the line; None if it takes that in."""
    names = [str(number) for number in range(width)]
    data = line + "\n" + ",".join(["z"] * width) + "\n"
    try:
        table = pa_csv.read_csv(
            pa.py_buffer(data.encode()),
            read_options=pa_csv.ReadOptions(column_names=names, use_threads=False),
            parse_options=pa_csv.ParseOptions(ignore_empty_lines=False),
            convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    except pa.ArrowInvalid:
        return None
    rows = table.to_pylist()
    return list(rows[0].values()) if len(rows) == 2 else None


def test_a_line_is_split_as_arrow_splits_it() -> None:
    choose = random.Random(5)
    opened = 0
    for _ in range(2_000):
        line = "".join(choose.choice('",,aé') for _ in range(choose.randint(1, 9)))
        fields = split_as_arrow(line.encode(), ",")
        opened += fields is None
        widths = [len(fields)] if fields else range(1, line.count(",") + 2)
        for width in widths:
            assert arrow_fields(line, width) == fields, line
    assert opened > 100

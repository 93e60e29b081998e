"""The formats: what a batch looks like as text, JSON Lines, CSV and Parquet."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from frames import MOMENT, PLAIN, batch, odd
from hypothesis import given
from hypothesis import strategies as st

from stocklog.errors import UsageError
from stocklog.inventory.codec import encode
from stocklog.inventory.feeds import FeedOptions, open_feed
from stocklog.inventory.simulate import Simulator
from stocklog.inventory.update import UPDATE_SCHEMA, to_frame
from stocklog.ledger.batch import Batch
from stocklog.ledger.write_errors import naming
from stocklog.ledger.writers import FORMATS, open_sink
from stocklog.ledger.writers.jsonl import JsonLinesFormat
from stocklog.ledger.writers.text import TextFormat


def text(given: Batch) -> list[str]:
    return TextFormat().render(given).decode().splitlines()


def jsonl(given: Batch) -> list[bytes]:
    return bytes(JsonLinesFormat().render(given)).splitlines()


def simulated(count: int, first: int = 0) -> Batch:
    frame = to_frame(Simulator("fashion", 7, dirt=True).batch(count))
    offsets = np.arange(first, first + count)
    times = (MOMENT + np.arange(count) // 37).view("datetime64[ms]")
    return Batch(offsets, times, frame)


# -- text ---------------------------------------------------------------------------------


def test_text_is_one_line_an_update_with_offset_time_sku_location_quantity_type_reason() -> None:
    (line,) = text(batch({}, offsets=[7]))
    assert line.split() == [
        "7",
        "2026-11-24T14:05:09.123Z",
        "SKU-1",
        "store-1",
        "+3",
        "adjustment",
        "receipt",
    ]


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        ({"quantity": 3}, "+3"),
        ({"quantity": -3}, "-3"),
        ({"type": "count", "quantity": 95}, "=95"),
        ({"type": "count", "quantity": 0}, "=0"),
        ({"type": "transfer", "quantity": 3, "to_location_id": "B"}, "3 -> B"),
        ({"type": "reservation", "quantity": -1}, "-1"),
        ({"quantity": -(2**63)}, str(-(2**63))),
    ],
)
def test_text_shows_the_quantity_with_its_meaning(row: dict[str, object], shown: str) -> None:
    (line,) = text(batch(row))
    assert f"  {shown}  " in line


def test_text_columns_are_aligned() -> None:
    lines = text(batch({"sku": "A"}, {"sku": "A" * 40}, {"sku": "ñ"}, offsets=[1, 22, 333]))
    assert len({line.index("store-1") for line in lines}) == 1


def test_text_keeps_a_message_in_its_line_and_its_hands_off_the_terminal() -> None:
    (line,) = text(batch({"sku": "a\nb\x1b[2J\u2028c", "location_id": "x\r"}))
    assert "a?b?[2J?c" in line
    assert "\x1b" not in line


def test_text_marks_what_is_no_update_at_its_place() -> None:
    lines = text(batch({}, {}, offsets=[1, 3], odd=(odd(0), odd(2, b"\xff\x00"), odd(9))))
    assert [line.split()[0] for line in lines] == ["0", "1", "2", "3", "9"]
    assert "!! no update: no JSON: hello" in lines[0]
    assert "\x00" not in lines[2]


def test_nothing_makes_no_lines() -> None:
    assert text(batch()) == []
    assert jsonl(batch()) == []


# -- JSON Lines ---------------------------------------------------------------------------


def test_jsonl_is_the_canonical_body_with_offset_and_recorded_at_in_front() -> None:
    given = batch({"extra": '{"till":{"n":1}}', "sku": 'q"\\ñ'}, offsets=[12345])
    encoded = encode(given.updates, b"")
    body = encoded.data.tobytes()
    want = b'{"offset":12345,"recorded_at":"2025-11-24T16:00:00.123Z",' + body[1:]
    assert jsonl(given) == [want]


@pytest.mark.parametrize("first", [0, 5, 95, 10**9 - 3, 2**62])
def test_jsonl_of_many_rows_reads_back_as_what_it_was(first: int) -> None:
    given = simulated(300, first)
    rows = [json.loads(line) for line in jsonl(given)]
    assert [row.pop("offset") for row in rows] == given.offsets.tolist()
    times = [row.pop("recorded_at") for row in rows]
    assert times == [f"{time}Z" for time in given.recorded_at]
    assert to_frame(rows).equals(given.updates)


@given(st.lists(st.booleans(), max_size=40), st.integers(0, 120))
def test_jsonl_keeps_the_order_of_offsets_whatever_is_no_update(
    good: list[bool], first: int
) -> None:
    offsets = [first + place for place, valid in enumerate(good) if valid]
    wrong = tuple(odd(first + place) for place, valid in enumerate(good) if not valid)
    rows = [
        json.loads(line) for line in jsonl(batch(*[{}] * len(offsets), offsets=offsets, odd=wrong))
    ]
    assert [row["offset"] for row in rows] == list(range(first, first + len(good)))
    assert [("invalid" not in row) for row in rows] == good


def test_jsonl_of_what_is_no_update_has_reason_and_body() -> None:
    (line,) = jsonl(batch(odd=(odd(4, "ñ {".encode(), "it's no JSON"),)))
    assert json.loads(line) == {
        "offset": 4,
        "recorded_at": "2025-11-24T16:00:00.123Z",
        "invalid": "it's no JSON",
        "body": "ñ {",
    }


def test_jsonl_of_bytes_that_are_no_text_is_base64_and_says_so() -> None:
    (line,) = jsonl(batch(odd=(odd(4, b"\xff\x00"),)))
    found = json.loads(line)
    assert base64.b64decode(found["body"]) == b"\xff\x00"
    assert found["body_encoding"] == "base64"


# -- files --------------------------------------------------------------------------------


def written(form: str, path: Path, *batches: Batch) -> Path:
    sink = open_sink(form, path)
    for one in batches:
        sink.write(sink.prepare(one))
    sink.close()
    return path


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_what_a_file_holds_can_be_loaded_again(form: str, tmp_path: Path) -> None:
    one, two = simulated(500), simulated(300, 500)
    path = written(form, tmp_path / f"out.{form}", one, two)
    with open_feed(path, FeedOptions()) as feed:
        found = list(feed)
    assert [reject for part in found for reject in part.rejects] == []
    again = pl.concat([part.updates for part in found])
    wanted = pl.concat([one.updates, two.updates])
    if form == "jsonl":  # there offset and recorded_at are fields like any other
        assert again.drop("extra").equals(wanted.drop("extra"))
    else:
        assert again.equals(wanted)


def test_csv_has_one_header_and_the_times_as_they_are(tmp_path: Path) -> None:
    path = written("csv", tmp_path / "x.csv", batch({}, offsets=[8]), batch({}, offsets=[9]))
    lines = path.read_text().splitlines()
    assert lines[0].split(",") == ["offset", "recorded_at", *UPDATE_SCHEMA]
    assert len(lines) == 3
    assert lines[1].startswith("8,2025-11-24T16:00:00.123Z,a/1,")
    assert "2026-11-24T14:05:09.123456Z" in lines[1]


def test_csv_quotes_what_needs_it(tmp_path: Path) -> None:
    path = written("csv", tmp_path / "x.csv", batch({"sku": 'a,"b"\nc'}))
    assert pl.read_csv(path)["sku"].to_list() == ['a,"b"\nc']


def test_parquet_has_types_and_bounded_row_groups(tmp_path: Path) -> None:
    many = simulated(50_000)
    path = written("parquet", tmp_path / "x.parquet", many, many, many, many, many, many)
    file = pq.ParquetFile(path)
    assert file.metadata.num_rows == 300_000
    assert file.metadata.num_row_groups >= 2
    groups = [file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups)]
    assert max(groups) <= 131_072 + 50_000
    frame = pl.read_parquet(path)
    assert frame.schema["offset"] == pl.Int64
    assert frame.schema["recorded_at"] == pl.Datetime("ms", "UTC")
    assert frame.schema["occurred_at"] == pl.Datetime("us", "UTC")
    assert frame.tail(50_000).drop("offset", "recorded_at").equals(many.updates)


def test_parquet_takes_the_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_text("older")
    sink = open_sink("parquet", path)
    sink.write(sink.prepare(simulated(10)))
    assert path.read_text() == "older"
    sink.close()
    assert pq.read_metadata(path).num_rows == 10
    assert os.listdir(tmp_path) == ["x.parquet"]


def test_an_empty_parquet_file_is_one_that_can_be_read(tmp_path: Path) -> None:
    path = written("parquet", tmp_path / "x.parquet", batch(odd=(odd(1),)))
    assert pl.read_parquet(path).height == 0


def test_none_writes_nothing_and_makes_no_file(tmp_path: Path) -> None:
    written("none", tmp_path / "x", simulated(10))
    assert os.listdir(tmp_path) == []


def test_parquet_to_stdout_and_unknown_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Parquet needs a file"):
        open_sink("parquet", None)
    with pytest.raises(UsageError, match="no format 'xml'"):
        open_sink("xml", tmp_path / "x")
    assert "text" in FORMATS


# -- batches ------------------------------------------------------------------------------


def test_a_batch_as_polars_and_as_arrow_has_offset_and_recorded_at_in_front() -> None:
    given = simulated(5, 40)
    frame = given.to_polars()
    assert frame.columns == ["offset", "recorded_at", *UPDATE_SCHEMA]
    assert frame["offset"].to_list() == [40, 41, 42, 43, 44]
    assert given.to_arrow().column_names == frame.columns
    assert pl.from_arrow(given.to_arrow()).equals(frame)  # type: ignore[union-attr]
    assert len(given) == 5


def test_a_batch_knows_its_range_over_all_messages() -> None:
    given = batch({}, {}, offsets=[3, 4], odd=(odd(2), odd(9)))
    assert (given.first_offset, given.last_offset, given.messages) == (2, 9, 4)
    assert batch(odd=(odd(5),)).first_offset == 5
    assert given.to_text().count("\n") == 4
    assert PLAIN["sku"] in given.to_text()


def full(*_: object, **__: object) -> None:
    raise OSError(28, "as a library words it")


def test_a_full_disk_is_told_with_the_file_whoever_writes(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    with pytest.raises(OSError, match="No space left") as caught, naming(kept):
        full()
    assert (caught.value.filename, caught.value.errno) == (str(kept), 28)
    with pytest.raises(OSError, match=r"stdout: no room \(os error 28\)"), naming(None):
        raise OSError("no room (os error 28)")
    with pytest.raises(BrokenPipeError), naming(None):
        raise BrokenPipeError(32, "Broken pipe")

"""Where a feed's bytes come from: packed, cut short, or still being written."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import threading

import pytest
from feed_helpers import csv_line, csv_text, read, read_file, row

from stocklog.errors import FeedError
from stocklog.inventory.feeds import FeedOptions, content_digest, open_feed

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MANY = csv_text(*(csv_line(n) for n in range(1, 20_001))).encode()
PACKERS = {"gz": gzip.compress, "zst": zstd.compress}


@pytest.mark.parametrize("suffix", PACKERS)
def test_packed_feeds_are_told_by_their_first_bytes(tmp_path, suffix):
    packed = PACKERS[suffix](MANY)
    path = tmp_path / f"stock.csv.{suffix}"
    path.write_bytes(packed)
    assert read_file(path).numbers[-1] == 20_000
    assert read(packed).numbers[-1] == 20_000
    half = len(MANY) // 2
    members = PACKERS[suffix](MANY[:half]) + PACKERS[suffix](MANY[half:])
    assert read(members).column("sku")[-1] == "A20000"


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_packed_feed_that_is_cut_short_gives_its_whole_lines_first(tmp_path, suffix):
    path = tmp_path / f"stock.csv.{suffix}"
    packed = PACKERS[suffix](MANY)
    path.write_bytes(packed[: len(packed) // 2])
    whole = read_file(path)
    assert isinstance(whole.error, FeedError)
    assert "cut short" in str(whole.error)
    assert f"{len(whole.numbers) + 1:,} whole lines were read" in str(whole.error)
    assert whole.numbers == list(range(1, len(whole.numbers) + 1))
    assert len(whole.numbers) > 1000
    assert not whole.rejects


def test_damaged_packed_data_are_one_clear_error(tmp_path):
    packed = bytearray(gzip.compress(MANY))
    packed[len(packed) // 2] ^= 0xFF
    path = tmp_path / "stock.csv.gz"
    path.write_bytes(packed)
    whole = read_file(path)
    assert "damaged" in str(whole.error)


def test_a_packed_bomb_stays_bounded():
    bomb = gzip.compress(csv_text(csv_line()).encode() + b"\0" * (50 << 20))
    whole = read(bomb)
    assert whole.numbers == [1]
    assert len(whole.rejects) == 1


def test_the_digest_is_of_the_content_however_packed(tmp_path):
    plain, packed = tmp_path / "a.csv", tmp_path / "b.csv.gz"
    plain.write_bytes(MANY)
    packed.write_bytes(gzip.compress(MANY))
    assert content_digest(plain) == content_digest(packed)
    assert len(content_digest(plain)) == 16
    plain.write_bytes(MANY + b"\n")
    assert content_digest(plain) != content_digest(packed)


def test_progress_reaches_the_files_size(tmp_path):
    path = tmp_path / "stock.csv"
    path.write_bytes(MANY)
    with open_feed(path, block_size=100_000) as feed:
        seen = [batch.bytes_read for batch in feed]
        assert feed.total_bytes == len(MANY)
    assert seen == sorted(seen)
    assert seen[-1] == len(MANY)


def test_a_live_pipe_hands_lines_on_as_they_come():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as pen:
        pen.write(csv_text(csv_line(1)).encode())
        with open_feed("-", FeedOptions(), stream=stream) as feed:
            batches = iter(feed)
            assert next(batches).updates["sku"].to_list() == ["A1"]
            pen.write(csv_line(2).encode()[:10])
            found: list[object] = []
            thread = threading.Thread(target=lambda: found.append(next(batches)))
            thread.start()
            thread.join(0.2)
            assert not found, "half a line is no row"
            pen.write(csv_line(2).encode()[10:] + b"\n" + csv_line(3).encode())
            thread.join(10)
            assert found[0].updates["sku"].to_list() == ["A2"]  # type: ignore[attr-defined]
            pen.close()
            assert next(batches).updates["sku"].to_list() == ["A3"]
            assert list(batches) == []


def test_a_lone_quote_in_a_live_pipe_waits_for_one_line_only():
    reading, writing = os.pipe()
    header = "type,sku,location_id,quantity,occurred_at,reason,note\n"
    line = "adjustment,A{},S1,-1,2026-11-24T14:05:00Z,sale,{}\n"
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as pen:
        pen.write((header + line.format(1, '"open') + line.format(2, "x")).encode())
        with open_feed("-", stream=stream) as feed:
            batch = next(iter(feed))
    assert batch.updates["sku"].to_list() == ["A2"]
    assert [reject.line for reject in batch.rejects] == [2]


def test_a_named_pipe_is_read_like_standard_input(tmp_path):
    path = tmp_path / "fifo.csv"
    os.mkfifo(path)
    thread = threading.Thread(target=lambda: path.write_bytes(MANY))
    thread.start()
    with open_feed(path) as feed:
        assert feed.total_bytes is None
        assert sum(batch.updates.height for batch in feed) == 20_000
    thread.join(10)


def test_files_that_cannot_be_opened(tmp_path):
    with pytest.raises(FeedError, match="cannot be opened: No such file"):
        open_feed(tmp_path / "none.csv")
    with pytest.raises(FeedError, match="cannot be opened: Is a directory"):
        open_feed(tmp_path)


def test_a_stream_that_was_handed_in_stays_open():
    stream = io.BytesIO(csv_text(csv_line()).encode())
    with open_feed("-", stream=stream) as feed:
        list(feed)
    assert not stream.closed


def test_ids_of_a_pipe_are_uuids_that_rise():
    rows = [csv_line(n, update_id="") for n in range(3000)]
    ids = read(csv_text(*rows[1:]), block_size=2000).column("update_id")
    assert ids == sorted(set(map(str, ids)))
    assert {str(i)[14] for i in ids} == {"7"}
    assert {str(i)[19] for i in ids} <= set("89ab")
    assert row()["update_id"] not in ids


def test_a_file_that_grows_while_it_is_read_is_said_at_the_end(tmp_path):
    path = tmp_path / "stock.csv"
    path.write_bytes(MANY)
    with open_feed(path, block_size=100_000) as feed:
        batches = iter(feed)
        next(batches)
        with path.open("ab") as pen:
            pen.write(csv_line(1).encode())
        with pytest.raises(FeedError, match="changed while it was read"):
            list(batches)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"quantity": 0}, "quantity: an adjustment changes the stock, so it cannot be 0"),
        ({"uom": 'a"\\'}, "uom: it must be a UN/ECE Rec 20 code"),
        ({"sku": "x" * 99}, "sku: it must be text of 1 to 64 characters"),
        ({"quantity": -3.5}, "quantity: it must be an exact integer"),
    ],
)
def test_rules_leave_out_the_values(changes, rule):
    (reject,) = read(json.dumps(row(**changes)), input_format="jsonl").rejects
    assert reject.rule.startswith(rule)

"""Files that cannot be read or written, and statuses that the papers tell as the code does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shell import PATIENCE, REPOSITORY, Done

from stocklog.cli import failures

Call = Callable[..., Done]

HEADER = "update_id,type,sku,location_id,quantity,occurred_at,reason,source\n"
BAD = "a,adjustment,S,L,0,2026-11-24T14:05:00Z,sale,till\n"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("form", ["jsonl", "csv", "text", "parquet"])
def test_a_full_disk_ends_a_read_with_the_file_and_the_reason(
    stocklog_on: Call, stream_name: str, small_disk: Path, form: str
) -> None:
    stocklog_on("produce", "-n", "20000", "-s", stream_name)
    kept = small_disk / "kept"
    words = ["consume", "first", "-e", "-s", stream_name, "-f", form, "-o", str(kept)]
    done = stocklog_on(*words)
    assert done.status == 1
    assert f"stocklog: error: {kept}: No space left on device" in done.err
    if form == "parquet":
        assert list(small_disk.iterdir()) == []


def test_a_full_disk_ends_a_load_that_keeps_rejects(stocklog: Call, small_disk: Path) -> None:
    feed = small_disk.parent / "feed.csv"
    feed.write_text(HEADER + BAD * 5000)
    kept = small_disk / "bad.jsonl"
    done = stocklog("load", str(feed), "--dry-run", "--rejects", str(kept))
    assert done.status == 1
    assert "No space left on device" in done.err
    assert str(kept) in done.err
    assert "unexpected" not in done.err


def test_rejects_and_output_that_cannot_be_written_are_told_before_any_work(
    stocklog: Call, tmp_path: Path
) -> None:
    feed = tmp_path / "feed.csv"
    feed.write_text(HEADER + BAD)
    for place in (tmp_path, tmp_path / "none" / "bad.jsonl"):
        for words in (["load", str(feed), "--rejects"], ["consume", "--output"]):
            done = stocklog(*words, str(place), STOCKLOG_URI="rabbitmq-stream://a:b@127.0.0.1:9")
            assert (done.status, "127.0.0.1" in done.err) == (2, False)
            assert str(place) in done.err or str(place.parent) in done.err
    same = stocklog("load", str(feed), "--dry-run", "--rejects", str(feed))
    assert same.status == 2
    assert feed.read_text() == HEADER + BAD


NOISE = bytes(range(256)) * 12


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.csv", None, "No such file"),
        ("empty.csv", b"", "is empty"),
        ("empty.parquet", b"", "it is empty"),
        ("noise.csv", NOISE, "is not text"),
        ("noise.bin", NOISE, "is not text"),
        ("noise.jsonl", b"\xff" + NOISE, "is not"),
        ("noise.parquet", NOISE, "is not Parquet"),
        ("table.parquet", HEADER.encode(), "is not Parquet"),
        ("table.jsonl", HEADER.encode(), "is not JSON Lines"),
        ("notes.csv", b"# Notes\nnothing here\n", "has no column for type"),
        ("cut.parquet", b"PAR1" + NOISE, "cut.parquet"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused_by_name(
    stocklog: Call, tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    feed = tmp_path / name
    if content is not None:
        feed.write_bytes(content)
    done = stocklog("load", str(feed), "--dry-run")
    assert done.status in {1, 2}
    assert "stocklog: error: " in done.err
    assert name in done.err
    assert said in done.err
    assert "unexpected" not in done.err


def test_a_folder_is_no_feed(stocklog: Call, tmp_path: Path) -> None:
    done = stocklog("load", str(tmp_path), "--dry-run")
    assert done.status == 1
    assert "Is a directory" in done.err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run as another user")
def test_a_file_that_one_may_not_read_is_named(tmp_path: Path) -> None:
    feed = tmp_path / "secret.csv"
    feed.write_text(HEADER)
    feed.chmod(0)
    code = (
        "import os, sys; from stocklog.cli import main; import stocklog.ledger.load;"
        "import stocklog.inventory.feeds.csv_rows; import encodings.idna;"
        "os.setegid(65534); os.seteuid(65534); sys.exit(main(sys.argv[1:]))"
    )
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o111)
        if folder.name.startswith("pytest-of"):
            break
    done = subprocess.run(
        [sys.executable, "-c", code, "load", str(feed), "--dry-run"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "secret.csv cannot be opened: Permission denied" in done.stderr


def statuses(text: str, form: str) -> dict[int, str]:
    return {int(number): what for number, what in re.findall(form, text, re.M)}


def test_the_exit_statuses_of_the_papers_are_those_of_the_code(stocklog: Call) -> None:
    names = ("DONE", "FAILED", "USAGE", "REJECTS", "GAP", "VERIFY", "INTERRUPTED")
    code = sorted(getattr(failures, name) for name in names)
    table = (REPOSITORY / "docs/troubleshooting.md").read_text()
    told = statuses(table, r"^\| (\d+) \| (.+) \|$")
    shown = statuses(stocklog("--help").out, r"^ +(\d+)  +(\w.+)$")
    assert sorted(told) == sorted(shown) == code
    for status, what in shown.items():
        assert what.split(" (")[0].split(",")[0] in told[status].replace("`", "")

"""JSON lines of one form are read by the codec's short way, with the same result as any lines."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import reference
import update_strategies as some
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from examples import examples
from stocklog.errors import FeedError
from stocklog.inventory import codec
from stocklog.inventory.feeds import FeedBatch, FeedOptions, jsonl, known_lines, open_feed
from stocklog.inventory.feeds.blocks import Block
from stocklog.inventory.simulate import Simulator


def read(path: Path, options: FeedOptions | None = None) -> list[FeedBatch]:
    with open_feed(path, options or FeedOptions()) as feed:
        return list(feed)


def told(batches: list[FeedBatch]) -> tuple[Any, ...]:
    rows = [row for batch in batches for row in batch.updates.iter_rows()]
    numbers = [number for batch in batches for number in batch.row_numbers.tolist()]
    rejects = [reject for batch in batches for reject in batch.rejects]
    return rows, numbers, rejects, sum(batch.rows_read for batch in batches)


def told_or_refused(path: Path) -> Any:
    try:
        return told(read(path))
    except FeedError as error:  # a changed first line may be no JSON object
        return str(error)


class Ways:
    """Counts by which way blocks were read, and can close the short one."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.proven = self.tried = 0
        self._patch = patch
        patch.setattr(jsonl, "FEW_LINES", 3)
        patch.setattr(jsonl, "read_known", self._read)

    def _read(self, *args: Any) -> Any:
        self.tried += 1
        found = known_lines.read_known(*args)
        self.proven += len(found.rows) if found is not None else 0
        return found

    def both(self, path: Path) -> tuple[Any, Any]:
        """What is read with the short way, and without."""
        with_it = told_or_refused(path)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jsonl, "takes_lines_as_they_are", lambda plan: False)
            return with_it, told_or_refused(path)


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Ways:
    return Ways(monkeypatch)


def lines(count: int, **options: Any) -> list[str]:
    encoded = codec.encode(Simulator("grocery", 7).batch(count), b"\n")
    updates = [json.loads(line) for line in encoded.data.tobytes().decode().split("\n")[1:]]
    return [json.dumps(update, **options) for update in updates]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_a_file_of_one_form_is_read_by_the_short_way(
    tmp_path: Path, ways: Ways, ending: str, separators: tuple[str, str]
) -> None:
    path = tmp_path / "feed.jsonl"
    path.write_text(ending.join(lines(200, separators=separators)), newline="")
    with_it, without = ways.both(path)
    assert ways.proven == 200
    assert with_it == without
    assert with_it[3] == len(with_it[0]) == 200


def test_bad_lines_between_are_kept_with_their_number_and_reason(
    tmp_path: Path, ways: Ways
) -> None:
    path = tmp_path / "feed.jsonl"
    good = lines(50)
    bad = good[3].replace('"sku"', '"skew"'), "{", ""
    escaped = good[4].replace('"sku": "', '"sku": "\\u0041')
    path.write_text(
        "\n".join([*good[:20], bad[0], *good[20:40], escaped, bad[2], bad[1], *good[40:]])
    )
    with_it, without = ways.both(path)
    assert ways.proven == 50
    assert with_it == without
    assert [reject.line for reject in with_it[2]] == [21, 44]
    assert len(with_it[0]) == 51


def test_a_block_with_many_other_lines_is_read_as_any_other(tmp_path: Path, ways: Ways) -> None:
    path = tmp_path / "feed.jsonl"
    good = lines(60)
    path.write_text("\n".join(good[:30] + [line.replace("{", "{ ") for line in good[30:]]))
    with_it, without = ways.both(path)
    assert with_it == without
    assert len(with_it[0]) == 60


def test_after_such_a_block_so_many_are_passed_over_and_then_one_is_tried(
    tmp_path: Path, ways: Ways
) -> None:
    path = tmp_path / "feed.jsonl"
    good = lines(20 * (jsonl.PASSED_OVER + 8))
    path.write_text("\n".join([line.replace("{", "{ ") for line in good[:20]] + good[20:]))
    with open_feed(path, FeedOptions(), block_size=20 * len(good[0])) as feed:
        batches = list(feed)
    assert sum(batch.updates.height for batch in batches) == len(good)
    # While the first was read, the second was begun.
    assert len(batches) - jsonl.PASSED_OVER - 1 <= ways.tried <= len(batches) - jsonl.PASSED_OVER
    assert 0 < ways.proven < len(good) - 20 * (jsonl.PASSED_OVER - 1)


@pytest.mark.parametrize(
    "options",
    [
        FeedOptions(constants={"source": "elsewhere"}),
        FeedOptions(mapping={"quantity": "-quantity"}),
    ],
)
def test_options_that_change_a_field_change_it_in_every_line(
    tmp_path: Path, ways: Ways, options: FeedOptions
) -> None:
    path = tmp_path / "feed.jsonl"
    path.write_text("\n".join(lines(20)))
    batches = read(path, options)
    assert ways.proven == 0
    assert sum(batch.rows_read for batch in batches) == 20
    if options.constants:
        assert {row["source"] for row in batches[0].updates.iter_rows(named=True)} == {"elsewhere"}


def test_lines_of_consume_are_in_no_form_that_is_followed() -> None:
    line = b'{"offset":1,' + lines(1)[0].encode()[1:]
    block = Block(line + b"\n", 1, True)
    rows = jsonl.np.zeros(1, jsonl.np.int64)
    assert known_lines.read_known(known_lines.KnownLines.of(block, rows)) is None


@settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_lines_of_one_form_and_changed_ones_are_read_as_any_lines(
    tmp_path: Path, ways: Ways, data: st.DataObject
) -> None:
    updates = data.draw(st.lists(some.updates(extras=False), min_size=4, max_size=12))
    separators = data.draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    order = data.draw(st.permutations(list(reference.REQUIRED)))
    texts = []
    for update in updates:
        members = json.loads(reference.encode(update))
        names = [*order, *(name for name in reference.OPTIONAL if name in members)]
        ordered = {name: members[name] for name in names}
        texts.append(json.dumps(ordered, separators=separators, ensure_ascii=False).encode())
    for _ in range(data.draw(st.integers(0, 3))):
        row = data.draw(st.integers(0, len(texts) - 1))
        place = data.draw(st.integers(0, len(texts[row])))
        pieces = [b"", b'"', b"\\", b"\r", b"\n", b"\xff", b"0", b"}", b" ", b'"uom":null,', b"\0"]
        piece = data.draw(st.sampled_from(pieces))
        cut = data.draw(st.sampled_from([0, 0, 1, 5]))
        texts[row] = texts[row][:place] + piece + texts[row][place + cut :]
    path = tmp_path / "feed.jsonl"
    path.write_bytes(data.draw(st.sampled_from([b"\n", b"\r\n", b"\n\n"])).join(texts))
    with_it, without = ways.both(path)
    assert with_it == without


def test_rows_that_need_an_id_wait_until_it_is_known_of_which_run(tmp_path: Path) -> None:
    path = tmp_path / "feed.jsonl"
    without = [{k: v for k, v in json.loads(line).items() if k != "update_id"} for line in lines(9)]
    path.write_text("\n".join(map(json.dumps, without)))

    def ids(feed: Any) -> list[str]:
        return [name for batch in feed for name in batch.updates["update_id"]]

    with open_feed(path, FeedOptions(run=2)) as feed:
        wanted = ids(feed)
    found: list[list[str]] = []
    with open_feed(path, FeedOptions()) as feed:
        feed.await_identity()
        reader = threading.Thread(target=lambda: found.append(ids(feed)))
        reader.start()
        reader.join(0.3)
        assert reader.is_alive()
        feed.identify(2)
        reader.join(20)
    assert found == [wanted]


def test_a_feed_that_is_closed_holds_nobody_who_waits(tmp_path: Path) -> None:
    path = tmp_path / "feed.jsonl"
    path.write_text('{"type":"count"}')
    feed = open_feed(path, FeedOptions())
    feed.await_identity()
    waiting = threading.Thread(target=feed.id_source)
    waiting.start()
    feed.close()
    waiting.join(20)
    assert not waiting.is_alive()

"""A user who may read and write an existing stream, and may not configure anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from shell import Done

from stocklog.broker import NodeInfo, control
from stocklog.stream import StreamURI

Call = Callable[..., Done]


@pytest.fixture
def modest(one_broker: NodeInfo) -> Iterator[str]:
    """The URI of a user without the right to configure."""
    name = f"modest{uuid4().hex[:8]}"
    control(["add_user", name, "pass1"], one_broker.dir)
    control(["set_permissions", "-p", "/", name, "^$", ".*", ".*"], one_broker.dir)
    uri = StreamURI.parse(one_broker.uri)
    host, port = uri.hosts[0]
    yield f"rabbitmq-stream://{name}:pass1@{host}:{port}"
    control(["delete_user", name], one_broker.dir)


def test_an_existing_stream_works_without_the_right_to_configure_it(
    stocklog: Call, stocklog_on: Call, modest: str, stream_name: str, tmp_path: Path
) -> None:
    stocklog_on("stream", "create", stream_name)
    kept = tmp_path / "kept.jsonl"
    here = {"STOCKLOG_URI": modest}
    for words in (
        ["produce", "-n", "500", "--name", "till"],
        ["consume", "first", "-e", "-f", "jsonl", "-o", str(kept)],
        ["load", str(kept)],
        ["consume", "first", "-e", "-f", "none"],
    ):
        done = stocklog(*words, "-s", stream_name, **here)
        assert done.status == 0, done.err
    assert "1,000 updates" in done.err
    refused = stocklog("stream", "delete", stream_name, "--yes", **here)
    assert refused.status == 1
    assert "access refused" in refused.err


@pytest.mark.parametrize("words", [["produce", "-n", "1"], ["consume", "first", "-e"]])
def test_a_stream_that_is_not_there_cannot_be_made_and_the_error_says_who_must(
    stocklog: Call, modest: str, stream_name: str, words: list[str]
) -> None:
    done = stocklog(*words, "-s", stream_name, STOCKLOG_URI=modest)
    assert done.status == 1
    assert "may not make it" in done.err
    assert "stocklog stream create" in done.err
    assert "pass1" not in done.err

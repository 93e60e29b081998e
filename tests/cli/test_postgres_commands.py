"""The ledger's commands on a store in PostgreSQL, as a user types them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shell import Done

from postgres_server import USER, PostgresServer

Call = Callable[..., Done]

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "offline-till.csv"


@pytest.fixture
def place(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A store that is not there yet; the password is in the environment, as it should be."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    with postgres.fresh() as uri:
        yield uri.replace(f":{postgres.password}@", "@")


def test_a_store_is_made_asked_and_verified(
    stocklog_on: Call, stream_name: str, postgres: PostgresServer, place: str, tmp_path: Path
) -> None:
    kept = tmp_path / "summary.json"
    on = ("-s", stream_name, "--store", place)
    said = stocklog_on("load", str(EXAMPLE), "-s", stream_name).err
    done = stocklog_on("project", "-e", *on, "--summary", str(kept))
    assert done.status == 0, done.err
    assert json.loads(kept.read_text())["store"] == place
    said += done.err + kept.read_text()

    def lines(*words: str) -> list[dict[str, object]]:
        done = stocklog_on(*words, *on, "--format", "jsonl")
        assert done.status == 0, done.err
        return [json.loads(line) for line in done.out.splitlines()]

    assert [row["on_hand"] for row in lines("stock")] == [93]
    assert [row["on_hand"] for row in lines("stock", "--at", "2026-11-24T13:25Z")] == [95]
    assert [row["offset"] for row in lines("why", "COFFEE-250@shop-12")] == [0, 1, 3, 2, 4]
    times = ("2026-11-24T13:00Z", "2026-11-24T13:35Z")
    assert [row["on_hand_change"] for row in lines("diff", *times)] == [-5]
    assert lines("flags") == []
    assert lines("verify") == []
    schema = place.partition("?schema=")[2]
    postgres.execute(f"UPDATE {schema}.balances SET on_hand[1] = 94", USER)
    done = stocklog_on("verify", *on, "--format", "jsonl")
    assert done.status == 5
    assert json.loads(done.out)["on_hand_store"] == 94
    assert postgres.password not in said + done.err


def test_a_password_in_the_uri_works_and_is_not_repeated(
    stocklog_on: Call, stream_name: str, postgres: PostgresServer, place: str
) -> None:
    whole = place.replace(f"//{USER}@", f"//{USER}:{postgres.password}@")
    stocklog_on("load", str(EXAMPLE), "-s", stream_name)
    done = stocklog_on("project", "-e", "-s", stream_name, "--store", whole)
    assert done.status == 0
    assert f"//{USER}:***@" in done.err
    assert postgres.password not in done.err + done.out
    wrong = whole.replace(postgres.password, "wr0ng")
    done = stocklog_on("stock", "-s", stream_name, "--store", wrong)
    assert done.status == 1
    assert "password authentication failed" in done.err
    assert "PGPASSWORD" in done.err
    assert "wr0ng" not in done.err

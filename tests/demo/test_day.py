"""The demo's day of a shop: it fails where an answer is wrong, and needs no picture."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from stocklog.broker import NodeInfo
from stocklog.demo import Day, DemoError, day, demo_stream
from stocklog.errors import UsageError
from stocklog.stream import StreamClient


class Heard:
    """Keeps what is told."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.facts: list[str] = []
        self.tables: list[pl.DataFrame] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def fact(self, text: str) -> None:
        self.facts.append(text)

    def table(self, frame: pl.DataFrame) -> None:
        self.tables.append(frame)


def test_a_day_of_a_shop_on_either_broker_with_its_picture(
    broker: NodeInfo, tmp_path: Path
) -> None:
    heard, picture = Heard(), tmp_path / "new" / "day.svg"
    with StreamClient(broker.uri) as client, demo_stream(client) as stream:
        facts = Day(client, stream, heard, picture, count=2000).run()
    assert facts == {"late": 5, "picture": str(picture)}
    assert len(heard.steps) == 4
    evening, why = heard.tables
    assert evening["on_hand"].to_list() == [53, 12]
    assert why["on_hand"].to_list()[-1] == 51
    assert picture.stat().st_size > 5000


def test_without_matplotlib_it_says_how_to_get_the_picture(
    one_broker: NodeInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise UsageError("A picture needs matplotlib", "Install it")

    monkeypatch.setattr(day, "check_picture", refuse)
    heard, picture = Heard(), tmp_path / "day.svg"
    with StreamClient(one_broker.uri) as client, demo_stream(client) as stream:
        facts = Day(client, stream, heard, picture, count=2000).run()
    assert facts == {"late": 5}
    assert heard.facts[-1] == "A picture needs matplotlib: Install it"
    assert not picture.exists()


def test_an_answer_that_is_not_what_the_day_must_give_ends_the_demo(
    one_broker: NodeInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(day, "LATE", day.LATE[1:])
    with (
        StreamClient(one_broker.uri) as client,
        demo_stream(client) as stream,
        pytest.raises(DemoError, match="about 14:30: 74 instead of 72"),
    ):
        Day(client, stream, Heard(), tmp_path / "day.svg", count=2000).run()

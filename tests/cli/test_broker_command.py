"""`stocklog broker`: what it prints, where, and with which exit status."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from stocklog import broker as private
from stocklog.broker import NodeAddress, NodeInfo, Status
from stocklog.cli import main

NODES = (
    NodeAddress("n1@localhost", 41, 20001, 20002),
    NodeAddress("n2@localhost", 42, 20011, 20012, running=False),
)
URI = "rabbitmq-stream://u:secret@127.0.0.1:20002,127.0.0.1:20012/"


def info(count: int = 1) -> NodeInfo:
    return NodeInfo(URI, "3.10.8", Path("/d"), NODES[:count], started=True)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Status("degraded", Path("/d"), info(2), 5_000_000, 150_000_000)
    monkeypatch.setattr(private, "status", lambda place: found)


def test_nothing_running_is_status_1_with_the_way_to_start_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "a b"
    assert main(["broker", "status", "--dir", str(place)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert f"stocklog broker up --dir '{place}'" in err


def test_nothing_running_in_json_is_one_object(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["broker", "status", "--json", "--dir", str(tmp_path)]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "state": "down",
        "dir": str(tmp_path),
        "size_on_disk": 0,
    }


@pytest.mark.usefixtures("running")
def test_the_text_masks_the_password_and_tells_size_memory_and_nodes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["broker", "status"]) == 0
    out = capsys.readouterr().out
    assert "secret" not in out
    assert "u:***@127.0.0.1:20002" in out
    assert "5 MB" in out
    assert "150 MB" in out
    assert [line.split()[:3] for line in out.splitlines() if line.startswith("n2@")] == [
        ["n2@localhost", "gone", "42"]
    ]


@pytest.mark.usefixtures("running")
def test_json_has_the_whole_uri(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["broker", "status", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["uri"] == URI
    assert (facts["amqp_port"], facts["stream_port"], facts["pid"]) == (20001, 20002, 41)
    assert (facts["version"], facts["dir"], facts["state"]) == ("3.10.8", "/d", "degraded")
    assert [node["running"] for node in facts["nodes"]] == [True, False]


def test_up_passes_on_what_was_asked_and_never_shows_the_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[object] = []

    def start(*words: object, on_progress: object) -> NodeInfo:
        asked.extend(words)
        return info()

    monkeypatch.setattr(private, "start", start)
    assert main(["broker", "up", "--nodes", "3", "--rabbitmq-root", "/t", "--dir", "/d"]) == 0
    out, err = capsys.readouterr()
    assert asked == [Path("/d"), 3, Path("/t")]
    assert out == ""
    assert "secret" not in err
    assert "RabbitMQ 3.10.8 is up" in err
    assert main(["broker", "up", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_down_where_nothing_runs_is_no_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["broker", "down", "--dir", str(tmp_path)]) == 0
    assert "no broker ran" in capsys.readouterr().err


def test_deleting_asks_and_without_a_terminal_wants_yes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(["broker", "down", "--delete", "--dir", str(tmp_path)]) == 2
    assert "--yes" in capsys.readouterr().err
    assert main(["broker", "down", "--delete", "--yes", "--dir", str(tmp_path)]) == 0


@pytest.mark.parametrize("words", [["up", "--nodes", "0"], ["up", "--nodes", "x"], ["sideways"]])
def test_wrong_usage_is_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["broker", *words]) == 2
    assert "error" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "up", "status", "down"])
def test_help_shows_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["broker", *filter(None, [name]), "--help"]) == 0
    assert "Example" in capsys.readouterr().out

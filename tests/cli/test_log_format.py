"""`--log-format json`: every line on stderr is an object, and a reconnect is one of them."""

from __future__ import annotations

import functools
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from shell import Done

import stocklog.ledger.connect
from stocklog.bench.chaos.proxy import LOOPBACK, Proxy, ProxyLoop
from stocklog.broker import NodeInfo
from stocklog.cli import logs
from stocklog.protocol.amqp import frame_bodies
from stocklog.stream import StreamClient, StreamURI

Call = Callable[..., Done]
JSON = ("--log-format", "json")


def lines(done: Done) -> list[dict[str, Any]]:
    """All of stderr; whatever is not JSON fails here."""
    found = [json.loads(line) for line in done.err.splitlines()]
    for line in found:
        assert list(line)[:4] == ["time", "level", "event", "message"]
        assert line["time"].endswith("Z")
        assert line["level"] in {"info", "warning", "error"}
    return found


def of(event: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """The one line of an event."""
    (line,) = [line for line in found if line["event"] == event]
    return line


# -- without a broker -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "status", "level"),
    [
        (["consume", "--uri", "rabbitmq-stream://u:s3cr3t-zk@127.0.0.1:1"], 1, "error"),
        (["consume", "--uri", "http://u:s3cr3t-zk@127.0.0.1:1"], 2, "error"),
        (["consume", "--no-such-option"], 2, "error"),
        (["no-such-command"], 2, "error"),
        (["broker", "status"], 1, "info"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else str(value),
)
def test_errors_and_notes_are_one_line_of_json_each(
    stocklog: Call, words: list[str], status: int, level: str
) -> None:
    done = stocklog(*JSON, *words)
    assert (done.status, done.out) == (status, "")
    (line,) = lines(done)
    assert line["level"] == level
    assert line["remedy"]
    assert "s3cr3t" not in done.err


def test_text_is_the_default_and_another_format_is_refused(stocklog: Call) -> None:
    assert stocklog("no-such-command").err.startswith("stocklog: error: no command")
    assert "'text', 'json'" in stocklog("--log-format", "xml", "stream", "list").err


def test_a_record_of_the_library_is_written_with_its_facts_and_its_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.choose("json")
    try:
        log = logging.getLogger("stocklog.stream.somewhere")
        log.warning("lost %d", 3, extra={"event": "lost", "count": 3, "level": "odd"})
        try:
            raise ValueError("a defect")
        except ValueError:
            log.exception("failed")
        log.info("too quiet")
    finally:
        logs.choose("text")
    log.handle(log.makeRecord(log.name, logging.WARNING, "", 0, "elsewhere", (), None))
    first, second = map(json.loads, capsys.readouterr().err.splitlines()[:2])
    assert (first["level"], first["event"], first["message"]) == ("warning", "lost", "lost 3")
    assert (first["count"], first["level_"]) == (3, "odd")
    assert first["logger"] == "stocklog.stream.somewhere"
    assert (second["level"], second["event"]) == ("error", "log")
    assert "ValueError: a defect" in second["traceback"]
    assert not logs.speaks_json()


# -- on a broker, whose connection is cut ------------------------------------------------------


@pytest.fixture
def proxy(one_broker: NodeInfo, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The only way to the broker, for commands in this process."""
    loop = ProxyLoop()
    way = Proxy(loop, one_broker.stream_port)
    # A private node advertises its own port; as behind a balancer the proxy's is used instead.
    through = functools.partial(StreamClient, load_balancer=True)
    monkeypatch.setattr(stocklog.ledger.connect, "StreamClient", through)
    yield way
    way.close()
    loop.close()


@pytest.fixture
def on_proxy(
    stocklog_on: Call, proxy: Proxy, one_broker: NodeInfo, monkeypatch: pytest.MonkeyPatch
) -> Call:
    own = StreamURI.parse(one_broker.uri)
    uri = StreamURI(((LOOPBACK, proxy.port),), own.user, own.password)
    monkeypatch.setenv("STOCKLOG_URI", uri.with_password())
    return stocklog_on


def in_background(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def wait_for_lines(proxy: Proxy, count: int) -> None:
    deadline = time.monotonic() + 30
    while proxy.accepted < count and time.monotonic() < deadline:
        time.sleep(0.01)
    assert proxy.accepted >= count


def test_a_cut_while_publishing_is_one_line_with_its_cause_and_what_was_sent_again(
    on_proxy: Call, proxy: Proxy, one_broker: NodeInfo, stream_name: str
) -> None:
    def cut_what_is_on_its_way() -> None:
        wait_for_lines(proxy, 2)  # the command's own, and the publisher's
        time.sleep(0.5)
        proxy.freeze()
        time.sleep(0.5)
        proxy.cut("rst")
        proxy.thaw()

    thread = in_background(cut_what_is_on_its_way)
    words = ["-n", "9000", "--rate", "3000", "--name", "till", "--sub-batch", "10"]
    done = on_proxy(*JSON, "produce", "-s", stream_name, *words)
    thread.join(30)
    assert done.status == 0, done.err
    found = lines(done)
    line = of("reconnected", found)
    assert line["level"] == "warning"
    assert line["stream"] == stream_name
    assert line["publisher"] == "till"
    assert line["host"] == f"{LOOPBACK}:{proxy.port}"
    assert line["cause"] in line["message"]
    assert f"{LOOPBACK}:{proxy.port}" in line["cause"]
    assert line["resent_entries"] > 0
    # A sub-batch of 10 is one entry; the broker counts entries, people count messages.
    assert line["resent_entries"] < line["resent_messages"] <= 10 * line["resent_entries"]
    assert line["resent_bytes"] > 100 * line["resent_messages"]
    assert 0 < line["seconds"] < 10
    assert line["attempt"] >= 1
    broker = of("broker", found)
    assert broker["version"] == one_broker.version
    assert broker["origin"] == "STOCKLOG_URI"
    assert of("summary", found)["updates"] == 9000
    assert StreamURI.parse(one_broker.uri).password not in done.err
    with StreamClient(one_broker.uri) as client:
        with client.subscriber(stream_name, "first", until_end=True) as reader:
            assert sum(len(block) for block in reader) == 9000
        client.delete_stream(stream_name)


def test_a_cut_while_reading_is_one_line_with_the_offset_where_it_goes_on(
    on_proxy: Call, proxy: Proxy, one_broker: NodeInfo, stream_name: str
) -> None:
    made = on_proxy("produce", "-n", "2000", "-s", stream_name)
    assert made.status == 0, made.err
    before = proxy.accepted

    def cut_then_publish_more() -> None:
        wait_for_lines(proxy, before + 2)
        time.sleep(0.7)
        proxy.cut("fin")
        wait_for_lines(proxy, before + 3)
        with (
            StreamClient(one_broker.uri) as client,
            client.publisher(stream_name, sub_batch=1) as publisher,
        ):
            publisher.send(*frame_bodies([b"{}"] * 5, True))

    thread = in_background(cut_then_publish_more)
    done = on_proxy(*JSON, "consume", "first", "-n", "2005", "--format", "none", "-s", stream_name)
    thread.join(30)
    assert done.status == 0, done.err
    found = lines(done)
    line = of("reconnected", found)
    assert (line["stream"], line["offset"]) == (stream_name, 2000)
    assert line["cause"] in line["message"]
    assert "resent_messages" not in line
    summary = of("summary", found)
    assert (summary["updates"], summary["invalid"]) == (2000, 5)


def test_the_summary_on_stderr_has_the_figures_of_the_summary_file(
    stocklog_on: Call, stream_name: str, tmp_path: Path
) -> None:
    kept = tmp_path / "summary.json"
    done = stocklog_on(*JSON, "produce", "-n", "50", "-s", stream_name, "--summary", str(kept))
    line = of("summary", lines(done))
    facts = json.loads(kept.read_text())
    assert {name: line[name] for name in facts} == facts
    quiet = stocklog_on(*JSON, "produce", "-n", "50", "-s", stream_name, "-q")
    assert quiet.err == ""
    assert not logs.speaks_json()

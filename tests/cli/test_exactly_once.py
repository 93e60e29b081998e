"""`load` and `produce --name`: each good row once, whatever is run again and with what."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shell import Done, run

from stocklog.broker import NodeInfo
from stocklog.errors import ProducerConflictError, RegisterError, UsageError
from stocklog.inventory.feeds import FeedOptions, content_digest
from stocklog.inventory.simulate import Simulator
from stocklog.ledger.batch import decode
from stocklog.ledger.load import LoadPlan, LoadSummary, load
from stocklog.ledger.names import claim
from stocklog.ledger.register import Register, default_folder
from stocklog.stream import StreamArguments, StreamClient

Call = Callable[..., Done]

SALE = (
    '{"type":"adjustment","sku":"S%d","location_id":"L","quantity":%s,'
    '"occurred_at":"2026-11-24T14:05:00Z","reason":"sale","source":"till"}\n'
)
SETS = ["--set", "type=adjustment", "--set", "reason=sale", "--set", "source=s"]


@pytest.fixture
def client(one_broker: NodeInfo) -> Iterator[StreamClient]:
    with StreamClient(one_broker.uri) as made:
        yield made


def sales(count: int, first: int = 1, bad: int = 0) -> str:
    """So many rows; each `bad`-th is no update."""
    return "".join(
        SALE % (n, 0 if bad and n % bad == 0 else 1) for n in range(first, first + count)
    )


def ids(client: StreamClient, stream: str) -> list[str]:
    """The update ids of all that is in a stream, in order."""
    with client.subscriber(stream, "first", until_end=True) as subscriber:
        return [i for block in subscriber for i in decode(block).updates["update_id"].to_list()]


def skus(client: StreamClient, stream: str) -> list[str]:
    with client.subscriber(stream, "first", until_end=True) as subscriber:
        return [i for block in subscriber for i in decode(block).updates["sku"].to_list()]


# -- loads ----------------------------------------------------------------------------------


def test_a_finished_file_is_not_loaded_again_and_its_reject_file_stays_whole(
    stocklog_on: Call, client: StreamClient, stream_name: str, tmp_path: Path
) -> None:
    feed, bad, kept = (tmp_path / name for name in ("f.jsonl", "bad.jsonl", "s.json"))
    feed.write_text(sales(1_000, bad=100))
    words = ["load", str(feed), "-s", stream_name, "--rejects", str(bad)]
    assert stocklog_on(*words).status == 3
    rejected = bad.read_text()
    assert len(rejected.splitlines()) == 10
    before = ids(client, stream_name)
    done = stocklog_on(*words, "--summary", str(kept))
    assert done.status == 0, done.err
    assert "nothing was sent: the file is loaded already, 990 updates" in done.err
    assert bad.read_text() == rejected
    assert ids(client, stream_name) == before
    assert len(before) == 990
    facts = json.loads(kept.read_text())
    assert (facts["updates"], facts["before"], facts["files"][0]["already"]) == (0, 990, True)


def test_a_changed_file_is_a_load_of_its_own(
    stocklog_on: Call, client: StreamClient, stream_name: str, tmp_path: Path
) -> None:
    feed = tmp_path / "f.jsonl"
    feed.write_text(sales(100))
    assert stocklog_on("load", str(feed), "-s", stream_name).status == 0
    feed.write_text(sales(100, first=101))
    done = stocklog_on("load", str(feed), "-s", stream_name)
    assert done.status == 0
    assert "has another content than when it was loaded on" in done.err
    assert "(100 updates)" in done.err
    assert skus(client, stream_name) == [f"S{n}" for n in range(1, 201)]


@pytest.mark.parametrize("refill", [False, True], ids=["deleted", "made anew and filled"])
def test_another_log_of_the_same_name_gets_the_file_afresh(
    stocklog_on: Call, client: StreamClient, stream_name: str, tmp_path: Path, refill: bool
) -> None:
    feed = tmp_path / "f.jsonl"
    feed.write_text(sales(100))
    assert stocklog_on("load", str(feed), "-s", stream_name).status == 0
    client.delete_stream(stream_name)
    if refill:
        assert stocklog_on("produce", "-n", "500", "-s", stream_name).status == 0
    done = stocklog_on("load", str(feed), "-s", stream_name)
    assert (done.status, "100 updates confirmed" in done.err) == (0, True), done.err
    assert len(ids(client, stream_name)) == (600 if refill else 100)


def cut(client: StreamClient, stream: str) -> None:
    """Let retention take everything that is there."""
    before = client.last_offset(stream)
    assert before is not None
    simulator = Simulator("grocery", 1)
    from stocklog.inventory import codec

    with client.publisher(stream, sub_batch=1) as publisher:
        for _ in range(200):
            block = codec.encode(simulator.batch(500), publisher.lead)
            publisher.send(block.data, block.starts)
            publisher.flush(20)
            if (client.first_offset(stream) or 0) > before:
                return
    raise AssertionError("nothing was cut")


def small(client: StreamClient, stream: str) -> None:
    client.create_stream(
        stream, StreamArguments(max_length_bytes=200_000, max_segment_size=100_000)
    )


def test_what_retention_has_cut_is_loaded_afresh_with_the_same_ids(
    stocklog_on: Call, client: StreamClient, stream_name: str, tmp_path: Path
) -> None:
    feed = tmp_path / "f.jsonl"
    feed.write_text(sales(10))
    small(client, stream_name)
    for _ in range(2):
        assert stocklog_on("load", str(feed), "-s", stream_name).status == 0
    cut(client, stream_name)
    done = stocklog_on("load", str(feed), "-s", stream_name)
    assert "retention has cut it from the log" in done.err
    digest = content_digest(feed)
    assert ids(client, stream_name)[-10:] == [f"{digest}/{n}" for n in range(1, 11)]
    assert "nothing was sent" in stocklog_on("load", str(feed), "-s", stream_name).err


def test_again_loads_on_purpose_under_ids_of_its_own(
    stocklog_on: Call, client: StreamClient, stream_name: str, tmp_path: Path
) -> None:
    feed = tmp_path / "f.jsonl"
    feed.write_text(sales(3))
    for words in ((), ("--again",), ("--again",)):
        assert stocklog_on("load", str(feed), "-s", stream_name, *words).status == 0
    digest = content_digest(feed)
    expected = [f"{digest}{run}/{n}" for run in ("", "-2", "-3") for n in (1, 2, 3)]
    assert ids(client, stream_name) == expected


def test_other_settings_are_refused_with_the_difference(
    stocklog_on: Call, client: StreamClient, stream_name: str, tmp_path: Path
) -> None:
    feed = tmp_path / "f.csv"
    feed.write_text("sku,location_id,quantity,sold,occurred_at\nA,L,1,2,2026-11-24 10:00\n")
    words = ["load", str(feed), "-s", stream_name, *SETS, "--timezone"]
    assert stocklog_on(*words, "Europe/Madrid").status == 0
    done = stocklog_on(*words, "UTC", "--map", "quantity=sold")
    assert done.status == 2
    assert "--timezone: Europe/Madrid then, UTC now" in done.err
    assert "--map quantity: not given then, sold now" in done.err
    assert "--again" in done.err
    assert len(ids(client, stream_name)) == 1


def test_a_file_without_any_update_may_be_loaded_with_other_settings(
    stocklog_on: Call, stream_name: str, tmp_path: Path
) -> None:
    feed = tmp_path / "f.csv"
    feed.write_text("sku,location_id,quantity,sold,occurred_at\nA,L,0,2,2026-11-24T10:00Z\n")
    words = ["load", str(feed), "-s", stream_name, *SETS]
    assert stocklog_on(*words).status == 3
    assert stocklog_on(*words, "--map", "quantity=sold").status == 0


def interrupted(
    client: StreamClient, stream: str, plan: LoadPlan, register: Register | None
) -> LoadSummary:
    """A load that the user ends at its first batch."""
    stop = threading.Event()
    return load(client, stream, plan, register=register, stop=stop, on_tick=lambda tick: stop.set())


@pytest.mark.parametrize("has_register", [True, False])
def test_an_interrupted_load_goes_on_and_refuses_other_settings_meanwhile(
    client: StreamClient, stream_name: str, tmp_path: Path, has_register: bool
) -> None:
    feed, bad = tmp_path / "f.jsonl", tmp_path / "bad.jsonl"
    feed.write_text(sales(1_750, bad=200))
    client.create_stream(stream_name)
    plan = LoadPlan([feed], FeedOptions(), bad)
    register = Register(tmp_path / "register") if has_register else None
    first = interrupted(client, stream_name, plan, register)
    # What fills no block stays here, so that whoever goes on cuts the same borders.
    assert (first.interrupted, first.updates, first.unconfirmed) == (True, 1_500, 0)
    assert first.files[0].complete is False
    if register is not None:
        other = LoadPlan([feed], FeedOptions(constants={"reason": "promotion"}), bad)
        with pytest.raises(UsageError, match=r"not finished.*--set reason: not given"):
            load(client, stream_name, other, register=register)
    notes: list[str] = []
    second = load(client, stream_name, plan, register=register, on_note=notes.append)
    assert (second.updates, second.before) == (242, 1_500)
    assert "1,500" in notes[0]
    rows = [n for n in range(1, 1_751) if n % 200]
    assert skus(client, stream_name) == [f"S{n}" for n in rows]
    assert len(bad.read_text().splitlines()) == 8
    if register is not None:
        register.close()


def test_a_load_that_began_on_another_machine_goes_on_here(
    client: StreamClient, stream_name: str, tmp_path: Path
) -> None:
    feed = tmp_path / "f.jsonl"
    feed.write_text(sales(750))
    client.create_stream(stream_name)
    plan = LoadPlan([feed], FeedOptions())
    with Register(tmp_path / "there") as there, Register(tmp_path / "here") as here:
        interrupted(client, stream_name, plan, there)
        notes: list[str] = []
        assert load(client, stream_name, plan, register=here, on_note=notes.append).updates == 250
    assert "though the register does not know this load" in notes[0]
    assert skus(client, stream_name) == [f"S{n}" for n in range(1, 751)]


def test_hundreds_of_loads_make_no_old_one_forgotten(
    stocklog_on: Call, client: StreamClient, stream_name: str, tmp_path: Path
) -> None:
    """More than the 255 names that a broker remembers, over several segments."""
    client.create_stream(stream_name, StreamArguments(max_segment_size=50_000))
    files = []
    for number in range(270):
        files.append(tmp_path / f"{number}.jsonl")
        files[-1].write_text(sales(3, first=10 * number + 1))
    paths = [str(path) for path in files]
    assert stocklog_on("load", *paths, "-s", stream_name, "-q").status == 0
    stocklog_on("produce", "-n", "3000", "-s", stream_name, "--sub-batch", "1")  # rolls segments
    done = stocklog_on("load", *paths, "-s", stream_name)
    assert "nothing was sent: the files are loaded already, 810 updates" in done.err
    assert len(ids(client, stream_name)) == 3_810


def test_a_file_that_another_process_loads_is_left_to_it(
    stocklog_on: Call, client: StreamClient, stream_name: str, tmp_path: Path
) -> None:
    feed = tmp_path / "f.jsonl"
    feed.write_text(sales(3))
    client.create_stream(stream_name)
    key = f"load {content_digest(feed)}"
    with Register() as register, register.alone(client, stream_name, key, "loading it"):
        done = stocklog_on("load", str(feed), "-s", stream_name)
    assert done.status == 1
    assert "Another stocklog (process" in done.err
    assert stocklog_on("load", str(feed), "-s", stream_name).status == 0
    assert list(default_folder().glob("*.lock")) == []


# -- pipes ----------------------------------------------------------------------------------


def test_a_pipe_with_a_name_goes_on_behind_what_the_log_has(
    on_broker: dict[str, str], client: StreamClient, stream_name: str
) -> None:
    words = ["load", "-", "--name", "till", "-s", stream_name]
    assert run(*words, env=on_broker, stdin=sales(620, bad=100)).status == 3
    done = run(*words, env=on_broker, stdin=sales(1_200, bad=100))
    assert "the log had 614 before" in done.err, done.err
    rows = [n for n in range(1, 1_201) if n % 100]
    assert skus(client, stream_name) == [f"S{n}" for n in rows]
    found = ids(client, stream_name)
    assert len(set(found)) == len(found)
    other = run(*words, env=on_broker, stdin=sales(10, first=7))
    assert other.status == 2
    assert "another input was loaded" in other.err
    settings = run(*words, "--set", "reason=promotion", env=on_broker, stdin=sales(1_200))
    assert settings.status == 2
    assert "--set reason: not given then, promotion now" in settings.err


# -- names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), [("500", "1"), ("1", "7"), ("7", "8")])
def test_a_name_keeps_its_way_for_life(
    stocklog_on: Call, stream_name: str, first: str, second: str
) -> None:
    words = ["produce", "--name", "p", "-s", stream_name, "-n"]
    assert stocklog_on(*words, "100", "--sub-batch", first).status == 0
    done = stocklog_on(*words, "200", "--sub-batch", second)
    assert done.status == 2
    for size in (first, second):
        assert ("plain entries" if size == "1" else f"blocks of {size}") in done.err
    assert f"--sub-batch {first}" in done.err
    assert stocklog_on(*words, "200", "--sub-batch", first, "--codec", "none").status == 0


def test_a_name_on_a_stream_made_anew_begins_anew(
    stocklog_on: Call, client: StreamClient, stream_name: str
) -> None:
    words = ["produce", "--name", "p", "-s", stream_name, "-n", "100"]
    assert stocklog_on(*words).status == 0
    client.delete_stream(stream_name)
    assert stocklog_on("produce", "-n", "300", "-s", stream_name).status == 0
    assert stocklog_on(*words, "--sub-batch", "1").status == 0


def test_a_name_goes_on_with_the_same_updates_and_refuses_others(
    stocklog_on: Call, on_broker: dict[str, str], client: StreamClient, stream_name: str
) -> None:
    words = ["produce", "--name", "p", "-s", stream_name]
    assert stocklog_on(*words, "-n", "700", "--seed", "5").status == 0
    assert stocklog_on(*words, "-n", "1500").status == 0
    expected = Simulator("grocery", 5).batch(1_500)["update_id"].to_pylist()
    assert ids(client, stream_name) == expected
    done = stocklog_on(*words, "-n", "2000", "--seed", "6")
    assert (done.status, "--seed: 5 then, 6 now" in done.err) == (2, True)
    done = run("load", "-", "--name", "p", "-s", stream_name, env=on_broker, stdin=sales(3))
    assert (done.status, "produce then, load now" in done.err) == (2, True)


def test_borders_of_runs_that_did_not_end_in_order_are_kept(
    client: StreamClient, stream_name: str, tmp_path: Path
) -> None:
    client.create_stream(stream_name)
    with (
        Register(tmp_path / "r") as register,
        claim(register, client, stream_name, "p", 500) as record,
    ):
        assert record.begin(0, 750) == []
        # Killed: what was sent up to 750, the last block short, may still come in.
        assert record.begin(500, 2_000) == [750]
        with pytest.raises(UsageError, match="to 2000 under the name 'p' was not ended in order"):
            record.begin(500, 1_600)
        assert record.begin(500, 1_500) == [750]
        assert record.begin(750, 3_000) == []
        record.settle(3_000)
        assert record.begin(3_000, 3_100) == []
        record.settle(3_100)
        assert record.begin(3_100, None) == []
        with pytest.raises(UsageError, match="without end"):
            record.begin(3_500, 3_600)
    with (
        Register(tmp_path / "r") as register,
        claim(register, client, stream_name, "q", 500) as record,
    ):
        record.facts.last = 700
        assert record.begin(0, 4_000) == []  # its log was empty: it may be another one


def test_a_second_process_of_a_name_is_refused(
    stocklog_on: Call, client: StreamClient, stream_name: str
) -> None:
    client.create_stream(stream_name)
    with Register() as register, claim(register, client, stream_name, "p", 500):
        done = stocklog_on("produce", "--name", "p", "-n", "10", "-s", stream_name)
        assert (done.status, "publishing as 'p'" in done.err) == (1, True)
        with (
            pytest.raises(ProducerConflictError),
            claim(register, client, stream_name, "p", 500),
        ):
            pass


def test_a_name_that_the_broker_has_forgotten_is_an_error(
    stocklog_on: Call, client: StreamClient, stream_name: str
) -> None:
    stocklog_on("produce", "-n", "100", "-s", stream_name)
    with Register() as register:
        with claim(register, client, stream_name, "p", 500) as record:
            record.settle(700)  # as if the log had had so many under it
        done = stocklog_on("produce", "--name", "p", "-n", "2000", "-s", stream_name)
    assert done.status == 1
    assert "it has forgotten the name" in done.err
    assert len(ids(client, stream_name)) == 100


# -- the register's file ------------------------------------------------------------------


def test_a_register_that_cannot_be_used_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "register"
    Register(folder).close()
    assert (folder.stat().st_mode & 0o777, (folder / "register.db").stat().st_mode & 0o777) == (
        0o700,
        0o600,
    )
    (folder / "register.db").write_bytes(b"garbage, and enough of it to be no database" * 40)
    with pytest.raises(RegisterError, match=r"register\.db: .*Move the file away"):
        Register(folder)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(RegisterError, match="XDG_STATE_HOME"):
        Register(file / "below")

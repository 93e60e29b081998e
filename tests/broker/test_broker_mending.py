"""What an earlier start left behind is recognised and mended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from helpers import belonging, command, last_offset, publish, run, wait_until

from nodes import Nodes
from stocklog.broker import find_running, start, status, stop, up
from stocklog.broker.config import MARK
from stocklog.broker.folder import Folder, new_settings
from stocklog.broker.model import Node, Ports, Process, State
from stocklog.broker.processes import describe
from stocklog.stream import StreamClient, StreamURI

pytestmark = pytest.mark.broker


def nodes_of(folder: Path) -> list[psutil.Process]:
    return named(folder, "beam")


def named(folder: Path, part: str) -> list[psutil.Process]:
    """Processes of the folder with this in their name; some end while one looks."""
    found = []
    for process in belonging(folder):
        with contextlib.suppress(psutil.NoSuchProcess):
            if part in process.name():
                found.append(process)
    return found


def arguments(folder: Path, root: Path | None) -> list[str | Path]:
    return ["up", "--dir", folder, *(["--rabbitmq-root", root] if root else [])]


def test_damaged_files_lose_neither_the_data_nor_the_password(
    folder: Path, root: Path | None, stream_name: str
) -> None:
    info = start(folder, rabbitmq_root=root)
    publish(info, stream_name, [b"kept"])

    (folder / "state.json").write_text("{garbage")
    assert find_running(folder) is None
    again = start(folder)
    assert again.uri == info.uri
    assert again.pid != info.pid, "what ran was ended, since nobody knew its ports any more"
    assert len(nodes_of(folder)) == 1
    assert last_offset(again, stream_name) == 0

    for name in ("settings.json", "settings.copy.json"):
        (folder / name).write_text("")
    said: list[str] = []
    third = start(folder, rabbitmq_root=root, on_progress=said.append)
    assert any("setting it anew" in text for text in said)
    assert StreamURI.parse(third.uri).password != StreamURI.parse(info.uri).password
    assert last_offset(third, stream_name) == 0
    assert find_running(folder) is not None


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


def test_a_number_that_another_process_has_got_is_not_ours(
    tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    folder = Folder(tmp_path / "b")
    folder.create()
    # Even its time of creation is the one that is written: what counts is the mark.
    process = describe(stranger.pid)
    state = State(
        "running", "3.10.8", 1, process, [Node("n1@localhost", Ports(2, 3, 4, 5), process)]
    )
    folder.save_settings(new_settings(1))
    folder.save_state(state)
    assert status(folder.path).state == "stale"
    assert find_running(folder.path) is None
    assert stop(folder.path, delete=True) is False
    assert stranger.poll() is None


@pytest.mark.parametrize("lost", ["nothing", "state.json"])
def test_a_start_that_was_killed_half_way_is_taken_over(
    folder: Path, one_root: Path | None, lost: str
) -> None:
    with subprocess.Popen(
        command(*arguments(folder, one_root)), stderr=subprocess.DEVNULL
    ) as first:
        wait_until(lambda: nodes_of(folder))
        first.kill()
    assert status(folder).state == "starting"
    begun = nodes_of(folder)[0].pid
    if lost != "nothing":
        (folder / lost).unlink()
    done = run(*arguments(folder, one_root))
    assert done.returncode == 0, done.stderr
    assert [process.pid == begun for process in nodes_of(folder)] == [lost == "nothing"]
    assert len(belonging(folder)) >= 2
    info = find_running(folder)
    assert info is not None
    with StreamClient(StreamURI.parse(info.uri)) as client:
        assert client.server_version == info.version


def test_down_ends_what_a_killed_start_left(folder: Path, one_root: Path | None) -> None:
    with subprocess.Popen(
        command(*arguments(folder, one_root)), stderr=subprocess.DEVNULL
    ) as first:
        wait_until(lambda: belonging(folder))
        first.kill()
    (folder / "state.json").unlink(missing_ok=True)
    assert run("down", "--dir", folder).returncode == 0
    assert belonging(folder) == []


def test_a_left_over_port_mapper_is_ended_and_a_lost_one_replaced(
    folder: Path, one_root: Path | None
) -> None:
    info = start(folder, rabbitmq_root=one_root)
    mapper = named(folder, "epmd")[0]
    mapper.kill()
    wait_until(lambda: not named(folder, "epmd"))
    again = start(folder)
    assert again.pid == info.pid, "the node itself was left alone"
    mapper = named(folder, "epmd")[0]

    os.kill(info.pid, signal.SIGKILL)
    wait_until(lambda: nodes_of(folder) == [])
    (folder / "state.json").unlink()
    start(folder)
    mappers = [process.pid for process in named(folder, "epmd")]
    assert len(mappers) == 1
    assert mappers != [mapper.pid]


@pytest.mark.slow
def test_a_node_that_hangs_is_replaced(
    folder: Path, one_root: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "RUNNING_TIMEOUT", 0.5)
    info = start(folder, rabbitmq_root=one_root)
    os.kill(info.pid, signal.SIGSTOP)
    again = start(folder)
    assert again.pid != info.pid
    assert [process.pid for process in nodes_of(folder)] == [again.pid]


@pytest.mark.slow
def test_a_node_that_hangs_is_ended_by_down(
    folder: Path, one_root: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stocklog.broker import down

    monkeypatch.setattr(down, "STOP_TIMEOUT", 1.0)
    info = start(folder, rabbitmq_root=one_root)
    os.kill(info.pid, signal.SIGSTOP)
    assert stop(folder) is True
    assert belonging(folder) == []


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.10.8", "4.0.5"])
def test_a_cluster_is_mended_node_by_node(nodes: Nodes, version: str, stream_name: str) -> None:
    info = nodes.get(version, nodes=3)
    publish(info, stream_name, [b"x"] * 10)
    os.kill(info.nodes[1].pid, signal.SIGKILL)
    wait_until(lambda: status(info.dir).state == "degraded")
    found = find_running(info.dir)
    assert found is not None, "two of three still serve"
    assert [node.running for node in found.nodes] == [True, False, True]
    told: list[str] = []
    mended = start(info.dir, on_progress=told.append)
    assert mended.uri == info.uri
    same = [a.pid == b.pid for a, b in zip(mended.nodes, info.nodes, strict=True)]
    assert same == [True, False, True], "\n".join(told)
    assert last_offset(mended, stream_name) == 9
    publish(mended, stream_name, [b"y"])

    stop(info.dir)
    assert belonging(info.dir) == []
    again = nodes.get(version, nodes=3)
    assert last_offset(again, stream_name) == 10


@pytest.mark.slow
def test_the_watchdog_ends_everything_when_pytest_is_killed(
    one_root: Path | None, tmp_path: Path
) -> None:
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; from nodes import Nodes; from stocklog import broker\n"
        "nodes = Nodes(); place = nodes.fresh('x')\n"
        "info = broker.start(place, rabbitmq_root=sys.argv[2] or None)\n"
        "print(nodes.base, place, flush=True); time.sleep(600)\n"
    )
    tests = str(Path(__file__).resolve().parent.parent)
    with subprocess.Popen(
        [sys.executable, "-c", code, tests, str(one_root or "")],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        base, place = map(Path, process.stdout.readline().split())
        assert len(nodes_of(place)) == 1
        os.killpg(process.pid, signal.SIGKILL)
    wait_until(lambda: belonging(place) == [] and not base.exists())


def test_a_process_without_a_readable_environment_is_told_by_its_creation(
    tmp_path: Path, stranger: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from stocklog.broker import processes

    def refuse(_: psutil.Process) -> dict[str, str]:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "environ", refuse)
    folder, process = Folder(tmp_path), describe(stranger.pid)
    assert processes.alive(process, folder) is not None
    assert processes.alive(Process(process.pid, process.created - 60.0), folder) is None


def test_a_killed_process_is_there_until_its_last_thread_has_ended(tmp_path: Path) -> None:
    from stocklog.broker import ports, processes

    # What a killed Erlang looks like for some milliseconds: its first thread has ended and
    # cannot be read any more, another still holds the ports.
    code = (
        "import ctypes, socket, threading, time\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "print(listener.getsockname()[1], flush=True)\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    folder = Folder(tmp_path / "b")
    environment = os.environ | {MARK: str(folder.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    ) as ending:
        process = describe(ending.pid)
        assert ending.stdout is not None
        port = int(ending.stdout.readline())
        try:
            wait_until(lambda: psutil.Process(ending.pid).status() == psutil.STATUS_ZOMBIE)
            assert not ports.is_free(port)
            found = processes.alive(process, folder)
            assert found is not None
            assert processes.wait_gone([found], 0.1) == [found]
        finally:
            ending.kill()
        assert processes.wait_gone([found], 10.0) == []
        assert ports.is_free(port)
        assert processes.alive(process, folder) is None

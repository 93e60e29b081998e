"""A private broker from up to down, on both versions."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from pathlib import Path

import psutil
import pytest
from helpers import belonging, command, last_offset, publish, run, wait_until

from nodes import Nodes
from stocklog import broker as private
from stocklog.broker import NodeInfo, boot, control, find_running, start, status, stop, up
from stocklog.broker.folder import Folder, mounts_below
from stocklog.errors import AuthenticationError, BrokerNotFoundError, BrokerStartError
from stocklog.stream import StreamClient, StreamURI

pytestmark = pytest.mark.broker


# -- what holds while it runs -------------------------------------------------------------------


def test_every_listener_is_on_the_loopback_interface(broker: NodeInfo) -> None:
    listening = [
        connection.laddr
        for process in belonging(broker.dir)
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    # AMQP, stream, distribution; epmd, which always adds ::1 where there is IPv6.
    assert len({address.port for address in listening}) == 4
    assert {address.ip for address in listening} <= {"127.0.0.1", "::1"}


def test_no_file_of_it_can_be_read_by_others(broker: NodeInfo, stream_name: str) -> None:
    publish(broker, stream_name, [b"x"])
    paths = [broker.dir, *broker.dir.rglob("*")]
    assert len(paths) > 20
    open_to_others = [p for p in paths if stat.S_IMODE(p.lstat().st_mode) & 0o077]
    assert open_to_others == []


def test_guest_is_unknown(broker: NodeInfo) -> None:
    with pytest.raises(AuthenticationError):
        StreamClient(StreamURI((("127.0.0.1", broker.stream_port),), "guest", "guest"))


def test_its_user_is_an_administrator_of_vhost_slash(broker: NodeInfo) -> None:
    uri = StreamURI.parse(broker.uri)
    assert uri.vhost == "/"
    users = control(["list_users", "--formatter", "json", "--quiet"], broker.dir)
    assert users.count('"user"') == 1
    assert uri.user in users
    assert "administrator" in users


def test_it_answers_to_rabbitmqctl_by_its_own_name_and_cookie(broker: NodeInfo) -> None:
    assert "n1@localhost" in control(["eval", "node()."], broker.dir)
    with pytest.raises(BrokerStartError, match="no_such_command"):
        control(["no_such_command"], broker.dir)


def test_amqp_listens_where_it_says(broker: NodeInfo) -> None:
    with socket.create_connection(("127.0.0.1", broker.amqp_port), 5.0) as sock:
        sock.settimeout(5.0)
        sock.sendall(b"AMQP\x00\x00\x09\x01")
        assert sock.recv(1) == b"\x01"  # a method frame: Connection.Start


def test_status_tells_size_and_memory(broker: NodeInfo) -> None:
    found = status(broker.dir)
    assert found.state == "running"
    assert found.info is not None
    assert found.info.uri == broker.uri
    assert 50e6 < found.memory < 2e9
    assert 50e3 < found.size_on_disk < 2e9


def test_a_second_start_finds_the_first(broker: NodeInfo) -> None:
    again = start(broker.dir)
    assert (again.pid, again.uri, again.started) == (broker.pid, broker.uri, False)
    assert find_running(broker.dir) == again


def test_the_tree_of_a_node_shows_no_mount_to_anybody_else(broker: NodeInfo) -> None:
    settings = Folder(broker.dir).settings()
    assert settings is not None
    assert mounts_below(broker.dir) == []
    if settings.root is not None:
        inside = Path(f"/proc/{broker.pid}/mountinfo").read_text()
        assert f"{broker.dir} " in inside, "the node itself has its folder mounted"
        assert f"{settings.root}/mnt" not in Path("/proc/self/mountinfo").read_text()


def test_the_node_is_nobodys_child(broker: NodeInfo) -> None:
    assert psutil.Process(broker.pid).ppid() != os.getpid()
    assert os.getsid(broker.pid) != os.getsid(0)


def test_passwords_are_not_shown_by_repr(broker: NodeInfo) -> None:
    password = StreamURI.parse(broker.uri).password
    assert password not in repr(broker)
    assert password not in broker.masked_uri


# -- from up to down ----------------------------------------------------------------------------


def test_data_and_address_outlive_down_and_up(
    folder: Path, root: Path | None, stream_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RABBITMQ_NODENAME", "evil@localhost")
    monkeypatch.setenv("RABBITMQ_NODE_PORT", "1")
    monkeypatch.setenv("ERL_FLAGS", "-no_such_thing +bad")
    said: list[str] = []
    first = start(folder, rabbitmq_root=root, on_progress=said.append)
    assert said == [f"starting RabbitMQ {first.version} in {folder}"]
    publish(first, stream_name, [b"a", b"b", b"c"])
    assert stop(folder) is True
    assert belonging(folder) == []
    assert not psutil.pid_exists(first.pid) or status(folder).state == "down"
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", first.stream_port), 1.0)
    assert stop(folder) is False

    second = start(folder)
    assert second.uri == first.uri
    assert second.version == first.version, "the tree is remembered"
    assert last_offset(second, stream_name) == 2
    assert stop(folder, delete=True) is True
    assert not folder.exists()


def test_after_a_kill_everything_confirmed_is_there_and_publishers_are_taken(
    folder: Path, root: Path | None, stream_name: str
) -> None:
    info = start(folder, rabbitmq_root=root)
    publish(info, stream_name, [b"%d" % i for i in range(1000)])
    os.kill(info.pid, 9)
    wait_until(lambda: status(folder).state == "stale")
    assert find_running(folder) is None

    again = start(folder)
    assert again.started
    publish(again, stream_name, [b"after"])  # at once, without a retry
    assert last_offset(again, stream_name) == 1000


def test_two_at_once_share_one_node(folder: Path, one_root: Path | None) -> None:
    words = ["--dir", folder, *(["--rabbitmq-root", one_root] if one_root else [])]
    pair = [
        subprocess.Popen(command("up", *words), stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[1] for process in pair]
    assert [process.returncode for process in pair] == [0, 0], said
    assert sum("is up:" in text for text in said) == 1
    assert sum("was up already:" in text for text in said) == 1
    nodes_running = [p for p in belonging(folder) if "beam" in p.name()]
    assert len(nodes_running) == 1


def test_two_folders_are_two_nodes(nodes: Nodes, one_broker: NodeInfo, folder: Path) -> None:
    # Beside the session's own; with a name that a careless script would break at.
    odd = folder.parent / "añadir $HOME 'x'"
    settings = Folder(one_broker.dir).settings()
    assert settings is not None
    info = start(odd, rabbitmq_root=settings.root)
    assert info.pid != one_broker.pid
    assert info.stream_port != one_broker.stream_port
    stop(odd)
    assert find_running(one_broker.dir) is not None


def test_it_outlives_the_command_and_the_commands_whole_session(
    folder: Path, one_root: Path | None
) -> None:
    words = ["--dir", folder, *(["--rabbitmq-root", one_root] if one_root else [])]
    done = run("up", *words, start_new_session=True)
    assert done.returncode == 0, done.stderr
    info = find_running(folder)
    assert info is not None
    with StreamClient(StreamURI.parse(info.uri)) as client:
        assert client.server_version == info.version
    assert run("down", "--dir", folder).returncode == 0
    assert belonging(folder) == []


# -- what goes wrong ----------------------------------------------------------------------------


def test_a_node_that_cannot_start_is_an_error_that_quotes_its_log(
    folder: Path, root: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stocklog.broker import config

    text = config.rabbitmq_conf
    monkeypatch.setattr(config, "rabbitmq_conf", lambda *a: text(*a) + "no.such.key = 1\n")
    with pytest.raises(BrokerStartError, match="ended while starting") as caught:
        start(folder, rabbitmq_root=root)
    assert "no.such.key" in caught.value.remedy
    assert str(folder / "n1") in caught.value.remedy
    assert belonging(folder) == []
    monkeypatch.undo()
    assert start(folder, rabbitmq_root=root).started, "and the next start is a good one"


def test_ports_that_were_taken_meanwhile_are_changed(folder: Path, one_root: Path | None) -> None:
    first = start(folder, rabbitmq_root=one_root)
    stop(folder)
    with socket.create_server(("127.0.0.1", first.stream_port)):
        second = start(folder)
        assert second.stream_port != first.stream_port
        assert second.started


def test_a_port_that_is_lost_between_look_and_start_is_tried_again(
    folder: Path, root: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stocklog.broker import ports

    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        real, given = ports.free_ports, []

        def first_the_taken(known: set[int]) -> ports.Ports:
            given.append(real(known))
            if len(given) == 1:
                return ports.Ports(
                    taken, *(getattr(given[0], f) for f in given[0].__struct_fields__[1:])
                )
            return given[-1]

        monkeypatch.setattr(ports, "free_ports", first_the_taken)
        said: list[str] = []
        info = start(folder, rabbitmq_root=root, on_progress=said.append)
    assert info.amqp_port != taken
    assert any("took a port" in text for text in said)


def test_an_interrupted_start_leaves_nothing_running(
    folder: Path, one_root: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(boot, "handshake", interrupt)
    with pytest.raises(KeyboardInterrupt):
        start(folder, rabbitmq_root=one_root)
    assert belonging(folder) == []


def test_little_disk_space_is_said_before_anything_starts(
    folder: Path, one_root: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "_LEAST_DISK", 1 << 60)
    with pytest.raises(BrokerStartError, match="MB are free"):
        start(folder, rabbitmq_root=one_root)
    assert belonging(folder) == []


def test_rabbitmqctl_on_a_folder_where_nothing_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BrokerNotFoundError, match="No private broker runs"):
        private.control(["status"], tmp_path)

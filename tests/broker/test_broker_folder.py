"""The private folder: its modes, its lock, damaged files, and what is never deleted."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stocklog import broker
from stocklog.broker import folder as module
from stocklog.broker.config import MARK, base_environment, inetrc, rabbitmq_conf
from stocklog.broker.folder import Folder, default_dir, mounts_below, new_settings
from stocklog.broker.install import Installation
from stocklog.broker.model import Node, Ports, State, mask_password
from stocklog.broker.ready import streams_in
from stocklog.errors import BrokerStartError, UsageError


def silent(_: str) -> None:
    pass


def state() -> State:
    return State("running", "3.10.8", 1, None, [Node("n1@localhost", Ports(2, 3, 4, 5))])


@pytest.fixture
def made(tmp_path: Path) -> Folder:
    place = Folder(tmp_path / "b")
    place.create()
    return place


def test_the_default_lies_under_the_users_state_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        assert default_dir() == tmp_path / "stocklog/broker"
    assert Folder().path == Path(os.path.realpath(default_dir()))


def test_folder_and_files_are_the_owners_alone(made: Folder) -> None:
    made.save_settings(new_settings(1))
    made.save_state(state())
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o700
    for file in made.path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == (0o700 if file.is_dir() else 0o600), file


def test_a_wider_mode_of_an_empty_folder_is_narrowed(tmp_path: Path) -> None:
    place = tmp_path / "b"
    place.mkdir(mode=0o755)
    Folder(place).create()
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_another_filled_folder_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "lock").write_text("mine")
    tmp_path.chmod(0o755)
    with pytest.raises(UsageError, match="not made by stocklog"):
        broker.start(tmp_path)
    assert broker.stop(tmp_path, delete=True) is False
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "lock"]
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_settings_survive_the_loss_of_either_copy(made: Folder) -> None:
    settings = new_settings(3)
    made.save_settings(settings)
    (made.path / "settings.json").write_bytes(b'{"user": "x", \xff')
    assert made.settings() == settings
    made.save_settings(settings)
    (made.path / "settings.copy.json").unlink()
    assert made.settings() == settings


@pytest.mark.parametrize("text", ["", "{", "[]", '{"phase": 3}', "\x00" * 100])
def test_a_damaged_state_is_no_state(made: Folder, text: str) -> None:
    made.save_state(state())
    (made.path / "state.json").write_text(text)
    assert made.state() is None
    assert broker.find_running(made.path) is None
    assert broker.status(made.path).state == "down"


def test_user_and_password_are_random_letters_and_digits() -> None:
    one, other = new_settings(1), new_settings(1)
    assert one.password != other.password
    assert one.user != other.user
    assert len(one.password) == 32
    assert (one.user + one.password + one.cookie).isalnum()
    assert (one.user + one.password + one.cookie).isascii()


def test_one_waits_for_the_other(made: Folder) -> None:
    order: list[str] = []
    said: list[str] = []

    def second() -> None:
        with made.locked(said.append):
            order.append("second")

    with made.locked(silent):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert len(said) == 1
    assert "waiting" in said[0]


def test_a_killed_holder_leaves_no_lock_behind(made: Folder) -> None:
    code = (
        "import sys, time; from stocklog.broker.folder import Folder\n"
        "with Folder(sys.argv[1]).locked(print):\n    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(made.path)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.kill()
    with made.locked(pytest.fail):
        pass


def test_a_lock_that_is_held_for_ever_is_an_error(
    made: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_TIMEOUT", 0.1)
    with (
        made.locked(silent),
        pytest.raises(BrokerStartError, match="Another stocklog"),
        made.locked(silent),
    ):
        pass


def test_who_waits_while_the_folder_is_deleted_locks_the_new_one(made: Folder) -> None:
    taken: list[bool] = []

    def second() -> None:
        with made.locked(silent, create=True):
            held = os.open(made.path / "stocklog.lock", os.O_RDWR)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                taken.append(True)
            os.close(held)

    with made.locked(silent):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        made.delete()
        assert not made.path.exists()
    thread.join()
    assert taken == [True]


def test_deleting_leaves_what_is_not_ours(made: Folder) -> None:
    made.save_settings(new_settings(1))
    for name in ("n1/data/x", "n2"):
        (made.path / name).mkdir(parents=True)
    (made.path / "notes.txt").write_text("mine")
    made.delete()
    assert [p.name for p in made.path.iterdir()] == ["notes.txt"]


def test_deleting_does_not_follow_links_out_of_the_folder(made: Folder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (made.path / "n1").mkdir()
    (made.path / "n1/link").symlink_to(outside)
    made.delete()
    assert (outside / "precious").exists()


def test_a_folder_with_a_mount_inside_is_not_deleted(
    made: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "mounts_below", lambda path: [path / "n1/mnt"])
    with pytest.raises(BrokerStartError, match="is a mount inside"):
        made.delete()
    assert (made.path / "stocklog.lock").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the mount table is Linux's")
def test_mounts_are_found_below_a_path() -> None:
    assert Path("/proc") in mounts_below(Path("/"))
    assert mounts_below(Path("/proc/self/nothing")) == []


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb"])
def test_paths_that_erlang_cannot_name_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="--dir"):
        Folder(tmp_path / name).create()


def test_a_path_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="longer than"):
        Folder(tmp_path / "/".join(["x" * 100] * 6)).create()


def test_a_file_in_the_way_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("")
    with pytest.raises(BrokerStartError, match=r"File exists.*--dir"):
        broker.start(tmp_path / "b")
    with pytest.raises(BrokerStartError, match="Not a directory"):
        broker.start(tmp_path / "b/c")


def test_a_full_disk_is_an_error_that_says_what_to_do(
    made: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(BrokerStartError, match=r"No space left.*Free some disk space"),
        made.explained(),
    ):
        made.save_settings(new_settings(1))
    monkeypatch.undo()
    assert made.settings() is None, "a file that could not be written whole is not there"


def test_data_of_another_series_are_refused(made: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = new_settings(1)
    settings.version = "4.1.0"
    made.save_settings(settings)
    (made.path / "n1/data/n1@localhost").mkdir(parents=True)
    found = Installation("3.10.8", Path("/x"), Path("/y"))
    monkeypatch.setattr("stocklog.broker.up.find_installation", lambda root: found)
    with pytest.raises(UsageError, match=r"written by RabbitMQ 4\.1\.0; 3\.10\.8 cannot"):
        broker.start(made.path)


def test_another_number_of_nodes_than_the_folder_has_is_refused(made: Folder) -> None:
    made.save_settings(new_settings(3))
    (made.path / "n1/data/n1@localhost").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"has 3 node\(s\), not 1"):
        broker.start(made.path, nodes=1)
    for number in (0, 10):
        with pytest.raises(UsageError, match="not possible"):
            broker.start(made.path, nodes=number)


def test_nothing_of_the_callers_rabbitmq_reaches_the_node(made: Folder) -> None:
    caller = {
        "PATH": "/bin", "LANG": "es_ES.UTF-8", "RABBITMQ_NODENAME": "evil", "NODENAME": "evil",
        "ERL_FLAGS": "-bad", "CONF_ENV_FILE": "/etc/x", "HOME": "/root", "NOTIFY_SOCKET": "/run/x",
    }  # fmt: skip
    install = Installation("3.10.8", Path("/x"), Path("/y"))
    environment = base_environment(made, install, 4000, caller)
    assert not {"RABBITMQ_NODENAME", "NODENAME", "ERL_FLAGS", "NOTIFY_SOCKET"} & set(environment)
    assert environment["HOME"] == f"{made.path}/home"
    assert environment[MARK] == str(made.path)
    assert environment["LANG"] == "es_ES.UTF-8"


def test_every_listener_in_the_configuration_is_on_the_loopback_address() -> None:
    text = rabbitmq_conf(new_settings(1), state().nodes[0], "n1@localhost")
    listeners = [line for line in text.splitlines() if ".tcp." in line]
    assert len(listeners) == 2
    assert all(" = 127.0.0.1:" in line for line in listeners)


def test_a_machines_odd_name_never_breaks_erlangs_host_table() -> None:
    assert '["localhost", "shop-7.example"]' in inetrc("shop-7.example")
    assert inetrc('x"]}. {evil').startswith('{host, {127,0,0,1}, ["localhost"]}.')


def test_streams_are_known_by_their_folders(made: Folder) -> None:
    for name in ("__inventory_updates_1795568789000000001", "__a-b_17"):
        (made.path / "n1/data/n1@localhost/stream" / name).mkdir(parents=True)
    assert streams_in(made.path) == ["a-b", "inventory_updates"]


def test_a_uri_is_shown_without_its_password() -> None:
    uri = "rabbitmq-stream://u:secret@127.0.0.1:1,127.0.0.1:2/"
    assert mask_password(uri) == "rabbitmq-stream://u:***@127.0.0.1:1,127.0.0.1:2/"
    assert mask_password("rabbitmq-stream://h:1/") == "rabbitmq-stream://h:1/"

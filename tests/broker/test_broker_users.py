"""Who may start a broker, and where: an ordinary user, root with a tree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import as_nobody, belonging, command, wait_until

from nodes import Nodes, clean, root_for, system_version
from stocklog import broker
from stocklog.broker import start, status, stop
from stocklog.broker.folder import mounts_below
from stocklog.errors import BrokerStartError, UsageError
from stocklog.stream import StreamClient, StreamURI

pytestmark = pytest.mark.broker

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def nobodys(nodes: Nodes) -> Iterator[Path]:
    """A folder that belongs to `nobody`, in one that it may pass through."""
    place = nodes.fresh("nobody").parent
    nodes.base.chmod(0o711)
    os.chown(place, 65534, 65534)
    yield place
    assert clean(place) == 0


@needs_root
@pytest.mark.skipif(not system_version(), reason="no RabbitMQ of the system's own")
def test_an_ordinary_user_has_a_node_of_its_own_beside_roots(
    nobodys: Path, one_broker: broker.NodeInfo
) -> None:
    folder = nobodys / "b"

    def life() -> str:
        os.environ["HOME"] = str(nobodys)
        info = start(folder)
        with StreamClient(StreamURI.parse(info.uri)) as client:
            assert client.server_version == info.version
        found = status(folder)
        assert found.state == "running"
        assert found.memory > 0
        return str(info.pid)

    pid = int(as_nobody(life))
    assert Path(f"/proc/{pid}").stat().st_uid == 65534
    assert pid != one_broker.pid
    as_nobody(lambda: str(stop(folder)))
    assert belonging(folder) == []


@needs_root
@pytest.mark.parametrize(
    ("place", "reason"),
    [("/root/b", "Permission denied"), ("/proc/b", "--dir"), ("/", "belongs to another user")],
)
def test_a_folder_that_the_user_may_not_use_is_an_error(place: str, reason: str) -> None:
    def attempt() -> str:
        try:
            start(place)
        except UsageError as error:
            return str(error)
        except BrokerStartError as error:
            return str(error)
        return "no error"

    said = as_nobody(attempt)
    assert reason in said
    assert "--dir" in said


@needs_root
def test_a_tree_is_refused_to_an_ordinary_user(tmp_path: Path) -> None:
    def attempt() -> str:
        try:
            start("/tmp/stocklog-never-made", rabbitmq_root="/usr")
        except UsageError as error:
            return str(error)
        return "no error"

    try:
        assert "needs root" in as_nobody(attempt)
    finally:
        shutil.rmtree("/tmp/stocklog-never-made", ignore_errors=True)


@needs_root
@pytest.mark.skipif(shutil.which("unshare") is None, reason="hides RabbitMQ behind a mount")
def test_without_rabbitmq_the_command_says_what_to_type(tmp_path: Path) -> None:
    hide = (
        "for d in /usr/lib/rabbitmq /opt/homebrew; do [ ! -d $d ] || mount -t tmpfs none $d; done;"
        ' exec "$@"'
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hide, "sh", *command("up", "--dir", tmp_path / "b")],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    assert done.returncode == 1
    assert "RabbitMQ is not installed" in done.stderr
    assert "apt-get install --yes rabbitmq-server" in done.stderr
    assert "policy-rc.d" in done.stderr


@needs_root
def test_a_tree_can_be_deleted_while_its_node_runs_and_nothing_else_is_touched(
    nodes: Nodes, folder: Path, tmp_path: Path
) -> None:
    tree = root_for("4.0.5")
    if tree is None:
        pytest.skip("the system's own RabbitMQ is the one of the tree")
    # A second way to the same tree, so that the real one is not put at risk.
    names = ["usr", "bin", "lib", "lib64", "sbin", "etc"]
    copy = tmp_path / "tree"
    for name in ("proc", "dev", "mnt", "tmp", "var"):
        (copy / name).mkdir(parents=True)
    for name in names:
        if (tree / name).is_symlink():
            (copy / name).symlink_to(os.readlink(tree / name))
        elif (tree / name).is_dir():
            (copy / name).mkdir()
            subprocess.run(["mount", "--bind", tree / name, copy / name], check=True)
    try:
        info = start(folder, rabbitmq_root=copy)
        inside = {path.name for path in mounts_below(copy)}
        assert not inside & {"proc", "dev", "mnt"}, "no mount of ours is seen outside"
        for name in ("proc", "dev", "mnt"):
            assert list((copy / name).iterdir()) == []
            shutil.rmtree(copy / name)
        assert Path("/proc/self").exists()
        assert Path("/dev/null").is_char_device()
        assert (folder / "n1/rabbitmq.conf").exists()
        os.kill(info.pid, 9)
        wait_until(lambda: status(folder).state == "stale")
        stop(folder, delete=True)
        assert not folder.exists()
    finally:
        clean(folder.parent)
        for path in mounts_below(copy):
            subprocess.run(["umount", path], check=True)


def test_status_as_json_is_enough_for_a_script(one_broker: broker.NodeInfo) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stocklog", "broker", "status", "--json", "--dir", one_broker.dir],
        capture_output=True,
        text=True,
        check=True,
    )
    facts = json.loads(done.stdout)
    assert facts["uri"] == one_broker.uri
    assert {"amqp_port", "version", "pid", "dir", "memory", "size_on_disk"} <= set(facts)
    with StreamClient(StreamURI.parse(facts["uri"])) as client:
        assert client.server_version == facts["version"]

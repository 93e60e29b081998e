"""Finding RabbitMQ: where it may lie, what is passed over, what is said when it is missing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from stocklog.broker import install
from stocklog.broker.install import find_installation, release_of
from stocklog.errors import BrokerNotFoundError, UsageError


def lay(home: Path, version: str = "3.10.8", *, stream: bool = True, packed: bool = False) -> Path:
    """Lays what matters of a RabbitMQ; returns its sbin."""
    sbin = home / "sbin"
    sbin.mkdir(parents=True)
    (sbin / "rabbitmq-server").write_text("#!/bin/sh\n")
    (sbin / "rabbitmq-server").chmod(0o755)
    end = ".ez" if packed else ""
    for name in ("rabbit", "rabbitmq_stream") if stream else ("rabbit",):
        (home / "plugins" / f"{name}-{version}{end}").mkdir(parents=True)
    return sbin


@pytest.fixture
def tools(tmp_path: Path) -> dict[str, str]:
    """An environment in which Erlang is found, and nothing else."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("erl", "epmd"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return {"PATH": str(folder)}


@pytest.fixture(autouse=True)
def only_what_is_laid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_TOOL_FOLDERS", ())


def test_rabbitmq_home_comes_before_all_other_places(tmp_path: Path, tools: dict[str, str]) -> None:
    lay(tmp_path / "usr/lib/rabbitmq/lib/rabbitmq_server-3.10.8")
    home = lay(tmp_path / "mine", "4.1.2")
    found = find_installation(
        environment=tools | {"RABBITMQ_HOME": str(tmp_path / "mine")}, base=tmp_path
    )
    assert (found.version, found.sbin, found.release) == ("4.1.2", home, (4, 1, 2))


def test_debians_links_are_followed_to_the_version(tmp_path: Path, tools: dict[str, str]) -> None:
    home = lay(tmp_path / "usr/lib/rabbitmq/lib/rabbitmq_server-3.10.8")
    binaries = tmp_path / "usr/lib/rabbitmq/bin"
    binaries.mkdir()
    (binaries / "rabbitmq-server").symlink_to(home / "rabbitmq-server")
    found = find_installation(environment=tools, base=tmp_path)
    assert (found.version, found.sbin) == ("3.10.8", binaries)


def test_of_several_unpacked_ones_the_newest_is_taken(
    tmp_path: Path, tools: dict[str, str]
) -> None:
    for version in ("3.9.4", "3.13.7", "3.10.8"):
        lay(tmp_path / f"usr/lib/rabbitmq/lib/rabbitmq_server-{version}", version)
    assert find_installation(environment=tools, base=tmp_path).version == "3.13.7"


@pytest.mark.parametrize("place", ["opt/homebrew/opt/rabbitmq", "usr/local/opt/rabbitmq"])
def test_homebrews_places_are_known(tmp_path: Path, tools: dict[str, str], place: str) -> None:
    lay(tmp_path / place, "4.0.5", packed=True)
    assert find_installation(environment=tools, base=tmp_path).version == "4.0.5"


def test_one_on_path_is_taken_unless_it_is_the_packages_wrapper(
    tmp_path: Path, tools: dict[str, str]
) -> None:
    path = {"PATH": f"{tools['PATH']}{os.pathsep}{tmp_path / 'own/sbin'}"}
    sbin = lay(tmp_path / "own", "3.12.1")
    assert find_installation(environment=path, base=tmp_path).sbin == sbin
    (sbin / "rabbitmq-server").write_text('#!/bin/sh\necho "Only root or rabbitmq should run"\n')
    with pytest.raises(BrokerNotFoundError, match="not installed"):
        find_installation(environment=path, base=tmp_path)


def test_a_link_to_the_wrapper_is_passed_over(tmp_path: Path, tools: dict[str, str]) -> None:
    sbin = lay(tmp_path / "own")
    (sbin / "rabbitmq-server").rename(sbin / "rabbitmq-script-wrapper")
    (sbin / "rabbitmq-server").symlink_to("rabbitmq-script-wrapper")
    path = {"PATH": f"{tools['PATH']}{os.pathsep}{sbin}"}
    with pytest.raises(BrokerNotFoundError):
        find_installation(environment=path, base=tmp_path)


def test_one_without_the_stream_plugin_is_named_and_passed_over(
    tmp_path: Path, tools: dict[str, str]
) -> None:
    lay(tmp_path / "usr/lib/rabbitmq/lib/rabbitmq_server-3.8.9", "3.8.9", stream=False)
    with pytest.raises(BrokerNotFoundError, match=r"3\.8\.9.*no stream plugin"):
        find_installation(environment=tools, base=tmp_path)


def test_without_erlang_the_error_says_so(tmp_path: Path) -> None:
    lay(tmp_path / "usr/lib/rabbitmq/lib/rabbitmq_server-3.10.8")
    with pytest.raises(BrokerNotFoundError, match="erl"):
        find_installation(environment={"PATH": str(tmp_path)}, base=tmp_path)


def test_epmd_is_found_beside_erl_when_it_is_not_on_path(
    tmp_path: Path, tools: dict[str, str]
) -> None:
    lay(tmp_path / "usr/lib/rabbitmq/lib/rabbitmq_server-3.10.8")
    (tmp_path / "tools/epmd").unlink()
    epmd = tmp_path / "lib/erts-13.1.5/bin/epmd"
    epmd.parent.mkdir(parents=True)
    epmd.touch()
    assert find_installation(environment=tools, base=tmp_path).epmd == epmd


def test_a_missing_rabbitmq_gives_the_command_that_installs_it(
    tmp_path: Path, tools: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install.shutil, "which", lambda name, path=None: f"/usr/bin/{name}")
    monkeypatch.setattr(install, "_is_wrapper", lambda script: True)
    with pytest.raises(BrokerNotFoundError) as caught:
        find_installation(environment=tools, base=tmp_path)
    remedy = caught.value.remedy
    assert "apt-get install --yes rabbitmq-server" in remedy
    assert "/usr/sbin/policy-rc.d" in remedy


@pytest.mark.parametrize("status", [0, 100])
@pytest.mark.parametrize(
    "before", [None, "#!/bin/sh\nexit 104\n"], ids=["none", "one of the admin's"]
)
def test_the_command_forbids_services_while_it_installs_and_leaves_things_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None, status: int
) -> None:
    monkeypatch.setattr(install.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(install.os, "geteuid", lambda: 0)
    policy, seen = tmp_path / "policy-rc.d", tmp_path / "seen"
    if before is not None:
        policy.write_text(before)
    fake = tmp_path / "apt-get"
    fake.write_text(
        f"#!/bin/sh\n[ $1 = install ] || exit 0\n{policy}; echo $? $* >{seen}\nexit {status}\n"
    )
    fake.chmod(0o755)
    hint = install.install_hint()
    typed = hint.removeprefix("Install it with: ").partition(" (the policy-rc.d")[0]
    typed = typed.replace("/usr/sbin/policy-rc.d", str(policy))
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", typed], env={"PATH": path}, check=False)
    assert done.returncode == status
    assert seen.read_text() == "101 install --yes rabbitmq-server\n"
    assert (policy.read_text() if policy.exists() else None) == before
    assert not (tmp_path / "policy-rc.d.kept").exists()


def test_on_a_mac_the_command_is_homebrews(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install.sys, "platform", "darwin")
    assert install.install_hint() == "Install it with: brew install rabbitmq"


def test_an_ordinary_user_gets_the_command_with_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(install.os, "geteuid", lambda: 1000)
    assert "sudo sh -c" in install.install_hint()
    monkeypatch.setattr(install.os, "geteuid", lambda: 0)
    assert "sudo" not in install.install_hint()


def test_a_tree_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a folder"):
        find_installation(tmp_path / "nothing")


def test_a_tree_needs_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install.os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="needs root"):
        find_installation(tmp_path)


def test_a_tree_without_rabbitmq_is_refused_with_the_command_that_lays_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install.os, "geteuid", lambda: 0)
    with pytest.raises(BrokerNotFoundError, match="no proc, dev") as caught:
        find_installation(tmp_path)
    assert "debootstrap" in caught.value.remedy
    for name in ("proc", "dev", "mnt", "usr/bin/erl", "usr/bin/epmd"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(BrokerNotFoundError, match="no rabbitmq-server"):
        find_installation(tmp_path)


def test_paths_of_a_tree_are_told_as_seen_from_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install.os, "geteuid", lambda: 0)
    for name in ("proc", "dev", "mnt", "usr/bin/erl", "usr/bin/epmd"):
        (tmp_path / name).mkdir(parents=True)
    lay(tmp_path / "usr/lib/rabbitmq/lib/rabbitmq_server-4.0.5", "4.0.5")
    found = find_installation(tmp_path)
    assert found.sbin == Path("/usr/lib/rabbitmq/lib/rabbitmq_server-4.0.5/sbin")
    assert found.root == tmp_path


@pytest.mark.parametrize(
    ("text", "numbers"), [("3.10.8", (3, 10, 8)), ("rabbitmq_server-4.1.0-rc.1", (4, 1, 0))]
)
def test_a_version_becomes_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert release_of(text) == numbers

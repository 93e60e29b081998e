"""scripts/apt-install.sh: services are forbidden while apt-get works, and only then.

apt-get, dpkg and systemctl are stand-ins on PATH that write down what they see: what is tested is
the order of things around them, above all what stands in policy-rc.d afterwards.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="installing packages needs root")

STAND_INS = {
    "apt-get": """\
echo "apt-get $*" >>"$SEEN"
case $1 in install)
  "$POLICY_RC_D" && echo allowed >>"$SEEN" || echo "policy $?" >>"$SEEN"
  cat "$CREATECLUSTER_D"/* >>"$SEEN" 2>/dev/null
  [ -z "${SLOW:-}" ] || sleep "$SLOW"
  [ -z "${BROKEN:-}" ] || { echo "E: no such package"; exit 100; }
  : >"$INSTALLED"
esac
""",
    "dpkg": 'echo "dpkg $*" >>"$SEEN"\n',
    "dpkg-query": '[ -e "$INSTALLED" ] && printf installed || exit 1\n',
    "systemctl": 'echo "systemctl $*" >>"$SEEN"\n',
    "update-rc.d": 'echo "update-rc.d $*" >>"$SEEN"\n',
}


class Machine:
    """A place with its own policy-rc.d and its own apt-get."""

    def __init__(self, folder: Path) -> None:
        self.policy = folder / "policy-rc.d"
        self.clusters = folder / "createcluster.d"
        self.seen = folder / "seen"
        self.installed = folder / "installed"
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name, text in STAND_INS.items():
            (self.bin / name).write_text(f"#!/bin/sh\n{text}")
            (self.bin / name).chmod(0o755)
        self.seen.touch()

    def start(self, package: str = "rabbitmq-server", **settings: str) -> subprocess.Popen[str]:
        environment = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "POLICY_RC_D": str(self.policy),
            "CREATECLUSTER_D": str(self.clusters),
            "SEEN": str(self.seen),
            "INSTALLED": str(self.installed),
            **settings,
        }
        return subprocess.Popen(
            ["bash", ROOT / "scripts/apt-install.sh", package],
            env=environment,
            text=True,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, package: str = "rabbitmq-server", **settings: str) -> tuple[int, str]:
        process = self.start(package, **settings)
        errors = process.communicate(timeout=30)[1]
        return process.returncode, errors

    def cut_off(self, number: signal.Signals) -> int:
        """Sends a signal to the whole group, as Ctrl-C does, while apt-get installs."""
        process = self.start(SLOW="20")
        deadline = time.monotonic() + 20
        while "policy" not in self.seen.read_text():
            assert time.monotonic() < deadline, "apt-get was never called"
            time.sleep(0.05)
        os.killpg(process.pid, number)
        process.communicate(timeout=30)
        return process.returncode


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_services_are_forbidden_during_the_install_and_the_policy_is_gone_afterwards(
    machine: Machine,
) -> None:
    assert machine.run()[0] == 0
    assert "policy 101" in machine.seen.read_text()
    assert not machine.policy.exists()


def test_the_policy_that_was_there_is_put_back(machine: Machine) -> None:
    machine.policy.write_text("#!/bin/sh\nexit 104\n")
    machine.policy.chmod(0o700)
    assert machine.run()[0] == 0
    assert "policy 101" in machine.seen.read_text()
    assert machine.policy.read_text() == "#!/bin/sh\nexit 104\n"
    assert machine.policy.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_policy_is_put_back_after_ctrl_c_and_the_like(
    machine: Machine, number: signal.Signals
) -> None:
    machine.policy.write_text("mine")
    assert machine.cut_off(number) == (130 if number == signal.SIGINT else 143)
    assert machine.policy.read_text() == "mine"


@pytest.mark.parametrize("mine", ["#!/bin/sh\nexit 0\n", None])
def test_what_a_killed_call_left_is_mended_by_the_next(machine: Machine, mine: str | None) -> None:
    if mine is not None:
        machine.policy.write_text(mine)
    assert machine.cut_off(signal.SIGKILL) == -signal.SIGKILL
    assert "exit 101" in machine.policy.read_text()
    assert machine.run()[0] == 0
    assert (machine.policy.read_text() if machine.policy.exists() else None) == mine


def test_a_failed_install_fails_says_why_and_puts_the_policy_back(machine: Machine) -> None:
    machine.policy.write_text("mine")
    status, errors = machine.run(BROKEN="yes")
    assert status != 0
    assert "E: no such package" in errors
    assert machine.policy.read_text() == "mine"


def test_services_that_came_along_stay_off_at_the_next_boot(machine: Machine) -> None:
    _, errors = machine.run()
    seen = machine.seen.read_text()
    for unit in ("rabbitmq-server.service", "epmd.service", "epmd.socket"):
        assert f"systemctl --root=/ disable {unit}" in seen
        assert f"systemctl enable --now {unit}" in errors


def test_a_rabbitmq_that_was_there_before_keeps_its_service(machine: Machine) -> None:
    machine.installed.touch()
    machine.run()
    assert "disable" not in machine.seen.read_text()


def test_postgresql_makes_no_cluster_of_its_own_and_is_not_told_so_for_ever(
    machine: Machine,
) -> None:
    machine.clusters.mkdir()
    (machine.clusters / "mine.conf").write_text("port = 5555\n")
    assert machine.run("postgresql")[0] == 0
    assert "create_main_cluster = false" in machine.seen.read_text()
    assert [path.name for path in machine.clusters.iterdir()] == ["mine.conf"]


def test_a_word_to_postgresql_that_a_killed_call_left_is_taken_back_by_the_next(
    machine: Machine,
) -> None:
    process = machine.start("postgresql", SLOW="20")
    deadline = time.monotonic() + 20
    while "cluster" not in machine.seen.read_text():
        assert time.monotonic() < deadline, "apt-get was never called"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert list(machine.clusters.iterdir())
    assert machine.run()[0] == 0
    assert not list(machine.clusters.iterdir())

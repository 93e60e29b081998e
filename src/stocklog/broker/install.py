"""Finds a RabbitMQ installation whose node an ordinary user can start.

Debian's `rabbitmq-server` on PATH is a wrapper that refuses everyone but root
and the user `rabbitmq`, so the real script is called where the package put it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stocklog.errors import BrokerNotFoundError, UsageError

# A policy-rc.d that is there already is put back, whatever becomes of the installation.
_POLICY = "/usr/sbin/policy-rc.d"
_DEBIAN = (
    f"{{sudo}}sh -c 'p={_POLICY}; [ ! -e $p ] || mv $p $p.kept;"
    ' trap "rm -f $p; [ ! -e $p.kept ] || mv $p.kept $p" EXIT; trap "exit 130" INT;'
    ' printf "#!/bin/sh\\nexit 101\\n" >$p; chmod 755 $p;'
    " apt-get update; apt-get install --yes rabbitmq-server'"
)
_HOMEBREW = ("opt/homebrew/opt/rabbitmq/sbin", "usr/local/opt/rabbitmq/sbin")
_TOOL_FOLDERS = (
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/opt/homebrew/bin",
)


@dataclass(frozen=True)
class Installation:
    """A RabbitMQ that can be started.

    Attributes:
        version: RabbitMQ's version, for example "3.10.8".
        sbin: folder of `rabbitmq-server` and `rabbitmqctl`, as seen inside `root`.
        epmd: Erlang's port mapper, as seen inside `root`.
        root: the tree that is entered by chroot, or None for this machine's own.
    """

    version: str
    sbin: Path
    epmd: Path
    root: Path | None = None

    @property
    def release(self) -> tuple[int, ...]:
        """The version as numbers, for comparisons: (3, 10, 8)."""
        return release_of(self.version)


def release_of(version: str) -> tuple[int, ...]:
    """The numbers in a version or a folder's name: (3, 10, 8) for "rabbitmq_server-3.10.8"."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def search_path(environment: Mapping[str, str]) -> str:
    """PATH of the caller, with the places where Erlang's tools usually lie behind it."""
    folders = [part for part in environment.get("PATH", "").split(os.pathsep) if part]
    return os.pathsep.join([*folders, *(f for f in _TOOL_FOLDERS if f not in folders)])


def find_installation(
    rabbitmq_root: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    base: Path = Path("/"),
) -> Installation:
    """Finds RabbitMQ with its stream plugin.

    Looks in $RABBITMQ_HOME/sbin, Debian's package, generic-unix trees beside it,
    Homebrew, then PATH.

    Args:
        rabbitmq_root: a tree laid by debootstrap instead; root alone can enter it.
        environment: where RABBITMQ_HOME and PATH are taken from; the process's by default.
        base: what the fixed places lie under; only tests give another than "/".

    Raises:
        BrokerNotFoundError: none was found, or it cannot run here; says what to install.
        UsageError: `rabbitmq_root` was given and cannot be meant.
    """
    environment = os.environ if environment is None else environment
    if rabbitmq_root is not None:
        return _in_tree(rabbitmq_root)
    passed_over: list[str] = []
    for sbin in _places(environment, base):
        if not (sbin / "rabbitmq-server").is_file():
            continue
        try:
            version = version_of(sbin)
        except BrokerNotFoundError as error:
            passed_over.append(error.what)
            continue
        return Installation(version, sbin, _epmd(environment))
    what = "RabbitMQ is not installed on this machine"
    if passed_over:
        what = f"No RabbitMQ that can be used was found: {'; '.join(passed_over)}"
    raise BrokerNotFoundError(what, install_hint())


def version_of(sbin: Path) -> str:
    """The version of the RabbitMQ whose scripts lie in `sbin`, read without starting it.

    Raises:
        BrokerNotFoundError: it cannot be told, or the stream plugin (RabbitMQ 3.9+) is missing.
    """
    home = (sbin / "rabbitmq-server").resolve().parent.parent
    plugins = home / "plugins"
    # A directory in Debian's package and the tarball, a .ez archive in older ones.
    found = [re.fullmatch(r"rabbit-(\d+\.\d+\.\d+[^/]*?)(?:\.ez)?", p.name) for p in _list(plugins)]
    versions = [match[1] for match in found if match]
    if not versions:
        raise BrokerNotFoundError(f"{sbin} holds no RabbitMQ whose version can be told")
    if not any(p.name.startswith("rabbitmq_stream-") for p in _list(plugins)):
        raise BrokerNotFoundError(f"RabbitMQ {versions[0]} in {home} has no stream plugin")
    return versions[0]


def install_hint() -> str:
    """What to type so that RabbitMQ gets installed here and does not start a public node."""
    if sys.platform == "darwin":
        return "Install it with: brew install rabbitmq"
    if shutil.which("apt-get"):
        command = _DEBIAN.format(sudo="" if os.geteuid() == 0 else "sudo ")
        return (
            f"Install it with: {command} (the policy-rc.d keeps Debian from starting a public node)"
        )
    return (
        "Unpack the generic-unix package from https://www.rabbitmq.com/docs/install-generic-unix"
        " and set RABBITMQ_HOME to its folder, or name your own broker with --uri"
    )


def _list(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _places(environment: Mapping[str, str], base: Path) -> Iterator[Path]:
    if home := environment.get("RABBITMQ_HOME"):
        yield Path(home) / "sbin"
    package = base / "usr/lib/rabbitmq"
    yield package / "bin"
    for tree in sorted(_list(package / "lib"), key=lambda t: release_of(t.name), reverse=True):
        yield tree / "sbin"
    for place in _HOMEBREW:
        yield base / place
    on_path = shutil.which("rabbitmq-server", path=environment.get("PATH", ""))
    if on_path and not _is_wrapper(Path(on_path)):
        yield Path(on_path).resolve().parent


def _is_wrapper(script: Path) -> bool:
    """Whether it is the packages' wrapper, which runs nothing for an ordinary user."""
    if script.resolve().name == "rabbitmq-script-wrapper":
        return True
    try:
        return b"Only root or rabbitmq" in script.read_bytes()[:8192]
    except OSError:
        return True


def _epmd(environment: Mapping[str, str]) -> Path:
    path = search_path(environment)
    erl = shutil.which("erl", path=path)
    if erl is None:
        raise BrokerNotFoundError(
            "RabbitMQ is here, but Erlang's `erl` is not on PATH",
            "Install Erlang, or put the folder of `erl` on PATH",
        )
    if epmd := shutil.which("epmd", path=path):
        return Path(epmd)
    # Installed, but not linked to PATH: beside erl, or in the runtime's own folder.
    near = Path(erl).resolve().parent
    found = [*near.glob("epmd"), *sorted(near.parent.glob("**/erts-*/bin/epmd"))]
    if not found:
        raise BrokerNotFoundError(
            f"Erlang is here ({erl}), but not its port mapper `epmd`", "Install Erlang whole"
        )
    return found[-1]


def _in_tree(root: Path) -> Installation:
    if not root.is_dir():
        raise UsageError(
            f"--rabbitmq-root {root} is not a folder",
            "Name a tree laid by debootstrap that has rabbitmq-server in it",
        )
    if sys.platform != "linux":
        raise UsageError("--rabbitmq-root works on Linux only", "Leave it out")
    if os.geteuid() != 0:
        raise UsageError(
            "--rabbitmq-root needs root, because the tree is entered by chroot",
            "Run the command as root, or leave the option out to use this machine's RabbitMQ",
        )
    root = root.resolve()
    if root == Path("/"):
        return find_installation()
    missing = [
        name
        for name in ("proc", "dev", "mnt", "usr/bin/erl", "usr/bin/epmd")
        if not (root / name).exists()
    ]
    sbin = next((s for s in _tree_places(root) if (s / "rabbitmq-server").is_file()), None)
    if missing or sbin is None:
        lacks = ", ".join(missing) if missing else "rabbitmq-server"
        raise BrokerNotFoundError(
            f"{root} is not a whole system tree with RabbitMQ (no {lacks})",
            f"Lay one with: debootstrap --variant=minbase --include=rabbitmq-server trixie {root}",
        )
    inside = Path("/") / sbin.relative_to(root)
    return Installation(version_of(sbin), inside, Path("/usr/bin/epmd"), root)


def _tree_places(root: Path) -> Iterator[Path]:
    # Not usr/lib/rabbitmq/bin: its links may be absolute, and would lead out of the tree.
    for tree in sorted(
        _list(root / "usr/lib/rabbitmq/lib"), key=lambda t: release_of(t.name), reverse=True
    ):
        yield tree / "sbin"

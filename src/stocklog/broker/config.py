"""What a node is told: its configuration files and its environment.

RabbitMQ refuses to start on a key that its version does not know, so the files
are made for the version that was found.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from pathlib import PurePosixPath

from stocklog.broker.folder import Folder
from stocklog.broker.install import Installation, search_path
from stocklog.broker.model import Node, Settings
from stocklog.broker.ports import LOOPBACK, REPLICATION_SPAN

MARK = "STOCKLOG_PRIVATE_BROKER"
"""Environment variable of every process we start; its value is the private folder."""

INSIDE = PurePosixPath("/mnt")
"""Where a node that was entered by chroot sees its private folder."""

# The last one marks what a run of this project's tests started, so that nothing outlives it.
_PASSED_ON = (
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "USER",
    "LOGNAME",
    "SHELL",
    "STOCKLOG_TEST_RUN",
)
_CHROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# `stream.replication.port_range` in rabbitmq.conf since 3.13.6; before that only in
# advanced.config, which all versions read.
_PORT_RANGE = "[{{osiris, [{{port_range, {{{first}, {last}}}}}]}}].\n"


def write_configuration(
    folder: Folder, settings: Settings, index: int, node: Node, *, joins: str | None
) -> None:
    """Writes the files of node `index`.

    Args:
        folder: the broker's folder.
        settings: user, password and cookie.
        index: the node's number, from 1.
        node: its name and ports.
        joins: name of the node whose cluster it joins on its first start, or None.
    """
    place = folder.node(index)
    with folder.explained():
        for path in (place, place / "data", place / "log", place / "tmp"):
            path.mkdir(mode=0o700, exist_ok=True)
        cookie = folder.home / ".erlang.cookie"
        if not cookie.exists() or cookie.read_text("utf-8", "replace") != settings.cookie:
            folder.write(cookie, settings.cookie)
            cookie.chmod(0o400)
        folder.write(place / "rabbitmq.conf", rabbitmq_conf(settings, node, joins))
        folder.write(place / "advanced.config", advanced_config(node))
        folder.write(place / "enabled_plugins", "[rabbitmq_stream].\n")
        folder.write(place / "inetrc", inetrc(socket.gethostname()))


def rabbitmq_conf(settings: Settings, node: Node, joins: str | None) -> str:
    """The text of rabbitmq.conf; every key in it is known to RabbitMQ 3.9 up to 4.3."""
    ports = node.ports
    lines = [
        "# Made by stocklog at every start; changes are lost.",
        f"listeners.tcp.1 = {LOOPBACK}:{ports.amqp}",
        f"stream.listeners.tcp.1 = {LOOPBACK}:{ports.stream}",
        f"stream.advertised_host = {LOOPBACK}",
        f"stream.advertised_port = {ports.stream}",
        f"default_user = {settings.user}",
        f"default_pass = {settings.password}",
        "default_vhost = /",
        "default_user_tags.administrator = true",
        # The disk alarm blocks publishers; the default of 50 MB stands, said for certain.
        "disk_free_limit.absolute = 50MB",
        "log.console = false",
        "log.file.rotation.size = 10485760",
        "log.file.rotation.count = 3",
    ]
    if joins is not None:
        lines.append("cluster_formation.peer_discovery_backend = classic_config")
        for number, name in enumerate((joins, node.name), 1):
            lines.append(f"cluster_formation.classic_config.nodes.{number} = {name}")
    return "\n".join(lines) + "\n"


def advanced_config(node: Node) -> str:
    """The text of advanced.config: the ports for stream replicas."""
    first = node.ports.replication
    return _PORT_RANGE.format(first=first, last=first + REPLICATION_SPAN - 1)


def inetrc(hostname: str) -> str:
    """Erlang's own host table: "localhost" and this machine's name are 127.0.0.1.

    So a node starts on a machine whose name or "localhost" does not resolve, or resolves
    elsewhere; stream replicas connect to the machine's name first.
    """
    names = ["localhost", *([hostname] if re.fullmatch(r"[A-Za-z0-9._-]+", hostname) else [])]
    listed = ", ".join(f'"{name}"' for name in dict.fromkeys(names))
    return f"{{host, {{127,0,0,1}}, [{listed}]}}.\n{{lookup, [file, native]}}.\n"


def base_environment(
    folder: Folder, install: Installation, epmd_port: int, caller: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment of everything that we start; nothing of the caller's RABBITMQ_* is in it."""
    caller = os.environ if caller is None else caller
    home = inside(folder, install)
    kept = {name: caller[name] for name in _PASSED_ON if name in caller}
    path = _CHROOT_PATH if install.root else search_path(caller)
    return kept | {
        "PATH": path,
        "HOME": f"{home}/home",
        MARK: str(folder.path),
        "ERL_EPMD_ADDRESS": LOOPBACK,
        "ERL_EPMD_PORT": str(epmd_port),
    }


def node_environment(
    folder: Folder, install: Installation, epmd_port: int, index: int, node: Node
) -> dict[str, str]:
    """The environment of node `index`."""
    place = f"{inside(folder, install)}/n{index}"
    return base_environment(folder, install, epmd_port) | {
        "TMPDIR": f"{place}/tmp",  # noqa: S108
        "ERL_CRASH_DUMP": f"{place}/log/erl_crash.dump",
        "ERL_INETRC": f"{place}/inetrc",
        "RABBITMQ_NODENAME": node.name,
        "RABBITMQ_MNESIA_BASE": f"{place}/data",
        "RABBITMQ_LOG_BASE": f"{place}/log",
        "RABBITMQ_CONFIG_FILE": f"{place}/rabbitmq.conf",
        # Names that do not exist, so that nothing of /etc/rabbitmq is read.
        "RABBITMQ_CONFIG_FILES": f"{place}/none/*.conf",
        "RABBITMQ_CONF_ENV_FILE": f"{place}/none-env.conf",
        "RABBITMQ_ADVANCED_CONFIG_FILE": f"{place}/advanced.config",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{place}/enabled_plugins",
        "RABBITMQ_PID_FILE": f"{place}/pid",
        "RABBITMQ_DIST_PORT": str(node.ports.distribution),
        # File names are UTF-8 whatever the caller's locale is.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ("-kernel inet_dist_use_interface {127,0,0,1} +fnu"),
        # Makes the script exec Erlang, so that the process we start is the node itself.
        "RUNNING_UNDER_SYSTEMD": "true",
    }


def inside(folder: Folder, install: Installation) -> str:
    """The private folder's path as the node sees it."""
    return str(INSIDE) if install.root else str(folder.path)

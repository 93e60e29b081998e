"""RabbitMQ's own command line, `rabbitmqctl`, on a private broker that runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stocklog.broker import launch, ports, processes
from stocklog.broker.config import node_environment
from stocklog.broker.folder import Folder
from stocklog.broker.install import Installation, find_installation
from stocklog.broker.model import State
from stocklog.broker.report import status_of
from stocklog.errors import BrokerNotFoundError

_PORTS = 10


def control(
    words: Sequence[str],
    dir: Path | str | None = None,  # noqa: A002
    *,
    text: str = "",
    timeout: float = 60.0,
) -> str:
    """Runs `rabbitmqctl` on the private broker of a folder; boots an Erlang, so takes seconds.

    Args:
        words: the command and its arguments, for example `["list_queues", "name"]`.
        dir: the broker's private folder; under the user's state directory when None.
        text: what the command reads on its standard input.
        timeout: seconds that it may take.

    Returns:
        What it printed on its standard output.

    Raises:
        BrokerNotFoundError: no broker runs in that folder.
        BrokerStartError: the command failed; quotes the end of what it said.
    """
    folder = Folder(dir)
    state, settings = folder.state(), folder.settings()
    if state is None or settings is None or status_of(folder).info is None:
        raise BrokerNotFoundError(
            f"No private broker runs in {folder.path}", "Start it with `stocklog broker up`"
        )
    install = find_installation(Path(settings.root) if settings.root else None)
    return run_control(folder, install, state, words, text=text, timeout=timeout)


def run_control(
    folder: Folder,
    install: Installation,
    state: State,
    words: Sequence[str],
    *,
    text: str = "",
    timeout: float = 60.0,
) -> str:
    """As `control`, for a broker whose parts are at hand, on its first node that runs."""
    running = (processes.alive(node.process, folder) is not None for node in state.nodes)
    index = next((number for number, runs in enumerate(running, 1) if runs), 1)
    node = state.nodes[index - 1]
    own = ports.free_port(set())
    environment = node_environment(folder, install, state.epmd_port, index, node) | {
        # The command is an Erlang node too while it runs, with a listener of its own.
        "RABBITMQ_CTL_DIST_PORT_MIN": str(own),
        "RABBITMQ_CTL_DIST_PORT_MAX": str(own + _PORTS),
        "RABBITMQ_CTL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }
    command = [str(install.sbin / "rabbitmqctl"), *words]
    return launch.run(install, folder, command, environment=environment, text=text, timeout=timeout)

"""Free ports of 127.0.0.1, chosen so that hardly anything can take them meanwhile."""

from __future__ import annotations

import random
import socket

from stocklog.broker.model import Ports
from stocklog.errors import BrokerStartError

LOOPBACK = "127.0.0.1"
REPLICATION_SPAN = 20
"""How many ports a node may use for stream replicas; it looks for free ones by itself."""

# Below every usual range of ephemeral ports (Linux 32768+, macOS 49152+): an outgoing
# connection of any process never takes one of these between our look and the node's.
_LOWEST, _HIGHEST = 20_000, 32_000
_TRIES = 400


def is_free(port: int) -> bool:
    """Whether a listener could be opened on that port of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As Erlang does: a port whose old connections linger in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(taken: set[int]) -> int:
    """A free port that is not in `taken`, to which it is added.

    Raises:
        BrokerStartError: none was found.
    """
    chooser = random.SystemRandom()
    for _ in range(_TRIES):
        port = chooser.randint(_LOWEST, _HIGHEST)
        if port not in taken and is_free(port):
            taken.add(port)
            return port
    raise BrokerStartError(
        f"No free port between {_LOWEST} and {_HIGHEST} on {LOOPBACK}",
        "See what listens there with `ss -ltn`",
    )


def free_ports(taken: set[int]) -> Ports:
    """Ports for one node; they are added to `taken`."""
    amqp, stream, distribution = (free_port(taken) for _ in range(3))
    replication = free_port(taken)
    taken.update(range(replication, replication + REPLICATION_SPAN))
    return Ports(amqp, stream, distribution, replication)


def are_free(ports: Ports) -> bool:
    """Whether the listeners of a node could be opened on those ports now."""
    return all(is_free(port) for port in (ports.amqp, ports.stream, ports.distribution))

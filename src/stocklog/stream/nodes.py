"""Which node to connect to: any, or one that has the stream, directly or through a balancer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from stocklog.errors import (
    AuthenticationError,
    CertificateError,
    ConnectionLostError,
    ProtocolError,
    StocklogError,
    StreamError,
)
from stocklog.stream.connection import Connection

__all__ = ["Address", "Nodes"]

log = logging.getLogger(__name__)

Address: TypeAlias = tuple[str, int]
"""Host and port."""
# How often a balancer is asked before any node will do; the Java client asks without end.
_TRIES = 10


class Nodes:
    """Opens connections to the nodes of one cluster.

    Args:
        hosts: where the cluster is, tried in this order.
        connect: opens a connection to one host and port.
        load_balancer: never connect to what the nodes advertise, but through `hosts` again
            and again until the wanted node answers (it says which it is when it is opened).
    """

    def __init__(
        self,
        hosts: Sequence[Address],
        connect: Callable[[str, int], Connection],
        *,
        load_balancer: bool = False,
    ) -> None:
        self._hosts = tuple(hosts)
        self._connect = connect
        self._load_balancer = load_balancer
        self._reached: set[Address] = set()
        self._leads: dict[Address, set[Address]] = {host: set() for host in hosts}

    def any(self) -> Connection:
        """Connect to the first host that lets us in; each is asked once.

        One that refuses us may be a node that is still starting, one whose certificate does
        not hold or that does not speak the protocol may be a mistake in the list: none of
        these keeps us from the others.

        Raises:
            AuthenticationError: none lets us in, and one refuses user, password or vhost.
            ConnectionLostError: none lets us in, and one at least may do so later.
            StreamError, ProtocolError: what the first host had against us, in other cases.
        """
        failures: list[StreamError | ProtocolError] = []
        for host, port in self._hosts:
            try:
                return self._connect(host, port)
            except (StreamError, ProtocolError) as error:
                failures.append(error)
        raise _most_telling(failures)

    def among(self, places: Sequence[Address]) -> Connection:
        """Connect to one of the nodes that have a stream.

        Args:
            places: as the cluster advertises them, the best first.

        Returns:
            A connection to one of them; to another node if none can be reached under the
            name that it advertises, since a broker passes on what is published.

        Raises:
            StreamError: nodes that were reached before are down, or none answers.
        """
        return self._through_balancer(places) if self._load_balancer else self._directly(places)

    # -- as advertised --------------------------------------------------------------------

    def _directly(self, places: Sequence[Address]) -> Connection:
        down: StreamError | None = None
        for host, port in places:
            try:
                connection = self._connect(host, port)
            except (ConnectionLostError, AuthenticationError) as error:
                # Also a certificate that was made for another name than the advertised one.
                if (host, port) in self._reached:
                    down = error  # the name is good, the node is down
                    continue
                log.warning(
                    "The broker advertises %s:%d, which cannot be reached (%s); using the "
                    "URI's host instead. Set stream.advertised_host on the broker to a name "
                    "that its clients know.",
                    host, port, error.what,
                    extra={"event": "advertised_unreachable", "host": f"{host}:{port}",
                           "cause": error.what},
                )  # fmt: skip
            else:
                self._reached.add((host, port))
                return connection
        if down is not None:
            raise down
        return self.any()

    # -- through a balancer ----------------------------------------------------------------

    def _through_balancer(self, places: Sequence[Address]) -> Connection:
        failures: list[ConnectionLostError] = []
        other: Connection | None = None
        for host in self._doors(places):
            try:
                connection = self._connect(*host)
            except ConnectionLostError as error:
                failures.append(error)
                continue
            node = connection.agreed.advertised
            if node is not None:
                self._leads[host].add(node)
            if other is not None:
                other.close()
            if node is None or node in places:
                return connection
            other = connection
        if other is None:
            raise _joined(failures)
        log.debug("none of %s was reached; staying with %s", places, other.agreed.advertised)
        return other

    def _doors(self, places: Sequence[Address]) -> Iterator[Address]:
        """The hosts in the order in which they promise most, as often as it may help."""
        wanted = set(places)
        ordered = sorted(self._hosts, key=lambda host: not self._leads[host] & wanted)
        yield from ordered
        # Behind a host that has led to one node only stands that node, as far as we know.
        several = len(ordered) == 1 or any(len(led) > 1 for led in self._leads.values())
        if several:
            for number in range(_TRIES - len(ordered)):
                yield ordered[number % len(ordered)]


def _most_telling(failures: Sequence[StreamError | ProtocolError]) -> StocklogError:
    """What to raise when no host let us in."""
    for error in failures:
        if isinstance(error, AuthenticationError) and not isinstance(error, CertificateError):
            return error  # a user that one node does not know, none knows
    if any(isinstance(error, ConnectionLostError) for error in failures):
        return _joined(failures)
    return failures[0]


def _joined(failures: Sequence[StreamError | ProtocolError]) -> StocklogError:
    if len(failures) == 1:
        return failures[0]
    told = dict.fromkeys(error.what for error in failures)
    remedies = dict.fromkeys(error.remedy for error in failures if error.remedy)
    return ConnectionLostError("; ".join(told), ". ".join(remedies))

"""From a fresh connection to an open one, strictly one step at a time.

Each read of the server during the handshake must move it exactly one step: two
frames in one read, or half a frame, close the connection without a word (fixed
only in 4.2.5). So every frame goes out in one send and its answer is awaited.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from stocklog._version import __version__
from stocklog.errors import ProtocolError
from stocklog.protocol import codes, frames
from stocklog.protocol.frames import Frame, Key
from stocklog.stream.uri import StreamURI

__all__ = ["Handshake", "Negotiated"]

FRAME_MAX = 1 << 20
HEARTBEAT = 20
"""Seconds. The broker's own 60 would notice a silent node after two minutes only."""
# Before Open no honest frame is larger; a server of 4.3.5 holds its clients to the same.
HANDSHAKE_FRAME_MAX = 64 * 1024


@dataclass(slots=True)
class Negotiated:
    """What was agreed with the broker.

    Attributes:
        frame_max: the largest frame that we may send, in bytes; 0 means no limit.
        heartbeat: seconds; 0 means none.
        server: the broker's properties (`product`, `version`, `cluster_name`, ...).
        advertised: (host, port) of the node that was reached, as it calls itself.
        commands: command key to its highest version, as the broker lists them (3.11 on).
    """

    frame_max: int = FRAME_MAX
    heartbeat: int = HEARTBEAT
    server: dict[str, str] = field(default_factory=dict)
    advertised: tuple[str, int] | None = None
    commands: dict[int, int] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """The broker's version, such as "3.10.8"."""
        return self.server.get("version") or ""

    def at_least(self, *version: int) -> bool:
        """Whether the broker's version is this one or a later one."""
        numbers = tuple(int(part) for part in re.findall(r"[0-9]{1,9}", self.version)[:3])
        return numbers >= version


class Handshake:
    """The steps of the handshake, apart from the waiting.

    Iterating gives the frame to send next (or None, when only an answer is
    awaited) and the command whose answer is due; `answer` takes that answer.

    Args:
        uri: user, password and virtual host.
        where: "host:port", for errors.
        name: shown in the broker's management as the connection's name.
        heartbeat: seconds that we propose.
    """

    def __init__(self, uri: StreamURI, where: str, name: str, heartbeat: int = HEARTBEAT) -> None:
        self.uri = uri
        self.where = where
        self.name = name
        self.agreed = Negotiated()
        self._heartbeat = heartbeat
        self._answer: Frame | None = None

    def answer(self, frame: Frame) -> None:
        """Hand over the frame that answered the last step."""
        self._answer = frame

    def _got(self, key: Key, doing: str) -> Frame:
        frame, self._answer = self._answer, None
        # Tune alone is no answer; whoever sends our own frames back is no broker.
        if frame is None or frame.key != key or frame.is_answer == (key == Key.TUNE):
            got = "nothing" if frame is None else frame.key.name
            raise ProtocolError(f"{doing} at {self.where}: {key.name} was due, {got} came")
        if frame.code != codes.OK:
            raise codes.error_for(frame.code, f"{doing} at {self.where}")
        return frame

    def __iter__(self) -> Iterator[tuple[bytes | None, Key]]:
        yield self._request(Key.PEER_PROPERTIES, 1, properties=self._properties())
        self.agreed.server = self._got(Key.PEER_PROPERTIES, "The handshake").values["properties"]
        yield self._request(Key.SASL_HANDSHAKE, 2)
        mechanisms = self._got(Key.SASL_HANDSHAKE, "The handshake").values["mechanisms"]
        if "PLAIN" not in mechanisms:
            raise codes.error_for(7, f"Logging in at {self.where} (it offers {mechanisms})")
        data = f"\0{self.uri.user}\0{self.uri.password}".encode()
        yield self._request(Key.SASL_AUTHENTICATE, 3, mechanism="PLAIN", data=data)
        self._got(Key.SASL_AUTHENTICATE, f"Logging in as {self.uri.user!r}")
        yield None, Key.TUNE
        self._tune(self._got(Key.TUNE, "The handshake"))
        tune = frames.encode(
            Key.TUNE, frame_max=self.agreed.frame_max, heartbeat=self.agreed.heartbeat
        )
        opening = frames.encode(Key.OPEN, 4, vhost=self.uri.vhost)
        yield tune + opening, Key.OPEN  # the one pair that may travel together
        self._opened(self._got(Key.OPEN, f"Opening vhost {self.uri.vhost!r}"))
        if self.agreed.at_least(3, 11):
            # Deliver alone, versions 1 to 2: any key the broker does not know kills the connection.
            yield self._request(Key.EXCHANGE_COMMAND_VERSIONS, 5, commands=[(Key.DELIVER, 1, 2)])
            listed = self._got(Key.EXCHANGE_COMMAND_VERSIONS, "The handshake").values["commands"]
            self.agreed.commands = {key: highest for key, _, highest in listed}

    def _request(self, key: Key, correlation_id: int, **values: Any) -> tuple[bytes, Key]:
        return frames.encode(key, correlation_id, **values), key

    def _properties(self) -> dict[str, str]:
        return {
            "product": "stocklog",
            "version": __version__,
            "platform": f"Python {platform.python_version()}",
            "connection_name": self.name,
        }

    def _tune(self, frame: Frame) -> None:
        self.agreed.frame_max = _agree(frame.values["frame_max"], FRAME_MAX)
        self.agreed.heartbeat = _agree(frame.values["heartbeat"], self._heartbeat)

    def _opened(self, frame: Frame) -> None:
        properties = frame.values["properties"]
        host, port = properties.get("advertised_host"), properties.get("advertised_port")
        if host and port and re.fullmatch("[0-9]{1,5}", port):
            self.agreed.advertised = (host, int(port))


def _agree(theirs: int, ours: int) -> int:
    """0 means no limit: then the other's value counts; else the smaller one."""
    return max(theirs, ours) if 0 in (theirs, ours) else min(theirs, ours)

"""What can be found out about streams: by the stream protocol, and beside it.

The stream protocol can neither list streams nor tell how one was made. So what is asked
beside it is: on the private node RabbitMQ's own command and the files, elsewhere the HTTP
API of RabbitMQ's management plugin if the user names it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit

from stocklog.errors import BrokerNotFoundError, StreamNotFoundError, UsageError
from stocklog.stream import StreamClient, StreamURI

if TYPE_CHECKING:
    from stocklog.ledger.connect import Connection

__all__ = ["Beside", "Declared", "Management", "PrivateNode", "beside", "describe"]

_TIMEOUT = 10.0
_NOT_FOUND = 2


@dataclass(frozen=True, slots=True)
class Declared:
    """What is known about a stream from beside the stream protocol; `None`: not known.

    Attributes:
        name: the stream's name.
        arguments: what it was made with, in RabbitMQ's names (`x-max-age`, ...).
        segments: files that hold it.
        size: bytes on disk of one replica.
    """

    name: str
    arguments: Mapping[str, Any]
    segments: int | None = None
    size: int | None = None

    @property
    def retention(self) -> dict[str, Any]:
        """What bounds the stream: `max_length_bytes`, `max_age` and `segment_bytes`, or `None`."""
        return {
            "max_length_bytes": self.arguments.get("x-max-length-bytes"),
            "max_age": self.arguments.get("x-max-age"),
            "segment_bytes": self.arguments.get("x-stream-max-segment-size-bytes"),
        }


class Beside(Protocol):
    """A second way to a broker."""

    def streams(self) -> list[Declared]:
        """Every stream of the virtual host, by name."""

    def stream(self, name: str) -> Declared | None:
        """One of them, `None` if it is not there."""


class PrivateNode:
    """Asks the private node's own command and looks at its files.

    Args:
        directory: the node's private folder.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def streams(self) -> list[Declared]:
        """Every stream; takes a second or two, since the command boots an Erlang of its own."""
        from stocklog.broker import control

        words = ["list_queues", "--formatter", "json", "name", "type", "arguments"]
        rows = json.loads(control([*words, "--quiet"], self._directory))
        found = (
            Declared(row["name"], _arguments(row.get("arguments")), *self._files(row["name"]))
            for row in rows
            if row.get("type") in {"stream", "rabbit_stream_queue"}
        )
        return sorted(found, key=lambda stream: stream.name)

    def stream(self, name: str) -> Declared | None:
        """One stream."""
        return next((stream for stream in self.streams() if stream.name == name), None)

    def _files(self, name: str) -> tuple[int | None, int | None]:
        """Segments and bytes of a stream's folder on the first node that has one.

        RabbitMQ names the folder after virtual host, stream and the time of its making, with
        `_` for what has no place in a file name; so two streams can look alike, and then
        nothing is told.
        """
        safe = "".join(c if re.fullmatch(r"[A-Za-z0-9_=-]", c) else "_" for c in f"/_{name}")
        form = re.compile(re.escape(safe) + r"_[0-9]{19}")
        for node in sorted(self._directory.glob("n[0-9]")):
            folders = [
                folder
                for folder in node.glob("data/*/stream/*")
                if form.fullmatch(folder.name) and folder.is_dir()
            ]
            if len(folders) == 1:
                segments = list(folders[0].glob("*.segment"))
                return len(segments), sum(file.stat().st_size for file in segments)
        return None, None


class Management:
    """Asks the HTTP API of RabbitMQ's management plugin.

    Args:
        url: `http[s]://[user:password@]host:port`; without a user, that of the stream's URI.
        uri: of the same broker's streams.

    Raises:
        UsageError: the URL cannot be meant.
    """

    def __init__(self, url: str, uri: StreamURI) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(
                "The management URL is none", "Write it as http://user:password@host:15672"
            )
        user, password = parts.username or uri.user, parts.password or uri.password
        secret = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {secret}"}
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        port = f":{parts.port}" if parts.port else ""
        self._base = f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"
        self._vhost = quote(uri.vhost, safe="")

    def streams(self) -> list[Declared]:
        """Every stream."""
        rows = self._get(f"/api/queues/{self._vhost}")
        found = (self._declared(row) for row in rows or () if row.get("type") == "stream")
        return sorted(found, key=lambda stream: stream.name)

    def stream(self, name: str) -> Declared | None:
        """One stream."""
        row = self._get(f"/api/queues/{self._vhost}/{quote(name, safe='')}")
        return self._declared(row) if row and row.get("type") == "stream" else None

    def _declared(self, row: Mapping[str, Any]) -> Declared:
        return Declared(row["name"], _arguments(row.get("arguments")), row.get("segments"))

    def _get(self, path: str) -> Any:
        from urllib.error import HTTPError, URLError
        from urllib.request import Request, urlopen

        request = Request(self._base + path, headers=self._headers)  # noqa: S310 (http only)
        try:
            with urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
                return json.load(answer)
        except HTTPError as error:
            if error.code == 404:
                return None
            raise BrokerNotFoundError(
                f"The management API at {self._base} answers {error.code} {error.reason}",
                "The user needs the tag 'management' or 'monitoring'",
            ) from error
        except (URLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise BrokerNotFoundError(
                f"No management API at {self._base}: {reason}",
                "Enable it: `rabbitmq-plugins enable rabbitmq_management` (port 15672)",
            ) from error


def beside(connection: Connection, management: str | None) -> Beside | None:
    """The second way to the broker, if there is one.

    Args:
        connection: to the broker.
        management: URL of its management API, or `None`.
    """
    if management:
        return Management(management, connection.client.uri)
    return PrivateNode(connection.node.dir) if connection.node else None


def describe(client: StreamClient, name: str, other: Beside | None) -> dict[str, Any]:
    """Everything that can be found out about a stream.

    Args:
        client: connected.
        name: the stream's name.
        other: the second way to the broker.

    Returns:
        stream, first_offset, last_offset, messages (last - first + 1, as RabbitMQ counts:
        stored positions of readers take an offset now and then), size (bytes), segments,
        retention (see `Declared`), leader and replicas (host:port); `None` is unknown.

    Raises:
        StreamNotFoundError: there is no such stream.
    """
    place = client.metadata([name])[name]
    if place.code == _NOT_FOUND:
        raise StreamNotFoundError(
            f"There is no stream {name!r} at {client.uri}",
            "`stocklog stream create` makes it, and so do `stocklog produce` and `consume`",
            code=place.code,
        )
    first, last = client.first_offset(name), client.last_offset(name)
    known = other.stream(name) if other else None
    return {
        "stream": name,
        "first_offset": first,
        "last_offset": last,
        "messages": 0 if first is None or last is None else last - first + 1,
        "size": known.size if known else None,
        "segments": known.segments if known else None,
        "retention": known.retention if known else None,
        "leader": _address(place.leader) if place.leader else None,
        "replicas": [_address(replica) for replica in place.replicas],
    }


def _arguments(value: object) -> Mapping[str, Any]:
    """RabbitMQ's JSON has a map, or its command a list of [name, type, value]."""
    if isinstance(value, Mapping):
        return value
    rows = value if isinstance(value, list) else []
    return {row[0]: row[-1] for row in rows if isinstance(row, list) and row}


def _address(place: tuple[str, int]) -> str:
    return f"{place[0]}:{place[1]}"

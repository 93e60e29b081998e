"""Where a broker is and who we are there: `rabbitmq-stream://user:password@host:port/vhost`."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from stocklog.errors import UsageError

__all__ = ["PORT", "TLS_PORT", "StreamURI"]

SCHEME, TLS_SCHEME = "rabbitmq-stream", "rabbitmq-stream+tls"
PORT, TLS_PORT = 5552, 5551
_FORM = f"Write it as {SCHEME}://user:password@host:{PORT}/vhost, percent-encoded"


@dataclass(frozen=True, slots=True)
class StreamURI:
    """A broker's address, taken apart.

    `str()` and `repr()` mask the password; `with_password()` shows it.

    Attributes:
        hosts: (host, port) pairs, tried in this order.
        user: the user's name.
        password: the password.
        vhost: the virtual host.
        tls: whether to speak TLS.
    """

    hosts: tuple[tuple[str, int], ...]
    user: str = "guest"
    password: str = field(default="guest", repr=False)
    vhost: str = "/"
    tls: bool = False

    @classmethod
    def parse(cls, text: str) -> StreamURI:
        """Read a URI.

        Args:
            text: `rabbitmq-stream[+tls]://user:password@host:port,host2:port/vhost`,
                percent-encoded. No path, `/` and `/%2f` all mean vhost `/`.

        Raises:
            UsageError: what is wrong with it, without repeating the password.
        """
        try:
            parts = urlsplit(text.strip())
        except ValueError:
            raise UsageError("The broker's URI cannot be read", _FORM) from None
        if parts.scheme not in (SCHEME, TLS_SCHEME):
            raise UsageError(
                f"The broker's URI begins with {parts.scheme or 'no scheme'!r}, "
                f"not with {SCHEME} or {TLS_SCHEME}",
                _FORM,
            )
        if parts.query or parts.fragment:
            raise UsageError("The broker's URI has a query or a fragment; neither is known", _FORM)
        if "@" in parts.path:
            # What stands before it is a piece of the password, and must not become a host.
            raise UsageError(
                "The broker's URI has an @ behind a /; in a user's name, a password or a "
                "virtual host both are written as %40 and %2F",
                _FORM,
            )
        tls = parts.scheme == TLS_SCHEME
        credentials, at, places = parts.netloc.rpartition("@")
        user, password = _credentials(credentials) if at else ("guest", "guest")
        hosts = tuple(_host(place, TLS_PORT if tls else PORT) for place in places.split(","))
        path = unquote(parts.path[1:])
        return cls(hosts, user, password, path or "/", tls)

    def with_password(self) -> str:
        """The whole URI, its password in clear; for configuration files, never for logs."""
        return self._text(quote(self.password, safe=""))

    def __str__(self) -> str:
        return self._text("***")

    def _text(self, password: str) -> str:
        places = ",".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts
        )
        vhost = "" if self.vhost == "/" else "/" + quote(self.vhost, safe="")
        scheme = TLS_SCHEME if self.tls else SCHEME
        return f"{scheme}://{quote(self.user, safe='')}:{password}@{places}{vhost}"


def _credentials(text: str) -> tuple[str, str]:
    user, colon, password = text.partition(":")
    if not user or not colon:
        raise UsageError("The broker's URI names a user without a password", _FORM)
    return unquote(user), unquote(password)


def _host(text: str, default_port: int) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise UsageError("A host in the broker's URI has one bracket only", _FORM)
        port = rest[1:]
    else:
        host, _, port = text.partition(":")
    if not host:
        raise UsageError("The broker's URI names no host", _FORM)
    if not port:
        return unquote(host), default_port
    if not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536):
        # Not repeated: behind a mistake in the password it may be a piece of that.
        raise UsageError("A port in the broker's URI is no number from 1 to 65535", _FORM)
    return unquote(host), int(port)

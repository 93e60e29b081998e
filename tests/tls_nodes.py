"""A real broker that listens with TLS, its certificate made by an authority of the tests."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import trustme

from nodes import Nodes, clean, root_for
from stocklog import broker
from stocklog.broker import control
from stocklog.stream import StreamClient, StreamURI


class Secure(NamedTuple):
    """A broker with a TLS listener, for `localhost`, and who signed it."""

    uri: StreamURI
    plain_port: int
    authority: trustme.CA
    version: str

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    def client(self, **options: object) -> StreamClient:
        return StreamClient(self.uri, ssl_context=self.context(), **options)  # type: ignore[arg-type]


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listen_with_tls(folder: Path, seen_as: str, authority: trustme.CA, port: int) -> str:
    """What makes a running node listen with TLS: its configuration, and the plugin once more."""
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    files = ", ".join(
        f'{{{key}, "{seen_as}/{name}.pem"}}'
        for key, name in (("cacertfile", "ca"), ("certfile", "cert"), ("keyfile", "key"))
    )
    settings = {
        "ssl_listeners": f'[{{"127.0.0.1", {port}}}]',
        "advertised_tls_port": str(port),
    }
    return ", ".join(
        [
            f"application:set_env(rabbit, ssl_options, [{files}, {{verify, verify_none}}])",
            *(
                f"application:set_env(rabbitmq_stream, {key}, {value})"
                for key, value in settings.items()
            ),
            "application:ensure_all_started(ssl)",
            "application:stop(rabbitmq_stream)",
            "application:start(rabbitmq_stream).",
        ]
    )


@contextmanager
def secure_node(nodes: Nodes, version: str) -> Iterator[Secure]:
    """A broker of a version with a TLS listener, while the block lasts."""
    root = root_for(version)
    place = nodes.fresh("tls")
    info = broker.start(place, rabbitmq_root=root)
    authority, port = trustme.CA(), free_port()
    # Inside a tree the folder is seen in another place.
    seen_as = str(info.dir) if root is None else "/mnt"
    control(["eval", listen_with_tls(info.dir, seen_as, authority, port)], info.dir)
    plain = StreamURI.parse(info.uri)
    uri = StreamURI((("localhost", port),), plain.user, plain.password, plain.vhost, tls=True)
    yield Secure(uri, info.nodes[0].stream_port, authority, info.version)
    assert clean(place.parent) == 0

"""The session's brokers themselves: up, of the version they are said to be."""

from __future__ import annotations

import time

import pytest

from stocklog.broker import NodeInfo
from stocklog.stream import StreamClient, StreamURI


def test_a_broker_answers_in_its_version(
    broker: NodeInfo, request: pytest.FixtureRequest, stream_name: str
) -> None:
    with StreamClient(StreamURI.parse(broker.uri)) as client:
        assert client.server_version == broker.version
        assert broker.version in request.node.name
        assert client.create_stream(stream_name)
        client.delete_stream(stream_name)


def test_a_cluster_puts_a_replica_on_every_node(cluster: NodeInfo, stream_name: str) -> None:
    uri = StreamURI.parse(cluster.uri)
    assert len(uri.hosts) == 3
    with StreamClient(uri) as client:
        client.create_stream(stream_name)
        # The broker lists a replica once it runs, a moment after the stream is there.
        deadline = time.monotonic() + 20.0
        members: set[object] = set()
        while len(members) < 3 and time.monotonic() < deadline:
            found = client.metadata([stream_name])[stream_name]
            members = {found.leader, *found.replicas}
            time.sleep(0.1)
        assert members == set(uri.hosts)
        client.delete_stream(stream_name)

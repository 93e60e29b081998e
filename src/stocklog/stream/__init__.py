"""A RabbitMQ Streams client. Knows nothing of inventory.

Sockets, threads and clocks live here; bytes and their meaning in
`stocklog.protocol`. Begin with `StreamClient`.
"""

from stocklog.stream.arguments import StreamArguments
from stocklog.stream.client import StreamClient, StreamMetadata
from stocklog.stream.offsets import OffsetSpec, parse_offset
from stocklog.stream.options import PublisherOptions
from stocklog.stream.publisher import Publisher
from stocklog.stream.subscriber import CONNECTIONS, Subscriber
from stocklog.stream.uri import StreamURI

__all__ = [
    "CONNECTIONS",
    "OffsetSpec",
    "Publisher",
    "PublisherOptions",
    "StreamArguments",
    "StreamClient",
    "StreamMetadata",
    "StreamURI",
    "Subscriber",
    "parse_offset",
]

"""stocklog: inventory updates by the million over RabbitMQ Streams."""

from stocklog._version import __version__

__all__ = ["__version__"]

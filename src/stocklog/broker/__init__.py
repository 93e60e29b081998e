"""A private RabbitMQ node: found, started, waited for, stopped, without root's services."""

from stocklog.broker.control import control
from stocklog.broker.down import stop
from stocklog.broker.folder import default_dir
from stocklog.broker.model import NodeAddress, NodeInfo, Status
from stocklog.broker.report import find_running, status
from stocklog.broker.up import start

__all__ = [
    "NodeAddress",
    "NodeInfo",
    "Status",
    "control",
    "default_dir",
    "find_running",
    "start",
    "status",
    "stop",
]

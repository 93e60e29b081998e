"""The process of one producer or reader: told on stdin what to do, ended by closing stdin."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stocklog.bench.chaos import history
from stocklog.bench.chaos.history import History
from stocklog.errors import StocklogError
from stocklog.stream import StreamClient

__all__ = ["HEARTBEAT", "RPC_TIMEOUT", "Task", "Worker", "main"]

HEARTBEAT = 2
RPC_TIMEOUT = 4.0


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker does.

    Attributes:
        role: "producer" or "reader".
        kind: which of its sort.
        name: the producer's or reader's name.
        slot: the producer's number.
        uri: the broker through the worker's proxies, password included.
        stream: the stream.
        file: its history.
        seed: of its own choices.
        options: publisher options, or what a reader reads.
    """

    role: str
    kind: str
    name: str
    slot: int
    uri: str = field(repr=False)
    stream: str
    file: str
    seed: int
    options: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """The task as one line."""
        return json.dumps(asdict(self)) + "\n"


class Worker:
    """A worker's surroundings: its history, its connection, and whether it is to end."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.history = History(Path(task.file))
        self._asked_to_end = threading.Event()
        logging.getLogger("stocklog").addHandler(_Reconnects(self.history))
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        sys.stdin.read()
        self._asked_to_end.set()

    @property
    def is_to_end(self) -> bool:
        """Whether stdin was closed."""
        return self._asked_to_end.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep, unless or until it is to end; whether it is."""
        return self._asked_to_end.wait(seconds)

    def connect(self) -> StreamClient:
        """Connect, again and again while the broker is not there."""
        while True:
            try:
                return StreamClient(
                    self.task.uri,
                    connection_name=f"chaos-{self.task.name}",
                    rpc_timeout=RPC_TIMEOUT,
                    heartbeat=HEARTBEAT,
                    load_balancer=True,
                )
            except StocklogError:
                if self.wait(0.1):
                    raise

    def keep_trying(self, what: Callable[[], Any]) -> Any:
        """Do what the broker may refuse while it starts, until it does not."""
        while True:
            try:
                return what()
            except StocklogError:
                if self.wait(0.1):
                    raise


class _Reconnects(logging.Handler):
    """Puts the client's own lines about new connections into the history."""

    def __init__(self, kept: History) -> None:
        super().__init__(logging.WARNING)
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        facts = record.__dict__
        if "resent_messages" in facts:
            self._kept.note(history.AGAIN, facts["resent_messages"], f"{facts['seconds']:.4f}")
        elif "offset" in facts:
            self._kept.note(history.LOST, record.getMessage())


def main() -> None:
    """Run the task that stdin names until stdin ends."""
    from stocklog.bench.chaos import producer, reader

    worker = Worker(Task(**json.loads(sys.stdin.readline())))
    role = {"producer": producer.run, "reader": reader.run}[worker.task.role]
    try:
        role(worker)
    except StocklogError as error:
        worker.history.note(history.FAILED, f"{type(error).__name__}: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()

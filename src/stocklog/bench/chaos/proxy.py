"""A TCP proxy on loopback that can do to a connection what a network does.

One event loop on a thread of its own serves any number of proxies; the methods of
`Proxy` may be called from any thread and return when the thing is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

from stocklog.bench.chaos.flow import Flow, MidFrameCut

__all__ = ["Line", "Proxy", "ProxyLoop"]

LOOPBACK = "127.0.0.1"
_RESET = struct.pack("ii", 1, 0)
_PATIENCE = 10.0
_Result = TypeVar("_Result")


class _Side(asyncio.Protocol):
    """One socket of a line: reads for one flow, writes for the other."""

    def __init__(self, line: Line, reads: Flow, writes: Flow, *, is_client: bool) -> None:
        self._line, self._reads, self._writes = line, reads, writes
        self._is_client = is_client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reads.source = self._writes.sink = transport
        if self._is_client:
            self._line.client_came()
        self._writes.drain()

    def data_received(self, data: bytes) -> None:
        self._reads.received(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._writes.drop()
        self._reads.ended()

    def pause_writing(self) -> None:
        self._writes.sink_full(True)

    def resume_writing(self) -> None:
        self._writes.sink_full(False)


class Line:
    """One connection of a client, and ours to the broker for it. Lives on the proxy's loop."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        loop = proxy.loop.loop
        self.up = Flow(loop, 0.0, lambda: self._end(self.up), self._cut_inside)
        self.down = Flow(loop, proxy.delay, lambda: self._end(self.down), self._cut_inside)
        self.client_side = _Side(self, self.up, self.down, is_client=True)
        self._broker_side = _Side(self, self.down, self.up, is_client=False)

    @property
    def client_is_there(self) -> bool:
        """Whether the client's socket is open."""
        return self.down.sink is not None and not self.down.sink.is_closing()

    def client_came(self) -> None:
        """Connect to the broker for a client."""
        self._proxy.took(self)
        self._connecting = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        try:
            await self._proxy.loop.loop.create_connection(
                lambda: self._broker_side, LOOPBACK, self._proxy.target
            )
        except OSError:
            self.reset()  # as a dead node's kernel would
        if self.up.is_done and self.up.sink is not None:
            self.up.sink.close()  # the client went meanwhile

    def _end(self, flow: Flow) -> None:
        """A flow is over: pass the end on.

        The socket stays open for what comes back: closing it with bytes unread is a reset,
        and a peer that is reset forgets what it has not read yet.
        """
        if flow.sink is not None and not flow.sink.is_closing():
            with contextlib.suppress(OSError):
                flow.sink.write_eof()

    def _cut_inside(self) -> None:
        # The broker keeps the half of a frame that it got; the client sees a reset.
        for flow, polite in ((self.up, True), (self.down, False)):
            if polite:
                self._end(flow)
            elif flow.sink is not None:
                _reset(flow.sink)
            flow.drop()

    def reset(self) -> None:
        """RST to both sides; what waits is dropped."""
        for flow in (self.up, self.down):
            flow.drop()
            if flow.sink is not None:
                _reset(flow.sink)

    def finish(self) -> None:
        """FIN to both sides behind what waits."""
        for flow in (self.up, self.down):
            flow.ended()

    def reset_client(self) -> None:
        """RST to the client only; what it sent stays here or goes on to the broker."""
        self.down.drop()
        if self.down.sink is not None:
            _reset(self.down.sink)

    def is_over(self) -> bool:
        """Whether both sockets are closed."""
        return all(flow.sink is None or flow.sink.is_closing() for flow in (self.up, self.down))


def _reset(transport: asyncio.Transport) -> None:
    with contextlib.suppress(OSError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


class ProxyLoop:
    """The event loop that proxies run on, on a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="stocklog-proxies", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.loop.run_forever()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def do(self, work: Callable[[], _Result]) -> _Result:
        """Call something on the loop and wait for its result."""

        async def call() -> _Result:
            return work()

        return self.wait(call())

    def wait(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run a coroutine on the loop and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(_PATIENCE)

    def close(self) -> None:
        """End the loop."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_PATIENCE)


class Proxy:
    """Listens on a free port of loopback and connects each client to one target.

    Args:
        loop: shared by any number of proxies.
        target: the port on loopback that clients are connected to.
        delay: seconds that everything from the target to the client takes.

    Attributes:
        port: where clients connect to.
        lines: the connections, also those whose client has gone while bytes still wait.
    """

    def __init__(self, loop: ProxyLoop, target: int, *, delay: float = 0.0) -> None:
        self.loop = loop
        self.target = target
        self.delay = delay
        self.lines: list[Line] = []
        self.accepted = 0
        self._stopped = False
        self._rate: float | None = None
        self._hold_new: int | None = None
        self._server = loop.wait(self._listen())
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _listen(self) -> asyncio.Server:
        return await self.loop.loop.create_server(
            lambda: Line(self).client_side, LOOPBACK, 0, backlog=64
        )

    def took(self, line: Line) -> None:
        """A client came; on the loop."""
        self.accepted += 1
        self.lines = [other for other in self.lines if not other.is_over()] + [line]
        for flow in (line.up, line.down):
            flow.stopped, flow.rate = self._stopped, self._rate
        if self._hold_new is not None:
            line.up.hold(self._hold_new)

    def _each(self, action: Callable[[Line], None]) -> int:
        def work() -> int:
            living = [line for line in self.lines if line.client_is_there]
            for line in living:
                action(line)
            return len(living)

        return self.loop.do(work)

    # -- faults: each returns how many connections it struck -------------------------------

    def cut(self, how: Literal["rst", "fin"] = "rst") -> int:
        """End every connection, by a reset or politely."""
        return self._each(Line.reset if how == "rst" else Line.finish)

    def cut_in_frame(self, cut: MidFrameCut, toward: Literal["broker", "client"]) -> int:
        """Cut every connection in the middle of a coming frame."""
        return self._each(
            lambda line: (line.up if toward == "broker" else line.down).cut_in_frame(cut)
        )

    def freeze(self) -> int:
        """Pass nothing on, in either direction, on present and on new connections."""
        return self._set(stopped=True)

    def thaw(self) -> int:
        """Go on after `freeze`."""
        return self._set(stopped=False)

    def slow(self, rate: float | None) -> int:
        """Pass on so many bytes a second in each direction; None: as many as come."""

        def work() -> int:
            self._rate = rate
            for line in self.lines:
                for flow in (line.up, line.down):
                    flow.rate = rate
                    flow.drain()
            return len(self.lines)

        return self.loop.do(work)

    def _set(self, *, stopped: bool) -> int:
        def work() -> int:
            self._stopped = stopped
            for line in self.lines:
                for flow in (line.up, line.down):
                    flow.stopped = stopped
                    flow.drain()
            return len(self.lines)

        return self.loop.do(work)

    def hold(self, new: int | None = None) -> int:
        """Keep back what clients send.

        Args:
            new: a command's key: new connections too are kept back, from the first frame
                of that command on.
        """
        self._hold_new = new
        return self._each(lambda line: line.up.hold())

    def reset_clients(self) -> int:
        """RST to every client; what they sent and is kept back waits for `release`."""
        return self._each(Line.reset_client)

    @property
    def held(self) -> int:
        """Bytes of clients that are kept back."""
        return self.loop.do(lambda: sum(line.up.waiting for line in self.lines))

    def release(self, *, gone: bool | None = None) -> int:
        """Let go what `hold` kept back.

        Args:
            gone: of connections whose client has gone only (True), of the others only
                (False), or of all (None), which also ends the holding.
        """

        def work() -> int:
            chosen = [
                line for line in self.lines if gone is None or line.client_is_there is not gone
            ]
            if gone is not True:
                self._hold_new = None
            for line in chosen:
                line.up.release()
            return len(chosen)

        return self.loop.do(work)

    def close(self) -> None:
        """Stop listening and reset what is left."""

        def work() -> None:
            self._server.close()
            for line in self.lines:
                line.reset()

        self.loop.do(work)

"""The proxy of `stocklog bench chaos` does to a connection what it says, and nothing else."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from stocklog.bench.chaos.borders import Border, FrameBorders
from stocklog.bench.chaos.flow import MidFrameCut
from stocklog.bench.chaos.proxy import LOOPBACK, Proxy, ProxyLoop


class Peer:
    """Listens on loopback and keeps what each connection sends."""

    def __init__(self) -> None:
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port = self._listener.getsockname()[1]
        self.sockets: list[socket.socket] = []
        self.got: list[bytearray] = []
        self.ends: dict[int, str] = {}
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.sockets.append(sock)
            self.got.append(bytearray())
            threading.Thread(target=self._read, args=(len(self.got) - 1,), daemon=True).start()

    def _read(self, number: int) -> None:
        try:
            while data := self.sockets[number].recv(65536):
                self.got[number] += data
            self.ends[number] = "fin"
        except OSError:
            self.ends[number] = "rst"

    def close(self) -> None:
        self._listener.close()
        for sock in self.sockets:
            sock.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.close()


@pytest.fixture
def proxy(peer: Peer) -> Iterator[Proxy]:
    loop = ProxyLoop()
    made = Proxy(loop, peer.port)
    yield made
    made.close()
    loop.close()


@pytest.fixture
def client(proxy: Proxy, peer: Peer) -> Iterator[socket.socket]:
    sock = socket.create_connection((LOOPBACK, proxy.port), 5)
    soon(lambda: peer.got)
    # The peer's kernel has taken the connection before the proxy knows of it.
    soon(lambda: proxy.loop.do(lambda: all(line.up.sink is not None for line in proxy.lines)))
    yield sock
    sock.close()


def soon(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def frame(size: int, key: int = 2) -> bytes:
    return struct.pack(">IH", size - 4, key) + random.Random(size).randbytes(size - 6)


def test_bytes_pass_both_ways_unchanged(client: socket.socket, peer: Peer) -> None:
    data = random.Random(1).randbytes(3_000_000)
    threading.Thread(target=client.sendall, args=(data,), daemon=True).start()
    soon(lambda: len(peer.got[0]) == len(data))
    assert peer.got[0] == data
    threading.Thread(target=peer.sockets[0].sendall, args=(data,), daemon=True).start()
    back = bytearray()
    while len(back) < len(data):
        back += client.recv(1 << 20)
    assert back == data


def test_a_reset_is_one_on_both_sides(client: socket.socket, proxy: Proxy, peer: Peer) -> None:
    assert proxy.cut("rst") == 1
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    soon(lambda: peer.ends)
    assert peer.ends[0] == "rst"


def test_a_fin_is_an_orderly_end_behind_what_was_sent(
    client: socket.socket, proxy: Proxy, peer: Peer
) -> None:
    client.sendall(b"x" * 100_000)
    soon(lambda: len(peer.got[0]) == 100_000)
    assert proxy.cut("fin") == 1
    assert client.recv(1) == b""
    soon(lambda: peer.ends)
    assert peer.ends[0] == "fin"


def test_an_end_of_the_client_reaches_the_peer_behind_its_bytes(
    client: socket.socket, peer: Peer
) -> None:
    client.sendall(b"x" * 500_000)
    client.close()
    soon(lambda: peer.ends)
    assert (len(peer.got[0]), peer.ends[0]) == (500_000, "fin")


def test_nothing_passes_while_frozen_and_everything_afterwards(
    client: socket.socket, proxy: Proxy, peer: Peer
) -> None:
    assert proxy.freeze() == 1
    client.sendall(b"abc")
    second = socket.create_connection((LOOPBACK, proxy.port), 5)
    second.sendall(b"xyz")
    time.sleep(0.2)
    assert not any(peer.got)
    proxy.thaw()
    soon(lambda: sorted(map(bytes, peer.got)) == [b"abc", b"xyz"])
    second.close()


def test_a_slow_line_passes_about_so_many_bytes_a_second(
    client: socket.socket, proxy: Proxy, peer: Peer
) -> None:
    proxy.slow(50_000)
    client.sendall(b"x" * 500_000)
    time.sleep(1.0)
    assert 10_000 < len(peer.got[0]) < 150_000
    proxy.slow(None)
    soon(lambda: len(peer.got[0]) == 500_000)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_cut_in_a_frame_lets_whole_frames_and_a_part_of_one_pass(
    client: socket.socket, proxy: Proxy, peer: Peer, share: float
) -> None:
    proxy.cut_in_frame(MidFrameCut(share, 1_000), "broker")
    client.sendall(frame(50) + frame(60) + frame(2_000) + frame(70))
    soon(lambda: peer.ends)
    assert 110 + 4 < len(peer.got[0]) < 110 + 2_000
    assert peer.ends[0] == "fin"  # so that the half of a frame has surely come
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_bytes_that_are_held_back_outlive_their_client(
    client: socket.socket, proxy: Proxy, peer: Peer
) -> None:
    client.sendall(b"before")
    soon(lambda: peer.got[0] == b"before")
    assert proxy.hold() == 1
    client.sendall(b"x" * 3_000_000)
    soon(lambda: proxy.held == 3_000_000)
    assert proxy.reset_clients() == 1
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    second = socket.create_connection((LOOPBACK, proxy.port), 5)
    second.sendall(b"new")
    soon(lambda: len(peer.got) == 2 and peer.got[1] == b"new")
    assert peer.got[0] == b"before"
    assert proxy.release(gone=True) == 1
    soon(lambda: peer.ends)
    assert (len(peer.got[0]), peer.ends) == (3_000_006, {0: "fin"})
    second.close()


def test_a_new_connection_is_held_back_from_a_command_on(proxy: Proxy, peer: Peer) -> None:
    proxy.hold(new=2)
    sock = socket.create_connection((LOOPBACK, proxy.port), 5)
    sock.sendall(frame(100, key=17) + frame(90, key=21) + frame(80, key=2) + frame(70, key=17))
    soon(lambda: peer.got and len(peer.got[0]) == 190)
    time.sleep(0.1)
    assert len(peer.got[0]) == 190
    proxy.release()
    soon(lambda: len(peer.got[0]) == 340)
    sock.close()


def test_what_the_broker_says_can_take_its_time(peer: Peer) -> None:
    loop = ProxyLoop()
    proxy = Proxy(loop, peer.port, delay=0.2)
    sock = socket.create_connection((LOOPBACK, proxy.port), 5)
    soon(lambda: peer.sockets)
    begun = time.monotonic()
    peer.sockets[0].sendall(b"a")
    assert sock.recv(1) == b"a"
    assert 0.19 < time.monotonic() - begun < 2
    sock.close()
    proxy.close()
    loop.close()


def test_nobody_behind_the_proxy_is_a_reset(proxy: Proxy) -> None:
    proxy.target = 1
    with pytest.raises(ConnectionResetError):
        ask(proxy.port)


def ask(port: int) -> bytes:
    with socket.create_connection((LOOPBACK, port), 5) as sock:
        sock.sendall(b"x")
        return sock.recv(1)


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 7, 64, 100_000])
def test_borders_of_frames_are_found_in_pieces_of_any_size(piece: int) -> None:
    sizes = [6, 100, 7, 6, 5_000, 64, 6]
    data = b"".join(frame(size, key=number) for number, size in enumerate(sizes))
    borders = FrameBorders()
    found = [
        border
        for start in range(0, len(data), piece)
        for border in borders.feed(data[start : start + piece])
    ]
    positions = [sum(sizes[:number]) for number in range(len(sizes))]
    assert found == [
        Border(position, size, number)
        for number, (position, size) in enumerate(zip(positions, sizes, strict=True))
    ]

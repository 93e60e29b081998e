"""An open connection: answers, heartbeats, silence, and an end that always comes."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peer import SECRET, Line, Script, failing, framed, peer, shown, wait_for_end

from examples import examples
from stocklog.errors import (
    CommandError,
    ConnectionLostError,
    ProtocolError,
    StreamError,
    StreamNotFoundError,
)
from stocklog.protocol import frames
from stocklog.protocol.frames import Key
from stocklog.stream.connection import Connection


class Heard:
    """A handler that notes what it is told."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, list[bytes]]] = []
        self.unavailable: list[str] = []
        self.lost: list[StreamError] = []
        self.came = threading.Condition()

    def on_frames(self, key: int, bodies: list[memoryview]) -> None:
        with self.came:
            self.frames.append((key, [bytes(body) for body in bodies]))
            self.came.notify_all()

    def on_stream_unavailable(self, stream: str) -> None:
        with self.came:
            self.unavailable.append(stream)
            self.came.notify_all()

    def on_connection_lost(self, error: StreamError) -> None:
        with self.came:
            self.lost.append(error)
            self.came.notify_all()

    def wait(self, condition: Callable[[], object], timeout: float = 10.0) -> None:
        with self.came:
            assert self.came.wait_for(condition, timeout)


def greeted(then: Script, **greeting: object) -> Script:
    """A script that begins with a whole handshake."""

    def script(line: Line) -> None:
        line.greet(**greeting)  # type: ignore[arg-type]
        then(line)

    return script


def sequence(line: Line, frame: frames.Frame, number: int) -> None:
    line.send(
        frames.encode(Key.QUERY_PUBLISHER_SEQUENCE, frame.correlation_id, answer=1, sequence=number)
    )


def ask(connection: Connection, name: str = "p") -> int:
    frame = connection.request(Key.QUERY_PUBLISHER_SEQUENCE, reference=name, stream="s")
    value: int = frame.values["sequence"]
    return value


# -- questions and answers ------------------------------------------------------------------


def test_answers_out_of_order_reach_those_who_asked() -> None:
    def then(line: Line) -> None:
        asked = [line.read_request() for _ in range(5)]
        for frame in reversed(asked):
            sequence(line, frame, int(frame.values["reference"]))
        wait_for_end(line)

    got: dict[int, int] = {}
    with peer(greeted(then)) as served:
        connection = served.connect()
        threads = [
            threading.Thread(target=lambda n=n: got.__setitem__(n, ask(connection, str(n))))
            for n in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        connection.close()
    assert got == {number: number for number in range(5)}


def test_a_question_without_an_answer_ends_in_time_and_its_late_answer_harms_nobody() -> None:
    def then(line: Line) -> None:
        late = line.read_request()
        second = line.read_request()
        sequence(line, late, 1)
        sequence(line, second, 2)
        wait_for_end(line)

    with peer(greeted(then)) as served:
        connection = served.connect(timeout=0.3)
        begun = time.monotonic()
        with pytest.raises(ConnectionLostError, match=r"QUERY_PUBLISHER_SEQUENCE within 0\.3 s"):
            ask(connection)
        assert 0.25 < time.monotonic() - begun < 2
        assert ask(connection) == 2
        connection.close()


def test_a_code_is_an_error_where_it_is_checked() -> None:
    def then(line: Line) -> None:
        for code in (2, 16, 16):
            request = line.read_request()
            line.send(failing(request.key, request.correlation_id or 0, code))
        wait_for_end(line)

    with peer(greeted(then)) as served:
        connection = served.connect()
        with pytest.raises(StreamNotFoundError, match="Deleting 's' at 127"):
            connection.checked(Key.DELETE, "Deleting 's'", stream="s")
        with pytest.raises(CommandError) as raised:
            connection.checked(Key.DELETE, "Deleting 's'", stream="s")
        assert raised.value.code == 16
        assert connection.request(Key.DELETE, stream="s").code == 16
        connection.close()


def test_the_answer_to_another_question_is_a_protocol_error() -> None:
    # Seen before the fix: KeyError 'sequence' where the answer was used.
    def then(line: Line) -> None:
        request = line.read_request()
        line.send(frames.encode(Key.DELETE, request.correlation_id, answer=1))
        wait_for_end(line)

    with peer(greeted(then)) as served:
        connection = served.connect()
        with pytest.raises(ProtocolError, match="QUERY_PUBLISHER_SEQUENCE with DELETE"):
            ask(connection)
        connection.close()


def test_answers_of_nobodys_questions_and_errors_of_credit_are_passed_over() -> None:
    def then(line: Line) -> None:
        line.send(frames.encode(Key.DELETE, 999_999, answer=1))
        line.send(framed(0x8009, b"\0\x04\x07"))
        sequence(line, line.read_request(), 7)
        wait_for_end(line)

    with peer(greeted(then)) as served:
        connection = served.connect()
        assert ask(connection) == 7
        connection.close()


def test_a_barrier_is_heard_at_its_very_place_among_the_frames() -> None:
    def then(line: Line) -> None:
        first, second = line.read_request(), line.read_request()
        line.send(
            frames.encode(Key.DELETE, first.correlation_id, answer=1)
            + framed(Key.DELIVER, b"\1before")
            + frames.encode(Key.DELETE, second.correlation_id, answer=1)
            + framed(Key.DELIVER, b"\1after")
        )
        wait_for_end(line)

    with peer(greeted(then)) as served:
        connection = served.connect()
        heard, at_barrier = Heard(), []
        connection.handler = heard
        answers = connection.pipeline(
            [(Key.DELETE, {"stream": "a"}), (Key.DELETE, {"stream": "b"})],
            lambda: at_barrier.extend(heard.frames),
        )
        assert [answer.code for answer in answers] == [1, 1]
        heard.wait(lambda: len(heard.frames) == 2)
        connection.close()
    assert [bodies[0][5:] for _, bodies in at_barrier] == [b"before"]


def test_frames_of_one_kind_that_came_together_are_handed_over_together() -> None:
    def then(line: Line) -> None:
        line.send(framed(Key.DELIVER, b"\1x") * 3 + framed(Key.PUBLISH_CONFIRM, b"\0\0\0\0\0") * 2)
        line.send(frames.encode(Key.METADATA_UPDATE, code=6, stream="gone"))
        wait_for_end(line)

    heard = Heard()

    def hurried(line: Line) -> None:
        line.read_request()  # so that the handler is there before the frames
        then(line)

    with peer(greeted(hurried)) as served:
        connection = served.connect()
        connection.handler = heard
        connection.send([frames.encode(Key.CREDIT, subscription_id=1, credit=1)])
        heard.wait(lambda: heard.unavailable)
        connection.close()
    assert [(key, len(bodies)) for key, bodies in heard.frames] == [
        (Key.DELIVER, 3),
        (Key.PUBLISH_CONFIRM, 2),
    ]
    assert heard.unavailable == ["gone"]
    assert heard.lost == []  # we closed it ourselves


# -- heartbeats and silence -----------------------------------------------------------------


@pytest.mark.slow
def test_an_idle_client_sends_heartbeats() -> None:
    beats: list[float] = []

    def then(line: Line) -> None:
        while len(beats) < 4:
            assert line.read().key == Key.HEARTBEAT
            beats.append(time.monotonic())
            line.send(frames.encode(Key.HEARTBEAT))
        wait_for_end(line)

    with peer(greeted(then, heartbeat=1)) as served:
        connection = served.connect()
        time.sleep(3.2)
        assert connection.is_open
        connection.close()
    assert len(beats) == 4
    assert max(later - earlier for earlier, later in itertools.pairwise(beats)) < 1.0


@pytest.mark.slow
def test_a_peer_that_only_beats_is_alive_and_one_that_is_silent_is_lost() -> None:
    silent_from: list[float] = []

    def then(line: Line) -> None:
        for _ in range(5):
            time.sleep(0.6)
            line.send(frames.encode(Key.HEARTBEAT))
        silent_from.append(time.monotonic())
        wait_for_end(line)

    heard = Heard()
    with peer(greeted(then, heartbeat=1)) as served:
        connection = served.connect()
        connection.handler = heard
        time.sleep(2.6)
        assert connection.is_open
        heard.wait(lambda: heard.lost, 6)
        took = time.monotonic() - silent_from[0]
        assert 1.9 < took < 3.5
        with pytest.raises(ConnectionLostError, match="silent"):
            ask(connection)
        connection.close()
    assert len(heard.lost) == 1
    assert "silent" in heard.lost[0].what


@pytest.mark.slow
def test_a_waiting_question_hears_of_the_silence() -> None:
    with peer(greeted(wait_for_end, heartbeat=1)) as served:
        connection = served.connect(timeout=30)
        begun = time.monotonic()
        with pytest.raises(ConnectionLostError, match="silent"):
            ask(connection)
        assert time.monotonic() - begun < 4
        connection.close()


@pytest.mark.slow
def test_a_peer_that_does_not_read_cannot_stop_our_reading() -> None:
    # Seen before the fix: the reading thread hung in sending a heartbeat.
    def then(line: Line) -> None:
        for _ in range(8):
            time.sleep(0.5)
            line.send(frames.encode(Key.HEARTBEAT))
        line.send(framed(Key.DELIVER, b"\1x"))
        line.idle()

    heard = Heard()
    with peer(greeted(then, heartbeat=1)) as served:
        connection = served.connect()
        connection.handler = heard
        # Fills what the kernel buffers, as a publisher at its bound would have.
        sock = connection._transport._sock
        with contextlib.suppress(BlockingIOError):
            while True:
                sock.send(bytes(1 << 20), 0x40)  # MSG_DONTWAIT
        heard.wait(lambda: heard.frames)
        connection.close()


# -- the end --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "says"),
    [
        (b"", "closed the connection"),
        (frames.encode(Key.CLOSE, 1, code=14, reason="frame too large"), r"too large \(code 14\)"),
        (frames.encode(Key.CLOSE, 1, code=13, reason=None), r"unknown frame \(code 13\)"),
        (framed(0x7FFF, b""), "broke the protocol.*unknown command 0x7fff"),
        (framed(0x8001, b""), "broke the protocol"),
        (frames.encode(Key.OPEN, 5, vhost="/"), "sent OPEN, which nobody expects"),
        (b"\xff" * 20, "broke the protocol.*limit"),
        (b"\0\0\0\1", "broke the protocol"),
    ],
    ids=["eof", "close", "close without reason", "unknown", "cut", "request", "ones", "tiny"],
)
def test_whatever_ends_it_is_told_to_all_who_wait_once(ending: bytes, says: str) -> None:
    def then(line: Line) -> None:
        for _ in range(3):
            line.read_request()
        line.send(ending)

    errors: list[str] = []

    def asking(connection: Connection) -> None:
        try:
            ask(connection)
        except ConnectionLostError as error:
            errors.append(str(error))

    heard = Heard()
    with peer(greeted(then)) as served:
        connection = served.connect()
        connection.handler = heard
        threads = [threading.Thread(target=asking, args=(connection,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        heard.wait(lambda: heard.lost)
        assert not connection.is_open
        with pytest.raises(ConnectionLostError, match=says) as raised:
            ask(connection)
        with pytest.raises(ConnectionLostError, match=says):
            connection.send([b""])
        connection.close()
        connection.close()
    assert len(errors) == 3
    assert len(set(errors)) == 1
    assert len(heard.lost) == 1
    assert SECRET not in shown(raised.value)


def timed_close(connection: Connection) -> float:
    begun = time.monotonic()
    connection.close()
    return time.monotonic() - begun


def test_a_polite_peer_is_told_goodbye_and_answers() -> None:
    said: list[dict[str, object]] = []

    def then(line: Line) -> None:
        goodbye = line.read_request()
        said.append(goodbye.values)
        line.answer(goodbye)
        wait_for_end(line)

    with peer(greeted(then)) as served:
        assert timed_close(served.connect()) < 1.5
    assert said == [{"code": 1, "reason": "OK"}]


@pytest.mark.slow
def test_a_peer_that_does_not_answer_goodbye_is_left() -> None:
    with peer(greeted(Line.idle)) as served:
        assert timed_close(served.connect()) < 5


@pytest.mark.slow
def test_closing_wakes_a_sender_whose_peer_does_not_read() -> None:
    outcome: list[Exception] = []

    def sending(connection: Connection) -> None:
        try:
            while True:
                connection.send([bytes(1 << 20)])
        except ConnectionLostError as error:
            outcome.append(error)

    with peer(greeted(Line.idle)) as served:
        connection = served.connect()
        thread = threading.Thread(target=sending, args=(connection,))
        thread.start()
        time.sleep(0.5)
        assert thread.is_alive()
        assert timed_close(connection) < 5
        thread.join(2)
        assert not thread.is_alive()
    assert len(outcome) == 1


@pytest.mark.slow
def test_closing_ends_when_all_buffers_are_full_and_nobody_sends() -> None:
    # Seen before the fix: the goodbye itself blocked for ever.
    with peer(greeted(Line.idle)) as served:
        connection = served.connect()
        with contextlib.suppress(BlockingIOError):
            while True:
                connection._transport._sock.send(bytes(1 << 20), 0x40)
        assert timed_close(connection) < 5


@pytest.mark.slow
def test_closing_from_the_reading_thread_itself_does_not_hang() -> None:
    closed = threading.Event()

    class Closing(Heard):
        def on_frames(self, key: int, bodies: list[memoryview]) -> None:
            connection.close()
            closed.set()

    def then(line: Line) -> None:
        line.read_request()
        line.send(framed(Key.DELIVER, b"\1x"))
        line.idle()

    with peer(greeted(then)) as served:
        connection = served.connect()
        connection.handler = Closing()
        connection.send([frames.encode(Key.CREDIT, subscription_id=1, credit=1)])
        assert closed.wait(5)


def test_a_line_that_is_cut_ends_what_waits_at_once() -> None:
    with peer(greeted(wait_for_end)) as served:
        connection = served.connect(timeout=30)
        threading.Timer(0.2, connection.abort).start()
        begun = time.monotonic()
        with pytest.raises(ConnectionLostError):
            ask(connection)
        assert time.monotonic() - begun < 5
        connection.close()


def test_a_defect_in_a_handler_ends_the_connection_instead_of_hanging_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Failing(Heard):
        def on_frames(self, key: int, bodies: list[memoryview]) -> None:
            raise RuntimeError("a defect")

    def then(line: Line) -> None:
        line.read_request()
        line.send(framed(Key.DELIVER, b"\1x"))
        wait_for_end(line)

    with peer(greeted(then)) as served, caplog.at_level(logging.ERROR):
        connection = served.connect(timeout=30)
        connection.handler = Failing()
        with pytest.raises(ConnectionLostError, match="a defect"):
            ask(connection)
        connection.close()
    assert "the reading thread" in caplog.text
    assert SECRET not in caplog.text


@settings(max_examples=examples(40))
@given(st.lists(st.binary(max_size=80), max_size=8))
def test_any_bytes_after_the_handshake_end_in_one_of_our_errors(pieces: list[bytes]) -> None:
    def then(line: Line) -> None:
        for piece in pieces:
            line.send(piece)

    with peer(greeted(then)) as served, contextlib.ExitStack() as stack:
        try:
            connection = served.connect()  # they may come with the last of the handshake
        except ProtocolError:
            return
        stack.callback(connection.close)
        with pytest.raises((StreamError, ProtocolError)):
            ask(connection)

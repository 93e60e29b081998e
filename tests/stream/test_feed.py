"""What waits to be taken holds the reading thread back: for a moment, or for good."""

from __future__ import annotations

import threading

from stocklog.protocol.frames import Key
from stocklog.stream.feed import Feed
from stocklog.stream.positions import at_offset

CHUNK = bytes(1 << 20)


class Still:
    """A connection over which nothing goes."""

    handler: object = None
    beats = 0

    def checked(self, *_: object, **__: object) -> None:
        pass

    def beat(self) -> None:
        self.beats += 1


def delivering(feed: Feed, chunks: int) -> threading.Thread:
    def deliver() -> None:
        for _ in range(chunks):
            feed.on_frames(Key.DELIVER, [memoryview(b"\0\x08\0\x01\0" + CHUNK)])

    thread = threading.Thread(target=deliver, daemon=True)
    thread.start()
    return thread


def test_a_reader_that_takes_nothing_lets_the_broker_send_what_was_asked_for() -> None:
    connection = Still()
    feed = Feed(connection, "s", at_offset(0), 8 << 20)
    thread = delivering(feed, 8)
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert connection.beats == 0


def test_far_more_than_was_meant_to_wait_stops_the_reading_thread_until_it_is_taken() -> None:
    connection = Still()
    feed = Feed(connection, "s", at_offset(0), 1 << 20)
    thread = delivering(feed, 3)
    thread.join(timeout=1.5)
    assert thread.is_alive()
    assert connection.beats
    feed.wake()
    thread.join(timeout=20)
    assert not thread.is_alive()

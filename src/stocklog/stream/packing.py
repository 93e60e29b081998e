"""Messages to Publish frames: numbering, borders of sub-batches, and sizes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from stocklog.errors import MessageTooLargeError
from stocklog.protocol import amqp, compression, frames
from stocklog.stream.inflight import SentFrame
from stocklog.stream.options import PublisherOptions
from stocklog.stream.transport import Piece

__all__ = ["Packer"]

# What frame_max is taken for when the broker sets no limit.
_NO_LIMIT = 1 << 20
_ID_SIZE = 8


class Packer:
    """Cuts messages into Publish frames below frame_max.

    Args:
        options: how to send.
        frame_max: the largest frame, its size field apart; 0: no limit.
        number: the number of the last message that the log already has.

    Attributes:
        number: the number of the last message handed over.
    """

    def __init__(self, options: PublisherOptions, frame_max: int, number: int) -> None:
        self.number = number
        self._options = options
        self._room = (frame_max or _NO_LIMIT) - (frames.PUBLISH_HEADER_SIZE - 4)
        # A frame is sent whole, so what may be unconfirmed bounds it too; borders of
        # sub-batches never depend on it.
        self._most_bytes = min(
            self._room, max(1, options.max_unconfirmed_bytes - frames.PUBLISH_HEADER_SIZE)
        )
        self._most_entries = options.max_unconfirmed_entries
        self._codec = compression.get_codec(options.codec)
        self._pending: list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]] = []
        self._pending_count = 0

    def add(
        self, data: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64]
    ) -> Iterator[SentFrame]:
        """Number messages and give the frames that are full.

        Raises:
            MessageTooLargeError: before any frame of this call is given.
        """
        if len(starts) < 2:
            return iter(())
        self._check_sizes(starts)
        amqp.write_lengths(data, starts, self._options.plain)
        if self._options.plain:
            return self._plain(data, starts)
        return self._sub_batches(data, starts)

    def _check_sizes(self, starts: npt.NDArray[np.int64]) -> None:
        overhead = 0 if self._options.plain else frames.SUB_BATCH_HEADER_SIZE
        largest = int(np.diff(starts).max())
        if largest + overhead > self._room:
            row = int(np.diff(starts).argmax())
            lead = len(amqp.lead(self._options.plain))
            raise MessageTooLargeError(
                f"Message {row + 1} of {len(starts) - 1} has {largest - lead} bytes; "
                f"at most {self._room - overhead - lead} fit a frame",
                "Send less in one message, or raise `stream.frame_max` on the broker",
            )

    # -- plain entries ------------------------------------------------------------------

    def _plain(
        self, data: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64]
    ) -> Iterator[SentFrame]:
        first = self.number + 1
        self.number += len(starts) - 1
        amqp.write_publishing_ids(data, starts, first)
        view, begin, last = memoryview(data.data), 0, len(starts) - 1
        while begin < last:
            end = int(np.searchsorted(starts, starts[begin] + self._most_bytes, "right")) - 1
            end = min(max(end, begin + 1), last, begin + self._most_entries)
            size = int(starts[end] - starts[begin])
            head = frames.publish_header(0, end - begin, size)
            yield SentFrame(
                np.arange(first + begin, first + end, dtype=np.uint64),
                np.ones(end - begin, np.int64),
                len(head) + size,
                (head, view[int(starts[begin]) : int(starts[end])]),
                starts[begin : end + 1] - starts[begin],
            )
            begin = end

    # -- sub-batches --------------------------------------------------------------------

    def _sub_batches(
        self, data: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64]
    ) -> Iterator[SentFrame]:
        done, count = self.number - self._pending_count, len(starts) - 1
        self.number += count
        return self._frames(self._entries(data, starts, done, count))

    def _entries(
        self, data: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], done: int, count: int
    ) -> Iterator[_Entry]:
        """Sub-batches that end at multiples of their size; the rest is held.

        Args:
            data: as for `add`.
            starts: as for `add`.
            done: the number of the last message that is in a sub-batch already.
            count: messages in `data`.
        """
        size = self._options.sub_batch
        first = min(size - done % size - self._pending_count, count)
        self._hold(data, starts[: first + 1])
        if done % size + self._pending_count < size:
            return
        yield from self._release(done)
        done += size - done % size
        whole = (count - first) // size
        for begin in range(first, first + whole * size, size):
            done += size
            yield from self._split(data, starts[begin : begin + size + 1], done)
        self._hold(data, starts[first + whole * size :])

    def flush(self) -> Iterator[SentFrame]:
        """Give what still fills up a sub-batch, as a shorter one."""
        if not self._pending_count:
            return iter(())
        return self._frames(self._release(self.number - self._pending_count))

    def _hold(self, data: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64]) -> None:
        if len(starts) > 1:
            self._pending.append((data, starts))
            self._pending_count += len(starts) - 1

    def _release(self, done: int) -> Iterator[_Entry]:
        """The held messages as one sub-batch; `done` is the number before the first of them."""
        parts = [data[int(starts[0]) : int(starts[-1])] for data, starts in self._pending]
        last = done + self._pending_count
        if len(parts) == 1:
            data, starts = self._pending[0]
        else:
            data = np.concatenate(parts)
            sizes = np.concatenate([np.diff(starts) for _, starts in self._pending])
            starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        self._pending, self._pending_count = [], 0
        return self._split(data, starts, last)

    def _split(
        self, data: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], last: int
    ) -> Iterator[_Entry]:
        """One sub-batch, or halves of it where it does not fit a frame.

        The size before compression decides, so that the borders never depend on a codec.
        """
        count = len(starts) - 1
        raw = memoryview(data.data)[int(starts[0]) : int(starts[-1])]
        if len(raw) + frames.SUB_BATCH_HEADER_SIZE > self._room and count > 1:
            half = count // 2
            yield from self._split(data, starts[: half + 1], last - (count - half))
            yield from self._split(data, starts[half:], last)
            return
        body: Piece
        codec_id, body = self._codec.id, compression.compress(self._codec.id, raw)
        if len(body) + frames.SUB_BATCH_HEADER_SIZE > self._room:
            codec_id, body = 0, raw  # what does not compress grows a little
        head = frames.sub_batch_header(last, codec_id, count, len(raw), len(body))
        yield _Entry(last, count, head, body)

    def _frames(self, entries: Iterator[_Entry]) -> Iterator[SentFrame]:
        together: list[_Entry] = []
        size = 0
        for entry in entries:
            full = size + entry.size > self._most_bytes or len(together) == self._most_entries
            if together and full:
                yield _frame(together, size)
                together, size = [], 0
            together.append(entry)
            size += entry.size
        if together:
            yield _frame(together, size)


class _Entry:
    """One sub-batch, ready to send."""

    __slots__ = ("body", "head", "last", "records", "size")

    def __init__(self, last: int, records: int, head: bytes, body: Piece) -> None:
        self.last, self.records, self.head, self.body = last, records, head, body
        self.size = len(head) + len(body)


def _frame(entries: list[_Entry], size: int) -> SentFrame:
    pieces: list[Piece] = [frames.publish_header(0, len(entries), size)]
    for entry in entries:
        pieces += (entry.head, entry.body)
    return SentFrame(
        np.array([entry.last for entry in entries], np.uint64),
        np.array([entry.records for entry in entries], np.int64),
        len(pieces[0]) + size,
        pieces,
    )

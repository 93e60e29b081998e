"""The bytes of a feed: a file or a pipe, unpacked, as they come."""

from __future__ import annotations

import os
import select
import stat
import sys
from pathlib import Path
from typing import BinaryIO, Protocol

from zlib_ng import zlib_ng

from stocklog.errors import FeedError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["ByteSource"]

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# The formats whose files people hand over by mistake, by their first bytes.
FOREIGN = {
    b"PK\x03\x04": ("a zip archive or an Excel workbook", "Unpack it, or save the sheet as CSV"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "Save the sheet as CSV"),
    b"BZh": ("packed with bzip2", "Unpack it first, e.g. `bzcat FILE | stocklog load -`"),
    b"\xfd7zXZ": ("packed with xz", "Unpack it first, e.g. `xzcat FILE | stocklog load -`"),
    b"\x04\x22\x4d\x18": (
        "packed with lz4",
        "Unpack it first, e.g. `lz4cat FILE | stocklog load -`",
    ),
    b"SQLite format 3": ("an SQLite database", "Export the table as CSV"),
}
PACKED_PIECE = 256 << 10
_GZIP_ERROR: type[Exception] = zlib_ng.error  # type: ignore[assignment]


class _Unpacker(Protocol):
    """One packed stream, possibly of several members, unpacked in bounded pieces."""

    pending: bool  # more output is there without further input
    complete: bool  # stands at the end of a member: the input may end here

    def unpack(self, data: bytes, limit: int) -> bytes: ...


class _Gzip:
    """RFC 1952, any number of members, zero padding after the last one ignored as gzip does."""

    def __init__(self) -> None:
        self._stream = zlib_ng.decompressobj(31)
        self._rest = b""
        self._members = 0
        self.pending = False
        self.complete = False

    def unpack(self, data: bytes, limit: int) -> bytes:
        data = self._rest + data
        if self._stream.eof:
            data = data.lstrip(b"\0")
            if data:
                self._stream = zlib_ng.decompressobj(31)
        try:
            out: bytes = self._stream.decompress(data, limit)
        except _GZIP_ERROR as error:
            raise FeedError(f"the gzip data is damaged ({error})") from error
        self.complete = self._stream.eof
        self._rest = self._stream.unused_data if self.complete else self._stream.unconsumed_tail
        # A full piece may leave output inside the stream that needs no further input.
        self.pending = bool(self._rest.strip(b"\0")) or (not self.complete and len(out) == limit)
        return out


class _Zstd:
    """RFC 8878, any number of frames."""

    def __init__(self) -> None:
        self._stream = zstd.ZstdDecompressor()
        self._rest = b""
        self.pending = False
        self.complete = False

    def unpack(self, data: bytes, limit: int) -> bytes:
        data = self._rest + data
        if self._stream.eof:
            if not data:
                return b""
            self._stream = zstd.ZstdDecompressor()
        try:
            out: bytes = self._stream.decompress(data, limit)
        except zstd.ZstdError as error:
            raise FeedError(f"the zstd data is damaged ({error})") from error
        self.complete = self._stream.eof
        self._rest = self._stream.unused_data if self.complete else b""
        self.pending = bool(self._rest) or not (self.complete or self._stream.needs_input)
        return out


class ByteSource:
    """Reads a feed's bytes, unpacking gzip and zstd, which their first bytes tell.

    Args:
        stream: where the bytes come from; read with `read1` if it has it, so that a pipe gives what
            is there. The source closes it only if `owned`.
        name: the feed's name for errors.
        owned: whether `close` closes the stream.

    Attributes:
        position: bytes taken from the stream so far, as stored (packed).
        total_bytes: size of a regular file, else None.
        live: whether reading may have to wait for someone who is still writing.
    """

    def __init__(self, stream: BinaryIO, name: str, *, owned: bool) -> None:
        self.name = name
        self.position = 0
        self._stream = stream
        self._owned = owned
        self._read_piece = getattr(stream, "read1", stream.read)
        self._pushed = b""
        self._unpacker: _Unpacker | None = None
        self._fd = _descriptor(stream)
        status = os.fstat(self._fd) if self._fd is not None else None
        regular = status is not None and stat.S_ISREG(status.st_mode)
        self.total_bytes: int | None = status.st_size if status and regular else None
        self.live = status is not None and not regular

    @classmethod
    def open(cls, path: Path) -> ByteSource:
        """Open the file at `path`.

        Raises:
            FeedError: it cannot be opened.
        """
        try:
            return cls(path.open("rb", buffering=0), path.name, owned=True)
        except OSError as error:
            raise FeedError(f"{path} cannot be opened: {error.strerror or error}") from error

    def start(self) -> bytes:
        """Look at the first bytes, begin to unpack if they say so, and return the raw first bytes.

        Raises:
            FeedError: the bytes are those of a format that cannot be a feed.
        """
        head = self._peek(16)
        for magic, (what, remedy) in FOREIGN.items():
            if head.startswith(magic):
                raise FeedError(f"{self.name} is {what}, not a feed that can be read", remedy)
        if head.startswith(GZIP_MAGIC):
            self._unpacker = _Gzip()
        elif head.startswith(ZSTD_MAGIC):
            self._unpacker = _Zstd()
        return head

    @property
    def packed(self) -> bool:
        """Whether the bytes are unpacked on the way."""
        return self._unpacker is not None

    def read(self, limit: int) -> bytes:
        """Return 1 to `limit` bytes, waiting only if none are there; empty at the end.

        Raises:
            FeedError: the file cannot be read, or its packed data are damaged or cut short.
        """
        if self._unpacker is None:
            return self._raw(limit)
        while True:
            data = b""
            if not self._unpacker.pending:
                data = self._raw(PACKED_PIECE)
                if not data:
                    if self._unpacker.complete:
                        return b""
                    raise FeedError("the packed data end in the middle: the file is cut short")
            out = self._unpacker.unpack(data, limit)
            if out:
                return out

    def ready(self, seconds: float) -> bool:
        """Whether `read` would return at once, after waiting up to `seconds` for it to be so."""
        if not self.live or self._pushed or (self._unpacker and self._unpacker.pending):
            return True
        poll = select.poll()
        poll.register(self._fd if self._fd is not None else -1, select.POLLIN | select.POLLHUP)
        return bool(poll.poll(seconds * 1000))

    def close(self) -> None:
        """Close the file if this source opened it."""
        if self._owned:
            self._stream.close()

    def _peek(self, wanted: int) -> bytes:
        head = b""
        while len(head) < wanted and b"\n" not in head:
            piece = self._raw(64 << 10)
            if not piece:
                break
            head += piece
        self._pushed = head
        self.position -= len(head)
        return head[:wanted]

    def _raw(self, limit: int) -> bytes:
        if self._pushed:
            piece, self._pushed = self._pushed[:limit], self._pushed[limit:]
        else:
            try:
                piece = self._read_piece(limit) or b""
            except OSError as error:
                raise FeedError(f"reading failed: {error.strerror or error}") from error
        self.position += len(piece)
        return piece


def _descriptor(stream: BinaryIO) -> int | None:
    """Return the stream's file descriptor, or None for a stream in memory."""
    try:
        return stream.fileno()
    except (AttributeError, OSError):
        return None

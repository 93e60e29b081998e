"""Frames: any bytes in any pieces are cut as the plain rule cuts them, then decoded or refused."""

from __future__ import annotations

import contextlib
import struct

from stocklog.errors import ProtocolError
from stocklog.protocol import codes, frames
from stocklog.protocol.frames import Key
from stocklog.protocol.reader import FrameReader

MAX_FRAME, MAX_CHUNK = 1 << 16, 1 << 20
_HEAD = struct.Struct(">IHH")


def seeds() -> list[bytes]:
    """Every command that a broker sends, alone and one behind the other, in pieces."""
    one_way = [
        frames.encode(Key.HEARTBEAT),
        frames.encode(Key.TUNE, frame_max=1 << 20, heartbeat=60),
        frames.encode(Key.METADATA_UPDATE, code=6, stream="stock"),
        frames.encode(Key.CLOSE, 7, code=1, reason="shutdown"),
        raw(Key.PUBLISH_CONFIRM, struct.pack(">BI2Q", 0, 2, 1, 2)),
        raw(Key.PUBLISH_ERROR, struct.pack(">BIQH", 0, 1, 3, 16)),
        raw(Key.DELIVER, b"\0" + b"P" + bytes(60)),
        raw(Key.DELIVER, bytes(9) + b"P" + bytes(60), version=2),
    ]
    answers = [
        raw(key | 0x8000, struct.pack(">IH", 100, code) + rest)
        for key in (Key.OPEN, Key.PEER_PROPERTIES, Key.SASL_HANDSHAKE, Key.METADATA, Key.ROUTE)
        for code in (1, 2)
        for rest in (b"", struct.pack(">Ih", 1, 2) + b"ab" + struct.pack(">h", 1) + b"c")
    ]
    whole = b"".join(one_way)
    return [bytes([size]) + data for size in (0, 3) for data in (*one_way, *answers, whole)]


def raw(key: int, content: bytes, version: int = 1) -> bytes:
    """One frame with its size."""
    return _HEAD.pack(4 + len(content), key, version) + content


def check(data: bytes) -> None:
    """The first byte says how long the pieces are; the rest is what the broker sends."""
    piece, sent = data[0] * 3 or 1 << 20 if data else 1, data[1:]
    expected, is_whole = cut_plainly(sent)
    found: list[bytes] = []
    try:
        for frame in cut(sent, piece):
            found.append(bytes(frame))
            decode(frame)
    except ProtocolError as error:
        assert str(error)
        assert not is_whole
        # Frames that came in one piece with the lie are not handed out.
        assert found == expected[: len(found)]
        return
    assert is_whole
    assert found == expected


def cut(sent: bytes, piece: int) -> list[memoryview]:
    """The frames that the reader under test finds."""
    reader, found, at = FrameReader(MAX_FRAME, MAX_CHUNK), [], 0
    while at < len(sent):
        room = reader.buffer()
        size = min(piece, len(room), len(sent) - at)
        assert size > 0
        room[:size] = sent[at : at + size]
        at += size
        found += reader.received(size)
    return found


def cut_plainly(sent: bytes) -> tuple[list[bytes], bool]:
    """The frames before the first lie, and whether there was none."""
    found, at = [], 0
    while len(sent) - at >= 4:
        size = int.from_bytes(sent[at : at + 4], "big")
        head = sent[at + 4 : at + 6]
        chunk = len(head) < 2 or int.from_bytes(head, "big") & 0x7FFF == Key.DELIVER
        if size < 4 or size > (MAX_CHUNK if chunk else MAX_FRAME):
            return found, False
        if at + 4 + size > len(sent):
            break
        found.append(sent[at + 4 : at + 4 + size])
        at += 4 + size
    return found, True


def decode(frame: memoryview) -> None:
    """Read a frame by every reader that may get it; each reads it or refuses it."""
    for read in (frames.split_deliver, frames.confirmed_ids, frames.refused_ids, read_any):
        with contextlib.suppress(ProtocolError):
            read(frame)


def read_any(frame: memoryview) -> None:
    """Decode a frame, and write its fields again: they are what the layout says they are."""
    decoded = frames.decode(frame)
    assert str(codes.error_for(decoded.code, "fuzzing"))
    layout = frames.LAYOUTS[decoded.key]
    if not decoded.is_answer:
        again = frames.encode(decoded.key, decoded.correlation_id, **decoded.values)
        assert frames.decode(memoryview(again)[4:]) == decoded
        assert {name for name, _ in layout.request} == set(decoded.values)

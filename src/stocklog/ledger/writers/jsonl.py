"""JSON Lines: an update's own fields, with its offset and recorded_at in front."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from stocklog.inventory import codec
from stocklog.ledger.batch import Batch, InvalidMessage

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["JsonLinesFormat"]

_ZERO = ord("0")
_TIME_WIDTH = len("2026-11-25T01:02:03.456Z")


class JsonLinesFormat:
    """`{"offset":N,"recorded_at":"...Z",` and then the update's fields in their canonical form.

    Unknown fields of the message come last, as they were.

    A message that is no update is a line too: `offset`, `recorded_at`, `invalid` (the
    reason) and `body`; if the body is not UTF-8, `body` is base64 and `body_encoding` says so.
    """

    IN_ORDER: ClassVar[bool] = False

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def render(self, batch: Batch) -> memoryview:
        """The lines of a batch, in the order of the offsets."""
        if not batch.messages:
            return memoryview(b"")
        data, starts = _lines(batch)
        whole = memoryview(data.data)
        pieces: list[bytes | memoryview] = []
        done = 0
        places = np.searchsorted(batch.offsets, [message.offset for message in batch.invalid])
        for place, message in zip(starts[places].tolist(), batch.invalid, strict=True):
            pieces += [whole[done:place], _odd_line(message)]
            done = place
        pieces.append(whole[done:])
        # Each line is begun, not ended, by its newline: so all move on by one byte.
        return memoryview(b"".join([*pieces, b"\n"]))[1:]


def _lines(batch: Batch) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The updates' lines, and where each begins; one position more than lines.

    The offsets are cut where they get one digit longer: within a run every line begins
    with the same number of bytes, so the encoder lays them once and they are then filled
    in for all rows together.
    """
    parts, starts, begin, base = [], [], 0, 0
    while begin < len(batch):
        digits = len(str(batch.offsets[begin]))
        end = int(np.searchsorted(batch.offsets, 10**digits))
        part, places = _run(batch, begin, end, digits)
        parts.append(part)
        starts.append(places[:-1] + base)
        base += len(part)
        begin = end
    starts.append(np.array([base], np.int64))
    data = parts[0] if len(parts) == 1 else np.concatenate([*parts, np.empty(0, np.uint8)])
    return data, np.concatenate(starts)


def _run(
    batch: Batch, begin: int, end: int, digits: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    before, between = b'\n{"offset":', b',"recorded_at":"'
    lead = before + b"0" * digits + between + b" " * _TIME_WIDTH + b'"'
    encoded = codec.encode(batch.updates[begin:end], lead)
    data, starts = encoded.data, encoded.starts[: end - begin]
    _put(data, starts + len(before), _decimal(batch.offsets[begin:end], digits))
    times, which = np.unique(batch.recorded_at[begin:end], return_inverse=True)
    _put(data, starts + len(before) + digits + len(between), _moments(times)[which])
    data[starts + len(lead)] = ord(",")  # the body's opening brace
    return data, encoded.starts


def _put(data: NDArray[np.uint8], places: NDArray[np.int64], text: NDArray[np.uint8]) -> None:
    """Write one row of `text` at each place, as one move of so many bytes."""
    kind = f"V{text.shape[1]}"
    windows = np.ndarray((len(data) - text.shape[1] + 1,), kind, data, strides=(1,))
    windows[places] = np.ascontiguousarray(text).view(kind).reshape(-1)


def _decimal(numbers: NDArray[np.int64], digits: int) -> NDArray[np.uint8]:
    """The decimal digits of equally long numbers, one column a digit."""
    out = np.empty((len(numbers), digits), np.uint8)
    rest = numbers
    for column in range(digits - 1, -1, -1):
        rest, digit = np.divmod(rest, 10)
        out[:, column] = digit + _ZERO
    return out


def _moments(times: NDArray[np.datetime64]) -> NDArray[np.uint8]:
    """RFC 3339 with milliseconds, one row of bytes a time."""
    text = np.datetime_as_string(times, unit="ms", timezone="UTC").astype(f"S{_TIME_WIDTH}")
    return text.view(np.uint8).reshape(len(times), _TIME_WIDTH)


def _odd_line(message: InvalidMessage) -> bytes:
    line = {
        "offset": message.offset,
        "recorded_at": message.moment,
        "invalid": message.reason,
    }
    try:
        line["body"] = message.body.decode("utf-8")
    except UnicodeDecodeError:
        line["body"] = base64.b64encode(message.body).decode("ascii")
        line["body_encoding"] = "base64"
    text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
    return b"\n" + text.encode()

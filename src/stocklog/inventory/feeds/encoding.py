"""Turns a feed's bytes into UTF-8, without losing sight of what was not text."""

from __future__ import annotations

import codecs

from stocklog.errors import UsageError

__all__ = ["Transcoder", "canonical_encoding", "encoding_of"]

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UNREADABLE = "stocklog.feeds.unreadable"


def _mark_unreadable(error: UnicodeError) -> tuple[str, int]:
    """Stand U+DCFF in for bytes that the encoding does not have.

    Written as UTF-8 with `surrogateescape` it is the byte 0xFF, which is never valid: the line is
    rejected like any other that is not UTF-8, and only that line.
    """
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


codecs.register_error(_UNREADABLE, _mark_unreadable)


def canonical_encoding(name: str) -> str:
    """Return Python's own name of an encoding.

    Raises:
        UsageError: Python knows no text encoding of that name.
    """
    try:
        info = codecs.lookup(name)
        "".encode(name)
    except (LookupError, ValueError, UnicodeError) as error:
        raise UsageError(
            f"the encoding {name!r} is not known",
            "Give one such as utf-8, cp1252, latin-1 or utf-16",
        ) from error
    return "utf-8" if info.name == "utf-8-sig" else info.name


def encoding_of(head: bytes) -> str | None:
    """Return the encoding that a byte-order mark at the start of `head` tells, or None."""
    for mark, name in BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return name
    return None


class Transcoder:
    """Bytes of one encoding in, UTF-8 out, piece by piece.

    Args:
        encoding: the source's encoding, canonical.
    """

    def __init__(self, encoding: str) -> None:
        self._decoder = (
            None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)(_UNREADABLE)
        )
        self._at_start = True

    def feed(self, data: bytes, *, final: bool) -> bytes:
        """Return `data` as UTF-8; what the encoding cannot read becomes the byte 0xFF."""
        if self._decoder is not None:
            text = self._decoder.decode(data, final)
            data = text.encode("utf-8", "surrogateescape")
        if self._at_start and data:
            self._at_start = False
            data = data.removeprefix(codecs.BOM_UTF8)
        return data

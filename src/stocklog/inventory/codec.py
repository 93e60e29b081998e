"""Columns of updates <-> JSON message bodies; the front of the modules behind it.

Out: `encode` (batches), `encode_row`. In: `decode` (batches), `decode_row`.
"""

from __future__ import annotations

from stocklog.inventory.decode import Decoded, compact, decode
from stocklog.inventory.encode import Encoded, Encoder, encode
from stocklog.inventory.rows import decode_row, encode_row

__all__ = [
    "Decoded",
    "Encoded",
    "Encoder",
    "compact",
    "decode",
    "decode_row",
    "encode",
    "encode_row",
]

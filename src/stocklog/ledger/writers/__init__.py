"""Batches out to a file or stdout: text, JSON Lines, CSV, Parquet, or nowhere."""

from __future__ import annotations

from stocklog.ledger.writers.sink import FORMATS, Sink, open_sink

__all__ = ["FORMATS", "Sink", "open_sink"]

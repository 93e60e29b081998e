"""Frames as files that other tools read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import polars as pl

from stocklog.errors import UsageError
from stocklog.ledger.write_errors import naming

__all__ = ["check_export", "write_export"]

_WRITERS: dict[str, Callable[[pl.DataFrame, Path], object]] = {
    ".parquet": lambda frame, path: frame.write_parquet(path),
    ".csv": lambda frame, path: frame.write_csv(path),
    ".jsonl": lambda frame, path: frame.write_ndjson(path),
    ".arrow": lambda frame, path: frame.write_ipc(path, compat_level=pl.CompatLevel.oldest()),
}


def check_export(path: Path) -> None:
    """Refuse a file whose ending names no format.

    Raises:
        UsageError: it does not.
    """
    if path.suffix.lower() not in _WRITERS:
        raise UsageError(
            f"The format of {path} is not known by its name",
            f"End it with {', '.join(_WRITERS)}",
        )


def write_export(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame to a file, whole or not at all.

    Args:
        frame: any.
        path: `.parquet`, `.csv` (with a header), `.jsonl` or `.arrow` (Arrow IPC); it is
            replaced.

    Raises:
        UsageError: its ending names no format.
        OSError: it cannot be written.
    """
    check_export(path)
    new = path.with_name(f".{path.name}.new")
    try:
        with naming(path):
            _WRITERS[path.suffix.lower()](frame, new)
            os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)

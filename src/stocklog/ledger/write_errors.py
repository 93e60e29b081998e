"""Errors of writing that name the file: the system's own name only what was being opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["naming"]


@contextmanager
def naming(path: Path | None) -> Iterator[None]:
    """Give an error of the system the file that was written to.

    Args:
        path: the file, or `None` for stdout.

    Raises:
        OSError: the same error (of the same class), with the file and the system's own words.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None and str(error.filename) == str(path):
            raise
        where = "stdout" if path is None else str(path)
        if error.errno is None:  # Polars has it in the text only
            raise OSError(f"{where}: {error}") from error
        raise OSError(error.errno, os.strerror(error.errno), where) from error

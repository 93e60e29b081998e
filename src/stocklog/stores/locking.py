"""One writer a store: a lock that the kernel lets go of when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from stocklog.errors import StoreError

__all__ = ["WriterLock"]


class WriterLock:
    """Held by the one process that writes a store. Readers do not need it.

    Args:
        store: the store's file; the lock is a file beside it, `<name>-writer`, which stays.

    Raises:
        StoreError: another process holds it, or the folder cannot be written.
    """

    def __init__(self, store: Path) -> None:
        path = store.with_name(f"{store.name}-writer")
        try:
            self._handle: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreError(
                f"The store {store} cannot be written: {error.strerror}",
                "Name a file in a folder of yours with --store sqlite:////folder/file.db",
            ) from error
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._handle, 32).decode(errors="replace").strip()
            os.close(self._handle)
            raise StoreError(
                f"Another `stocklog project` (process {holder or 'unknown'}) writes {store}",
                "A store has one writer: wait for it, end it, or name another store with --store",
            ) from error
        with contextlib.suppress(OSError):
            os.ftruncate(self._handle, 0)
            os.write(self._handle, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let the next one write; safe to call twice."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

"""Files of sorted words that a store can do without: they only save reading all ids again.

A file is written whole and synchronised before the store's books name it, and never changed;
its name is drawn at random. So whatever a store's books name is what they mean, or is
missing; then it is made again from the store. Files that no book names are left-overs of a
process that was killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import platformdirs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    U64: TypeAlias = NDArray[np.uint64]

__all__ = ["Run", "RunFiles", "folder_of"]

_FORM = "{token}-{kind}.run"
_NAME = re.compile(r"[0-9a-f]{24}-[0-9a-f]{16}\.run")


def folder_of(where: str) -> Path:
    """Where the runs of a store are kept: beside its file, or in the user's cache.

    Args:
        where: the store, as `Store.where` has it.
    """
    if "://" not in where:
        return Path(f"{where}-seen")
    name = hashlib.sha256(where.encode()).hexdigest()[:24]
    return Path(platformdirs.user_cache_dir("stocklog")) / "seen" / name


@dataclass(frozen=True, slots=True)
class Run:
    """Sorted words of updates that follow each other.

    Attributes:
        words: uint64[n], rising.
        first: number of the first update.
        name: of its file; empty: it ends with the process.
    """

    words: U64
    first: int
    name: str = ""


class RunFiles:
    """A folder of runs.

    Args:
        folder: made when it is needed; `None`: nothing outlives the process.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def write(self, words: U64, kind: str) -> tuple[U64, str]:
        """Put words into a file.

        Args:
            words: uint64[n].
            kind: of the hash, 16 hexadecimal digits.

        Returns:
            The same words, mapped, and the name of the file. Where a file cannot be kept
            the name is empty.
        """
        if self._folder is not None:
            name = _FORM.format(token=secrets.token_hex(12), kind=kind)
            # A disk without room takes time at the next start, and nothing else.
            with contextlib.suppress(OSError):
                self._folder.mkdir(parents=True, exist_ok=True)
                with open(self._folder / name, "wb") as file:
                    words.tofile(file)
                    file.flush()
                    os.fsync(file.fileno())
                return np.memmap(self._folder / name, np.uint64, "r"), name
        with tempfile.TemporaryFile(prefix="stocklog-seen-") as file:
            mapped = np.memmap(file, np.uint64, "w+", shape=words.shape)
            mapped[:] = words
            return mapped, ""

    def open(self, name: str, count: int, kind: str) -> U64 | None:
        """The words of a file; `None` if it is missing, or of another hash or length."""
        if self._folder is None or not _NAME.fullmatch(name) or f"-{kind}." not in name:
            return None
        try:
            words = np.memmap(self._folder / name, np.uint64, "r")
        except (OSError, ValueError):
            return None
        return words if len(words) == count else None

    def keep(self, names: set[str]) -> None:
        """Remove all other files.

        Args:
            names: of files that are in the store's books.
        """
        if self._folder is None or not self._folder.is_dir():
            return
        for file in self._folder.iterdir():
            if _NAME.fullmatch(file.name) and file.name not in names:
                file.unlink(missing_ok=True)

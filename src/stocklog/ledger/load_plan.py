"""What a load is asked to do, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stocklog.errors import UsageError
from stocklog.inventory.feeds import FeedOptions, open_feed
from stocklog.stream import PublisherOptions

__all__ = ["STDIN", "FileResult", "LoadPlan", "LoadSummary", "OnFile", "check_files", "is_pipe"]

STDIN = Path("-")
"""Stands for standard input in the list of files."""

_MADE_SUFFIX = 40
"""Bytes that a file's load adds to the user's name, at most."""
_LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What is to be loaded, and how.

    Attributes:
        files: in their order; `STDIN` is standard input.
        options: how the files are to be read.
        rejects: JSON Lines file for the rows that are no updates, or `None`.
        codec: `none`, `gzip`, `snappy`, `lz4` or `zstd`.
        sub_batch: updates in one entry; 1 is plain entries.
        name: of a pipe's producer; what the names of files' producers begin with. `None`: a
            pipe has none, and files' begin with `load`.
        again: load on purpose what is loaded already; made update ids carry a run number.

    Raises:
        UsageError: an envelope or a name that cannot be.
    """

    files: Sequence[Path]
    options: FeedOptions
    rejects: Path | None = None
    codec: str = "none"
    sub_batch: int = 500
    name: str | None = None
    again: bool = False

    def __post_init__(self) -> None:
        PublisherOptions(name=self.name, codec=self.codec, sub_batch=self.sub_batch)
        pipes = [file for file in self.files if is_pipe(file)]
        if self.name is not None and len(pipes) > 1:
            raise UsageError(
                f"Two pipes cannot be loaded under one name, {self.name!r}",
                "Load each by a command and under a name of its own",
            )
        longest = _LONGEST_NAME - _MADE_SUFFIX
        has_files = len(pipes) < len(self.files)
        if self.name is not None and has_files and len(self.name.encode()) > longest:
            raise UsageError(
                f"The name of a load of files has at most {longest} bytes: what tells the "
                "files apart is added to it"
            )


@dataclass(slots=True)
class FileResult:
    """What became of one file.

    Attributes:
        file: as it was given.
        read: rows read.
        updates: rows that are updates: sent, in the log already, or only counted in a dry run.
        rejects: rows that are none.
        before: updates that the log had already.
        already: whether it was loaded before, so that nothing was done.
        complete: whether it was read to its end.
    """

    file: str
    read: int = 0
    updates: int = 0
    rejects: int = 0
    before: int = 0
    already: bool = False
    complete: bool = False


@dataclass(slots=True)
class LoadSummary:
    """What came of a load.

    Attributes:
        stream: the stream's name.
        updates: how many the broker has confirmed; in a dry run: how many are valid.
        unconfirmed: how many were sent and neither confirmed nor refused.
        before: how many the log had already.
        read: rows read.
        rejects: rows that are no updates.
        reasons: why, with how many rows each, most first.
        files: the result of each file that was begun.
        seconds: from the first row read to the last confirm.
        dry_run: whether nothing was sent.
        interrupted: whether the user ended it.
    """

    stream: str
    updates: int = 0
    unconfirmed: int = 0
    before: int = 0
    read: int = 0
    rejects: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    files: list[FileResult] = field(default_factory=list)
    seconds: float = 0.0
    dry_run: bool = False
    interrupted: bool = False

    @property
    def rate(self) -> float:
        """Updates a second."""
        return self.updates / self.seconds if self.seconds else 0.0

    @property
    def nothing_to_do(self) -> bool:
        """Whether every file was loaded before."""
        return bool(self.files) and all(file.already for file in self.files)

    def facts(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {**asdict(self), "rate": self.rate}


OnFile = Callable[[FileResult], None]


def is_pipe(file: Path) -> bool:
    """Whether a file is standard input, a pipe or a device: to look at it takes from it."""
    return file == STDIN or file.is_fifo() or file.is_char_device()


def check_files(plan: LoadPlan) -> None:
    """Find what is wrong with the files before anything is sent.

    Each file is opened, and its header is held against the options.

    Raises:
        UsageError: standard input twice, the reject file among the files, a column that is
            missing.
        FeedError: a file that cannot be opened, or is none of the formats.
    """
    if sum(file == STDIN for file in plan.files) > 1:
        raise UsageError("Standard input can be read only once", "Give - once")
    for file in plan.files:
        if is_pipe(file):
            continue
        if plan.rejects is not None and plan.rejects.resolve() == file.resolve():
            raise UsageError(
                f"{file} is to be loaded and to take the rejects", "Give another --rejects FILE"
            )
        open_feed(file, plan.options).close()

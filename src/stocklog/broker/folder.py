"""The private folder: where everything of a private broker lies, its modes, its lock.

lock                   held (flock) by whoever starts or stops the broker
settings.json          what it keeps for life: user, password, number of nodes
state.json             what runs; gone after a clean stop
home/.erlang.cookie    one for all its nodes
epmd.log               what its Erlang port mapper said
n1/, n2/, ...          one folder a node: configuration, data, logs
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import string
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import platformdirs

from stocklog.broker.model import Settings, State
from stocklog.errors import BrokerStartError, UsageError

LOCK_TIMEOUT = 300.0
"""Seconds that a command waits for another one that is starting or stopping the same broker."""

_T = TypeVar("_T", bound=msgspec.Struct)
_ALPHABET = string.ascii_letters + string.digits
_LOCK = "stocklog.lock"
_OURS = {"settings.json", "settings.copy.json", "state.json", "home", "epmd.log"}
# The longest name below the folder that RabbitMQ was seen to make takes about 500 bytes
# (a stream's folder plus a segment's file); Linux ends at 4,096, macOS at 1,024.
_LONGEST_PATH = 500


def default_dir() -> Path:
    """The folder under the user's state directory (XDG_STATE_HOME is respected)."""
    return Path(platformdirs.user_state_dir("stocklog")) / "broker"


class Folder:
    """The private folder of one broker.

    Args:
        path: where it lies; `default_dir()` when None.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        given = default_dir() if path is None else Path(path)
        self.path = Path(os.path.realpath(given.expanduser()))
        self.home = self.path / "home"
        self.epmd_log = self.path / "epmd.log"
        self._settings = self.path / "settings.json"
        self._copy = self.path / "settings.copy.json"
        self._state = self.path / "state.json"
        self._lock = self.path / _LOCK

    def node(self, index: int) -> Path:
        """The folder of node `index`, from 1."""
        return self.path / f"n{index}"

    # -- making it ----------------------------------------------------------------------------

    def create(self) -> None:
        """Makes the folder, mode 0700, or checks that it is ours.

        Raises:
            BrokerStartError: it cannot be made or written.
            UsageError: the place holds something else, or cannot be meant.
        """
        if len(os.fsencode(self.path)) > _LONGEST_PATH:
            raise UsageError(
                f"The folder's path is longer than {_LONGEST_PATH} bytes",
                "RabbitMQ adds long names of its own; choose a shorter one with --dir",
            )
        if any(ord(character) < 32 or character in '"\\' for character in str(self.path)):
            raise UsageError(
                f"The folder's path has a quote, a backslash or a control character: {self.path!r}",
                "Erlang's configuration cannot name it; choose another with --dir",
            )
        with self.explained():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_is_ours()
            self.path.chmod(0o700)
            # First of all, so that a folder is known as ours however early we are killed.
            os.close(os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600))
            self.home.mkdir(mode=0o700, exist_ok=True)

    def _check_is_ours(self) -> None:
        info = self.path.stat()
        if info.st_uid != os.geteuid():
            raise UsageError(
                f"{self.path} belongs to another user", "Choose a folder of your own with --dir"
            )
        if any(self.path.iterdir()) and not self.is_ours():
            raise UsageError(
                f"{self.path} is not empty and was not made by stocklog",
                "Name an empty or a new folder with --dir",
            )

    def is_ours(self) -> bool:
        """Whether stocklog has made this folder."""
        return self._lock.is_file()

    @contextlib.contextmanager
    def explained(self, but: type[OSError] | None = None) -> Iterator[None]:
        """Turns what the operating system refuses into an error that says what to do.

        Args:
            but: what is passed on as it is.
        """
        try:
            yield
        except OSError as error:
            if but is not None and isinstance(error, but):
                raise
            reason = os.strerror(error.errno) if error.errno else str(error)
            place = error.filename or self.path
            remedy = "Choose another folder with --dir"
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                remedy = "Free some disk space, or choose another folder with --dir"
            raise BrokerStartError(
                f"The private broker's folder cannot be used: {reason}: {place}", remedy
            ) from error

    def write(self, path: Path, text: str) -> None:
        """Puts `text` into a file of mode 0600, whole or not at all."""
        new = path.with_name(f"{path.name}.new")
        new.unlink(missing_ok=True)
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)

    # -- what it keeps ------------------------------------------------------------------------

    def settings(self) -> Settings | None:
        """What the folder keeps for life; None if there is nothing that can be read."""
        return _read(self._settings, Settings) or _read(self._copy, Settings)

    def save_settings(self, settings: Settings) -> None:
        """Keeps `settings`."""
        for path in (self._settings, self._copy):
            self.write(path, _text(settings))

    def state(self) -> State | None:
        """What was started; None if nothing was, or if the file is damaged."""
        return _read(self._state, State)

    def save_state(self, state: State) -> None:
        """Keeps `state`."""
        self.write(self._state, _text(state))

    def forget_state(self) -> None:
        """Says that nothing runs."""
        self._state.unlink(missing_ok=True)

    def has_data(self) -> bool:
        """Whether any node has written data here."""
        return any(self.path.glob("n*/data/*"))

    def size_on_disk(self) -> int:
        """Bytes that the folder takes on disk."""
        total = 0
        for folder, _, files in os.walk(self.path):
            for name in files:
                with contextlib.suppress(OSError):  # removed meanwhile, by retention for one
                    total += os.lstat(os.path.join(folder, name)).st_blocks * 512
        return total

    # -- one at a time ------------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self, on_progress: Callable[[str], None], *, create: bool = False) -> Iterator[bool]:
        """Holds the folder's lock: whoever starts or stops the broker does so alone.

        The lock is the kernel's, so a killed holder leaves nothing behind.

        Args:
            on_progress: told if another holds it.
            create: make the folder again if it gets deleted while we wait.

        Yields:
            Whether it is held; False if the folder is gone.

        Raises:
            BrokerStartError: another command held it for `LOCK_TIMEOUT` seconds.
        """
        while True:
            if create:
                self.create()
            try:
                with self.explained(but=FileNotFoundError):
                    handle = self._take_lock(on_progress)
                break
            except FileNotFoundError:
                if not create:
                    yield False
                    return
        try:
            yield True
        finally:
            os.close(handle)

    def _take_lock(self, on_progress: Callable[[str], None]) -> int:
        deadline = time.monotonic() + LOCK_TIMEOUT
        told = False
        while True:
            handle = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Whoever deletes the folder takes the file away under the waiting ones.
                if _same_file(handle, self._lock):
                    return handle
                os.close(handle)
                continue
            except BlockingIOError:
                os.close(handle)
            if time.monotonic() > deadline:
                raise BrokerStartError(
                    f"Another stocklog has been starting or stopping the broker in {self.path}"
                    f" for {LOCK_TIMEOUT:.0f} seconds",
                    "See which one with `ps`, end it, and try again",
                )
            if not told:
                on_progress(f"waiting for another stocklog that is busy with {self.path}")
                told = True
            time.sleep(0.05)

    # -- taking it away -----------------------------------------------------------------------

    def delete(self) -> None:
        """Deletes what we made in the folder, and the folder if nothing else is in it.

        Raises:
            BrokerStartError: something is mounted below it; nothing was deleted.
        """
        if below := mounts_below(self.path):
            raise BrokerStartError(
                f"{below[0]} is a mount inside the private broker's folder; nothing was deleted",
                f"Undo it with `umount {below[0]}` and try again",
            )
        with self.explained():
            for entry in sorted(self.path.iterdir()):
                if entry.name == _LOCK:
                    continue
                if entry.is_dir() and (entry.name == "home" or _is_node(entry)):
                    shutil.rmtree(entry)
                elif entry.name.removesuffix(".new") in _OURS:
                    entry.unlink()
            self._lock.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # holds something of another's
                self.path.rmdir()


def new_settings(nodes: int) -> Settings:
    """Settings of a new folder, with a random user, password and cookie."""

    def word(length: int) -> str:
        return "".join(secrets.choice(_ALPHABET) for _ in range(length))

    return Settings(user=f"stocklog{word(8)}", password=word(32), cookie=word(32), nodes=nodes)


def mounts_below(path: Path) -> list[Path]:
    """The mount points inside `path`, deepest first; empty where the kernel does not tell."""
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []
    points = [Path(_unescape(line.split(" ")[4])) for line in lines]
    return sorted((p for p in points if path in p.parents), key=lambda p: -len(p.parts))


def _unescape(field: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field


def _is_node(folder: Path) -> bool:
    return folder.name[:1] == "n" and folder.name[1:].isdigit()


def _same_file(handle: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(handle)
    return (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev)


def _text(value: msgspec.Struct) -> str:
    return msgspec.json.format(msgspec.json.encode(value)).decode() + "\n"


def _read(path: Path, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        return None

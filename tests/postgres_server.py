"""A real PostgreSQL server for the tests: in a private folder, as an unprivileged user.

It listens on a free port of 127.0.0.1 and on a socket in its folder, trusts nobody without
a password but its own system user, and is ended by its process id.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodes import in_ci

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1

OWNER, USER = "owner", "stock"
"""The server's superuser, and the role that the stores belong to, which has no special right."""

_ROLES = """
CREATE ROLE {user} LOGIN PASSWORD '{password}';
CREATE DATABASE {user} OWNER {user} ENCODING 'UTF8' TEMPLATE template0;
"""


def missing(reason: str) -> Any:
    """Skips the test, and in CI fails it."""
    reason = f"PostgreSQL IS NOT TESTED: {reason}"
    if in_ci():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def programs() -> Path | None:
    """The folder with initdb and postgres: the newest of Debian's, or that of PATH."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("[0-9]*/bin/initdb"), key=lambda p: int(p.parts[-3])
    )
    if found:
        return found[-1].parent
    onpath = shutil.which("initdb")
    return Path(onpath).resolve().parent if onpath else None


def _unprivileged() -> str | None:
    """The user that the server runs as; initdb refuses to work for root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    missing("there is no user that it could run as")
    raise AssertionError


def _die_with_parent() -> None:
    """Has the kernel send SIGQUIT when the tests are killed: nothing is left behind."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


class PostgresServer:
    """A server of the session's own; started at once.

    Attributes:
        password: of the role `stock`.
    """

    def __init__(self) -> None:
        folder = programs()
        if folder is None:
            missing("initdb is not installed (Debian's package is `postgresql`)")
        assert folder is not None
        self._programs = folder
        self.password = secrets.token_hex(8)
        self._user = _unprivileged()
        self.folder = Path(tempfile.mkdtemp(prefix="stocklog-pg-"))
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        try:
            self._lay()
            self.start()
            self._make_roles()
        except BaseException:
            self.close()
            raise

    def _options(self) -> dict[str, Any]:
        """How its processes are started: as whom, and where."""
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "TMPDIR": str(self.folder)}
        options: dict[str, Any] = {"cwd": self.folder, "env": environment}
        if self._user is not None:
            of = pwd.getpwnam(self._user)
            options |= {"user": of.pw_uid, "group": of.pw_gid, "extra_groups": []}
        return options

    def _lay(self) -> None:
        words = [self._programs / "initdb", "-D", self.folder / "data", "-U", OWNER, "-E", "UTF8",
                 "--locale=C", "-A", "scram-sha-256", "--no-sync", "--no-instructions",
                 f"--pwfile={self.folder / 'password'}"]  # fmt: skip
        (self.folder / "password").write_text(self.password)
        (self.folder / "password").chmod(0o644)  # the folder is closed to others
        done = subprocess.run(words, **self._options(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start it, and wait until it answers."""
        words = [self._programs / "postgres", "-D", self.folder / "data", "-p", str(self.port),
                 "-k", self.folder, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
                 "-c", "max_wal_size=2GB", "-c", "shared_buffers=128MB"]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                words,
                **self._options(),
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        deadline = time.monotonic() + 60
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "log").read_text()[-3000:])
            time.sleep(0.05)

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.uri_of(OWNER, "postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def _make_roles(self) -> None:
        for statement in _ROLES.format(user=USER, password=self.password).split(";\n"):
            if statement.strip():
                self.execute(statement)

    def uri_of(self, user: str = USER, database: str = USER, password: str | None = None) -> str:
        """The URI of a database, with the password in it."""
        password = self.password if password is None else password
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement as the superuser; its rows, if it has any."""
        import psycopg

        with psycopg.connect(self.uri_of(OWNER, database), autocommit=True) as db:
            cursor = db.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def fresh(self) -> Iterator[str]:
        """The URI of a store that is not there yet, in a schema of its own, gone afterwards."""
        schema = f"s{secrets.token_hex(6)}"
        yield f"{self.uri_of()}?schema={schema}"
        self.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE", USER)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT lets it end its sessions in order, SIGQUIT not."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def close(self) -> None:
        """End it and delete its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

"""Which server and schema a URI names, how to get there, and what an error of it means.

libpq reads the URI: whatever it takes is fine (several hosts, `service=`, TLS settings,
`host=` for a folder of a socket), and so are its environment variables and password file.
Only `schema` is ours. No message holds the password.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from stocklog.errors import StoreError, UsageError
from stocklog.stores.postgres_columns import BigintArray, BigintArrayDumper
from stocklog.stores.postgres_schema import DEFAULT_SCHEMA

if TYPE_CHECKING:
    Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

__all__ = ["RIGHTS", "Target", "connect", "explained", "parse_target"]

_OLDEST = 120000
_CHECKS_CLIENTS = 140000
_LONGEST = 63
_PASSWORDS = (
    "Give the password in PGPASSWORD, in ~/.pgpass (PGPASSFILE) or through ?service=NAME; "
    "the user is the part before @"
)
_FORM = "Write postgresql://user@host:5432/database?schema=stocklog (the parts may be left out)"
RIGHTS = (
    "Let the database's owner type: GRANT CREATE ON DATABASE ... TO ... (to make a store), or "
    "GRANT USAGE ON SCHEMA ... and GRANT SELECT ON ALL TABLES IN SCHEMA ... (to ask one)"
)
"""What to do about a missing right."""

_AGAIN = "Nothing is lost: start the command again when it is there, it goes on where it stood"

# What the server says by SQLSTATE, the longest beginning that fits.
_REMEDIES = {
    "28": _PASSWORDS,
    "3D": "Make it with `createdb`, or name another at the end of the URI",
    "42501": RIGHTS,
    "53100": "Make room on the server's disk. Nothing is lost: `project` goes on where it stood",
    "53": "The server is short of something; see its log. Nothing is lost, start it again",
    "25006": "The server only takes readers (a standby?): name the one that writes",
    "57014": "The server's statement_timeout or somebody ended it; give it more time",
    "57P": _AGAIN,
    "58": "The server could not read or write a file of its own; see its log",
    "42P01": "Was a table of the store deleted? Build it again from the log in another schema",
    "XX": "Something of the server's is damaged; see its log",
}
# Refusals before a session exists carry no SQLSTATE, only text.
_AT_THE_DOOR = (
    ("password authentication failed", _PASSWORDS),
    ("no password supplied", _PASSWORDS),
    ("authentication failed", _PASSWORDS),
    ("pg_hba.conf", "The server's pg_hba.conf has no rule for this user, database and address"),
    ('database "', _REMEDIES["3D"]),
    ('role "', "Make the user with `createuser`, or name another before the @"),
    ("too many", "All connections of the server are taken; end one, or try later"),
    ("service", "Services are in ~/.pg_service.conf (PGSERVICEFILE)"),
)
_IS_IT_THERE = "Is PostgreSQL running there, and are host and port right?"


@dataclass(frozen=True, slots=True)
class Target:
    """A store in PostgreSQL.

    Attributes:
        conninfo: the URI for libpq, with its password.
        schema: the schema.
        where: the URI without a password, for people.
        secrets: what must not be shown.
    """

    conninfo: str = field(repr=False)
    schema: str
    where: str
    secrets: tuple[str, ...] = field(repr=False)

    def masked(self, text: str) -> str:
        """A message in one line, without the password."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return " ".join(text.split())


def parse_target(uri: str) -> Target:
    """Read the URI of a store.

    Args:
        uri: `postgresql://user@host:port/database?schema=NAME`; all but the scheme may be
            left out, and every parameter of libpq may be added.

    Raises:
        UsageError: it cannot be meant.
    """
    address, _, query = uri.partition("?")
    schema, rest = DEFAULT_SCHEMA, []
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        if name == "schema":
            schema = unquote(value)
        else:
            rest.append(pair)
    conninfo = address + ("?" + "&".join(rest) if rest else "")
    # Up to the last @: a password with a / or a ? that was not escaped is not shown either.
    where = re.sub(r"(://[^:/@?]*):.*@", r"\1:***@", uri, flags=re.DOTALL)
    where = re.sub(r"([?&](?:ssl)?password=)[^&]*", r"\1***", where)
    target = Target(conninfo, schema, where, _secrets(uri))
    if any(set(secret) & set("/?@") for secret in re.findall(r"://[^:/@?]*:(.*)@", uri)):
        raise UsageError(
            f"The password in {where} has a /, ? or @, which end it in a URI",
            f"Write %2F, %3F or %40 for it, or leave it out. {_PASSWORDS}",
        )
    if not schema or len(schema.encode()) > _LONGEST or "\0" in schema:
        raise UsageError(f"A schema's name has 1 to {_LONGEST} bytes: {where}", _FORM)
    if schema.startswith("pg_") or schema == "information_schema":
        raise UsageError(f"The schema {schema!r} is the server's own", _FORM)
    try:
        conninfo_to_dict(conninfo)
    except psycopg.Error as error:
        raise UsageError(
            f"The store {where} is not understood: {target.masked(str(error))}", _FORM
        ) from None
    return target


def _secrets(uri: str) -> tuple[str, ...]:
    found = re.findall(r"://[^:/@?]*:(.*)@", uri, re.DOTALL)
    found += re.findall(r"[?&](?:ssl)?password=([^&]*)", uri)
    every = {part for one in found for part in (one, unquote(one)) if part}
    return tuple(sorted(every, key=len, reverse=True))


def connect(target: Target, *, writing: bool) -> Connection:
    """Open a session whose names are those of the store's schema.

    Args:
        target: where.
        writing: whether it is the writer's.

    Raises:
        StoreError: there is no server, it refuses, or it cannot hold a store.
    """
    role = "project" if writing else "reader"
    settings: dict[str, Any] = {
        "application_name": f"stocklog {role} {os.getpid()}@{socket.gethostname()}"[:_LONGEST],
        "connect_timeout": os.environ.get("PGCONNECT_TIMEOUT", "10"),
        # A server that vanished without a word is noticed within a minute.
        "keepalives_idle": "30",
        "keepalives_interval": "10",
        "keepalives_count": "3",
        "tcp_user_timeout": "60000",
    }
    given = conninfo_to_dict(target.conninfo)
    settings = {name: value for name, value in settings.items() if name not in given}
    with explained(target):
        # One thread at a time, though not always the same: see `Projection`. Plans are made
        # for the arrays that come, not for all arrays.
        db = psycopg.connect(
            target.conninfo,
            autocommit=True,
            prepare_threshold=None,
            client_encoding="UTF8",
            **settings,
        )
        try:
            _prepare(db, target, writing=writing)
        except BaseException:
            db.close()
            raise
    return db


def _prepare(db: Connection, target: Target, *, writing: bool) -> None:
    if db.info.server_version < _OLDEST:
        raise StoreError(
            f"{target.where} is PostgreSQL {db.info.server_version // 10000}, too old for a store",
            "Stores need PostgreSQL 12 or newer",
        )
    encoding = db.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreError(
            f"The database of {target.where} is in the encoding {encoding}, which cannot hold "
            "every name",
            "Make one with `createdb --encoding=UTF8 --template=template0 NAME`",
        )
    db.adapters.register_dumper(BigintArray, BigintArrayDumper)
    db.execute(SQL("SET search_path = {}").format(Identifier(target.schema)))
    if writing and db.info.server_version >= _CHECKS_CLIENTS:
        # A writer that was killed lets go of its lock soon, also in mid-statement. Servers
        # on some systems cannot look, and refuse.
        with contextlib.suppress(psycopg.Error):
            db.execute("SET client_connection_check_interval = '500ms'")


@contextlib.contextmanager
def explained(target: Target) -> Iterator[None]:
    """Say what an error of PostgreSQL means, with what to do.

    Raises:
        StoreError: instead of any error of psycopg.
    """
    try:
        yield
    except psycopg.Error as error:
        said = error.diag.message_primary or str(error) or type(error).__name__
        raise StoreError(
            f"PostgreSQL, {target.where}: {target.masked(said)}", _remedy(error)
        ) from None


def _remedy(error: psycopg.Error) -> str:
    state = error.sqlstate or ""
    for length in (5, 3, 2):
        if state[:length] in _REMEDIES and state:
            return _REMEDIES[state[:length]]
    text = str(error)
    for words, remedy in _AT_THE_DOOR:
        if words in text:
            return remedy
    if isinstance(error, psycopg.OperationalError) and not state:
        lost = "server closed" in text or "lost" in text or "terminat" in text
        return _AGAIN if lost else _IS_IT_THERE
    return "See the server's log"

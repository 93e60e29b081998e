"""A store in PostgreSQL when something is wrong: refused, in the way, full, or gone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stock_reference
from postgres_server import USER, PostgresServer
from stock_histories import START
from stocklog.errors import StoreError, UsageError
from stocklog.ledger.questions import open_ledger
from stocklog.stores import postgres_reading
from stocklog.stores.postgres import PostgresStore
from stocklog.stores.postgres_columns import BigintArray, integers_of
from stocklog.stores.postgres_connect import parse_target
from stocklog.stores.projection import Projection
from stocklog.stores.uri import open_store
from store_driver import batch_of, project, stock_of


@pytest.fixture
def place(postgres: PostgresServer) -> Iterator[str]:
    with postgres.fresh() as uri:
        yield uri


def log_of(count: int) -> list[dict[str, Any]]:
    return [
        {
            "offset": n, "update_id": f"u{n}", "type": "adjustment", "sku": f"SKU-{n % 50:03}",
            "location_id": "here", "quantity": n, "occurred_at": START + n, "reason": "other",
            "source": "till",
        }
        for n in range(count)
    ]  # fmt: skip


def as_role(postgres: PostgresServer, uri: str, role: str) -> str:
    """The same store for another role, which is made if it is missing."""
    if not postgres.execute(f"SELECT FROM pg_roles WHERE rolname = '{role}'"):
        postgres.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{postgres.password}'")
    return uri.replace(f"//{USER}:", f"//{role}:")


# -- the URI ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://ann:s3cret@h:1/db",
        "postgres://ann:s3cret@h/db?schema=x",
        "postgresql://h/db?password=s3cret&user=ann",
        "postgresql://h/db?user=ann&sslpassword=s3cret",
    ],
)
def test_a_password_is_never_shown(uri: str) -> None:
    target = parse_target(uri)
    assert "s3cret" not in repr(target) + target.where
    assert target.masked("FATAL:\n s3cret is wrong") == "FATAL: *** is wrong"
    assert "ann" in target.where
    assert "***" in target.where


@pytest.mark.parametrize("password", ["a/s3cret", "a?s3cret", "x@s3cret", "s3cret%zz"])
def test_a_password_that_must_be_escaped_is_refused_and_not_shown(password: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_target(f"postgresql://ann:{password}@h/db")
    assert "s3cret" not in str(refused.value)


def test_the_schema_is_ours_and_everything_else_is_the_clients() -> None:
    target = parse_target("postgresql:///db?host=/run/pg&schema=my%20stock&connect_timeout=3")
    assert target.schema == "my stock"
    assert target.conninfo == "postgresql:///db?host=/run/pg&connect_timeout=3"
    assert parse_target("postgres://").schema == "stocklog"


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://h/db?schema=",
        "postgresql://h/db?schema=pg_catalog",
        "postgresql://h/db?schema=information_schema",
        f"postgresql://h/db?schema={'x' * 64}",
        "postgresql://h/db?no_such_setting=1",
    ],
)
def test_a_uri_that_cannot_be_meant_is_wrong_usage(uri: str) -> None:
    with pytest.raises(UsageError) as refused:
        open_store(uri, "s")
    assert "postgresql://user@host" in refused.value.remedy


def test_without_the_extra_the_command_that_installs_it_is_named() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from stocklog.stores.uri import open_store\n"
        "open_store('postgresql://h/db', 's')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "UsageError" in done.stderr
    assert "uv sync --extra postgresql" in done.stderr


def test_nobody_who_has_a_file_loads_psycopg() -> None:
    code = (
        "import sys, stocklog.ledger.questions, stocklog.stores.uri\n"
        "sys.exit('psycopg' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- getting in -------------------------------------------------------------------------------


def test_no_server_is_said_with_where_it_was_looked_for() -> None:
    with pytest.raises(StoreError, match=r"127\.0\.0\.1.*port 1 failed.*refused") as refused:
        open_store("postgresql://ann:s3cret@127.0.0.1:1/db", "s")
    assert "Is PostgreSQL running there" in refused.value.remedy
    assert "s3cret" not in str(refused.value)


def test_a_wrong_password_is_said_and_not_shown(postgres: PostgresServer) -> None:
    with pytest.raises(StoreError, match="password authentication failed") as refused:
        open_store(postgres.uri_of(password="wr0ng"), "s")
    assert "PGPASSWORD" in refused.value.remedy
    assert "wr0ng" not in str(refused.value)


def test_the_password_may_come_from_the_environment_a_file_or_a_service(
    postgres: PostgresServer, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(place, log_of(3))
    bare = place.replace(f":{postgres.password}@", "@")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(StoreError, match="no password supplied"):
        open_ledger(bare)
    with monkeypatch.context() as patch:
        patch.setenv("PGPASSWORD", postgres.password)
        open_ledger(bare).close()
    kept = tmp_path / "pgpass"
    kept.write_text(f"*:*:*:{USER}:{postgres.password}\n")
    kept.chmod(0o600)
    with monkeypatch.context() as patch:
        patch.setenv("PGPASSFILE", str(kept))
        open_ledger(bare).close()
    services = tmp_path / "services"
    services.write_text(
        f"[shop]\nhost=127.0.0.1\nport={postgres.port}\ndbname={USER}\nuser={USER}\n"
        f"password={postgres.password}\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    schema = place.partition("?")[2]
    open_ledger(f"postgresql:///?service=shop&{schema}").close()


def test_a_database_that_is_not_there_and_one_that_cannot_hold_every_name_are_refused(
    postgres: PostgresServer,
) -> None:
    with pytest.raises(StoreError, match='database "nowhere" does not exist') as refused:
        open_store(postgres.uri_of(database="nowhere"), "s", writing=True)
    assert "createdb" in refused.value.remedy
    postgres.execute(f"CREATE DATABASE latin OWNER {USER} ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(StoreError, match="encoding LATIN1") as refused:
        open_store(postgres.uri_of(database="latin"), "s", writing=True)
    assert "UTF8" in refused.value.remedy


def test_a_store_that_is_not_there_is_not_made_by_asking(place: str) -> None:
    for _ in range(2):
        with pytest.raises(StoreError, match="There is no store in the schema 's"):
            open_ledger(place)


def test_who_may_not_make_a_schema_is_told_what_to_ask_for(
    postgres: PostgresServer, place: str
) -> None:
    with pytest.raises(StoreError, match="permission denied for database") as refused:
        open_store(as_role(postgres, place, "guest"), "s", writing=True)
    assert "GRANT CREATE ON DATABASE" in refused.value.remedy


def test_who_may_only_read_can_ask_and_cannot_write(postgres: PostgresServer, place: str) -> None:
    project(place, log_of(60))
    reader = as_role(postgres, place, "reader")
    with pytest.raises(StoreError, match="permission denied") as refused:
        open_ledger(reader)
    assert "GRANT SELECT" in refused.value.remedy
    schema = place.partition("?schema=")[2]
    postgres.execute(f"GRANT USAGE ON SCHEMA {schema} TO reader", USER)
    postgres.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader", USER)
    with open_ledger(reader) as ledger:
        assert ledger.stock().height == 50
        assert ledger.why("SKU-003", "here")["quantity"].to_list() == [3, 53]
    with pytest.raises(StoreError, match="permission denied"):
        project(reader, [{**log_of(61)[60]}])
    assert stock_of(place) == stock_reference.stock(log_of(60))


def test_a_schema_made_by_the_owner_needs_no_right_on_the_database(
    postgres: PostgresServer, place: str
) -> None:
    schema = place.partition("?schema=")[2]
    owned = as_role(postgres, place, "tenant")
    postgres.execute(f"CREATE SCHEMA {schema} AUTHORIZATION tenant", USER)
    project(owned, log_of(5))
    assert stock_of(owned) == stock_reference.stock(log_of(5))


def test_a_schema_with_something_else_in_it_is_left_alone(
    postgres: PostgresServer, place: str
) -> None:
    schema = place.partition("?schema=")[2]
    postgres.execute(f"CREATE SCHEMA {schema} AUTHORIZATION {USER}", USER)
    postgres.execute(f"CREATE TABLE {schema}.meta (name text, value text)", USER)
    with pytest.raises(StoreError, match="holds something else"):
        project(place, log_of(1))
    with pytest.raises(StoreError, match="There is no store"):
        open_ledger(place)


def test_a_store_of_another_layout_is_refused(postgres: PostgresServer, place: str) -> None:
    project(place, log_of(1))
    schema = place.partition("?schema=")[2]
    postgres.execute(f"UPDATE {schema}.meta SET value = '99' WHERE name = 'format'", USER)
    for writing in (False, True):
        with pytest.raises(StoreError, match="has the layout 99"):
            open_store(place, "s", writing=writing)


def test_a_schema_with_an_odd_name_is_a_schema(postgres: PostgresServer) -> None:
    uri = f"{postgres.uri_of()}?schema=Odd%20%22%2C%20public%3B%20--"
    project(uri, log_of(7))
    with open_ledger(uri) as ledger:
        assert ledger.stock()["on_hand"].to_list() == list(range(7))
    postgres.execute('DROP SCHEMA "Odd "", public; --" CASCADE', USER)


# -- one writer ---------------------------------------------------------------------------------


def test_the_second_writer_is_told_who_the_first_is(place: str) -> None:
    with contextlib.closing(PostgresStore(place, writing=True)):
        with pytest.raises(StoreError, match=f"stocklog project {os.getpid()}@") as refused:
            PostgresStore(place, writing=True, wait=0.2)
        assert "?schema=" in refused.value.remedy
        with pytest.raises(StoreError, match=f"user {USER}"):
            PostgresStore(place, writing=True, wait=0)


def test_the_second_writer_waits_for_one_that_is_about_to_end(place: str) -> None:
    first = PostgresStore(place, writing=True)
    ending = threading.Timer(0.5, first.close)
    ending.start()
    begun = time.monotonic()
    PostgresStore(place, writing=True, wait=20).close()
    assert time.monotonic() - begun >= 0.4
    ending.join()


def test_a_writer_that_lost_its_lock_writes_nothing_twice(
    postgres: PostgresServer, place: str
) -> None:
    log = log_of(30)
    first = PostgresStore(place, writing=True)
    projection = Projection(first, first.claim("s"))
    first._db.execute("SELECT pg_advisory_unlock_all()")
    project(place, log)
    projection.take(batch_of(log))
    with pytest.raises(StoreError, match="has been moved by another program"):
        projection.settle()
    projection.close()
    first.close()
    assert stock_of(place) == stock_reference.stock(log)


# -- in the middle of it ------------------------------------------------------------------------


def test_a_commit_that_fails_half_way_changes_nothing(postgres: PostgresServer, place: str) -> None:
    log = log_of(200)
    project(place, log[:100], 20)
    schema = place.partition("?schema=")[2]
    # The history comes last; by then names and balances are written.
    postgres.execute(f"ALTER TABLE {schema}.ids ADD CONSTRAINT no CHECK (first_update < 140)", USER)
    with pytest.raises(StoreError, match="violates check constraint"):
        project(place, log[100:], 20)
    with open_ledger(place) as ledger:
        stands = ledger.position.last_offset
        assert stands == 139
        assert ledger.position.updates == 140
    assert stock_of(place) == stock_reference.stock(log[:140])
    postgres.execute(f"ALTER TABLE {schema}.ids DROP CONSTRAINT no", USER)
    project(place, log[140:], 20)
    assert stock_of(place) == stock_reference.stock(log)


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.mark.slow
@pytest.mark.postgresql
def test_a_server_that_goes_away_is_one_clear_error_and_nothing_is_lost(
    own_server: PostgresServer,
) -> None:
    uri, log = own_server.uri_of(), log_of(400)
    store = open_store(uri, "s", writing=True)
    projection = Projection(store, store.claim("s"))
    reader = open_ledger(uri)
    projection.take(batch_of(log[:100]))
    projection.settle()
    own_server.stop(signal.SIGQUIT)
    projection.take(batch_of(log[100:200]))
    with pytest.raises(StoreError, match="PostgreSQL, ") as lost:
        projection.settle()
    assert own_server.password not in str(lost.value)
    assert "Nothing is lost" in lost.value.remedy
    with pytest.raises(StoreError, match="PostgreSQL, "):
        reader.stock()
    projection.close()
    store.close()
    reader.close()
    own_server.start()
    assert stock_of(f"{uri}?schema=stocklog") == stock_reference.stock(log[:100])
    project(uri, log[100:])
    assert stock_of(f"{uri}?schema=stocklog") == stock_reference.stock(log)


@pytest.fixture
def small_disk(postgres: PostgresServer) -> Iterator[str]:
    """A store whose tables lie on a disk of 2 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = postgres.folder / "small"
    folder.mkdir()
    owner = postgres.folder.stat()
    options = f"size=2m,mode=700,uid={owner.st_uid},gid={owner.st_gid}"
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr}")
    try:
        postgres.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
        postgres.execute(f"GRANT CREATE ON TABLESPACE small TO {USER}")
        with postgres.fresh() as uri:
            yield f"{uri}&options=-c%20default_tablespace%3Dsmall"
        postgres.execute("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_one_clear_error_and_nothing_is_lost(small_disk: str) -> None:
    plain = small_disk.partition("&")[0]
    log = [{**one, "update_id": os.urandom(32).hex()} for one in log_of(60_000)]
    with pytest.raises(StoreError, match="No space left on device") as full:
        project(small_disk, log, 4000)
    assert "Make room" in full.value.remedy
    with open_ledger(plain) as ledger:
        stands = ledger.position.last_offset
    assert 0 < stands < len(log) - 1
    assert stock_of(plain) == stock_reference.stock(log[: stands + 1])


# -- columns ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values", [[], [0], [-1, 2**63 - 1, -(2**63)], list(range(-500, 500, 7))], ids=len
)
def test_a_column_goes_there_and_comes_back(place: str, values: list[int]) -> None:
    store = PostgresStore(place, writing=True)
    try:
        with store._db.cursor(binary=True) as cursor:
            cursor.execute("SELECT %s", (BigintArray(np.array(values, np.int64)),))
            result = cursor.pgresult
            assert result is not None
            found = integers_of(result.get_value(0, 0))
            cursor.execute("SELECT ARRAY[[1, 2, 3], [4, 5, 6]]::bigint[]")
            result = cursor.pgresult
            assert result is not None
            assert integers_of(result.get_value(0, 0)).tolist() == [1, 2, 3, 4, 5, 6]
            others = "ARRAY[1, NULL]::bigint[], ARRAY[1]::int[], ARRAY[[[1]]]::bigint[]"
            cursor.execute(f"SELECT {others}".encode())
            result = cursor.pgresult
            assert result is not None
            for column in range(3):
                with pytest.raises(StoreError, match="another array"):
                    integers_of(result.get_value(0, column))
        assert found.tolist() == values
        assert found.dtype == np.int64
    finally:
        store.close()


def test_more_keys_than_an_array_holds_are_read_in_parts(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = log_of(50)
    project(place, log, 11)
    monkeypatch.setattr(postgres_reading, "_KEYS_AT_ONCE", 7)
    with open_ledger(place) as ledger:
        assert ledger.stock()["on_hand"].to_list() == list(range(50))


def test_a_question_sees_one_moment_while_the_store_moves_on(place: str) -> None:
    log = log_of(100)
    project(place, log[:50])
    with open_ledger(place) as ledger, ledger.store.snapshot():
        before = ledger.stock()
        project(place, log[50:])
        assert ledger.stock().equals(before)
        assert ledger.position.last_offset == 49
    with open_ledger(place) as ledger:
        assert ledger.position.last_offset == 99

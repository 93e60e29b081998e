"""The tables of a PostgreSQL store, in a schema of its own.

As in SQLite: `stock` is a view with names for other tools, and the history is in blobs.
Those are compressed already, so the server is told not to try again. The balances leave
half of each page free, so that a row that changes stays on its page and no index changes.
"""

from __future__ import annotations

import hashlib

from stocklog.inventory.balances import Balances

__all__ = [
    "BALANCE_COLUMNS",
    "DEFAULT_SCHEMA",
    "INDEXES",
    "INSERT_BALANCES",
    "MARK",
    "SCHEMA",
    "UPDATE_BALANCES",
    "lock_number",
]

DEFAULT_SCHEMA = "stocklog"
"""Where a store lies if its URI names no schema."""

MARK = "stocklog store"
"""Comment on the table `meta`, which marks the schema as ours."""

BALANCE_COLUMNS = ("key", "sku", "location", *Balances.COLUMNS)
"""Columns of the table `balances`; sku and location are codes."""

SCHEMA = (
    "CREATE TABLE meta (name text PRIMARY KEY, value text NOT NULL)",
    f"COMMENT ON TABLE meta IS '{MARK}'",
    'CREATE TABLE skus (code bigint PRIMARY KEY, name text COLLATE "C" NOT NULL)',
    'CREATE TABLE locations (code bigint PRIMARY KEY, name text COLLATE "C" NOT NULL)',
    """CREATE TABLE sources (code bigint PRIMARY KEY, name text COLLATE "C" NOT NULL,
        newest bigint NOT NULL, sequence bigint NOT NULL)""",
    """CREATE TABLE balances (key bigint PRIMARY KEY, sku bigint NOT NULL,
        location bigint NOT NULL, on_hand bigint NOT NULL, reserved bigint NOT NULL,
        count_time bigint NOT NULL, count_offset bigint NOT NULL, delta_time bigint NOT NULL
        ) WITH (fillfactor = 50)""",
    """CREATE TABLE segments (id bigint PRIMARY KEY, first_offset bigint NOT NULL,
        last_offset bigint NOT NULL, first_update bigint NOT NULL, updates bigint NOT NULL,
        legs bigint NOT NULL, oldest bigint NOT NULL, newest bigint NOT NULL,
        flags bigint NOT NULL, counts bytea NOT NULL, flag_columns bytea NOT NULL,
        clock bytea NOT NULL)""",
    """CREATE TABLE blocks (segment bigint NOT NULL, number bigint NOT NULL,
        first_key bigint NOT NULL, last_key bigint NOT NULL, legs bigint NOT NULL,
        places bytea NOT NULL, effects bytea NOT NULL, origins bytea NOT NULL,
        PRIMARY KEY (segment, number))""",
    """CREATE TABLE sums (segment bigint PRIMARY KEY, since bigint NOT NULL,
        totals bytea NOT NULL, early bytea NOT NULL)""",
    "CREATE INDEX blocks_keys ON blocks (segment, first_key, last_key)",
    """CREATE TABLE ids (segment bigint NOT NULL, first_update bigint NOT NULL,
        updates bigint NOT NULL, first_offset bigint NOT NULL, last_offset bigint NOT NULL,
        numbers bytea NOT NULL, texts bytea NOT NULL, PRIMARY KEY (segment, first_update))""",
    """ALTER TABLE segments ALTER counts SET STORAGE EXTERNAL,
        ALTER flag_columns SET STORAGE EXTERNAL, ALTER clock SET STORAGE EXTERNAL""",
    """ALTER TABLE blocks ALTER places SET STORAGE EXTERNAL, ALTER effects SET STORAGE EXTERNAL,
        ALTER origins SET STORAGE EXTERNAL""",
    "ALTER TABLE sums ALTER totals SET STORAGE EXTERNAL, ALTER early SET STORAGE EXTERNAL",
    "ALTER TABLE ids ALTER numbers SET STORAGE EXTERNAL, ALTER texts SET STORAGE EXTERNAL",
    """CREATE VIEW stock AS
        SELECT skus.name AS sku, locations.name AS location_id, on_hand, reserved,
            on_hand - reserved AS available
        FROM balances JOIN skus ON skus.code = balances.sku
            JOIN locations ON locations.code = balances.location""",
)

INDEXES = (
    "CREATE UNIQUE INDEX skus_name ON skus (name)",
    "CREATE UNIQUE INDEX locations_name ON locations (name)",
    "CREATE UNIQUE INDEX balances_place ON balances (sku, location)",
)
"""Made once most keys are there; see `stocklog.stores.schema`."""


def _arrays(columns: tuple[str, ...]) -> str:
    return f"unnest({', '.join(f'%({name})s' for name in columns)})"


_CHANGING = ("key", *Balances.COLUMNS)

INSERT_BALANCES = f"INSERT INTO balances SELECT * FROM {_arrays(BALANCE_COLUMNS)}"  # noqa: S608
"""Writes balances of new keys, given as one array a column."""

UPDATE_BALANCES = (
    f"UPDATE balances SET {', '.join(f'{name} = changed.{name}' for name in Balances.COLUMNS)} "  # noqa: S608
    f"FROM {_arrays(_CHANGING)} AS changed ({', '.join(_CHANGING)}) "
    "WHERE balances.key = changed.key"
)
"""Writes balances of keys that are there, given likewise; their SKU and location stay."""


def lock_number(schema: str) -> int:
    """The number of the advisory lock of the one writer, int64; locks are of one database."""
    digest = hashlib.sha256(f"stocklog store {schema}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)

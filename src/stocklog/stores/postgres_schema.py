"""The tables of a PostgreSQL store, in a schema of its own.

As in SQLite: `stock` is a view with names for other tools, and the history is in blobs.
Those are compressed already, so the server is told not to try again.

A commit changes the balances of most keys, and the server takes several microseconds for a
row that changes, however short it is. So a row has the balances of 32 keys, as arrays; it
stays below the 2 kB from which on the server would store it elsewhere. Half of each page is
left free, so that a row that changes stays on its page and no index changes.
"""

from __future__ import annotations

import hashlib

from stocklog.inventory.balances import Balances

__all__ = [
    "DEFAULT_SCHEMA",
    "INDEXES",
    "INSERT_BALANCES",
    "INSERT_KEYS",
    "KEYS_A_PART",
    "MARK",
    "SCHEMA",
    "UPDATE_BALANCES",
    "lock_number",
]

DEFAULT_SCHEMA = "stocklog"
"""Where a store lies if its URI names no schema."""

MARK = "stocklog store"
"""Comment on the table `meta`, which marks the schema as ours."""

KEYS_A_PART = 32
"""Keys whose balances are in one row; the last row has zeros behind them."""

_ARRAYS = ", ".join(f"{name} bigint[] NOT NULL" for name in Balances.COLUMNS)
_PLACE = f"(keys.key % {KEYS_A_PART})::int + 1"

SCHEMA = (
    "CREATE TABLE meta (name text PRIMARY KEY, value text NOT NULL)",
    f"COMMENT ON TABLE meta IS '{MARK}'",
    'CREATE TABLE skus (code bigint PRIMARY KEY, name text COLLATE "C" NOT NULL)',
    'CREATE TABLE locations (code bigint PRIMARY KEY, name text COLLATE "C" NOT NULL)',
    """CREATE TABLE sources (code bigint PRIMARY KEY, name text COLLATE "C" NOT NULL,
        newest bigint NOT NULL, sequence bigint NOT NULL)""",
    """CREATE TABLE keys (key bigint PRIMARY KEY, sku bigint NOT NULL,
        location bigint NOT NULL)""",
    f"CREATE TABLE balances (part bigint PRIMARY KEY, {_ARRAYS}) WITH (fillfactor = 50)",
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
    f"""CREATE VIEW stock AS
        SELECT skus.name AS sku, locations.name AS location_id, on_hand[{_PLACE}] AS on_hand,
            reserved[{_PLACE}] AS reserved, on_hand[{_PLACE}] - reserved[{_PLACE}] AS available
        FROM keys JOIN balances ON balances.part = keys.key / {KEYS_A_PART}
            JOIN skus ON skus.code = keys.sku
            JOIN locations ON locations.code = keys.location""",  # noqa: S608
)

INDEXES = (
    "CREATE UNIQUE INDEX skus_name ON skus (name)",
    "CREATE UNIQUE INDEX locations_name ON locations (name)",
    "CREATE UNIQUE INDEX keys_place ON keys (sku, location)",
)
"""Made once most keys are there; see `stocklog.stores.schema`."""


INSERT_KEYS = "INSERT INTO keys SELECT * FROM unnest(%(key)s, %(sku)s, %(location)s)"
"""Writes new keys, given as one array a column."""


def _part(name: str) -> str:
    """The piece of a long array that belongs into the n-th row."""
    first, last = f"(n * {KEYS_A_PART} - {KEYS_A_PART - 1})::int", f"(n * {KEYS_A_PART})::int"
    return f"(%({name})s)[{first}:{last}] AS {name}"


_PARTS = (
    f"SELECT part, {', '.join(_part(name) for name in Balances.COLUMNS)} "  # noqa: S608
    "FROM unnest(%(part)s) WITH ORDINALITY AS parts (part, n)"
)

INSERT_BALANCES = f"INSERT INTO balances {_PARTS}"
"""Writes new rows of balances: an array of their numbers, and the balances of their keys one
row behind the other, an array a column."""

UPDATE_BALANCES = (
    f"UPDATE balances SET {', '.join(f'{name} = changed.{name}' for name in Balances.COLUMNS)} "  # noqa: S608
    f"FROM ({_PARTS}) AS changed WHERE balances.part = changed.part"
)
"""Writes rows that are there, given likewise."""


def lock_number(schema: str) -> int:
    """The number of the advisory lock of the one writer, int64; locks are of one database."""
    digest = hashlib.sha256(f"stocklog store {schema}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)

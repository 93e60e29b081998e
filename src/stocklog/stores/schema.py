"""The tables of an SQLite store.

Other tools may read while it is written: `stock` is a view with names. The history is in
blobs (see `packing` and `segments`), since a row for each leg takes twenty times as long.
What only the rule needs of a key (`marks`) is in blobs of 1,024 keys: a commit writes the
balances of most keys, and each further column of a row costs as much as the sum itself.
"""

from __future__ import annotations

__all__ = ["APPLICATION_ID", "INDEXES", "KEYS_A_PART", "MOST_ROWS", "SCHEMA", "inserting"]

APPLICATION_ID = 0x73746B6C
"""Marks the file as ours: `stkl`."""

KEYS_A_PART = 1024
"""Keys whose marks are in one blob."""

MOST_ROWS = 1_000
"""Rows of three columns in a statement; with ten times as many they take longer."""

SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE skus (code INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE locations (code INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE sources (
    code INTEGER PRIMARY KEY, name TEXT NOT NULL, newest INTEGER NOT NULL,
    sequence INTEGER NOT NULL
);
CREATE TABLE keys (
    key INTEGER PRIMARY KEY, sku INTEGER NOT NULL, location INTEGER NOT NULL
);
CREATE TABLE balances (
    key INTEGER PRIMARY KEY, on_hand INTEGER NOT NULL, reserved INTEGER NOT NULL
);
CREATE TABLE marks (part INTEGER PRIMARY KEY, columns BLOB NOT NULL);
CREATE TABLE key_parts (first_key INTEGER PRIMARY KEY, pairs BLOB NOT NULL);
CREATE TABLE segments (
    id INTEGER PRIMARY KEY, first_offset INTEGER NOT NULL, last_offset INTEGER NOT NULL,
    first_update INTEGER NOT NULL, updates INTEGER NOT NULL, legs INTEGER NOT NULL,
    oldest INTEGER NOT NULL, newest INTEGER NOT NULL, flags INTEGER NOT NULL,
    counts BLOB NOT NULL, flag_columns BLOB NOT NULL, clock BLOB NOT NULL
);
CREATE TABLE blocks (
    segment INTEGER NOT NULL, first_key INTEGER NOT NULL, last_key INTEGER NOT NULL,
    legs INTEGER NOT NULL, places BLOB NOT NULL, effects BLOB NOT NULL, origins BLOB NOT NULL
);
CREATE TABLE sums (
    segment INTEGER PRIMARY KEY, since INTEGER NOT NULL, totals BLOB NOT NULL,
    early BLOB NOT NULL
);
CREATE INDEX blocks_keys ON blocks (segment, first_key, last_key);
CREATE TABLE ids (
    segment INTEGER NOT NULL, first_update INTEGER NOT NULL, updates INTEGER NOT NULL,
    first_offset INTEGER NOT NULL, last_offset INTEGER NOT NULL,
    numbers BLOB NOT NULL, texts BLOB NOT NULL
);
CREATE INDEX ids_updates ON ids (segment, first_update);
CREATE VIEW stock AS
SELECT skus.name AS sku, locations.name AS location_id, on_hand, reserved,
    on_hand - reserved AS available
FROM balances JOIN keys USING (key) JOIN skus ON skus.code = keys.sku
    JOIN locations ON locations.code = keys.location;
"""

INDEXES = (
    "CREATE UNIQUE INDEX skus_name ON skus (name)",
    "CREATE UNIQUE INDEX locations_name ON locations (name)",
    "CREATE UNIQUE INDEX keys_place ON keys (sku, location)",
)
"""Made once most keys are there, or when a projection ends: keeping them while a million keys
come takes as long as all else together. Questions are answered without them too, but one key
is then looked for among all."""


def inserting(table: str, rows: int, *, replacing: bool = False) -> str:
    """The statement that writes so many rows of three columns."""
    verb = "REPLACE" if replacing else "INSERT"
    return f"{verb} INTO {table} VALUES {','.join(['(?,?,?)'] * rows)}"

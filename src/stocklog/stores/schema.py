"""The tables of an SQLite store.

Other tools may read while it is written: `stock` is a view with names. The history is in
blobs (see `packing` and `segments`), since a row for each leg takes twenty times as long.
"""

from __future__ import annotations

from stocklog.inventory.balances import Balances

__all__ = ["APPLICATION_ID", "BALANCE_COLUMNS", "INDEXES", "SCHEMA", "upsert"]

APPLICATION_ID = 0x73746B6C
"""Marks the file as ours: `stkl`."""

BALANCE_COLUMNS = ("key", "sku", "location", *Balances.COLUMNS)
"""Columns of the table `balances`; sku and location are codes."""

SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE skus (code INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE locations (code INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE sources (
    code INTEGER PRIMARY KEY, name TEXT NOT NULL, newest INTEGER NOT NULL,
    sequence INTEGER NOT NULL
);
CREATE TABLE balances (
    key INTEGER PRIMARY KEY, sku INTEGER NOT NULL, location INTEGER NOT NULL,
    on_hand INTEGER NOT NULL, reserved INTEGER NOT NULL, count_time INTEGER NOT NULL,
    count_offset INTEGER NOT NULL, delta_time INTEGER NOT NULL
);
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
CREATE INDEX blocks_keys ON blocks (segment, first_key, last_key);
CREATE TABLE ids (
    segment INTEGER NOT NULL, first_update INTEGER NOT NULL, updates INTEGER NOT NULL,
    first_offset INTEGER NOT NULL, last_offset INTEGER NOT NULL,
    numbers BLOB NOT NULL, texts BLOB NOT NULL
);
CREATE INDEX ids_updates ON ids (segment, first_update);
CREATE VIEW stock AS
SELECT skus.name AS sku, locations.name AS location_id, on_hand, reserved,
    on_hand - reserved AS available,
    CASE WHEN count_time > -9223372036854775808 THEN
        strftime('%Y-%m-%dT%H:%M:%SZ', count_time / 1000000, 'unixepoch') END AS counted_at
FROM balances JOIN skus ON skus.code = balances.sku
    JOIN locations ON locations.code = balances.location;
"""

INDEXES = (
    "CREATE UNIQUE INDEX skus_name ON skus (name)",
    "CREATE UNIQUE INDEX locations_name ON locations (name)",
    "CREATE UNIQUE INDEX balances_place ON balances (sku, location)",
)
"""Made once most keys are there: keeping them while a million keys come takes as long as all
else together. Questions are answered without them too."""


def upsert(rows: int) -> str:
    """The statement that writes the balances of so many keys."""
    place = "(" + ",".join("?" * len(BALANCE_COLUMNS)) + ")"
    changes = ",".join(f"{name}=excluded.{name}" for name in Balances.COLUMNS)
    places = ",".join([place] * rows)
    return f"INSERT INTO balances VALUES {places} ON CONFLICT (key) DO UPDATE SET {changes}"  # noqa: S608

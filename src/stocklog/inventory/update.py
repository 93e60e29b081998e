"""The inventory update: record, columns and rules; the front of the modules behind it.

`fields` holds names, limits and the rules in words, `record` the row face,
`validation` the rules over columns, `normalise` the way from what users have.
"""

from __future__ import annotations

from stocklog.errors import InvalidUpdateError
from stocklog.inventory.fields import REASONS, REQUIRED, TYPES, UPDATE_SCHEMA
from stocklog.inventory.normalise import to_frame
from stocklog.inventory.record import Update
from stocklog.inventory.validation import Validation, validate

__all__ = [
    "REASONS",
    "REQUIRED",
    "TYPES",
    "UPDATE_SCHEMA",
    "InvalidUpdateError",
    "Update",
    "Validation",
    "to_frame",
    "validate",
]

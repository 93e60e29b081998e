"""Feeds: CSV, JSON Lines and Parquet files and pipes -> batches of valid updates, and rejects.

    with open_feed("stock.csv", FeedOptions(timezone="Europe/Madrid")) as feed:
        for batch in feed:
            batch.updates    # every good row once, in the file's order
            batch.rejects    # every bad row, with its line, reason and text

Every good row comes out once and every bad row is kept, whatever the file holds, in memory that
does not grow with it. `feed` opens; `source`, `encoding` and `blocks` bring bytes to lines;
`header`, `records` and `csv_rows`, or `jsonl` and `json_rows`, or `parquet` bring them to columns;
`plan` and `expressions` say which column is which field; `assemble` makes updates of them with
`whole_numbers`, `moments`, `ids` and `extras`.
"""

from stocklog.inventory.feeds.feed import Feed, open_feed
from stocklog.inventory.feeds.ids import content_digest
from stocklog.inventory.feeds.model import FeedBatch, Reject
from stocklog.inventory.feeds.options import FORMATS, FeedOptions, parse_assignments

__all__ = [
    "FORMATS",
    "Feed",
    "FeedBatch",
    "FeedOptions",
    "Reject",
    "content_digest",
    "open_feed",
    "parse_assignments",
]

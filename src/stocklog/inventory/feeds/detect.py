"""What a feed is: CSV, JSON Lines or Parquet, by option, name or first bytes."""

from __future__ import annotations

from pathlib import PurePath

from stocklog.errors import FeedError

__all__ = ["PARQUET_MAGIC", "by_name", "check_parquet", "looks_like_json"]

PARQUET_MAGIC = b"PAR1"
PACKED = {".gz", ".zst", ".zstd"}
SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def by_name(name: str) -> str | None:
    """Return the format that a file's name tells, or None."""
    path = PurePath(name.lower())
    if path.suffix in PACKED:
        path = path.with_suffix("")
    return SUFFIXES.get(path.suffix)


def looks_like_json(head: bytes) -> bool:
    """Whether a feed's first bytes, unpacked and in UTF-8, begin a JSON object."""
    return head.lstrip(b" \t\r\n").startswith(b"{")


def check_parquet(name: str, told: str | None, head: bytes) -> bool:
    """Whether the feed is Parquet.

    Args:
        name: the feed's name for errors.
        told: the format that the option or the name tells, or None.
        head: the first bytes as stored.

    Raises:
        FeedError: name or option and content contradict each other.
    """
    is_parquet = head.startswith(PARQUET_MAGIC)
    if told == "parquet" and not is_parquet:
        begins = f"begins with {head[:8]!r}, not with {PARQUET_MAGIC!r}"
        raise FeedError(
            f"{name} is not Parquet: it {begins if head else 'is empty'}",
            "Give --input-format csv or jsonl if its name says the wrong thing",
        )
    if is_parquet and told is not None and told != "parquet":
        raise FeedError(
            f"{name} is said to be {told}, but its content is Parquet",
            "Give --input-format parquet, or rename it",
        )
    return is_parquet

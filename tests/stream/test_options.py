"""A publisher's options: refused when they are said, not when they are used."""

from __future__ import annotations

from typing import Any

import pytest

from stocklog.errors import UsageError
from stocklog.stream import PublisherOptions


def test_the_default_envelope_is_uncompressed_sub_batches_of_500() -> None:
    options = PublisherOptions()
    assert (options.codec, options.sub_batch, options.plain) == ("none", 500, False)
    assert options.max_unconfirmed_bytes == 8 << 20
    assert options.max_unconfirmed_entries < 50_000


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_the_five_codecs(codec: str) -> None:
    assert PublisherOptions(codec=codec).codec == codec


def test_a_sub_batch_of_one_is_a_plain_entry() -> None:
    assert PublisherOptions(sub_batch=1).plain
    assert not PublisherOptions(sub_batch=2).plain


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"name": ""}, "1 to 255 bytes"),
        ({"name": "x" * 256}, "1 to 255 bytes"),
        ({"codec": "brotli"}, "gzip"),
        ({"sub_batch": 0}, "65535"),
        ({"sub_batch": 65_536}, "65535"),
        ({"sub_batch": 1, "codec": "gzip"}, "larger sub-batch"),
        ({"max_unconfirmed_bytes": 0}, "at least 1"),
        ({"max_unconfirmed_entries": 0}, "between 1 and 49999"),
        ({"max_unconfirmed_entries": 50_000}, "between 1 and 49999"),
    ],
    ids=str,
)
def test_options_that_cannot_be_meant(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        PublisherOptions(**values)


def test_the_largest_and_smallest_that_can() -> None:
    PublisherOptions(name="x" * 255, sub_batch=65_535, max_unconfirmed_entries=49_999)
    PublisherOptions(sub_batch=2, max_unconfirmed_bytes=1, max_unconfirmed_entries=1)

"""Names and arguments of streams: what the broker would misread never reaches it."""

from __future__ import annotations

from typing import Any

import pytest

from stocklog.errors import UsageError
from stocklog.stream import StreamArguments
from stocklog.stream.arguments import check_new_stream_name, check_reference, check_stream_name


@pytest.mark.parametrize(
    "name", ["a", "inventory_updates", "é ñ/%", "x" * 255, "ñ" * 127, "a.amq."]
)
def test_names_that_streams_may_have(name: str) -> None:
    assert check_stream_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "x" * 256, "ñ" * 128, "amq.x", "a\nb", "a\r", "a\0b", "a\tb", "a\x7fb", "\udcff"],
)
def test_names_that_the_broker_would_change_or_refuse(name: str) -> None:
    with pytest.raises(UsageError):
        check_stream_name(name)


@pytest.mark.parametrize(("vhost", "most"), [("/", 233), ("shop", 230), ("ñ", 232)])
def test_a_new_streams_name_leaves_room_for_the_folder_that_keeps_it(vhost: str, most: int) -> None:
    # Seen before the fix: the broker made it, and it never got a leader.
    assert check_new_stream_name("x" * most, vhost) == "x" * most
    with pytest.raises(UsageError, match=f"at most {most}"):
        check_new_stream_name("x" * (most + 1), vhost)
    with pytest.raises(UsageError, match="reserves"):
        check_new_stream_name("amq.x", vhost)


@pytest.mark.parametrize("name", ["p", "x" * 255, "ñ" * 127])
def test_references_up_to_255_bytes(name: str) -> None:
    assert check_reference(name, "producer") == name


@pytest.mark.parametrize("name", ["", "x" * 256, "ñ" * 128, "\udcff"])
def test_a_reference_is_counted_in_bytes(name: str) -> None:
    with pytest.raises(UsageError):
        check_reference(name, "producer")


def test_arguments_travel_as_texts_without_prefix() -> None:
    assert StreamArguments().as_map() == {}
    assert StreamArguments(10_000, "7D", 500_000, 3, "balanced").as_map() == {
        "max-length-bytes": "10000",
        "max-age": "7D",
        "stream-max-segment-size-bytes": "500000",
        "initial-cluster-size": "3",
        "queue-leader-locator": "balanced",
    }


@pytest.mark.parametrize("age", ["1Y", "2M", "3D", "4h", "5m", "6s", "31536000s"])
def test_ages_as_the_broker_writes_them(age: str) -> None:
    assert StreamArguments(max_age=age).as_map() == {"max-age": age}


@pytest.mark.parametrize(
    "values",
    [
        {"max_age": ""},
        {"max_age": "7"},
        {"max_age": "0D"},
        {"max_age": "7d"},
        {"max_age": "7D\n"},
        {"max_age": "-7D"},
        {"max_age": "1.5h"},
        {"max_age": "PT10M"},
        {"max_length_bytes": 0},
        {"max_length_bytes": -1},
        {"max_segment_size": 0},
        {"max_segment_size": 3_000_000_001},
        {"initial_cluster_size": 0},
        {"leader_locator": "nearest"},
        {"leader_locator": ""},
    ],
    ids=str,
)
def test_a_value_that_the_broker_would_misread_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as raised:
        StreamArguments(**values)
    assert str(next(iter(values.values()))).strip() in str(raised.value)

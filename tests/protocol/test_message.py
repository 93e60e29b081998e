"""Single messages: every type of AMQP 1.0, and what we make."""

from __future__ import annotations

import math
import struct
import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from stocklog.errors import ProtocolError, UsageError
from stocklog.protocol.amqp_types import Described, Symbol, Undecoded, read_value, skip_value
from stocklog.protocol.message import (
    Header,
    Message,
    Properties,
    encode_message,
    find_body,
    parse_message,
)

VALUES = {
    "40": None,
    "41": True,
    "42": False,
    "56 01": True,
    "56 00": False,
    "50 ff": 255,
    "51 ff": -1,
    "60 0100": 256,
    "61 ff00": -256,
    "70 ffffffff": 2**32 - 1,
    "52 07": 7,
    "43": 0,
    "71 80000000": -(2**31),
    "54 fe": -2,
    "80 ffffffffffffffff": 2**64 - 1,
    "53 75": 0x75,
    "44": 0,
    "81 8000000000000000": -(2**63),
    "55 80": -128,
    "72 3fc00000": 1.5,
    "82 3ff8000000000000": 1.5,
    "73 0001f600": "😀",
    "83 0000000000000000": datetime(1970, 1, 1, tzinfo=UTC),
    "83 ffffffffffffffff": datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC),
    "83 7fffffffffffffff": Undecoded(0x83, bytes.fromhex("7fffffffffffffff")),
    "98 00112233445566778899aabbccddeeff": uuid.UUID("00112233445566778899aabbccddeeff"),
    "a0 02 0001": b"\0\1",
    "b0 00000002 0001": b"\0\1",
    "a1 02 c3b1": "ñ",
    "b1 00000002 c3b1": "ñ",
    "a3 02 6162": Symbol("ab"),
    "b3 00000002 6162": Symbol("ab"),
    "45": [],
    "c0 03 02 41 42": [True, False],
    "d0 00000006 00000002 41 42": [True, False],
    "c1 06 02 a1 01 61 55 05": {"a": 5},
    "d1 00000009 00000002 a1 01 61 55 05": {"a": 5},
    "c1 01 00": {},
    "e0 04 02 55 01 02": [1, 2],
    "f0 00000007 00000002 55 01 02": [1, 2],
    "e0 02 03 41": [True, True, True],
    "e0 08 02 a1 01 61 03 626364": ["a", "bcd"],
    "e0 06 01 00 53 09 55 07": [Described(9, 7)],
    "00 53 09 a1 01 61": Described(9, "a"),
    "00 a3 01 78 00 53 01 40": Described(Symbol("x"), Described(1, None)),
    "c0 05 01 c0 02 01 45": [[[]]],
    "74 00000001": Undecoded(0x74, b"\0\0\0\1"),
    "84 0000000000000001": Undecoded(0x84, bytes(7) + b"\1"),
    "94 00000000000000000000000000000001": Undecoded(0x94, bytes(15) + b"\1"),
}


@pytest.mark.parametrize("encoding", VALUES)
def test_a_value_of_each_type_is_read_and_stepped_over(encoding):
    data = bytes.fromhex(encoding)
    value, end = read_value(data, 0, len(data))
    assert value == VALUES[encoding]
    assert type(value) is type(VALUES[encoding])
    assert end == len(data) == skip_value(data, 0, len(data))
    assert skip_value(b"x" + data + b"y", 1, len(data) + 2) == len(data) + 1


@pytest.mark.parametrize("encoding", VALUES)
def test_every_cut_of_a_value_is_refused(encoding):
    data = bytes.fromhex(encoding)
    for end in range(len(data)):
        with pytest.raises(ProtocolError):
            read_value(data, 0, end)


BROKEN = {
    "10": "no meaning",
    "46": "no meaning",
    "57 00": "no meaning",
    "75 00000000": "no meaning",
    "99 " + "00" * 16: "no meaning",
    "a2 00": "no meaning",
    "c2 01 00": "no meaning",
    "e1 01 00": "no meaning",
    "56 02": "neither 0 nor 1",
    "73 00110000": "no Unicode code point",
    "73 ffffffff": "no Unicode code point",
    "a1 01 ff": "not UTF-8",
    "a3 01 c3": "not ASCII",
    "c0 00": "cut in its count",
    "c0 02 02 41": "2 items in 1 bytes",
    "c0 03 01 41 41": "1 bytes more than its items",
    "c1 02 01 41": "odd number",
    "c1 03 02 45 41": "a key that is a list",
    "d0 00000005 ffffffff 41": "4294967295 items",
    "f0 00000005 ffffffff 40": "4294967295 items",
    "f0 00000006 ffffffff 55 01": "4294967295 items",
    "e0 05 01 00 40 00 40": "described twice",
    "e0 02 41 40": "65 items",
}


@pytest.mark.parametrize("encoding", BROKEN)
def test_a_broken_value_is_refused_with_its_fault(encoding):
    data = bytes.fromhex(encoding)
    with pytest.raises(ProtocolError, match=BROKEN[encoding]):
        read_value(data, 0, len(data))


@pytest.mark.parametrize("levels", [33, 1000, 100_000])
def test_nesting_is_bounded(levels):
    data = b"\x45"
    for _ in range(min(levels, 2000)):
        data = struct.pack(">BII", 0xD0, len(data) + 4, 1) + data
    with pytest.raises(ProtocolError, match="nested deeper than 32"):
        read_value(data, 0, len(data))
    described = b"\0" * levels + b"\x40"
    for step in (read_value, skip_value):
        with pytest.raises(ProtocolError, match="nested deeper than 32"):
            step(described, 0, len(described))


@given(st.binary(max_size=80))
@settings(max_examples=examples(300), deadline=None)
def test_noise_is_a_value_or_a_protocol_error(noise):
    for step in (read_value, skip_value, lambda data, _, __: parse_message(data)):
        try:
            step(noise, 0, len(noise))
        except ProtocolError:
            continue


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_noise_behind_the_start_of_a_section_is_a_message_or_a_protocol_error(noise):
    for code in range(0x70, 0x79):
        try:
            parse_message(b"\0\x53" + bytes((code,)) + noise)
        except ProtocolError:
            continue


moments = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC)
)
texts = st.text(max_size=300)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    texts,
    st.binary(max_size=300),
    moments,
)
properties = st.builds(
    Properties,
    message_id=st.none() | texts,
    user_id=st.none() | st.binary(max_size=20),
    to=st.none() | texts,
    subject=st.none() | texts,
    reply_to=st.none() | texts,
    correlation_id=st.none() | texts,
    content_type=st.none() | st.just("application/json"),
    content_encoding=st.none() | st.just("gzip"),
    absolute_expiry_time=st.none() | moments,
    creation_time=st.none() | moments,
    group_id=st.none() | texts,
    group_sequence=st.none() | st.integers(0, 2**32 - 1),
    reply_to_group_id=st.none() | texts,
)


@given(st.binary(min_size=1, max_size=400), st.none() | properties, st.dictionaries(texts, values))
@settings(max_examples=examples(150), deadline=None)
def test_what_is_made_is_read_back(body, given_properties, application):
    message = encode_message(body, given_properties, application)
    found = parse_message(message)
    assert found.body == body
    assert (found.properties or Properties()) == (given_properties or Properties())
    assert found.application_properties == application
    assert found.header is None
    assert found.annotations == {}
    assert b"".join(message[start : start + size] for start, size in find_body(message)) == body


def test_a_body_alone_is_one_data_section():
    assert encode_message(b"{}") == b"\0\x53\x75\xa0\x02{}"
    assert encode_message(b"x" * 256)[:8] == b"\0\x53\x75\xb0\0\0\1\0"
    assert encode_message(b"{}", Properties(), {}) == encode_message(b"{}")


def test_trailing_properties_that_are_not_set_are_left_out():
    message = encode_message(b"x", Properties(message_id="m"))
    assert message.startswith(b"\0\x53\x73\xc0\x04\x01\xa1\x01m\0\x53\x75")


@pytest.mark.parametrize("n", [60, 127, 128, 200, 300])
def test_many_application_properties_take_the_long_form(n):
    application = {f"key{i}": i for i in range(n)}
    assert parse_message(encode_message(b"x", None, application)).application_properties == (
        application
    )
    nothing = {f"{i}": None for i in range(n)}
    assert parse_message(encode_message(b"x", None, nothing)).application_properties == nothing


@pytest.mark.parametrize(
    "value",
    [
        2**63,
        -(2**63) - 1,
        [1],
        {"a": 1},
        1j,
        uuid.uuid4(),
        Symbol("s"),
        object,
        "\ud800",
        datetime(2026, 1, 1),
    ],
)
def test_values_that_old_readers_break_on_are_refused_by_name(value):
    with pytest.raises(UsageError, match="mine"):
        encode_message(b"x", None, {"mine": value})


@pytest.mark.parametrize(
    "wrong",
    [
        {"message_id": 5},
        {"message_id": uuid.uuid4()},
        {"user_id": "text"},
        {"content_type": "ñ"},
        {"creation_time": 5},
        {"creation_time": datetime(2026, 1, 1)},
        {"group_sequence": 2**32},
        {"group_sequence": True},
        {"subject": b"bytes"},
    ],
)
def test_properties_of_another_type_are_refused_by_name(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        encode_message(b"x", Properties(**wrong))


def test_an_empty_body_and_a_key_that_is_no_text_are_refused():
    with pytest.raises(UsageError, match="empty body"):
        encode_message(b"")
    with pytest.raises(UsageError, match="application property 5 is not text"):
        encode_message(b"x", None, {5: "x"})


def test_times_of_other_zones_are_written_in_utc():
    noon = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=5)))
    found = parse_message(encode_message(b"x", Properties(creation_time=noon), {"at": noon}))
    assert found.properties.creation_time == noon
    assert found.application_properties["at"].utcoffset() == timedelta(0)


def test_header_and_annotations_of_others_are_read():
    message = (
        b"\0\x53\x70\xc0\x06\x03\x41\x50\x04\x52\x05"
        b"\0\x53\x72\xc1\x10\x02\xa3\x0ax-exchange\xa1\x01e"
        b"\0\x53\x75\xa0\x01b\0\x53\x78\xc1\x01\0"
    )
    assert parse_message(message) == Message(
        b"b", Header(durable=True, priority=4, ttl=5), {"x-exchange": "e"}
    )


def test_a_message_without_sections_is_its_own_body():
    assert parse_message(b'{"raw":1}') == Message(b'{"raw":1}')


@pytest.mark.parametrize(("code", "most"), [(0x70, 5), (0x73, 13)])
def test_a_list_with_more_fields_than_its_section_has_is_refused(code, most):
    nulls = b"\0\x53" + bytes((code, 0xC0, most + 2, most + 1)) + b"\x40" * (most + 1)
    with pytest.raises(ProtocolError, match=f"has {most + 1} fields"):
        parse_message(nulls + b"\0\x53\x75\xa0\x01b")


def test_nan_and_infinity_are_kept():
    found = parse_message(encode_message(b"x", None, {"n": math.nan, "i": -math.inf}))
    assert math.isnan(found.application_properties["n"])
    assert found.application_properties["i"] == -math.inf

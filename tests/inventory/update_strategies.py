"""Updates and bodies for property tests: valid ones, odd ones, and mutated ones."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import reference
from hypothesis import strategies as st

INT64 = st.integers(-(2**63), 2**63 - 1)
SMALL = st.integers(-40, 20_000)
PLAIN = st.text("ABCxyz0123456789-/:_", min_size=1, max_size=20)
ANY = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=64
)
AWKWARD = st.sampled_from(
    ["7", "-3", "true", "null", "{}", "[1]", '"', "\\", ":", ':"', '":', "a:b", "\t", "\x1f",
     "\x7f", "é", "😀", "\u2028", "x" * 64, "é" * 64, "twelve_chars", "thirteen_char", " ",
     '","sku":"', "file:stock.csv"]
)  # fmt: skip
TEXT = st.one_of(PLAIN, PLAIN, PLAIN, ANY, AWKWARD)
TIMES = st.one_of(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),
    st.builds(
        lambda seconds: datetime(2026, 11, 24, tzinfo=UTC) + timedelta(microseconds=seconds),
        st.integers(0, 10**8),
    ),
)
NUMBERS = st.one_of(SMALL, SMALL, INT64)
EXTRAS = st.none() | st.dictionaries(
    st.text('abc :"\\é', min_size=1, max_size=6).filter(lambda name: name not in "abc"),
    st.recursive(
        st.none() | st.booleans() | INT64 | st.text('ab :"{[é', max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text("ab", max_size=2), inner, max_size=2)
        ),
        max_leaves=4,
    ),
    min_size=1,
    max_size=3,
)


@st.composite
def updates(draw: st.DrawFn, extras: bool = True) -> dict:
    """A valid update as the reference writes it."""
    kind = draw(st.sampled_from(["adjustment", "adjustment", "count", "transfer", "reservation"]))
    quantity = draw(NUMBERS)
    if kind == "count":
        quantity = abs(quantity) % 2**63
    elif kind == "transfer":
        quantity = abs(quantity) % 2**63 or 1
    update = {
        "update_id": draw(TEXT),
        "type": kind,
        "sku": draw(TEXT),
        "location_id": draw(TEXT),
        "quantity": quantity or (0 if kind == "count" else 1),
        "occurred_at": draw(TIMES),
        "reason": draw(st.sampled_from(sorted(reference.REASONS))),
        "source": draw(TEXT),
    }
    if kind == "transfer":
        update["to_location_id"] = draw(TEXT.filter(lambda to: to != update["location_id"]))
    if kind == "count":
        update["expected_quantity"] = draw(st.none() | NUMBERS)
    update["reference"] = draw(st.none() | TEXT)
    update["uom"] = draw(st.sampled_from([None, None, "EA", "KGM", "X1"]))
    update["source_seq"] = draw(st.none() | NUMBERS)
    if extras:
        update["extra"] = draw(EXTRAS)
    return {name: value for name, value in update.items() if value is not None}


def _time_text(draw: st.DrawFn, moment: datetime) -> str:
    """One of the RFC 3339 texts of a moment."""
    hours = draw(st.sampled_from([0, 0, 2, -5, 14]))
    local = moment.astimezone(timezone(timedelta(hours=hours, minutes=draw(st.integers(0, 1)))))
    text = local.replace(tzinfo=None).isoformat(timespec="microseconds")
    text = draw(st.sampled_from([text, text + "000", text.replace("T", "t")]))
    offset = local.strftime("%z")
    zone = f"{offset[:3]}:{offset[3:5]}" if local.utcoffset() else draw(st.sampled_from("Zz"))
    if not moment.microsecond and draw(st.booleans()):
        text = text[:19]
    return text + zone


@st.composite
def foreign_bodies(draw: st.DrawFn) -> bytes:
    """A valid update as anyone might write it: order, blanks, escapes, nulls, doubles."""
    update = draw(updates())
    members = {**update, **update.pop("extra", {})}
    members.pop("extra", None)
    members["occurred_at"] = _time_text(draw, update["occurred_at"])
    for name in reference.OPTIONAL:
        if name not in members and draw(st.integers(0, 5)) == 0:
            members[name] = None
    pairs = draw(st.permutations(list(members.items())))
    if draw(st.integers(0, 5)) == 0:
        name, value = draw(st.sampled_from(pairs))
        pairs.insert(0, (name, draw(st.sampled_from([value, None, 5, "other"]))))
    ascii_only = draw(st.booleans())
    comma = draw(st.sampled_from([",", ", ", " , ", ",\n  "]))
    colon = draw(st.sampled_from([":", ": ", " :", ":\t"]))
    written = comma.join(
        json.dumps(name, ensure_ascii=ascii_only)
        + colon
        + json.dumps(value, ensure_ascii=ascii_only)
        for name, value in pairs
    )
    return (draw(st.sampled_from(["{", "{ ", " {"])) + written + "}").encode()


WRONG = st.sampled_from(
    ["3", 3, 3.0, -0.0, 10**19, -(10**19), 10**25, 2**63, True, None, "", "x" * 65, "x" * 257,
     "é" * 65, "a\0b", {}, [], {"a": 1}, [1], 1e3, "sale", "count", "transfer", 0, -1, 1,
     "2026-11-24T13:05:60Z", "2026-11-24", "2026-02-29T00:00:00Z", "0001-01-01T00:00:00+00:01",
     "2026-11-24T13:05:00.1234567Z", "2026-11-24 13:05:00Z", "2026-11-24T13:05:00", "A", "kg"]
)  # fmt: skip


@st.composite
def wrong_bodies(draw: st.DrawFn) -> bytes:
    """An update with one or two values replaced or removed; sometimes still valid."""
    update = draw(updates())
    members = json.loads(reference.encode(update))
    for name in draw(st.lists(st.sampled_from(reference.FIELDS), min_size=1, max_size=2)):
        if draw(st.booleans()):
            members[name] = draw(WRONG)
        else:
            members.pop(name, None)
    return json.dumps(members, separators=(",", ":")).encode()


@st.composite
def mutated_bodies(draw: st.DrawFn) -> bytes:
    """A canonical body with bytes changed, put in, taken out or doubled."""
    body = bytearray(reference.encode(draw(updates(extras=draw(st.integers(0, 3)) == 0))))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(body)))
        piece = draw(
            st.sampled_from(
                [
                    b"",
                    b'"',
                    b"\\",
                    b":",
                    b",",
                    b"{",
                    b"}",
                    b"[",
                    b" ",
                    b"\n",
                    b"\0",
                    b"\xff",
                    b"0",
                    b"-",
                    b".0",
                    b"e3",
                    b"Z",
                    b"null",
                    b'"sku":"B",',
                    b'"x":1,',
                    b'\\"',
                    b"\\u003a",
                    b"\\ud83d",
                    b"\\ud83d\\ude00",
                    b"\\ue000",
                    b"\\u0000",
                    b"\xc3\xa9",
                ]
            )
        )
        body[place : place + draw(st.sampled_from([0, 0, 1, 1, 2, 7]))] = piece
    return bytes(body)


BODIES = st.one_of(
    updates(extras=False).map(reference.encode),
    updates(extras=False).map(reference.encode),
    foreign_bodies(),
    wrong_bodies(),
    mutated_bodies(),
    st.binary(max_size=40),
    st.sampled_from([b"", b"{}", b"[]", b"null", b"3", b'"x"', b" ", b"[" * 5000, b'{"a":' * 5000]),
)

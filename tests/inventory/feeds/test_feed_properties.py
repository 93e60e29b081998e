"""Generated feeds: exactly the planted rows are rejected, however the bytes are cut."""

from __future__ import annotations

import csv
import io
import json

from feed_helpers import HEADER, read, row
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from stocklog.errors import StocklogError

texts = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]),
    min_size=1,
    max_size=12,
)
plain = texts.filter(lambda text: "\r" not in text)


@st.composite
def csv_lines(draw: st.DrawFn) -> tuple[bytes, str | None]:
    """One record's bytes, and the expected sku if it is good."""
    sku = draw(plain)
    kind = draw(st.sampled_from(["good"] * 6 + BAD))
    values = {str(k): str(v) for k, v in row(sku=sku, reason="sale").items()}
    if kind == "good":
        out = io.StringIO(newline="")
        quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
        csv.writer(out, lineterminator="\n", quoting=quoting).writerow(values.values())
        return out.getvalue()[:-1].encode(), sku
    values["sku"] = "A1"
    if kind == "fraction":
        values["quantity"] = "3.5"
    line = ",".join(values.values()).encode()
    return {
        "fraction": line,
        "short": b"a,b",
        "long": line + b",surplus",
        "open": line + b',"open',
        "nul": line.replace(b"A1", b"A\0"),
        "utf8": line.replace(b"A1", b"\xff\xfe"),
        "return": line.replace(b"A1", b"A\r1"),
    }[kind], None


BAD = ["fraction", "short", "long", "open", "nul", "utf8", "return"]
feeds = st.lists(csv_lines(), max_size=25)


@settings(deadline=None, max_examples=examples(60))
@given(feeds, st.sampled_from([b"\n", b"\r\n"]), st.booleans(), st.integers(50, 900))
def test_csv_rejects_exactly_what_was_planted(lines, end, ends_well, block_size):
    records = [HEADER.encode(), *(line for line, _ in lines)]
    data = end.join(records) + (end if ends_well else b"")
    whole = read(data, block_size=block_size)
    assert whole.column("sku") == [sku for _, sku in lines if sku is not None]
    expected, number = [], 2
    for line, sku in lines:
        if sku is None:
            expected.append(number)
        number += line.count(b"\n") + 1
    assert [reject.line for reject in whole.rejects] == expected
    numbers = [n for n, (_, sku) in enumerate(lines, 1) if sku is not None]
    assert whole.numbers == numbers


hostile = st.lists(
    st.sampled_from(
        [b"\n", b"\r", b'"', b",", b"a", b"\0", b"\xff", b"\xc3\xb1", b"1", b"till", b'""', b"\r\n"]
    ),
    max_size=120,
).map(b"".join)


@settings(deadline=None, max_examples=examples(120))
@given(hostile, st.integers(1, 40))
def test_hostile_csv_gives_the_same_however_it_is_cut(body, block_size):
    constants = {"type": "count", "location_id": "S", "reason": "other"}
    constants["occurred_at"] = "2026-11-24T00:00:00Z"
    header = b"sku,quantity\n"
    whole = read(header + body, constants=constants)
    cut = read(header + body, block_size=block_size, constants=constants)
    assert whole.column("sku") == cut.column("sku")
    assert whole.numbers == cut.numbers
    assert whole.rejects == cut.rejects
    assert sorted(whole.numbers) == whole.numbers


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None, max_examples=examples(60))
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["sku", "quantity", "reference", "uom", "colour", "offset", "x:y"]),
            json_values | texts | st.integers(-9, 9),
        ),
        max_size=12,
    ),
    st.integers(60, 900),
    st.booleans(),
)
def test_jsonl_takes_what_the_record_takes_and_keeps_the_rest(changes, block_size, spaced):
    rows = [row(**change) for change in changes]
    separators = None if spaced else (",", ":")
    text = "".join(json.dumps(r, separators=separators, ensure_ascii=spaced) + "\n" for r in rows)
    whole = read(text, block_size=block_size, input_format="jsonl")
    good = [index for index, r in enumerate(rows) if _valid(r)]
    assert whole.numbers == [index + 1 for index in good]
    assert [reject.line - 1 for reject in whole.rejects] == [
        index for index in range(len(rows)) if index not in good
    ]
    for index, update in zip(good, whole.updates, strict=True):
        kept = {k: v for k, v in rows[index].items() if k in ("colour", "x:y")}
        assert (json.loads(str(update["extra"])) if update["extra"] else {}) == kept
        assert update["sku"] == rows[index]["sku"]


def _valid(values: dict[str, object]) -> bool:
    sku, quantity = values["sku"], values["quantity"]
    reference, uom = values.get("reference"), values.get("uom")
    return (
        isinstance(sku, str)
        and 1 <= len(sku) <= 64
        and type(quantity) is int
        and -(2**63) <= quantity < 2**63
        and quantity != 0
        and (reference is None or (isinstance(reference, str) and 1 <= len(reference) <= 256))
        and (
            uom is None
            or (
                isinstance(uom, str)
                and 1 <= len(uom) <= 3
                and all(c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" for c in uom)
            )
        )
    )


@settings(deadline=None, max_examples=examples(150))
@given(st.binary(max_size=300), st.sampled_from(["csv", "jsonl", None]))
def test_any_bytes_are_read_or_refused_by_one_clear_error(data, input_format):
    try:
        whole = read(data, input_format=input_format)
    except StocklogError:
        return  # any other exception fails the test
    assert all(reject.reason for reject in whole.rejects)

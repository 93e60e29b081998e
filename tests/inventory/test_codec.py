"""The batch codec: what is proven by which way, and the borders of encoding."""

from __future__ import annotations

import importlib
import json
import threading
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from stocklog.errors import InvalidUpdateError, UsageError
from stocklog.inventory.bodies import Bodies, gather
from stocklog.inventory.canonical import read_canonical
from stocklog.inventory.codec import Encoder, compact, decode, decode_row, encode, encode_row
from stocklog.inventory.general import read_general
from stocklog.inventory.update import UPDATE_SCHEMA, Update, to_frame
from stocklog.inventory.words import PAD, places_of

WHEN = datetime(2026, 11, 24, 13, 5, 0, 123456, tzinfo=UTC)

# The package also has a function of this name, which a dotted text would find.
DECODE = importlib.import_module("stocklog.inventory.decode")


def sale(number: int = 1, **change: object) -> dict:
    update = {
        "update_id": f"pos-1/{number}",
        "type": "adjustment",
        "sku": "A1",
        "location_id": "S1",
        "quantity": -2,
        "occurred_at": WHEN,
        "reason": "sale",
        "source": "pos-1",
    }
    return update | change


def laid(bodies: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    lengths = np.array([len(body) for body in bodies], np.int64)
    return np.frombuffer(b"".join(bodies), np.uint8), np.cumsum(lengths) - lengths, lengths


def gathered(bodies: list[bytes]) -> Bodies:
    return gather(*laid(bodies))


def foreign(update: dict, **change: object) -> bytes:
    """As another writer would write it: other order, blanks, ASCII only."""
    members = json.loads(reference.encode(update)) | change
    return json.dumps(dict(reversed(list(members.items())))).encode()


VALID = [
    sale(),
    sale(sku="a-much-longer-article-number", quantity=-(10**13)),
    sale(type="transfer", quantity=3, to_location_id="S2"),
    sale(type="transfer", quantity=3, location_id="warehouse-north-1")
    | {"to_location_id": "warehouse-north-2"},
    sale(type="count", quantity=0, expected_quantity=-5, reference="sheet 7", uom="EA")
    | {"source_seq": 12_345_678_901},
    sale(sku="Ñandú", source="file:stock.csv", uom="KGM"),
]


def test_the_short_way_itself_reads_what_we_write() -> None:
    proven = read_canonical(gathered([reference.encode(update) for update in VALID]))
    assert proven.rows.tolist() == list(range(len(VALID)))
    assert proven.updates.equals(to_frame(VALID))


def test_the_general_way_itself_reads_what_others_write() -> None:
    escapes = [sale(sku='a"b\\c:é😀', reference="\t:"), sale(source="x" * 64)]
    proven = read_general(gathered([foreign(update) for update in VALID + escapes]))
    assert proven.rows.tolist() == list(range(len(VALID) + 2))
    assert proven.updates.equals(to_frame(VALID + escapes))


@pytest.mark.parametrize(
    "body",
    [
        foreign(sale(), colour="red"),
        foreign(sale(), sku=5, colour=1),
        foreign(sale(), quantity="3"),
        foreign(sale(), quantity=3.0),
        foreign(sale(), quantity=True),
        foreign(sale(), quantity=10**19),
        foreign(sale(), sku={"a": 1}),
        foreign(sale(), sku="\ud83d\ue000"),
        b'{"sku":"A",' + foreign(sale())[1:],
        foreign(sale())[:-1],
        b"[" * 100_000,
        b"",
    ],
)
def test_one_odd_body_takes_no_other_body_along(body: bytes) -> None:
    bodies = [foreign(sale(number)) for number in range(200)]
    bodies.insert(77, body)
    proven = read_general(gathered(bodies))
    assert 77 not in proven.rows
    # At most the few that stood beside it are left to the row way.
    assert proven.rows.size >= 200 - 24


def test_mixed_blocks_keep_their_order() -> None:
    updates, bodies = [], []
    for number in range(300):
        update = sale(number, sku=f"SKU{number}")
        updates.append(update)
        bodies.append([reference.encode, foreign][number % 2](update))
        if number % 50 == 0:
            bodies.append(b"rubbish")
            updates.append(sale(number, sku="x", extra={"colour": "red"}))
            bodies.append(reference.encode(updates[-1]))
    for update in updates:
        if "extra" in update:
            update["extra"] = '{"colour":"red"}'
    found = decode(*laid(bodies))
    assert found.updates.equals(to_frame(updates))
    assert found.valid.sum() == len(updates)
    assert len(found.reasons) == 6


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"\xff{}", "not UTF-8: byte 0 is 0xff"),
        (b"[1]", "not a JSON object"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not a JSON object"),
        (b'{"a":' * 100_000, "body is n"),
        (b"{}", "update_id is missing"),
        (foreign(sale(), quantity=3.5), "quantity is 3.5: it must be an exact integer"),
        (foreign(sale(), quantity=10**25), "signed 64-bit"),
        (foreign(sale(), quantity="3"), 'quantity is "3": it must be an exact integer'),
        (foreign(sale(), occurred_at="2026-11-24T13:05:60Z"), "leap second"),
        (foreign(sale(), occurred_at=7), "occurred_at is 7: it must be RFC 3339 text"),
        (foreign(sale(), sku=None), "sku is missing"),
    ],
)
def test_a_refused_body_has_a_reason(body: bytes, words: str) -> None:
    found = decode(*laid([reference.encode(sale()), body]))
    assert found.valid.tolist() == [True, False]
    assert words in found.reasons[1]
    with pytest.raises(InvalidUpdateError) as caught:
        decode_row(body)
    assert words in str(caught.value)


def test_unknown_members_are_kept_as_they_were_written() -> None:
    body = (
        reference.encode(sale())[:-1] + b', "price" : 1.50, "tags":[ 1 ,\n"\\u00e9"],"big":1e400}'
    )
    update = decode_row(body)
    assert update.extra == '{"price":1.50,"tags":[1,"\\u00e9"],"big":1e400}'
    found = decode(*laid([body]))
    assert found.updates["extra"][0] == update.extra
    again = encode(found.updates)
    assert again.data.tobytes() == encode_row(update)


def test_blocks_of_any_size_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [reference.encode(sale(number)) for number in range(100)]
    bodies[60] = b"rubbish"
    whole = decode(*laid(bodies))
    monkeypatch.setattr(DECODE, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(DECODE, "_BLOCK_BYTES", 500)
    parts = decode(*laid(bodies))
    assert parts.updates.equals(whole.updates)
    assert parts.reasons == whole.reasons
    assert parts.valid.tolist() == whole.valid.tolist()


@pytest.mark.parametrize("count", [1, 5, 40, 41])
def test_few_bodies_are_read_row_by_row_with_the_same_result(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = [reference.encode(sale(number)) for number in range(count)]
    bodies[0] = b"rubbish"
    bodies[count // 2] = bodies[-1].replace(b":", b" : ")
    by_columns = decode(*laid(bodies))
    monkeypatch.setattr(DECODE, "_FEW", 40)
    found = decode(*laid(bodies))
    assert found.updates.equals(by_columns.updates)
    assert found.updates.schema == by_columns.updates.schema
    assert found.reasons == by_columns.reasons
    assert found.valid.tolist() == by_columns.valid.tolist()


def test_nothing_decodes_to_an_empty_frame() -> None:
    none = np.zeros(0, np.int64)
    found = decode(np.zeros(0, np.uint8), none, none)
    assert dict(found.updates.schema) == UPDATE_SCHEMA
    assert found.updates.height == found.valid.size == 0


@pytest.mark.parametrize(("start", "length"), [(-1, 2), (3, 3), (0, -1), (6, 0)])
def test_a_body_outside_the_buffer_is_refused(start: int, length: int) -> None:
    with pytest.raises(UsageError, match="outside the buffer"):
        decode(np.zeros(5, np.uint8), np.array([start]), np.array([length]))
    with pytest.raises(UsageError, match="lengths"):
        decode(np.zeros(5, np.uint8), np.array([0, 1]), np.array([1]))


@pytest.mark.parametrize("behind", [0, 1, 3000])
def test_bodies_in_any_order_up_to_the_buffers_end_are_gathered(behind: int) -> None:
    buffer = np.frombuffer(b"aaaabbbcc" + bytes(behind), np.uint8)
    found = gather(buffer, np.array([7, 0, 4, 7, 2]), np.array([2, 4, 3, 2, 3]))
    assert [found.body(row) for row in range(5)] == [b"cc", b"aaaa", b"bbb", b"cc", b"aab"]
    assert found.lines.tobytes() == b"cc aaaa bbb cc aab "
    assert found.data.size == found.lines.size + PAD
    assert not found.data[found.lines.size :].any()
    empty = gather(buffer, np.array([9, 0]), np.array([0, 0]))
    assert empty.lines.tobytes() == b"  "


@given(st.data())
def test_places_of_marks_are_those_that_numpy_finds(data: st.DataObject) -> None:
    size = data.draw(st.integers(0, 100))
    marks = np.zeros(size, np.bool_)
    marks[data.draw(st.lists(st.integers(0, max(0, size - 1)), max_size=size))] = True
    assert places_of(marks).tolist() == np.flatnonzero(marks).tolist()


def test_compact_updates_are_equal_and_let_go_of_the_block() -> None:
    bodies = [reference.encode(update) for update in VALID]
    updates = decode(*laid(bodies)).updates
    assert compact(updates).equals(updates)
    assert dict(compact(updates).schema) == UPDATE_SCHEMA
    wide = decode(*laid([reference.encode(sale(sku="x" * 60))] * 1000)).updates
    assert compact(wide[:1]).estimated_size() < 2000


def test_the_encoded_bytes_are_writable_and_kept_apart_from_the_encoder() -> None:
    frame = to_frame([sale()])
    first = encode(frame, b"....")
    first.data[:4] = 0
    second = encode(frame, b"....")
    assert first.data[:4].tolist() == [0] * 4
    assert second.data[:4].tobytes() == b"...."


def test_dictionaries_are_rendered_once_and_changed_ones_anew() -> None:
    encoder = Encoder()
    table = to_frame([sale(sku="A"), sale(sku="B")]).to_arrow(compat_level=pl.CompatLevel.oldest())
    for names in (["A", "B"], ["A", "B"], ["C", "D"], ['"', "\n"], ["A", "B"], ["A", "B", "C"]):
        column = pa.DictionaryArray.from_arrays(pa.array([1, 0], pa.int8()), pa.array(names))
        rows = encoder.encode(table.set_column(2, "sku", column))
        ends = rows.starts.tolist()
        texts = [rows.data[a:b].tobytes() for a, b in pairwise(ends)]
        assert [json.loads(text)["sku"] for text in texts] == [names[1], names[0]]


def test_a_pool_that_has_grown_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stocklog.inventory.encode._MAX_POOL", 1)
    encoder = Encoder()
    for number in range(3):
        rows = encoder.encode(to_frame([sale(number)]))
        assert rows.data.tobytes() == reference.encode(sale(number))


def test_rows_of_any_length_may_follow_on_others() -> None:
    encoder = Encoder()
    for length, count in ((1, 3), (64, 2000), (1, 2000), (64, 1), (30, 5000)):
        updates = [sale(number, sku=f"{number % 10}" * length) for number in range(count)]
        rows = encoder.encode(to_frame(updates))
        assert rows.data.tobytes() == b"".join(map(reference.encode, updates))


def test_times_that_are_spread_wide_are_written_right() -> None:
    updates = [
        sale(number, occurred_at=WHEN.replace(year=1 + number * 13, minute=number % 60))
        for number in range(700)
    ]
    rows = encode(to_frame(updates))
    assert rows.data.tobytes() == b"".join(map(reference.encode, updates))


def test_slices_and_chunks_are_written_as_what_they_hold() -> None:
    updates = [sale(number, sku=f"S{number % 7}", source_seq=number) for number in range(40)]
    table = to_frame(updates).to_arrow(compat_level=pl.CompatLevel.oldest())
    sku = table.column("sku").combine_chunks().dictionary_encode()
    table = table.set_column(2, "sku", sku)
    expected = b"".join(map(reference.encode, updates[5:25]))
    assert encode(table[5:25]).data.tobytes() == expected
    assert encode(table.combine_chunks().to_batches()[0][5:25]).data.tobytes() == expected
    assert encode(pa.concat_tables([table[5:11], table[11:25]])).data.tobytes() == expected
    assert encode(to_frame(updates)[5:25]).data.tobytes() == expected
    assert encode(table[:0]).starts.tolist() == [0]


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (to_frame([sale()]).drop("sku"), "lacks the column sku"),
        (to_frame([sale()]).with_columns(pl.lit(1).alias("colour")), "'colour'"),
        (to_frame([sale()]).with_columns(sku=pl.lit(None, pl.String)), "row 0: sku is missing"),
        (to_frame([sale()]).with_columns(quantity=pl.lit(1.5)), "quantity is double"),
        (to_frame([sale()]).with_columns(sku=pl.lit(1)), "sku is int32"),
        (
            to_frame([sale()]).with_columns(quantity=pl.lit(2**63, pl.UInt64)),
            "quantity does not fit int64",
        ),
        (
            to_frame([sale()]).with_columns(pl.col("occurred_at").dt.replace_time_zone(None)),
            "occurred_at is timestamp",
        ),
    ],
)
def test_a_batch_that_cannot_be_written_is_refused_by_name(batch: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        encode(batch)


def test_threads_have_encoders_of_their_own() -> None:
    results: dict[int, bytes] = {}

    def work(number: int) -> None:
        for _ in range(20):
            results[number] = encode(to_frame([sale(number, sku=f"T{number}")])).data.tobytes()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, body in results.items():
        assert body == reference.encode(sale(number, sku=f"T{number}"))
    assert len(results) == 4


def test_a_row_of_the_row_face_is_read_back() -> None:
    update = Update(**sale(sku="é\n"))
    assert decode_row(encode_row(update)) == update


def test_the_general_way_itself_reads_optional_fields_that_are_null() -> None:
    nulls = dict.fromkeys(["to_location_id", "expected_quantity", "reference", "source_seq"])
    bodies = [foreign(sale(), **nulls), foreign(sale(reference="null,"), uom=None), foreign(sale())]
    proven = read_general(gathered(bodies))
    assert proven.rows.tolist() == [0, 1, 2]
    doubled = b'{"uom":null,' + foreign(sale(), uom="EA")[1:]
    hidden = foreign(sale(), colour=None)
    assert not read_general(gathered([doubled, hidden])).rows.size
    assert decode(*laid([doubled])).updates["uom"].to_list() == ["EA"]

"""CSV feeds: dialects, headers, quotes, and the rows that are none."""

from __future__ import annotations

import base64
import io

import pytest
from feed_helpers import HEADER, csv_line, csv_text, read, read_file

from stocklog.errors import FeedError, UsageError
from stocklog.inventory.feeds import FeedOptions, open_feed

UPPER = "type,sku,location_id,quantity,occurred_at,reason,note"
ROW = "adjustment,A1,S1,-1,2026-11-24T14:05:00Z,sale"


def test_good_rows_come_out_typed_and_in_order():
    whole = read(csv_text(*(csv_line(n) for n in range(1, 6))))
    assert whole.column("sku") == ["A1", "A2", "A3", "A4", "A5"]
    assert whole.column("quantity") == [-1, -2, -3, -4, -5]
    assert str(whole.column("occurred_at")[0]) == "2026-11-24 14:05:00+00:00"
    assert whole.numbers == [1, 2, 3, 4, 5]
    assert not whole.rejects


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiters_and_line_ends_are_recognised(delimiter, end):
    text = csv_text(csv_line(1), csv_line(2)).replace(",", delimiter).replace("\n", end)
    assert read(text).column("sku") == ["A1", "A2"]


def test_the_delimiter_option_wins_and_an_impossible_one_is_refused():
    text = csv_text(csv_line(1)).replace(",", ":").replace("14:05:00Z", "140500")
    with pytest.raises(UsageError, match="no column for"):
        read(text)
    whole = read(text, delimiter=":", constants={"occurred_at": "2026-11-24T00:00:00Z"})
    assert whole.column("sku") == ["A1"]
    with pytest.raises(UsageError, match="Give one ASCII character"):
        FeedOptions(delimiter="||")


def test_a_spreadsheets_sep_line_sets_the_delimiter():
    assert read("sep=;\n" + csv_text(csv_line()).replace(",", ";")).column("sku") == ["A1"]


@pytest.mark.parametrize(
    ("encoding", "option"),
    [
        ("utf-8-sig", None),
        ("utf-16", None),
        ("utf-16-le", "utf-16-le"),
        ("cp1252", "cp1252"),
        ("latin-1", "ISO-8859-1"),
    ],
)
@pytest.mark.parametrize("block_size", [5, 4 << 20])
def test_encodings_by_mark_or_option(encoding, option, block_size):
    text = csv_text(csv_line(1, sku="Ñandú"), csv_line(2, sku="caña"))
    whole = read(text.encode(encoding), encoding=option, block_size=block_size)
    assert whole.column("sku") == ["Ñandú", "caña"]


def test_a_line_that_is_not_utf8_is_one_reject_with_its_bytes():
    bad = csv_line(2, sku="caña").encode("cp1252")
    whole = read(b"\n".join([HEADER.encode(), csv_line(1).encode(), bad, csv_line(3).encode()]))
    assert whole.column("sku") == ["A1", "A3"]
    (reject,) = whole.rejects
    assert (reject.line, reject.base64, base64.b64decode(reject.row)) == (3, True, bad)
    assert "--encoding" in reject.reason
    assert reject.to_dict() == {
        "file": "stdin", "line": 3, "reason": reject.reason, "row_base64": reject.row
    }  # fmt: skip


def test_a_byte_that_the_given_encoding_lacks_costs_one_row():
    data = csv_text(csv_line(1), csv_line(2, sku="x?y"), csv_line(3)).encode()
    whole = read(data.replace(b"?", b"\x81"), encoding="cp1252")
    assert whole.column("sku") == ["A1", "A3"]
    assert list(whole.reasons) == [3]


def test_an_unknown_encoding_is_refused():
    with pytest.raises(UsageError, match="encoding 'klingon' is not known"):
        FeedOptions(encoding="klingon")


def test_quoted_fields_with_delimiters_quotes_and_line_ends():
    text = f'{UPPER}\n{ROW},"a, ""b"""\n{ROW},"two\r\nlines, and\n\nmore"\n{ROW},last\n'
    for block_size in (1, 30, 4 << 20):
        whole = read(text, keep_extra=True, block_size=block_size)
        assert whole.column("extra") == [
            '{"note":"a, \\"b\\""}',
            '{"note":"two\\r\\nlines, and\\n\\nmore"}',
            '{"note":"last"}',
        ]
        assert whole.numbers == [1, 2, 3]


def test_rejects_after_a_row_of_several_lines_have_the_right_line():
    text = f'{UPPER}\n{ROW},"two\nlines"\n\n{ROW},x,y\n'
    (reject,) = read(text).rejects
    assert (reject.line, reject.row) == (5, f"{ROW},x,y")
    assert reject.reason == "8 fields where the header has 7"


def test_a_lone_open_quote_costs_one_row_not_the_file():
    rows = [f"{ROW},n{n}" for n in range(500)]
    rows[100] = f'{ROW},"never closed'
    rows[300] = f'{ROW},"nor this'
    whole = read("\n".join([UPPER, *rows]))
    assert len(whole.updates) == 498
    assert whole.reasons == dict.fromkeys([102, 302], "a quote is opened and not closed")
    assert [reject.row for reject in whole.rejects] == [rows[100], rows[300]]


def test_an_open_quote_hidden_by_an_even_number_of_quotes_costs_one_row():
    hidden = '5",A1,S1,-1,2026-11-24T14:05:00Z,sale,"open'
    whole = read("\n".join([UPPER, f"{ROW},a", hidden, f'{ROW},"b"', f"{ROW},c"]))
    assert len(whole.updates) == 3
    assert [(reject.line, reject.row) for reject in whole.rejects] == [(3, hidden)]


def test_a_quote_inside_an_unquoted_field_is_a_quote():
    whole = read(f'{UPPER}\n{ROW},12" pipe\n{ROW},6" and 8"\n', keep_extra=True)
    assert whole.column("extra") == ['{"note":"12\\" pipe"}', '{"note":"6\\" and 8\\""}']


def test_a_quote_open_for_more_than_the_bound_is_taken_for_a_lone_one():
    text = f'{UPPER}\n{ROW},"' + "x\n" * 150 + f'"\n{ROW},good\n'
    whole = read(text)
    assert len(whole.updates) == 1
    assert whole.reasons[2] == "a quote is opened and not closed"


def test_values_that_break_one_rule_have_one_reason_so_that_they_can_be_summed():
    bad = [csv_line(n, type=f"sold-{n}", sku="x" * (64 + n)) for n in range(1, 6)]
    bad += [csv_line(n, type="count", quantity=-n) for n in range(6, 11)]
    whole = read(csv_text(*bad))
    assert sorted(set(whole.reasons.values())) == [
        "quantity is negative: a count is what was found, 0 or more",
        "type: it must be one of adjustment, count, transfer, reservation; "
        "sku: it must be text of 1 to 64 characters",
    ]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("quantity", "3.5", "quantity is not a whole number"),
        ("quantity", "abc", "quantity is not a number"),
        ("quantity", "1e3", "quantity is a number that is not written plainly"),
        ("quantity", "99999999999999999999", "quantity is outside the range of 64-bit integers"),
        ("quantity", "9223372036854775808", "quantity is outside the range of 64-bit integers"),
        ("quantity", "3.0004", "quantity is not a whole number"),
        ("quantity", "1.234.567", "quantity is not a number"),
        ("quantity", "", "quantity is missing"),
        ("quantity", "0", "quantity is 0"),
        ("sku", "", "sku is missing"),
        ("type", "sell", "type: it must be one of adjustment, count"),
        ("occurred_at", "24/11/2026", "occurred_at is not a time such as"),
        ("occurred_at", "2026-02-30T10:00:00Z", "occurred_at is not a moment that exists"),
        ("occurred_at", "2026-11-24", "occurred_at is a date without a time of day"),
        ("occurred_at", "2026-11-24T14:05:00.1234567Z", "occurred_at is not a moment"),
    ],
)
def test_bad_values_are_rejected_with_a_reason(field, value, reason):
    bad = csv_line(2, **{field: value})
    whole = read(csv_text(csv_line(1), bad, csv_line(3)))
    assert whole.column("sku") == ["A1", "A3"]
    assert whole.numbers == [1, 3]
    (reject,) = whole.rejects
    assert (reject.line, reject.row) == (3, bad)
    assert reject.reason.startswith(reason)


@pytest.mark.parametrize("value", ["3", "+3", "003", "3.0", "3.", " 3 ", "3.000"])
def test_whole_numbers_however_written(value):
    assert read(csv_text(csv_line(quantity=value))).column("quantity") == [3]


def test_thousands_separators_are_refused_by_name():
    whole = read(csv_text(csv_line(quantity='"1,000"'), csv_line(quantity="1 000")))
    assert set(whole.reasons.values()) == {
        "quantity is written with thousands separators: leave them out"
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("3,0", 3), ("-3", -3), ("3,", 3), ("3,5", "not a whole number"),
        ("1.000", 1000), ("-1.000,0", -1000), ("12.345.678", 12_345_678), ("1.234,5", "whole"),
        ("3.0", "decimal point although"), ("1.00", "decimal point although"),
        ("12.34.567", "not a number"), ("0.125", "decimal point although"),
        ("1 000", "thousands separators"),
    ],
)  # fmt: skip
def test_decimal_comma(value, expected):
    text = csv_text(csv_line(quantity="#")).replace(",", ";").replace("#", value)
    whole = read(text, decimal_comma=True)
    if isinstance(expected, int):
        assert whole.column("quantity") == [expected]
    else:
        assert expected in whole.reasons[2]


def test_without_decimal_comma_a_semicolon_file_does_not_guess():
    text = csv_text(csv_line(quantity="1.000"), csv_line(quantity="4.0")).replace(",", ";")
    whole = read(text.replace("4.0", "4.0"))
    assert whole.column("quantity") == [4]
    assert "give --decimal-comma" in whole.reasons[2]
    comma = read(csv_text(csv_line(quantity="#")).replace(",", ";").replace("#", "3,0"))
    assert comma.reasons[2] == "quantity is written with a decimal comma: give --decimal-comma"


def test_blank_lines_are_no_rows_but_count_as_lines():
    whole = read(f"\n{HEADER}\n\n{csv_line(1)}\r\n\r\n{csv_line(2)},surplus\n")
    assert whole.numbers == [1]
    assert list(whole.reasons) == [6]


def test_a_last_line_without_an_end_counts():
    assert read(csv_text(csv_line(1)) + csv_line(2)).numbers == [1, 2]


def test_missing_columns_are_one_error_that_shows_the_way():
    with pytest.raises(UsageError) as caught:
        read("Artikel,qty\nA,1\n")
    text = str(caught.value)
    assert "no column for type, sku, location_id, quantity, occurred_at, reason" in text
    assert "its columns are Artikel, qty" in text
    assert "--map type='Artikel'" in text


def test_two_columns_of_one_name_are_refused_only_if_used():
    with pytest.raises(UsageError, match="two columns called 'sku'"):
        read(csv_text(csv_line() + ",A2", header=HEADER + ",sku"))
    whole = read(csv_text(csv_line() + ",1,2", header=HEADER + ",x,x"))
    assert whole.column("sku") == ["A1"]


def test_other_columns_are_dropped_unless_kept():
    text = csv_text(csv_line(1) + ",red,,007", header=HEADER + ",colour,size,offset")
    assert read(text).column("extra") == [None]
    assert read(text, keep_extra=True).column("extra") == ['{"colour":"red"}']


def test_ids_and_source_of_a_file(tmp_path):
    path = tmp_path / ("x" * 70 + "stock.csv")
    header = "type,sku,location_id,quantity,occurred_at,reason"
    path.write_text(f"{header}\n{ROW}\nbad\n{ROW}\n")
    whole = read_file(path)
    digest = str(whole.column("update_id")[0]).partition("/")[0]
    assert whole.column("update_id") == [f"{digest}/1", f"{digest}/3"]
    assert len(digest) == 16
    assert whole.column("source")[0] == ("file:" + path.name[-59:])
    assert read_file(path).column("update_id") == whole.column("update_id")
    again = read_file(path, run=2)
    assert again.column("update_id") == [f"{digest}-2/1", f"{digest}-2/3"]
    path.write_text(f"{header}\n{ROW}\nbad\n{ROW}x\n")
    assert read_file(path).column("update_id")[0] != f"{digest}/1"


def test_ids_are_made_only_where_the_column_is_empty():
    whole = read(csv_text(csv_line(1, update_id=""), csv_line(2)))
    made, given = whole.column("update_id")
    assert given == "till/2"
    assert len(str(made)) == 36


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"PK\x03\x04xx", "zip archive or an Excel workbook"),
        (b"a,b\rc,d\r", "carriage return alone"),
        ("a,b\nc,d\n".encode("utf-16-le"), "NUL bytes"),
        ("año,b\n".encode("cp1252"), "not in the expected encoding"),
        (b"x" * (2 << 20), "begins with a line of"),
        (b'"a,b\n', "cannot be split into columns"),
    ],
)
def test_what_is_no_csv_is_one_clear_error(data, message):
    with pytest.raises(FeedError, match=message):
        read(data, input_format="csv")


def test_binary_rubbish_behind_a_header_is_rejected_line_by_line():
    rubbish = bytes(range(256)) * 40
    whole = read(csv_text(csv_line(1)).encode() + rubbish + b"\n" + csv_line(2).encode())
    assert whole.column("sku") == ["A1", "A2"]
    assert len(whole.rejects) == rubbish.count(b"\n") + 1


def test_a_line_of_100_mb_is_one_bounded_reject():
    class Huge(io.RawIOBase):
        """A header, a good row, 100 MB of one line, and a good row, made as they are read."""

        def __init__(self):
            self.pieces = iter(
                [csv_text(csv_line(1)).encode(), *[b"x" * (1 << 20)] * 100, b"\n"
                 + csv_line(2).encode()]
            )  # fmt: skip

        def readable(self):
            return True

        def read(self, size=-1):
            return next(self.pieces, b"")

    with open_feed("-", stream=Huge()) as feed:
        batches = list(feed)
    assert sum(batch.updates.height for batch in batches) == 2
    (reject,) = [reject for batch in batches for reject in batch.rejects]
    assert reject.line == 3
    assert len(reject.row) < 5000
    assert "(104,857,600 bytes)" in reject.row
    assert batches[-1].row_numbers.tolist()[-1] == 3

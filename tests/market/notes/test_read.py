"""Reading notes: every row becomes a note or is told of, whatever a file holds, and nothing ends in a traceback."""

import datetime
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markets import market

from tradeschool.errors import DataError
from tradeschool.market.notes.note import KINDS, Note, Notes
from tradeschool.market.notes.read import attach, holds_notes, read_notes

DAY = datetime.date(2014, 3, 31)
ROW: dict[str, Any] = {
    "ticker": "A",
    "known_at": "2014-03-31T15:00:00Z",
    "kind": "news",
    "source": "wire",
    "text": "up",
}


def jsonl(folder: Path, *rows: Any, name: str = "notes.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), "utf-8")
    return path


def parquet(folder: Path, **columns: Any) -> Path:
    pd.DataFrame(columns).to_parquet(folder / "notes.parquet")
    return folder / "notes.parquet"


def rules(found: Notes, severity: str = "error") -> list[tuple[int | None, str, str]]:
    return [(one.row, one.rule, one.value) for one in found.findings if one.severity == severity]


def test_a_row_of_each_format_reads_the_same(tmp_path: Path) -> None:
    row = {**ROW, "kind": "analyst", "Price Target": 12.5, "rating": "buy"}
    frame = pd.DataFrame([row])
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "semicolons.csv", index=False, sep=";")
    frame.assign(known_at=pd.to_datetime(frame["known_at"])).to_parquet(tmp_path / "a.parquet")
    expected = Note(
        np.datetime64("2014-03-31T15:00:00"), "A", "analyst", "up", "wire", {"price_target": 12.5, "rating": "buy"}
    )
    for path in (jsonl(tmp_path, row), tmp_path / "a.csv", tmp_path / "semicolons.csv", tmp_path / "a.parquet"):
        found = read_notes(path)
        assert (found.notes, found.findings) == ([expected], [])


def test_fields_come_from_columns_and_from_nested_ones(tmp_path: Path) -> None:
    nested = {
        "Total Revenue": "1,234",
        "netIncome": 5,
        "none": None,
        "nan": float("nan"),
        "big": 10**400,
        "deep": {"a": 1},
    }
    path = jsonl(
        tmp_path,
        {**ROW, "kind": "fundamentals", "fields": nested, "eps": "2.5", "empty": ""},
        {**ROW, "kind": "fundamentals", "fields": json.dumps({"eps": 3}), "tags": ["x", "y"]},
        {**ROW, "kind": "fundamentals", "fields": None, "filed": True},
    )
    assert [dict(note.fields) for note in read_notes(path).notes] == [
        {"eps": 2.5, "total_revenue": 1234.0, "net_income": 5.0, "deep_a": 1.0},
        {"eps": 3.0, "tags": "x, y"},
        {"filed": 1.0},
    ]


def test_nested_and_typed_columns_of_parquet(tmp_path: Path) -> None:
    path = parquet(
        tmp_path,
        ticker=["A", "A"],
        known_at=[DAY, None],  # date32
        text=[b"bytes", b""],
        fields=[{"eps": 1.0, "list": [1, 2]}, {"eps": None, "list": None}],
        period_end=[datetime.date(2013, 12, 31), None],
        count=pd.array([3, None], dtype="Int64"),
    )
    found = read_notes(path)
    assert [note.text for note in found.notes] == ["bytes"]
    assert dict(found.notes[0].fields) == {"period_end": "2013-12-31", "count": 3.0, "eps": 1.0, "list": "1, 2"}
    assert str(found.notes[0].known_at) == "2014-04-01"
    assert rules(found) == [(2, "known_at is missing", "")]


def test_days_without_an_hour_shift_unless_told_otherwise(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {**ROW, "known_at": "2014-03-31"})
    assert str(read_notes(path).notes[0].known_at) == "2014-04-01"
    assert str(read_notes(path, same_day=True).notes[0].known_at) == "2014-03-31"


def test_tweets_are_told_by_their_column(tmp_path: Path) -> None:
    path = parquet(tmp_path, ticker=["$A"], created_at=[pd.Timestamp("2014-03-31T15:00", tz="UTC")], text=["hi"])
    (note,) = read_notes(path).notes
    assert (note.ticker, note.kind, str(note.known_at)) == ("A", "tweet", "2014-03-31T15:00:00")


def test_what_is_of_the_market_keeps_its_series_as_the_source(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path,
        {**ROW, "ticker": "^VIX", "kind": "volatility_index", "text": "", "value": 15.5, "source": ""},
        {**ROW, "ticker": "CPI", "kind": "macro", "value": 2.1},
        {**ROW, "ticker": "", "kind": ""},
        {**ROW, "ticker": None},
    )
    found = read_notes(path).notes
    assert [(note.ticker, note.source) for note in found] == [(None, "^VIX"), (None, "CPI, wire"), (None, "wire")]
    assert [note.kind for note in found] == ["volatility_index", "macro", "news"]


@pytest.mark.parametrize(
    ("row", "rule", "part"),
    [
        ({**ROW, "kind": "insiders"}, "the kind is unknown", "Did you mean 'insider'?"),
        ({**ROW, "kind": "fundamentals", "ticker": ""}, "a row of kind fundamentals has no ticker", "Name the ticker"),
        ({**ROW, "known_at": None}, "known_at is missing", "Write it as"),
        ({**ROW, "known_at": "31/03/2014"}, "known_at is neither a day nor a moment", "('31/03/2014')"),
        ({**ROW, "known_at": "2999-01-01"}, "known_at lies in the future", "Correct it"),
        ({**ROW, "fields": '{"a": 1'}, "fields is no JSON object", "Write it as"),
        ({**ROW, "fields": "[1]"}, "fields is no JSON object", "it is a list"),
        ({**ROW, "fields": 5}, "fields is no JSON object", "it is a int"),
        ('{"ticker": "A"', "the line is no JSON", "one JSON object per line"),
        ("[" * 100_000, "the line is no JSON", "one JSON object per line"),
        ("[1]", "the line is no JSON object", "one JSON object per line"),
    ],
)
def test_a_wrong_row_is_an_error_that_names_it(tmp_path: Path, row: Any, rule: str, part: str) -> None:
    found = read_notes(jsonl(tmp_path, ROW, row, {**ROW, "text": "down"}))
    assert [note.text for note in found.notes] == ["up", "down"]
    (error,) = [one for one in found.findings if one.severity == "error"]
    assert (error.row, error.rule) == (2, rule)
    assert part in error.text


@pytest.mark.parametrize(
    ("kind", "fields", "wrong"),
    [
        ("fundamentals", {"period_end": "2014-03-31"}, True),
        ("fundamentals", {"period_end": "2014-03-30"}, False),
        ("fundamentals", {"fiscal_date": 20140331}, True),
        ("fundamentals", {"report_period": "2014-06-30T00:00:00"}, True),
        ("fundamentals", {"report_period": "2014-03-31T00:30:00+05:30"}, True),
        ("fundamentals", {"period": "Q1 2014"}, True),
        ("fundamentals", {"period": "TTM"}, False),
        ("macro", {"as_of": "2014-03-31"}, False),
        ("macro", {"as_of": "2014-04-01"}, True),
    ],
)
def test_a_row_is_known_after_the_end_of_its_period(
    tmp_path: Path, kind: str, fields: dict[str, Any], wrong: bool
) -> None:
    for known_at in ("2014-03-31", "2014-03-31T15:00:00Z"):
        found = read_notes(jsonl(tmp_path, {**ROW, "known_at": known_at, "kind": kind, **fields}))
        assert len(found.notes) == (not wrong)
        assert bool(rules(found)) == wrong


def test_empty_and_repeated_rows_are_counted(tmp_path: Path) -> None:
    found = read_notes(jsonl(tmp_path, ROW, {**ROW, "text": " "}, ROW, {**ROW, "text": None}, {**ROW, "source": "b"}))
    assert [note.source for note in found.notes] == ["wire", "b"]
    assert [(rule, value) for _, rule, value in rules(found, "info")] == [
        ("rows without a text and without figures were left out", "2 rows, the first is row 2"),
        ("notes that come twice were kept once", "1 rows"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("a.jsonl", b"", "the file has no rows"),
        ("a.jsonl", b"\n\n", "the file has no rows"),
        ("a.csv", b"", "the file has no rows"),
        ("a.csv", b"ticker,known_at,text\n", "the file has no rows"),
        ("a.parquet", b"", "the file is not readable parquet"),
        ("a.parquet", b"PAR1 and no more PAR1", "the file is not readable parquet"),
        ("a.jsonl", bytes(range(256)), "the text is not UTF-8"),
        ("a.csv", "ticker,known_at,text\nA,2014-03-31,é".encode("latin-1"), "the text is not UTF-8"),
        ("a.jsonl", json.dumps(ROW).encode("utf-16"), "the text is not UTF-8"),
        ("a.txt", b"hello", "the file has an unknown ending"),
        ("a.csv", b"ticker,date,text\nA,2014-03-31,x", "column known_at missing"),
        ("a.csv", b"ticker,text,text\nA,2014-03-31,x", "a column comes twice"),
        ("a.csv", b"symbol,Symbol,known_at,text\nA,B,2014-03-31,x", "more than one column is ticker"),
        ("a.csv", b'ticker,known_at,text\nA,2014-03-31,"never closed', "the file is no CSV from here on"),
        ("missing.csv", None, "the file cannot be read"),
    ],
)
def test_a_wrong_file_is_an_error(tmp_path: Path, name: str, content: bytes | None, rule: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    found = read_notes(tmp_path / name)
    assert found.notes == []
    assert [one.rule for one in found.findings if one.severity == "error"] == [rule]


def test_a_comma_in_an_unquoted_text_does_not_shift_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('ticker,known_at,text\nA,2014-03-31,"two\nlines"\nA,2014-03-31,one, two\nA,2014-03-31,three\n')
    found = read_notes(path)
    assert [note.text for note in found.notes] == ["two\nlines", "three"]
    assert rules(found) == [(4, "the row has more or fewer cells than there are columns", "4 cells, 3 columns")]


def test_line_separators_inside_json_texts_break_no_lines(tmp_path: Path) -> None:
    text = "a\u2028b\x85c"
    path = jsonl(tmp_path, json.dumps({**ROW, "text": text}, ensure_ascii=False))
    assert [note.text for note in read_notes(path).notes] == [text]


def test_a_lone_surrogate_does_not_reach_the_data_hash(tmp_path: Path) -> None:
    (note,) = read_notes(jsonl(tmp_path, '{"ticker": "A", "known_at": "2014-03-31", "text": "x\\ud800"}')).notes
    replace(market(tickers=2), notes=(note,)).data_hash()
    assert note.text == "x?"


def test_known_at_is_not_shadowed_by_another_time(tmp_path: Path) -> None:
    (note,) = read_notes(jsonl(tmp_path, {**ROW, "created_at": "2014-01-01"})).notes
    assert (str(note.known_at), note.kind, note.fields) == ("2014-03-31T15:00:00", "news", {"created_at": "2014-01-01"})


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=12),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=6), inside, max_size=3),
    max_leaves=6,
)
CELL = st.one_of(JSON, st.sampled_from(["2014-03-31", "2014-03-31T15:00:00Z", "2013-12-31", *KINDS, '{"a": 1}', "A"]))
COLUMNS = [
    "ticker",
    "known_at",
    "kind",
    "source",
    "text",
    "fields",
    "period_end",
    "created_at",
    "_row",
    "Total Revenue",
]
ROWS = st.lists(
    st.dictionaries(st.sampled_from(COLUMNS), CELL, max_size=8).map(lambda row: {**ROW, **row}), max_size=12
)


def accounted(found: Notes) -> int:
    """Rows that findings tell of: errors by row, and those left out and repeated by their count."""
    rows = {one.row for one in found.findings if one.severity == "error"}
    counts = [
        int(one.value.split()[0])
        for one in found.findings
        if one.severity == "info" and ("left out" in one.rule or "kept once" in one.rule)
    ]
    return len(rows) + sum(counts)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_every_row_becomes_a_note_or_is_accounted_for(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    found = read_notes(jsonl(tmp_path, *rows))
    for note in found.notes:
        assert note.kind in KINDS
        assert note.text or note.fields
        note.digest_line().encode()
    if rows:
        assert len(found.notes) + accounted(found) == len(rows)


CLEAN = "\n".join(json.dumps({**ROW, "text": f"told {i}", "eps": i}) for i in range(6)).encode()
CLEAN_CSV = b"ticker,known_at,kind,text\n" + b"".join(b'A,2014-03-3%d,news,"told %d"\n' % (i % 2, i) for i in range(6))


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.sampled_from([("a.jsonl", CLEAN), ("a.csv", CLEAN_CSV), ("a.parquet", b"")]),
    at=st.integers(0, 5000),
    cut=st.integers(0, 60),
    put=st.binary(max_size=12) | st.sampled_from([b"\n", b'"', b",", b"{", b"\x00", b"\xff", b"\r", b"[]", b"NaN"]),
)
def test_a_damaged_file_ends_in_findings_or_in_notes(
    tmp_path: Path, data: tuple[str, bytes], at: int, cut: int, put: bytes
) -> None:
    name, content = data
    if name == "a.parquet":
        frame = pd.DataFrame({"ticker": ["A"] * 6, "known_at": [DAY] * 6, "text": [f"told {i}" for i in range(6)]})
        content = frame.to_parquet()
    at %= len(content) + 1
    path = tmp_path / name
    path.write_bytes(content[:at] + put + content[at + cut :])
    found = read_notes(path)
    assert found.notes or found.findings
    assert all(note.text or note.fields for note in found.notes)


def test_findings_do_not_grow_with_the_file(tmp_path: Path) -> None:
    found = read_notes(jsonl(tmp_path, *[{**ROW, "kind": "x"}] * 3000))
    assert len(found.findings) <= 21
    assert sum(one.count for one in found.findings) == 3000


# attaching -------------------------------------------------------------------------------------------


def of(*notes: Note, **names: tuple[str, ...]) -> Notes:
    return Notes(list(notes), [], names)


def note(ticker: str | None, day: str = "2010-06-30") -> Note:
    return Note(np.datetime64(day), ticker, "news", f"of {ticker}")


def test_notes_are_attached_under_the_panels_own_tickers() -> None:
    panel = replace(market(tickers=2), tickers=("BRK-B", "GE"))
    messages: list[str] = []
    found = of(
        note("brk.b"), note("GE"), note("XYZ"), note(None), GE=("General Electric",), **{"BRK/B": ("Berkshire",)}
    )
    whole = attach(panel, [found, of(GE=("GE Co.", "General Electric"))], messages)
    assert [one.ticker for one in whole.notes[len(panel.notes) :]] == ["BRK-B", "GE", None]
    assert whole.names == {"GE": ("General Electric", "GE Co."), "BRK-B": ("Berkshire",)}
    assert messages == ["1 notes of tickers without prices were left out: XYZ."]
    assert panel.names == {}


def test_names_alone_and_a_file_of_empty_rows_can_be_attached() -> None:
    panel = market(tickers=2)
    assert attach(panel, [of(PRAC00=("Zero",)), of()], []).names == {"PRAC00": ("Zero",)}


def test_notes_of_other_stocks_alone_are_refused() -> None:
    with pytest.raises(
        DataError, match="None of the 2 notes is of a ticker of .*: they are of X, Y, the market has PRAC00"
    ):
        attach(market(tickers=2), [of(note("X"), note("Y"))])


def test_a_file_with_errors_is_refused_by_its_first_and_their_number(tmp_path: Path) -> None:
    found = read_notes(jsonl(tmp_path, *[{**ROW, "kind": "x"}] * 30))
    with pytest.raises(DataError, match=r"notes.jsonl, row 1: the kind is unknown \('x'\).* 29 more errors in it"):
        attach(market(tickers=2), [found])


def test_notes_after_the_last_close_are_told_of() -> None:
    panel = market(tickers=2)
    messages: list[str] = []
    attach(panel, [of(note("PRAC00", str(panel.dates_T[-1] + 1)), note("PRAC00", str(panel.dates_T[-1])))], messages)
    assert messages == [f"1 notes became known after the last close, {panel.dates_T[-1]}; no prompt shows them."]


def test_without_a_list_messages_go_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        attach(market(tickers=2), [of(note("PRAC00"), note("XYZ"))])
    assert "1 notes of tickers without prices were left out: XYZ." in caplog.messages


# StockNet --------------------------------------------------------------------------------------------


def test_stocknets_tweets(stocknet: Path) -> None:
    found = read_notes(stocknet / "tweets.parquet")
    assert len(found.notes) == 46_695
    assert ("notes that come twice were kept once", "296 rows") in [one[1:] for one in rules(found, "info")]
    assert rules(found) == []
    assert {one.kind for one in found.notes} == {"tweet"}
    frame = pd.read_parquet(stocknet / "tweets.parquet")
    assert Counter(note.ticker for note in found.notes).keys() == set(frame["ticker"])
    shifted = [one for one in found.notes if one.by_day]
    assert len(shifted) == 2
    told = {(one.ticker, str(one.known_at), one.text) for one in found.notes}
    for row in frame.sample(200, random_state=0).itertuples():
        moment = re.sub(r"\+.*", "", row.created_at.isoformat())  # type: ignore[union-attr]
        assert (row.ticker, moment, str(row.text).strip()) in told


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.csv", "ticker,known_at,text\nA,2014-01-01,x\n", True),
        ("a.csv", "Symbol,Created_At,text\nA,2014-01-01,x\n", True),
        ("a.csv", "Date,Open,High,Low,Close,Volume\n", False),
        ("a.csv", "", False),
        ("a.jsonl", "", True),
        ("a.parquet", "no parquet", False),
    ],
)
def test_a_file_of_notes_is_told_from_one_of_prices(tmp_path: Path, name: str, text: str, expected: bool) -> None:
    (tmp_path / name).write_text(text)
    assert holds_notes(tmp_path / name) is expected


def test_neither_a_folder_nor_a_missing_file_nor_a_binary_one_holds_notes(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    assert not any(holds_notes(tmp_path / name) for name in ("", "b.csv", "absent.csv"))

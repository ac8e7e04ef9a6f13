"""Reading events: every row becomes an event or is reported, whatever a file holds, never a traceback."""

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
from tradeschool.market.events.event import KINDS, Event, EventFile
from tradeschool.market.events.read import attach, holds_events, read_events

DAY = datetime.date(2014, 3, 31)
ROW: dict[str, Any] = {
    "ticker": "A",
    "known_at": "2014-03-31T15:00:00Z",
    "kind": "news",
    "source": "wire",
    "text": "up",
}


def jsonl(folder: Path, *rows: Any, name: str = "events.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), "utf-8")
    return path


def parquet(folder: Path, **columns: Any) -> Path:
    pd.DataFrame(columns).to_parquet(folder / "events.parquet")
    return folder / "events.parquet"


def rules(found: EventFile, severity: str = "error") -> list[tuple[int | None, str, str]]:
    return [(one.row, one.rule, one.value) for one in found.findings if one.severity == severity]


@pytest.mark.parametrize("ticker", ["nan", "NAN", "None", "null", "NULL", "NA", "<NA>", "NaT"])
def test_a_ticker_that_looks_like_a_missing_value_is_a_ticker(tmp_path: Path, ticker: str) -> None:
    frame = pd.DataFrame([{**ROW, "ticker": ticker}])
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    for path in (jsonl(tmp_path, {**ROW, "ticker": ticker}), tmp_path / "a.csv", tmp_path / "a.parquet"):
        assert [event.ticker for event in read_events(path).events] == [ticker]
    tweets = jsonl(tmp_path, {"ticker": ticker, "created_at": ROW["known_at"], "text": "up"})
    assert [event.ticker for event in read_events(tweets).events] == [ticker]
    made = replace(market(tickers=2), tickers=(ticker, "OTHER"))
    late = replace(read_events(tweets).events[0], known_at=made.dates_T[5])
    assert late in attach(made, [EventFile([late], [])], []).events


def test_a_row_of_each_format_reads_the_same(tmp_path: Path) -> None:
    row = {**ROW, "kind": "analyst", "Price Target": 12.5, "rating": "buy"}
    frame = pd.DataFrame([row])
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "semicolons.csv", index=False, sep=";")
    frame.assign(known_at=pd.to_datetime(frame["known_at"])).to_parquet(tmp_path / "a.parquet")
    expected = Event(
        np.datetime64("2014-03-31T15:00:00"), "A", "analyst", "up", "wire", {"price_target": 12.5, "rating": "buy"}
    )
    for path in (jsonl(tmp_path, row), tmp_path / "a.csv", tmp_path / "semicolons.csv", tmp_path / "a.parquet"):
        found = read_events(path)
        assert (found.events, found.findings) == ([expected], [])


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
    assert [dict(event.fields) for event in read_events(path).events] == [
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
    found = read_events(path)
    assert [event.text for event in found.events] == ["bytes"]
    assert dict(found.events[0].fields) == {"period_end": "2013-12-31", "count": 3.0, "eps": 1.0, "list": "1, 2"}
    assert str(found.events[0].known_at) == "2014-04-01"
    assert rules(found) == [(2, "known_at is missing", "")]


def test_days_without_a_time_shift_by_default(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {**ROW, "known_at": "2014-03-31"})
    assert str(read_events(path).events[0].known_at) == "2014-04-01"
    assert str(read_events(path, same_day=True).events[0].known_at) == "2014-03-31"


def test_tweets_are_recognized_by_their_column(tmp_path: Path) -> None:
    path = parquet(tmp_path, ticker=["$A"], created_at=[pd.Timestamp("2014-03-31T15:00", tz="UTC")], text=["hi"])
    (event,) = read_events(path).events
    assert (event.ticker, event.kind, str(event.known_at)) == ("A", "tweet", "2014-03-31T15:00:00")


def test_what_is_of_the_market_keeps_its_series_as_the_source(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path,
        {**ROW, "ticker": "^VIX", "kind": "volatility_index", "text": "", "value": 15.5, "source": ""},
        {**ROW, "ticker": "CPI", "kind": "macro", "value": 2.1},
        {**ROW, "ticker": "", "kind": ""},
        {**ROW, "ticker": None},
    )
    found = read_events(path).events
    assert [(event.ticker, event.source) for event in found] == [(None, "^VIX"), (None, "CPI, wire"), (None, "wire")]
    assert [event.kind for event in found] == ["volatility_index", "macro", "news"]


@pytest.mark.parametrize(
    ("row", "rule", "part"),
    [
        ({**ROW, "kind": "insiders"}, "unknown kind", "Did you mean 'insider'?"),
        ({**ROW, "kind": "fundamentals", "ticker": ""}, "a row of kind fundamentals has no ticker", "Name the ticker"),
        ({**ROW, "known_at": None}, "known_at is missing", "Write it as"),
        ({**ROW, "known_at": "31/03/2014"}, "known_at is neither a day nor a timestamp", "('31/03/2014')"),
        ({**ROW, "known_at": "2999-01-01"}, "known_at is in the future", "Correct it"),
        ({**ROW, "fields": '{"a": 1'}, "fields is not a JSON object", "Write it as"),
        ({**ROW, "fields": "[1]"}, "fields is not a JSON object", "it is a list"),
        ({**ROW, "fields": 5}, "fields is not a JSON object", "it is a int"),
        ('{"ticker": "A"', "the line is not JSON", "one JSON object per line"),
        ("[" * 100_000, "the line is not JSON", "one JSON object per line"),
        ("[1]", "the line is not a JSON object", "one JSON object per line"),
    ],
)
def test_a_wrong_row_is_an_error_that_names_it(tmp_path: Path, row: Any, rule: str, part: str) -> None:
    found = read_events(jsonl(tmp_path, ROW, row, {**ROW, "text": "down"}))
    assert [event.text for event in found.events] == ["up", "down"]
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
        found = read_events(jsonl(tmp_path, {**ROW, "known_at": known_at, "kind": kind, **fields}))
        assert len(found.events) == (not wrong)
        assert bool(rules(found)) == wrong


def test_empty_and_repeated_rows_are_counted(tmp_path: Path) -> None:
    found = read_events(jsonl(tmp_path, ROW, {**ROW, "text": " "}, ROW, {**ROW, "text": None}, {**ROW, "source": "b"}))
    assert [event.source for event in found.events] == ["wire", "b"]
    assert [(rule, value) for _, rule, value in rules(found, "info")] == [
        ("rows without text and figures were left out", "2 rows, the first is row 2"),
        ("duplicate events were kept once", "1 rows"),
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
        ("a.txt", b"hello", "unknown file type"),
        ("a.csv", b"ticker,date,text\nA,2014-03-31,x", "column known_at missing"),
        ("a.csv", b"ticker,text,text\nA,2014-03-31,x", "duplicate column"),
        ("a.csv", b"symbol,Symbol,known_at,text\nA,B,2014-03-31,x", "more than one column is ticker"),
        ("a.csv", b'ticker,known_at,text\nA,2014-03-31,"never closed', "the file is not CSV from here on"),
        ("missing.csv", None, "the file cannot be read"),
    ],
)
def test_a_wrong_file_is_an_error(tmp_path: Path, name: str, content: bytes | None, rule: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    found = read_events(tmp_path / name)
    assert found.events == []
    assert [one.rule for one in found.findings if one.severity == "error"] == [rule]


def test_a_comma_in_an_unquoted_text_does_not_shift_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('ticker,known_at,text\nA,2014-03-31,"two\nlines"\nA,2014-03-31,one, two\nA,2014-03-31,three\n')
    found = read_events(path)
    assert [event.text for event in found.events] == ["two\nlines", "three"]
    assert rules(found) == [(4, "the number of cells differs from the number of columns", "4 cells, 3 columns")]


def test_line_separators_inside_json_texts_break_no_lines(tmp_path: Path) -> None:
    text = "a\u2028b\x85c"
    path = jsonl(tmp_path, json.dumps({**ROW, "text": text}, ensure_ascii=False))
    assert [event.text for event in read_events(path).events] == [text]


def test_a_lone_surrogate_does_not_reach_the_data_hash(tmp_path: Path) -> None:
    (event,) = read_events(jsonl(tmp_path, '{"ticker": "A", "known_at": "2014-03-31", "text": "x\\ud800"}')).events
    replace(market(tickers=2), events=(event,)).data_hash()
    assert event.text == "x?"


def test_known_at_is_not_shadowed_by_another_time(tmp_path: Path) -> None:
    (event,) = read_events(jsonl(tmp_path, {**ROW, "created_at": "2014-01-01"})).events
    assert (str(event.known_at), event.kind) == ("2014-03-31T15:00:00", "news")
    assert event.fields == {"created_at": "2014-01-01"}


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


def accounted(found: EventFile) -> int:
    """Rows that findings report: errors by row, and those left out and repeated by their count."""
    rows = {one.row for one in found.findings if one.severity == "error"}
    counts = [
        int(one.value.split()[0])
        for one in found.findings
        if one.severity == "info" and ("left out" in one.rule or "kept once" in one.rule)
    ]
    return len(rows) + sum(counts)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_every_row_becomes_an_event_or_is_accounted_for(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    found = read_events(jsonl(tmp_path, *rows))
    for event in found.events:
        assert event.kind in KINDS
        assert event.text or event.fields
        event.digest_line().encode()
    if rows:
        assert len(found.events) + accounted(found) == len(rows)


CLEAN = "\n".join(json.dumps({**ROW, "text": f"text {i}", "eps": i}) for i in range(6)).encode()
CLEAN_CSV = b"ticker,known_at,kind,text\n" + b"".join(b'A,2014-03-3%d,news,"text %d"\n' % (i % 2, i) for i in range(6))


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.sampled_from([("a.jsonl", CLEAN), ("a.csv", CLEAN_CSV), ("a.parquet", b"")]),
    at=st.integers(0, 5000),
    cut=st.integers(0, 60),
    put=st.binary(max_size=12) | st.sampled_from([b"\n", b'"', b",", b"{", b"\x00", b"\xff", b"\r", b"[]", b"NaN"]),
)
def test_a_damaged_file_ends_in_findings_or_in_events(
    tmp_path: Path, data: tuple[str, bytes], at: int, cut: int, put: bytes
) -> None:
    name, content = data
    if name == "a.parquet":
        frame = pd.DataFrame({"ticker": ["A"] * 6, "known_at": [DAY] * 6, "text": [f"text {i}" for i in range(6)]})
        content = frame.to_parquet()
    at %= len(content) + 1
    path = tmp_path / name
    path.write_bytes(content[:at] + put + content[at + cut :])
    found = read_events(path)
    assert found.events or found.findings
    assert all(event.text or event.fields for event in found.events)


def test_findings_do_not_grow_with_the_file(tmp_path: Path) -> None:
    found = read_events(jsonl(tmp_path, *[{**ROW, "kind": "x"}] * 3000))
    assert len(found.findings) <= 21
    assert sum(one.count for one in found.findings) == 3000


def test_columns_are_recognized_in_any_spelling(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Symbol,publishedAt,Kind,netIncome\nA,2014-05-01,fundamentals,5\n")
    assert holds_events(path)
    (event,) = read_events(path).events
    assert (event.ticker, str(event.known_at), event.kind, event.fields) == (
        "A", "2014-05-02", "fundamentals", {"net_income": 5.0},
    )  # fmt: skip
    path.write_text("ticker,createdAt,text\nA,2014-05-01,hi\n")
    assert [event.kind for event in read_events(path).events] == ["tweet"]


def test_two_spellings_of_a_column_are_reported_where_they_differ(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "ticker,known_at,kind,netIncome,net_income\nA,2014-05-01,analyst,5,\nA,2014-05-02,analyst,,6\n"
        "A,2014-05-03,analyst,7,7\nA,2014-05-04,analyst,8,9\n"
    )
    found = read_events(path)
    assert [event.fields["net_income"] for event in found.events] == [5.0, 6.0, 7.0, 8.0]
    assert [(one.row, one.value) for one in found.findings if one.severity == "warning"] == [(5, "net_income: 8, 9")]


# attaching -------------------------------------------------------------------------------------------


def of(*events: Event, **names: tuple[str, ...]) -> EventFile:
    return EventFile(list(events), [], names)


def event(ticker: str | None, day: str = "2010-06-30") -> Event:
    return Event(np.datetime64(day), ticker, "news", f"of {ticker}")


def test_events_are_attached_under_the_panels_own_tickers() -> None:
    panel = replace(market(tickers=2), tickers=("BRK-B", "GE"))
    messages: list[str] = []
    found = of(
        event("brk.b"), event("GE"), event("XYZ"), event(None), GE=("General Electric",), **{"BRK/B": ("Berkshire",)}
    )
    whole = attach(panel, [found, of(GE=("GE Co.", "General Electric"))], messages)
    assert [one.ticker for one in whole.events[len(panel.events) :]] == ["BRK-B", "GE", None]
    assert whole.names == {"GE": ("General Electric", "GE Co."), "BRK-B": ("Berkshire",)}
    assert messages == ["1 events of tickers without prices were left out: XYZ."]
    assert panel.names == {}


def test_names_alone_and_a_file_of_empty_rows_can_be_attached() -> None:
    panel = market(tickers=2)
    assert attach(panel, [of(PRAC00=("Zero",)), of()], []).names == {"PRAC00": ("Zero",)}


def test_events_of_other_stocks_alone_are_refused() -> None:
    with pytest.raises(DataError, match="None of the 2 events is about a ticker of .* X, Y, .* PRAC00"):
        attach(market(tickers=2), [of(event("X"), event("Y"))], [])


def test_a_file_with_errors_is_refused_by_its_first_and_their_number(tmp_path: Path) -> None:
    found = read_events(jsonl(tmp_path, *[{**ROW, "kind": "x"}] * 30))
    with pytest.raises(DataError, match=r"events.jsonl, row 1: unknown kind \('x'\).* 29 more errors"):
        attach(market(tickers=2), [found], [])


def test_events_after_the_last_close_are_reported() -> None:
    panel = market(tickers=2)
    messages: list[str] = []
    attach(panel, [of(event("PRAC00", str(panel.dates_T[-1] + 1)), event("PRAC00", str(panel.dates_T[-1])))], messages)
    assert messages == [f"1 events became known after the last close, {panel.dates_T[-1]}; no prompt shows them."]


# StockNet --------------------------------------------------------------------------------------------


def test_stocknets_tweets(stocknet: Path) -> None:
    found = read_events(stocknet / "tweets.parquet")
    assert len(found.events) == 46_695
    assert ("duplicate events were kept once", "296 rows") in [one[1:] for one in rules(found, "info")]
    assert rules(found) == []
    assert {one.kind for one in found.events} == {"tweet"}
    frame = pd.read_parquet(stocknet / "tweets.parquet")
    assert Counter(event.ticker for event in found.events).keys() == set(frame["ticker"])
    shifted = [one for one in found.events if one.day_only]
    assert len(shifted) == 2
    texts = {(one.ticker, str(one.known_at), one.text) for one in found.events}
    for row in frame.sample(200, random_state=0).itertuples():
        moment = re.sub(r"\+.*", "", row.created_at.isoformat())  # type: ignore[union-attr]
        assert (row.ticker, moment, str(row.text).strip()) in texts


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
def test_a_file_of_events_is_distinguished_from_one_of_prices(
    tmp_path: Path, name: str, text: str, expected: bool
) -> None:
    (tmp_path / name).write_text(text)
    assert holds_events(tmp_path / name) is expected


def test_neither_a_folder_nor_a_missing_file_nor_a_binary_one_holds_events(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    assert not any(holds_events(tmp_path / name) for name in ("", "b.csv", "absent.csv"))

"""Price files: read correctly, repaired only where certain, or refused with file, row, value, rule and cure."""

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradeschool.errors import DataError
from tradeschool.market.findings import has_errors
from tradeschool.market.load import SAMPLE_TICKERS, check_prices, load_prices, load_sample
from tradeschool.market.panel import Panel

HEADER = "Date,Open,High,Low,Close,Adj Close,Volume"
ROWS = (
    "2020-01-02,10,12,9,11,5.5,100",
    "2020-01-03,11,13,10,12,6,200",
    "2020-01-06,12,14,11,13,13,300",
)


def write(folder: Path, rows: Sequence[str] = ROWS, header: str = HEADER, name: str = "AAA.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return folder


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_prices(path)
    return str(caught.value)


def test_prices_are_adjusted_and_money_traded_is_kept(tmp_path: Path) -> None:
    panel = load_prices(write(tmp_path))
    assert panel.tickers == ("AAA",)
    assert panel.dates_T.astype(str).tolist() == ["2020-01-02", "2020-01-03", "2020-01-06"]
    # The split is known on its own day: prices before it stay, those after it count two shares.
    np.testing.assert_allclose(panel.close_TN[:, 0], [11, 12, 26])
    np.testing.assert_allclose(panel.open_TN[:, 0], [10, 11, 24])
    np.testing.assert_allclose(panel.high_TN[:, 0], [12, 13, 28])
    np.testing.assert_allclose(panel.low_TN[:, 0], [9, 10, 22])
    np.testing.assert_allclose((panel.close_TN * panel.volume_TN)[:, 0], [1100, 2400, 3900])
    np.testing.assert_allclose(panel.traded_close_TN[:, 0], [11, 12, 13])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_raw_prices_on_request(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / "csv")
    if suffix == ".parquet":
        path = tmp_path / "AAA.parquet"
        pd.read_csv(tmp_path / "csv" / "AAA.csv").to_parquet(path, index=False)
    panel = load_prices(path, [], adjust=False, suffixes=(suffix,))
    rows = [[float(cell) for cell in row.split(",")[1:]] for row in ROWS]
    for i, name in enumerate(("open", "high", "low", "close")):
        assert getattr(panel, f"{name}_TN")[:, 0].tolist() == [row[i] for row in rows]
    assert panel.volume_TN[:, 0].tolist() == [row[5] for row in rows]
    assert load_prices(path, []).close_TN[:, 0].tolist() == pytest.approx([11, 12, 26])


def test_an_adj_close_is_checked_also_where_it_is_not_used(tmp_path: Path) -> None:
    write(tmp_path, [*ROWS[:2], "2020-01-06,12,14,11,13,-1,300"])
    with pytest.raises(DataError, match="Adj Close is zero or negative"):
        load_prices(tmp_path, adjust=False)


@pytest.mark.parametrize(
    ("one", "other"), [("brk-a", "BRK-A"), ("BRK.A", "BRK-A"), (" BRK-A", "BRK-A "), ("BRK-A", "BRK-A")]
)
def test_a_ticker_in_two_spellings_is_refused(tmp_path: Path, one: str, other: str) -> None:
    lines = ["Date,Ticker,Open,High,Low,Close,Volume", f"2020-01-02,{one},1,1,1,1,1", f"2020-01-02,{other},1,1,1,1,1"]
    (tmp_path / "all.csv").write_text("\n".join(lines) + "\n")
    text = refusal(tmp_path)
    assert ("date is repeated" if one.strip() == other.strip() else "comes more than once") in text


def test_repairs_of_the_form_are_reported(tmp_path: Path) -> None:
    lines = ["Date,Ticker,Open,High,Low,Close,Volume", *(f"2020-01-0{day}, A,1,1,1,1,1" for day in (2, 3))]
    (tmp_path / "all.csv").write_text("\n".join([*lines, lines[0], "2020-01-06,A,1,1,1,1,1"]))
    messages: list[str] = []
    assert load_prices(tmp_path, messages).shape == (3, 1)
    for words in (
        "blanks around the ticker were removed (2 rows, the first is row 2)",
        "repeat the header were skipped (1 row, the first is row 4)",
        "no line end (the last row is row 5)",
    ):
        assert sum(words in message for message in messages) == 1, words
    assert len(messages) == 3


def test_tickers_that_begin_later_or_end_earlier_are_reported(tmp_path: Path) -> None:
    write(tmp_path, ROWS[1:], name="AAA.csv")
    write(tmp_path, ROWS[:2], name="BBB.csv")
    write(tmp_path, name="CCC.csv")
    messages: list[str] = []
    load_prices(tmp_path, messages)
    found = [message for message in messages if "begin later or end earlier" in message]
    assert len(found) == 1
    assert "2 tickers" in found[0]
    assert "AAA 2020-01-03 to 2020-01-06, BBB 2020-01-02 to 2020-01-03" in found[0]


@pytest.mark.parametrize(
    "header",
    ["date,OPEN,high,Low,close,adj_close,volume", " Date , Open ,High,Low,Close,AdjClose,Vol", "\ufeff" + HEADER],
)
def test_columns_in_any_spelling(tmp_path: Path, header: str) -> None:
    np.testing.assert_allclose(load_prices(write(tmp_path, header=header)).close_TN[:, 0], [11, 12, 26])


def test_without_adj_close_prices_stay(tmp_path: Path) -> None:
    rows = [",".join(row.split(",")[:5] + row.split(",")[6:]) for row in ROWS]
    panel = load_prices(write(tmp_path, rows, "Date,Open,High,Low,Close,Volume"))
    np.testing.assert_allclose(panel.close_TN[:, 0], [11, 12, 13])


def test_ragged_listings_are_united_with_nan(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, ["2020-01-03,1,1,1,1,1,5", "2020-01-07,2,2,2,2,2,5"], name="BBB.CSV")
    messages: list[str] = []
    panel = load_prices(tmp_path, messages)
    assert panel.tickers == ("AAA", "BBB")
    assert panel.listed_TN.tolist() == [[True, False], [True, True], [True, False], [False, True]]
    assert any("BBB 1" in message and "missing inside" in message for message in messages)


def test_certain_repairs_are_made_and_reported(tmp_path: Path) -> None:
    rows = [
        ROWS[2],
        "2020-01-03,null,null,null,null,null,null",
        ",,,,,,",
        "2020-01-07,10,10,9,10.0005,10.0005,",
        ROWS[0],
    ]
    messages: list[str] = []
    panel = load_prices(write(tmp_path, rows), messages)
    assert panel.dates_T.astype(str).tolist() == ["2020-01-02", "2020-01-06", "2020-01-07"]
    assert panel.factor_TN is not None
    assert panel.high_TN[2, 0] / panel.factor_TN[2, 0] == 10.0005
    assert np.isnan(panel.volume_TN[2, 0])
    for words in (
        "not in order of their dates and were sorted",
        "without any price, which were skipped (1 row, the first is row 3)",
        "empty rows were skipped (1 row, the first is row 4)",
        "widened by at most 0.01% to contain open and close (1 row, the first is row 5)",
        "rows without a volume (1 row, the first is row 5)",
    ):
        assert sum(words in message for message in messages) == 1, words


def test_unsorted_rows_give_the_same_panel_and_one_message(tmp_path: Path) -> None:
    rows = [f"{day},{i},{i},{i},{i},{i},5" for i, day in enumerate(pd.bdate_range("2020-01-02", periods=10).date, 2)]
    messages: list[str] = []
    panel = load_prices(write(tmp_path, [rows[i] for i in (4, 1, 9, 0, 2, 3, 8, 5, 7, 6)]), messages)
    assert panel.close_TN[:, 0].tolist() == list(range(2, 12))
    # No false gap and no false jump (9 to 11 to 2) beside it.
    assert len(messages) == 1
    assert "AAA's rows were not in order of their dates and were sorted (4 rows, the first is row 3)" in messages[0]


def test_messages_go_to_the_log_by_default(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="tradeschool"):
        load_prices(write(tmp_path, ROWS[::-1]))
    assert "were sorted" in caplog.text


def test_a_clean_folder_gives_no_message(tmp_path: Path) -> None:
    messages: list[str] = []
    load_prices(write(tmp_path, ["2020-01-02,10,12,9,11,11,100", ROWS[2]]), messages)
    assert messages == []


def test_a_jump_like_a_split_is_warned_of_and_loads(tmp_path: Path) -> None:
    messages: list[str] = []
    load_prices(write(tmp_path), messages)
    assert any(
        "row 4: the close changes by more than 1.9 times from one bar to the next "
        "(AAA adjusted from 12 to 26 on 2020-01-06)" in message
        for message in messages
    )


BAD_ROWS = {
    "2020-01-06,12,14,11,abc,13,300": "Close is not a number ('abc')",
    '2020-01-06,12,14,11,"1,300",13,300': "Close is not a number ('1,300')",
    "2020-01-06,12,14,11,inf,13,300": "Close is not a number ('inf')",
    "2020-01-06,12,14,11,1_3,13,300": "Close is not a number ('1_3')",
    "2020-01-06,12,14,11,١٣,13,300": "Close is not a number ('١٣')",
    "2020-01-06,0,14,0,13,13,300": "Open is zero or negative (Open 0)",
    "2020-01-06,12,14,11,13,-1,300": "Adj Close is zero or negative (Adj Close -1)",
    "2020-01-06,12,14,11,13,1e300,300": "Adj Close is not a plausible price",
    "2020-01-06,12,14,11,13,13,-5": "the volume is negative",
    "2020-01-06,12,10,11,13,13,300": "the high is below the low (High 10, Low 11)",
    "2020-01-06,12,14,11,14.01,13,300": "open or close is outside the day's high and low",
    "2020-01-06,12,14,,13,13,300": "some prices are empty, others are not",
    "2020-01-03,12,14,11,13,13,300": "the date is repeated (2020-01-03, also in row 3)",
    "2020-02-30,12,14,11,13,13,300": "the date cannot be read as YYYY-MM-DD ('2020-02-30')",
    ",12,14,11,13,13,300": "the date cannot be read as YYYY-MM-DD ('')",
    "now,12,14,11,13,13,300": "the date cannot be read as YYYY-MM-DD ('now')",
    "01/06/2020,12,14,11,13,13,300": "the date cannot be read as YYYY-MM-DD ('01/06/2020')",
    "2999-01-06,12,14,11,13,13,300": "the date is in the future (2999-01-06)",
    "0202-01-06,12,14,11,13,13,300": "the date is before 1800-01-01 (0202-01-06)",
    "2020-01-06,12,14,11,13,13,300,7": "the row has 8 values for 7 columns",
    "2020-01-06,0.5 Dividend": "the row has 2 values for 7 columns",
    '2020-01-06,12,14,11,13,13,"300': "the row cannot be read as CSV",
}


@pytest.mark.parametrize("row", BAD_ROWS)
def test_a_bad_row_is_refused_with_file_row_value_rule_and_cure(tmp_path: Path, row: str) -> None:
    text = refusal(write(tmp_path, [*ROWS[:2], row]))
    assert text.startswith(f"{tmp_path / 'AAA.csv'}, row 4: {BAD_ROWS[row]}")
    rule, _, cure = text.partition("). ")
    assert rule
    assert cure.endswith(".")


BAD_FILES: dict[bytes, str] = {
    b"": "the file is empty",
    b"\xef\xbb\xbf \n\n": "the file is empty",
    HEADER.encode(): "has a header but no rows",
    (HEADER + "\n,,,,,,\n").encode(): "no rows with values",
    (HEADER + "\n2020-01-02,,,,,,\n").encode(): "AAA has no day with prices",
    "\n".join([HEADER, *ROWS]).replace(",", ";").encode(): "separated by semicolons",
    "\n".join([HEADER, *ROWS]).replace(",", "\t").encode(): "separated by tabs",
    "\n".join([HEADER, *ROWS]).encode("utf-16"): "the text is not UTF-8",
    "\n".join([HEADER, ROWS[0], "é" + ROWS[1]]).encode("latin-1"): "row 3: the text is not UTF-8 (byte 0xe9)",
    b"PK\x03\x04\x14\x00": "an Excel, zip or parquet file needs its own ending",
    HEADER.encode() + b"\n2020\x0001": "row 2: the text is not UTF-8 (byte 0x00)",
    "\n".join(ROWS).encode(): "columns Date, Open, High, Low, Close, Volume missing",
    "\n".join([HEADER.replace("Close,V", "Close,Close,V"), *ROWS]).encode(): "two columns mean Close",
    b"Price,Close,High,Low,Open,Volume\nTicker,A,A,A,A,A\nDate,,,,,\n": "has a header but no rows",
    b"Date,Open,High,Low,Close,Volume\n01/02/2020,1,1,1,1,1\n02/03/2020,1,1,1,1,1\n": "as month/day and as day/month",
}


@pytest.mark.parametrize("data", BAD_FILES, ids=list(BAD_FILES.values()))
def test_a_bad_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "AAA.csv").write_bytes(data)
    text = refusal(tmp_path)
    assert str(tmp_path / "AAA.csv") in text
    assert BAD_FILES[data] in text


def test_a_misspelt_column_is_guessed(tmp_path: Path) -> None:
    text = refusal(write(tmp_path, header=HEADER.replace("Volume", "Volum")))
    assert "column Volume missing" in text
    assert "'Volum': Did you mean 'Volume'?" in text
    messages: list[str] = []
    load_prices(write(tmp_path, header=HEADER.replace("Adj Close", "Adjusted Clse")), messages)
    assert any("'Adjusted Clse'" in message and "Did you mean 'Adj Close'?" in message for message in messages)


@pytest.mark.parametrize(
    "dates",
    [
        ("01/14/2020", "01/15/2020"),
        ("14/01/2020", "15/01/2020"),
        ("20200114", "20200115"),
        ("2020/1/14", "2020/1/15"),
        ("14.01.2020", "15.01.2020"),
        ("14-Jan-2020", "15-Jan-2020"),
        ("2020-01-14 00:00:00-05:00", "2020-01-15 00:00:00-05:00"),
        ("2020-01-14T00:00:00Z", "2020-01-15T00:00:00Z"),
    ],
)
def test_dates_in_one_certain_format_are_read(tmp_path: Path, dates: tuple[str, str]) -> None:
    panel = load_prices(write(tmp_path, [f"{date},1,1,1,1,1,1" for date in dates]))
    assert panel.dates_T.astype(str).tolist() == ["2020-01-14", "2020-01-15"]


def test_more_errors_are_counted_and_the_command_that_lists_them_is_named(tmp_path: Path) -> None:
    text = refusal(write(tmp_path, [ROWS[0], "2020-01-03,11,13,10,x,6,200", "2020-01-06,12,14,11,13,13,-3"]))
    assert text.endswith(f"1 more error: list all with 'tradeschool data check {tmp_path}'.")


def test_paths_that_hold_no_prices_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "prices")
    assert "Did you mean 'prices'?" in refusal(tmp_path / "price")
    assert f"Did you mean {tmp_path / 'prices'}?" in refusal(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    assert "unknown ending ('.txt')" in refusal(tmp_path / "a.txt")
    write(tmp_path / "twice")
    write(tmp_path / "twice", name="AAA.CSV")
    assert "a ticker comes more than once ('AAA' in AAA.CSV, 'AAA' in AAA.csv)" in refusal(tmp_path / "twice")


def test_one_file_is_a_panel_of_one_ticker(tmp_path: Path) -> None:
    assert load_prices(write(tmp_path) / "AAA.csv").tickers == ("AAA",)


def frame(tickers: Mapping[str, float]) -> pd.DataFrame:
    dates = pd.date_range("2020-01-01", periods=4)
    return pd.concat(
        pd.DataFrame(
            {"date": dates, "ticker": name, "open": price, "high": price, "low": price, "close": price, "volume": 7}
        )
        for name, price in tickers.items()
    )


def test_long_tables_hold_several_tickers(tmp_path: Path) -> None:
    table = frame({"X": 1.0, "Y": 2.0}).sample(frac=1, random_state=0)
    table.to_parquet(tmp_path / "all.parquet", index=False)
    table.to_csv(tmp_path / "all.csv", index=False)
    for path in (tmp_path / "all.parquet", tmp_path / "all.csv"):
        panel = load_prices(path)
        assert panel.tickers == ("X", "Y")
        np.testing.assert_array_equal(panel.close_TN, np.tile([1.0, 2.0], (4, 1)))


def test_a_folder_of_parquet_files_with_the_date_as_index(tmp_path: Path) -> None:
    for name, price in {"X": 1.0, "Y": 2.0}.items():
        table = frame({name: price}).drop(columns="ticker").set_index("date").tz_localize("America/New_York")
        table.to_parquet(tmp_path / f"{name}.parquet")
    panel = load_prices(tmp_path)
    assert panel.tickers == ("X", "Y")
    assert panel.dates_T.astype(str).tolist() == ["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"]


def test_bad_parquet_is_refused_with_the_record(tmp_path: Path) -> None:
    path = tmp_path / "X.parquet"
    path.write_bytes(b"PAR1 but not really")
    assert "not readable parquet" in refusal(path)
    table = frame({"X": 1.0})
    table.iloc[2, 2] = -1.0
    table.to_parquet(path, index=False)
    assert "row 3: Open is zero or negative (Open -1)" in refusal(path)


LINES = [HEADER, *(f"2020-01-{day:02d},10,12,9,11,5.5,100" for day in range(1, 20))]  # weekends, too
CLEAN = "\n".join(LINES).encode() + b"\n"


def test_all_findings_come_at_once_errors_first(tmp_path: Path) -> None:
    (tmp_path / "A.csv").write_text("\n".join([*LINES[:5], "2020-01-05,10,8,9,11,5.5,100", "x,0,12,9,11,5.5,-1"]))
    (tmp_path / "B.csv").write_text("")
    (tmp_path / "C.csv").write_text("\n".join(LINES[:1] + LINES[:0:-1]))
    findings = check_prices(tmp_path)
    found = [(finding.severity, Path(finding.file).name, finding.row) for finding in findings]
    assert found[:5] == [("error", "A.csv", 6), *[("error", "A.csv", 7)] * 3, ("error", "B.csv", None)]
    assert ("info", "C.csv", None) in found
    assert has_errors(findings)
    assert {finding.rule for finding in findings if finding.row == 7} == {
        "the date cannot be read as YYYY-MM-DD",
        "Open is zero or negative",
        "the volume is negative",
    }


def test_a_clean_folder_has_no_findings(tmp_path: Path) -> None:
    weekdays = [line for line in LINES if line[8:10] not in ("04", "05", "11", "12", "18", "19")]
    (tmp_path / "A.csv").write_text("\n".join(weekdays) + "\n")
    assert check_prices(tmp_path) == []
    assert not has_errors([])


def test_a_missing_path_is_a_finding(tmp_path: Path) -> None:
    assert has_errors(check_prices(tmp_path / "nowhere"))


def mangled(cells: list[list[str]], row: int, column: int, value: str) -> bytes:
    line = cells[row % len(cells)]
    line[column % len(line)] = value
    return "\n".join(",".join(line) for line in cells).encode("utf-8", "surrogatepass")


def load_or_refuse(path: Path) -> Panel | None:
    """What :func:`load_prices` does, after asserting that the check agrees."""
    findings = check_prices(path)
    if has_errors(findings):
        with pytest.raises(DataError, match=re.escape(str(path))):
            load_prices(path)
        return None
    return load_prices(path, [])


CORRUPTIONS: dict[str, st.SearchStrategy[Callable[[bytes], bytes]]] = {
    "cell": st.builds(
        lambda row, column, value: (
            lambda data: mangled([line.split(",") for line in data.decode().split("\n")], row, column, value)
        ),
        st.integers(0, 19),
        st.integers(0, 6),
        st.one_of(
            st.text(max_size=8),
            st.floats().map(str),
            st.integers().map(str),
            st.dates().map(str),
            st.sampled_from(["null", "-", "1e308", "1e-308", '"', "'", "\r", "\0", "2020-01-05", "9" * 400, "٣"]),
        ),
    ),
    "bytes": st.builds(
        lambda at, junk: lambda data: data[:at] + junk + data[at:], st.integers(0, len(CLEAN)), st.binary(max_size=6)
    ),
    "cut": st.builds(lambda at: lambda data: data[:at], st.integers(0, len(CLEAN))),
    "dropped": st.builds(
        lambda at, n: lambda data: data[:at] + data[at + n :], st.integers(0, 600), st.integers(1, 60)
    ),
    "replaced": st.builds(
        lambda a, b: lambda data: data.replace(a, b),
        st.sampled_from([b",", b"\n", b"-", b"1", b"Close", b"2020"]),
        st.sampled_from([b";", b"\t", b" ", b"", b"\r\n", b"\r", b'"', b"/", b",,", b"\xff", b"Open"]),
    ),
}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=st.lists(st.one_of(*CORRUPTIONS.values()), min_size=1, max_size=2))
def test_no_damage_ends_in_a_traceback(tmp_path: Path, damage: list[Callable[[bytes], bytes]]) -> None:
    data = CLEAN
    for harm in damage:
        try:
            data = harm(data)
        except UnicodeDecodeError:  # a cell cannot be mangled once bytes are
            continue
        if data.count(b"\n") < 1:
            break
    path = tmp_path / "A.csv"
    path.write_bytes(data)
    load_or_refuse(path)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    column=st.sampled_from(["date", "open", "volume", "ticker"]),
    cells=st.one_of(
        *(
            st.lists(cell, min_size=3, max_size=3)
            for cell in (
                st.none() | st.floats(),
                st.none() | st.text(st.characters(codec="utf-8"), max_size=6),
                st.none() | st.dates(),
                st.none() | st.datetimes(),
                st.none() | st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-99, max_value=99),
                st.booleans(),
                st.integers(-(2**62), 2**62),
                st.lists(st.integers(0, 3), max_size=2),
            )
        )
    ),
)
def test_no_parquet_column_ends_in_a_traceback(tmp_path: Path, column: str, cells: list[object]) -> None:
    table = pd.DataFrame({"date": pd.date_range("2020-01-01", periods=3), "ticker": ["A", "A", "B"]})
    for name in ("open", "high", "low", "close", "volume"):
        table[name] = 10.0
    table[column] = pd.Series(cells, dtype=object)
    path = tmp_path / "A.parquet"
    table.to_parquet(path, index=False)
    load_or_refuse(path)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_endings_of_every_system(tmp_path: Path, ending: str) -> None:
    (tmp_path / "A.csv").write_bytes(ending.join(LINES).encode())
    panel = load_or_refuse(tmp_path)
    assert panel is not None
    assert panel.shape == (19, 1)


def test_the_sample_is_five_real_stocks() -> None:
    pytest.importorskip("bokeh_sampledata")
    panel = load_sample()
    assert panel.tickers == SAMPLE_TICKERS
    assert panel.shape == (3270, 5)
    assert panel.listed_TN.sum(axis=0).tolist() == [3270, 196, 2148, 3270, 3270]
    # The splits of AAPL are adjusted for: no day halves the price on 2005-02-28.
    t = int(np.searchsorted(panel.dates_T, np.datetime64("2005-02-28")))
    assert abs(np.log(panel.close_TN[t, 0] / panel.close_TN[t - 1, 0])) < 0.05


@pytest.mark.skipif("TRADESCHOOL_STOCKNET" not in os.environ, reason="TRADESCHOOL_STOCKNET is not set")
def test_stocknet_loads_whole() -> None:
    messages: list[str] = []
    panel = load_prices(Path(os.environ["TRADESCHOOL_STOCKNET"]) / "price", messages)
    assert panel.shape == (1258, 80)
    # Three rows have no prices; 108 bars of AGFS, PTR and SPLP had no trading.
    assert int(panel.listed_TN.sum()) == 98_528 - 3 - 108
    assert sum("without any price" in message for message in messages) == 3

"""CSV files as they come: numbers, line ends, quotes, repeated headers and odd lines."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from broken_folders import FORMATS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradeschool.market.load import check_prices, load_prices
from tradeschool.market.prices.parse import parse_numbers

HEADER = "Date,Open,High,Low,Close,Volume"
ROW = "2020-01-02,1,1,1,1,1"


def write(folder: Path, *lines: str, end: str = "\n") -> Path:
    path = folder / "A.csv"
    path.write_bytes((end.join(lines) + end).encode())
    return path


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False).map(repr), min_size=1), st.booleans())
def test_numbers_are_the_nearest_floats_with_and_without_other_cells(texts: list[str], mixed: bool) -> None:
    numbers = parse_numbers(np.array([*texts, "x"] if mixed else texts, dtype=object))
    assert numbers.tolist() == [float(text) for text in texts] + [np.inf] * mixed


@pytest.mark.parametrize("text", ["inf", "-inf", "1e400", "0x10", "1_3", "1,3", "--", "٣", "abc", "1 2", "True"])
def test_what_is_not_a_plain_number_is_bad(text: str) -> None:
    assert parse_numbers(np.array([text], dtype=object)).tolist() == [np.inf]


@pytest.mark.parametrize("text", ["", " ", "null", "NaN", "NAN", "N/A", "#N/A", "-", " None "])
def test_words_for_a_missing_value_are_blank(text: str) -> None:
    np.testing.assert_array_equal(parse_numbers(np.array([text, "1"], dtype=object)), [np.nan, 1.0])


@pytest.mark.parametrize(
    ("lines", "rules"),
    [
        ((HEADER, ROW, "2020-01-03," + "0" * 200_000 + "1,1,1,1,1"), ["the row cannot be read as CSV"]),
        (("", HEADER, ROW), []),
        ((HEADER, "", ROW, " "), ["the row has 1 values for 6 columns"]),
        ((HEADER + ",", ROW + ","), []),
        ((HEADER, ROW + ",,"), []),
        ((HEADER, ROW, HEADER), ["rows that repeat the header were skipped"]),
        ((HEADER + ",Dividends", ROW + ",anything"), ["a column is not used"]),
        ((HEADER, f'"2020-01-02"{ROW[10:]}'), []),
        ((HEADER + ",Ticker", ROW + ", "), ["the ticker is missing"]),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_odd_lines_are_read_or_named(tmp_path: Path, lines: tuple[str, ...], rules: list[str], end: str) -> None:
    path = write(tmp_path, *lines, end=end)
    assert [finding.rule for finding in check_prices(path)] == rules


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tickers_that_look_like_a_missing_value_are_tickers(tmp_path: Path, suffix: str) -> None:
    names = ["NA", "NULL", "nan", "None", "TRUE"]
    path = write(tmp_path, HEADER + ",Ticker", *(f"{ROW},{name}" for name in names))
    if suffix == ".parquet":
        pd.read_csv(path, keep_default_na=False, dtype={"Ticker": str}).to_parquet(tmp_path / "A.parquet", index=False)
        path = tmp_path / "A.parquet"
    assert sorted(load_prices(path, []).tickers) == sorted(names)


@pytest.mark.parametrize(
    "name", ["file", "long", "wide", "two lines of header", "dates with times", "a column that is not used"]
)
@pytest.mark.parametrize("change", [None, ("1.22", "x"), ("1.22", ""), ("2020-01-07", "2020-01-09"), ("1.22", "1e400")])
def test_quotes_change_nothing(tmp_path: Path, name: str, change: tuple[str, str] | None) -> None:
    """Files without quotes are read by Arrow, others by the csv module."""
    days = ["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07", "2020-01-08"]
    rows = {
        "file": [HEADER, *(f"{day},1,1.2{n},1,1,{n}" for n, day in enumerate(days, 1))],
        "long": [HEADER + ",Ticker", *(f"{day},1,1.2{n},1,1,5,B{n % 2}" for n, day in enumerate(days, 1))],
        "wide": ["Date," + ",".join(f"{name}_A" for name in HEADER.split(",")[1:])],
        "two lines of header": ["Price," + HEADER[5:], "Ticker,A,A,A,A,A", "Date,,,,,"],
        "dates with times": [HEADER, *(f"{day} 00:00:00-05:00,1,1.2{n},1,1,1" for n, day in enumerate(days, 1))],
        "a column that is not used": [HEADER + ",x", *(f"{day},1,1.2{n},1,1,1,y" for n, day in enumerate(days, 1))],
    }[name]
    if len(rows) < 5:
        rows += [f"{day},1,1.2{n},1,1,1" for n, day in enumerate(days, 1)]
    if change:
        rows = [row.replace(*change) for row in rows]
    found = []
    for text in ("\n".join(rows), "\r\n".join(['"' + rows[0].replace(",", '","') + '"', *rows[1:]])):
        path = tmp_path / "A.csv"
        path.write_text(text + "\n", newline="")
        findings = check_prices(path)
        loads = not any(finding.severity == "error" for finding in findings)
        found.append((findings, load_prices(path, []).data_hash() if loads else ""))
    assert found[0] == found[1]
    assert change or found[0][1]


@pytest.mark.parametrize("cell", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("value", ["", "-1", "1e14", "x"])
def test_one_bad_price_of_any_column_is_named(tmp_path: Path, cell: int, value: str) -> None:
    lines = [["2020-01-0" + str(day), "2", "3", "1", "2", "9", "2"] for day in (2, 3, 6, 7, 8)]
    lines[2][cell] = value
    path = write(tmp_path, HEADER + ",Adj Close", *(",".join(line) for line in lines))
    assert [(finding.severity, finding.row) for finding in check_prices(path)] == [("error", 4)]


def test_rows_are_lines_also_after_blank_lines_and_line_breaks_in_quotes(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + ",x", "", ROW + ',"a\nb"', "2020-01-03,1,1,1,-1,1,c")
    assert [finding.row for finding in check_prices(path) if finding.severity == "error"] == [5]


@pytest.mark.parametrize("again", [0, 1, 2])
def test_a_repeated_header_line_of_a_wide_table_is_skipped(tmp_path: Path, again: int) -> None:
    lines = FORMATS["wide"]()["all.csv"].decode().rstrip("\n").split("\n")
    good = load_prices(write(tmp_path, *lines), [])
    messages: list[str] = []
    panel = load_prices(write(tmp_path, *lines[:9], lines[again], *lines[9:]), messages)
    assert panel.data_hash() == good.data_hash()
    assert any("repeat the header" in message for message in messages)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.text('Dat,e12.-\n\r" ', max_size=40), at=st.integers(0, 90))
def test_text_between_the_lines_never_ends_in_a_traceback(tmp_path: Path, data: str, at: int) -> None:
    good = "\n".join([HEADER, ROW, "2020-01-03,2,2,2,2,2", ""])
    path = tmp_path / "A.csv"
    path.write_bytes((good[:at] + data + good[at:]).encode())
    check_prices(path)

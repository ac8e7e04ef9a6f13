"""Names of fields in every spelling, and tables of company names: what is read, and what is refused with its row."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradeschool.errors import DataError
from tradeschool.market.events.event import read_names, snake_case


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fiscalDateEnding", "fiscal_date_ending"), ("reportedEPS", "reported_eps"), ("EPSEstimate", "eps_estimate"),
        ("EPS Estimate", "eps_estimate"), ("PERatio", "pe_ratio"), ("trailingPE", "trailing_pe"), ("EBITDA", "ebitda"),
        ("Total Revenue", "total_revenue"), ("total__revenue", "total_revenue"), ("Price-Target", "price_target"),
        ("ROE", "roe"), ("Q1Revenue", "q1_revenue"), ("price", "price"), ("", ""),
    ],
)  # fmt: skip
def test_names_of_fields_are_one_in_every_spelling(name: str, expected: str) -> None:
    assert snake_case(name) == expected
    assert snake_case(snake_case(name)) == expected


# tables of names -----------------------------------------------------------------------------------------


def table(folder: Path, content: str | bytes) -> Path:
    path = folder / "table"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
@pytest.mark.parametrize("titles", [("Symbol", "Company"), ("ticker", "NAME"), (" Ticker ", "company name")])
def test_tables(tmp_path: Path, delimiter: str, titles: tuple[str, str]) -> None:
    rows = [("Sector", *titles), ("Energy", "$XOM", "Exxon Mobil "), ("", "GE", "General Electric"), ("", "", ""),
            ("Tech", "GE", "GE Aerospace"), ("", "GE", "GE Aerospace"), ("", "BA", "")]  # fmt: skip
    found = read_names(table(tmp_path, "\ufeff" + "\r\n".join(delimiter.join(cells) for cells in rows)))
    assert found == {"XOM": ("Exxon Mobil",), "GE": ("General Electric", "GE Aerospace")}


def test_a_name_with_a_comma_stands_in_quotes(tmp_path: Path) -> None:
    assert read_names(table(tmp_path, 'Ticker,Name\nCAT,"Caterpillar, Inc."\n')) == {"CAT": ("Caterpillar, Inc.",)}


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("", "the file has no rows"),
        ("Ticker,Sector\nA,B", "has columns Ticker, Sector. It needs Ticker and Company"),
        ("Ticker,Name\nA", "row 2: the number of cells differs"),
        ("Ticker,Name\n,x", "no row of the table has a ticker and a name"),
        (b"Ticker,Name\nA,\xff", "not UTF-8"),
        ("Ticker,Name\nA," + "x" * 200_000, "not CSV"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, content: str | bytes, part: str) -> None:
    with pytest.raises(DataError, match=part) as refused:
        read_names(table(tmp_path, content))
    assert str(tmp_path / "table") in str(refused.value)


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_names(tmp_path / "nothing")


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60) | st.text(alphabet='Ticker,Name\n"\t;\x00', max_size=60).map(str.encode))
def test_any_content_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    try:
        found = read_names(table(tmp_path, b"Ticker,Name\n" + content))
    except DataError:
        return
    assert found
    assert all(ticker and all(names) for ticker, names in found.items())


def test_stocknets_table(stocknet: Path) -> None:
    found = read_names(stocknet / "StockTable")
    assert len(found) == 88
    assert found["AAPL"] == ("Apple Inc.",)
    assert found["BRK-A"] == ("Berkshire Hathaway Inc.",)

"""Tables of companies' names: by commas, semicolons or tabs; what cannot be read is refused with its row."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradeschool.errors import DataError
from tradeschool.market.notes.names import read_names


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
        ("", "It needs Ticker and Company"),
        ("Ticker,Sector\nA,B", "has columns ticker, sector. It needs Ticker and Company"),
        ("Ticker,Name\nA", "row 2: 1 values for 2 columns"),
        ("Ticker,Name\n", "no row with a ticker and a name"),
        (b"Ticker,Name\nA,\xff", "cannot be read"),
        ("Ticker,Name\nA," + "x" * 200_000, "cannot be read"),
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

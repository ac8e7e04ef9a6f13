"""Wide tables in all their spellings give the same Panel as a file per ticker, and findings with file and row."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from broken_folders import FORMATS, NAMES, QUOTES, TICKERS, field_tables, per_ticker, wide

from tradeschool.errors import DataError
from tradeschool.market.load import check_prices, load_prices
from tradeschool.market.panel import Panel


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def expected(tmp_path: Path) -> Panel:
    return load_prices(write(tmp_path / "expected", per_ticker()), [])


@pytest.fixture
def frame() -> pd.DataFrame:
    """Columns (field, ticker), the index is Date."""
    cells = {(name, ticker): {} for name in NAMES for ticker in TICKERS}  # type: ignore[var-annotated]
    for (ticker, day), found in QUOTES.items():
        for name, text in found.items():
            cells[name, ticker][pd.Timestamp(day)] = float(text)
    table = pd.DataFrame(cells).sort_index()
    table.columns = table.columns.set_names(["Price", "Ticker"])
    return table.rename_axis("Date")


def flat(template: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def renamed(table: pd.DataFrame) -> pd.DataFrame:
        titles = [template.format(field=title[0], ticker=title[1]) for title in table.columns.to_list()]
        return table.set_axis(titles, axis="columns")

    return renamed


SHAPES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "field, ticker": lambda table: table,
    "ticker, field": lambda table: table.swaplevel(axis="columns").sort_index(axis="columns"),
    "no names of levels": lambda table: table.set_axis(table.columns.set_names([None, None]), axis="columns"),
    "no name of the index": lambda table: table.rename_axis(index=None),
    "the date as a column": lambda table: flat("{field}_{ticker}")(table).reset_index(),
    "the date as a column of two levels": lambda table: table.reset_index(),
    "Close_AAA": flat("{field}_{ticker}"),
    "AAA_Close": flat("{ticker}_{field}"),
    "AAA Close": flat("{ticker} {field}"),
    "Close AAA": flat("{field} {ticker}"),
    "aaa.close": lambda table: flat("{ticker}.{field}")(table).rename(columns=lambda title: title.replace(" ", "_")),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_every_shape_is_the_same_market(
    tmp_path: Path, frame: pd.DataFrame, expected: Panel, shape: str, suffix: str
) -> None:
    if (shape, suffix) == ("the date as a column of two levels", ".csv"):
        pytest.skip("pandas writes no header from which it could be recognised")
    table, path = SHAPES[shape](frame), tmp_path / f"all{suffix}"
    if suffix == ".csv":
        table.to_csv(path, index=shape != "the date as a column")
    else:
        table.to_parquet(path)
    assert load_prices(path, []).data_hash() == expected.data_hash()


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_the_same_market(tmp_path: Path, expected: Panel, kind: str) -> None:
    folder = write(tmp_path / "other", FORMATS[kind]())
    messages: list[str] = []
    assert load_prices(folder, messages).data_hash() == expected.data_hash()
    # DDD's late listing is reported; that its cells are blank before is normal in a wide table.
    assert len(messages) == 1
    assert "DDD 2020-01-16" in messages[0]


def test_a_ticker_named_like_a_field_is_read(tmp_path: Path) -> None:
    table = pd.DataFrame({"Date": pd.date_range("2020-01-01", periods=3)})
    for ticker, price in {"OPEN": 1.0, "BRK_A": 2.0}.items():
        for name in ("Open", "High", "Low", "Close", "Volume"):
            table[f"{name}_{ticker}"] = price
    table.to_parquet(tmp_path / "all.parquet", index=False)
    panel = load_prices(tmp_path)
    assert panel.tickers == ("BRK_A", "OPEN")
    np.testing.assert_array_equal(panel.close_TN, np.tile([2.0, 1.0], (3, 1)))


def test_a_bad_cell_of_a_wide_table_is_named_by_file_row_ticker_and_field(tmp_path: Path) -> None:
    lines = wide()["all.csv"].decode().split("\n")
    cells = lines[10].split(",")
    cells[2], cells[1 + 4 * 2] = "abc", "0"
    lines[10] = ",".join(cells)
    path = tmp_path / "all.csv"
    path.write_text("\n".join(lines))
    found = [
        (finding.row, finding.rule, finding.value) for finding in check_prices(path) if finding.severity == "error"
    ]
    assert found == [
        (11, "BBB: Open is not a number", "'abc'"),
        (11, "AAA: Low is zero or negative", "Low 0"),
    ]


def test_a_bad_date_of_a_wide_table_is_reported_once(tmp_path: Path) -> None:
    lines = wide()["all.csv"].decode().split("\n")
    lines[10] = "2020-01-02" + lines[10][10:]
    lines[11] = "2020-99-99" + lines[11][10:]
    (tmp_path / "all.csv").write_text("\n".join(lines))
    errors = [(finding.row, finding.rule) for finding in check_prices(tmp_path) if finding.severity == "error"]
    assert errors == [(11, "the date is repeated"), (12, "the date cannot be read as YYYY-MM-DD")]


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("Volume,Volume,Volume,Volume", "Volume,Volume,Volume,Dividends", "DDD lacks Volume"),
        ("Volume,Volume,Volume,Volume", "Volume,Volume,Volume,Close", "two columns hold the same (Close of DDD)"),
        ("BBB", "", "a column names no ticker"),
        ("Price,", "Something,", "column"),
        ("AAA", "bbb", "a ticker comes more than once ('bbb' in all.csv, 'BBB' in all.csv)"),
    ],
)
def test_a_broken_header_of_a_wide_table_is_refused(tmp_path: Path, old: str, new: str, text: str) -> None:
    (tmp_path / "all.csv").write_text(wide()["all.csv"].decode().replace(old, new))
    with pytest.raises(DataError) as caught:
        load_prices(tmp_path)
    assert text in str(caught.value)


def test_rows_of_a_wide_table_without_any_value_are_counted(tmp_path: Path) -> None:
    data = wide()["all.csv"].decode().rstrip("\n") + "\n2020-03-02" + "," * 24 + "\n"
    (tmp_path / "all.csv").write_text(data)
    messages: list[str] = []
    load_prices(tmp_path, messages)
    assert any("no values were skipped (1 row, the first is row 40)" in text for text in messages)


@pytest.mark.parametrize("index", [True, False])
def test_field_tables_in_parquet(tmp_path: Path, frame: pd.DataFrame, expected: Panel, index: bool) -> None:
    for name in NAMES:
        table = pd.DataFrame(frame[name]).rename_axis(columns=None)
        table = table if index else table.reset_index()
        table.to_parquet(tmp_path / f"{name.lower().replace(' ', '_')}.parquet")
    (tmp_path / "dividends.parquet").write_bytes(b"")
    messages: list[str] = []
    assert load_prices(tmp_path, messages).data_hash() == expected.data_hash()
    assert any("files beside field tables were not read (dividends.parquet)" in message for message in messages)
    raw = load_prices(tmp_path, [], adjust=False)
    assert raw.close_TN[0, 0] == float(QUOTES["AAA", "2020-01-02"]["Close"])


def test_field_tables_may_differ_in_order_and_not_in_content(tmp_path: Path, expected: Panel) -> None:
    files = field_tables()
    lines = files["high.csv"].decode().split("\n")
    mirrored = [",".join([line.split(",")[0], *reversed(line.split(",")[1:])]) for line in lines[:-1]]
    folder = write(tmp_path / "f", files | {"high.csv": "\n".join([mirrored[0], *mirrored[:0:-1], ""]).encode()})
    messages: list[str] = []
    assert load_prices(folder, messages).data_hash() == expected.data_hash()
    assert sum("high.csv: rows were not in order" in message for message in messages) == 1
    write(folder, {"volume.csv": b"\n".join(line for line in files["volume.csv"].split(b"\n") if b"01-23" not in line)})
    assert [(Path(f.file).name, f.row, f.rule, f.value) for f in check_prices(folder) if f.severity == "error"] == [
        ("close.csv", 17, "the date is not in volume.csv", "2020-01-23")
    ]
    write(folder, files | {"low.csv": files["low.csv"].replace(b"CCC", b"EEE")})
    assert {(Path(f.file).name, f.rule, f.value) for f in check_prices(folder) if f.severity == "error"} == {
        ("low.csv", "the ticker is not in close.csv", "EEE"),
        ("close.csv", "the ticker is not in low.csv", "CCC"),
    }


def test_errors_in_field_tables_name_the_table_and_its_row(tmp_path: Path) -> None:
    files = field_tables()
    lines = files["open.csv"].decode().split("\n")
    lines[5] = lines[5].rsplit(",", 2)[0] + ",x,"
    lines[6] = lines[6].replace(",", ",9", 1)
    folder = write(tmp_path / "f", files | {"open.csv": "\n".join(lines).encode()})
    assert [(Path(f.file).name, f.row, f.rule) for f in check_prices(folder) if f.severity == "error"] == [
        ("open.csv", 6, "CCC: Open is not a number")
    ]
    lines[5] = files["open.csv"].decode().split("\n")[5]
    write(folder, {"open.csv": "\n".join(lines).encode()})
    errors = [(Path(f.file).name, f.row, f.rule) for f in check_prices(folder) if f.severity == "error"]
    assert errors == [("close.csv", 7, "AAA: open or close is outside the day's high and low")]


def test_a_folder_with_some_field_tables_names_the_missing_one(tmp_path: Path) -> None:
    files = field_tables()
    del files["volume.csv"]
    folder = write(tmp_path / "f", files)
    with pytest.raises(DataError, match="a field table is missing \\(Volume\\)"):
        load_prices(folder)
    write(folder, field_tables() | {"LOW.csv": files["low.csv"]})
    with pytest.raises(DataError, match="two files mean Low"):
        load_prices(folder)


def test_tickers_named_low_and_open_are_not_field_tables(tmp_path: Path) -> None:
    files = per_ticker()
    folder = write(tmp_path / "f", {"LOW.csv": files["AAA.csv"], "OPEN.csv": files["BBB.csv"]})
    assert load_prices(folder, []).tickers == ("LOW", "OPEN")

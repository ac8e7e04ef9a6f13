"""Dates in one format and one time zone; everything else is refused with its row."""

from pathlib import Path

import pandas as pd
import pytest

from tradeschool.errors import DataError
from tradeschool.market.load import check_prices, load_prices


def write(folder: Path, dates: list[str]) -> Path:
    path = folder / "AAA.csv"
    lines = ["Date,Open,High,Low,Close,Volume", *(f"{date},1,1,1,1,1" for date in dates)]
    path.write_text("\n".join(lines) + "\n")
    return path


NEW_YORK = [f"2020-{day} 00:00:00-05:00" for day in ("03-04", "03-05", "03-06")]
SUMMER = [f"2020-{day} 00:00:00-04:00" for day in ("03-09", "03-10", "03-11", "03-12")]


def test_daylight_saving_is_not_another_zone(tmp_path: Path) -> None:
    messages: list[str] = []
    panel = load_prices(write(tmp_path, NEW_YORK + SUMMER), messages)
    assert panel.dates_T.astype(str).tolist() == [date[:10] for date in NEW_YORK + SUMMER]
    assert messages == []


@pytest.mark.parametrize("odd", ["2020-03-13 00:00:00", "2020-03-13"])
def test_a_missing_zone_is_refused_with_the_row_that_differs(tmp_path: Path, odd: str) -> None:
    path = write(tmp_path, [*NEW_YORK, *SUMMER, odd])
    with pytest.raises(DataError) as caught:
        load_prices(path)
    assert f"row 9: the date does not have a time zone like most ('{odd}')" in str(caught.value)


def test_dates_with_and_without_a_time_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, ["2020-01-02", "2020-01-03 00:00:00", "2020-01-06 00:00:00"])
    with pytest.raises(DataError, match="row 2: the date does not have a time like most \\('2020-01-02'\\)"):
        load_prices(path)


def test_a_time_other_than_midnight_is_warned_of(tmp_path: Path) -> None:
    path = write(tmp_path, ["2020-01-02 23:00:00+00:00", "2020-01-06 23:00:00+00:00"])
    (finding,) = check_prices(path)
    assert (finding.severity, finding.row) == ("warning", 2)
    assert finding.value == "2 rows, the first is '2020-01-02 23:00:00+00:00'"


@pytest.mark.parametrize("zone", [None, "America/New_York", "UTC"])
@pytest.mark.parametrize("hour", [0, 16])
def test_timestamps_in_parquet_keep_the_day_of_their_zone(tmp_path: Path, zone: str | None, hour: int) -> None:
    dates = pd.DatetimeIndex(["2020-03-05", "2020-03-06", "2020-03-09"]) + pd.Timedelta(hours=hour)
    table = pd.DataFrame({"date": dates.tz_localize(zone)})
    table[["open", "high", "low", "close", "volume"]] = 1.0
    table.to_parquet(tmp_path / "A.parquet", index=False)
    messages: list[str] = []
    panel = load_prices(tmp_path, messages)
    assert panel.dates_T.astype(str).tolist() == ["2020-03-05", "2020-03-06", "2020-03-09"]
    assert [("has a time" in message, "3 rows" in message) for message in messages] == [(True, True)] * (hour > 0)


def test_long_files_read_their_dates_once_and_report_every_row(tmp_path: Path) -> None:
    days = [f"01/{day}/2020" for day in range(13, 29)]
    lines = ["Date,Ticker,Open,High,Low,Close,Volume"]
    lines += [f"{day},T{n},1,1,1,1,1" for n in range(5) for day in days]
    path = tmp_path / "all.csv"
    path.write_text("\n".join(lines) + "\n")
    assert load_prices(path, []).dates_T.astype(str)[[0, -1]].tolist() == ["2020-01-13", "2020-01-28"]
    lines[20] = lines[20].replace("01/", "31/", 1)
    lines[40] = lines[40].replace("01/", "31/", 1)
    path.write_text("\n".join(lines) + "\n")
    assert [finding.row for finding in check_prices(path) if "cannot be read" in finding.rule] == [21, 41]


def test_dates_in_another_format_are_reported_also_where_they_repeat(tmp_path: Path) -> None:
    assert [one.rule for one in check_prices(write(tmp_path, ["14/01/2020", "15/01/2020"]))] == [
        "dates were read as DD/MM/YYYY"
    ]
    lines = ["Date,Ticker,Open,High,Low,Close,Volume"]
    lines += [f"{day}/01/2020,{ticker},1,1,1,1,1" for ticker in "ABC" for day in (14, 15)]
    (tmp_path / "AAA.csv").write_text("\n".join(lines) + "\n")
    assert [one.rule for one in check_prices(tmp_path)] == ["dates were read as DD/MM/YYYY"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_hourly_bars_are_refused_as_several_bars_a_day(tmp_path: Path, suffix: str) -> None:
    days = pd.bdate_range("2020-01-02", periods=10)
    times = [day + pd.Timedelta(hours=hour) for day in days for hour in range(10, 17)]
    table = pd.DataFrame({"Date": times}).assign(Open=1.0, High=1.0, Low=1.0, Close=1.0, Volume=1.0)
    path = tmp_path / f"AAA{suffix}"
    if suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path, index=False)
    errors = [one for one in check_prices(path) if one.severity == "error"]
    assert sum(one.count for one in errors) == 60
    assert errors[0].row == (3 if suffix == ".csv" else 2)
    assert "several bars a day" in errors[0].rule
    assert "Join the bars of each day" in errors[0].cure


def test_a_file_that_was_appended_to_itself_is_not_called_hourly(tmp_path: Path) -> None:
    days = [str(day.date()) for day in pd.bdate_range("2020-01-02", periods=10)]
    errors = [one for one in check_prices(write(tmp_path, days * 2)) if one.severity == "error"]
    assert {one.rule for one in errors} == {"the date is repeated"}
    assert [one.row for one in errors] == list(range(12, 22))

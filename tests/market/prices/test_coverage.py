"""Weekends, long gaps, files of events beside prices, and dates compared with the calendar of an exchange."""

from pathlib import Path

import numpy as np
import pytest

from tradeschool.errors import DataError
from tradeschool.market.calendar import sessions
from tradeschool.market.load import check_prices, load_prices

DAYS = [str(day) for day in np.busday_offset(np.datetime64("2020-01-01"), np.arange(40), roll="raise")]
EVENTS = "ticker,known_at,text\nAAA,2020-01-02,Hello\n"


def write(folder: Path, days: list[str] = DAYS, name: str = "AAA.csv") -> Path:
    folder.mkdir(exist_ok=True)
    lines = ["Date,Open,High,Low,Close,Volume", *(f"{day},1,1,1,1,1" for day in days)]
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def test_weekends_are_counted(tmp_path: Path) -> None:
    write(tmp_path, ["2020-01-03", "2020-01-04", "2020-01-05", "2020-01-06"])
    (found,) = check_prices(tmp_path)
    assert (found.severity, found.rule, found.value) == ("warning", "2 bars are on Saturdays and Sundays", "AAA 2")


def test_a_week_from_sunday_to_thursday_is_no_warning_and_single_weekend_bars_are(tmp_path: Path) -> None:
    days = np.arange(np.datetime64("2020-01-05"), np.datetime64("2020-06-01"))
    week = [str(day) for day in days if (day.astype(int) + 3) % 7 not in (4, 5)]
    (found,) = check_prices(write(tmp_path, week))
    assert (found.severity, found.value) == ("info", "AAA")
    assert "Saturday or Sunday" in found.rule
    business = [str(day) for day in days if np.is_busday(day)]
    (found,) = check_prices(write(tmp_path, sorted([*business, "2020-02-02", "2020-03-07"])))
    assert (found.severity, found.value) == ("warning", "AAA 2")


def test_a_gap_of_more_than_ten_weekdays_that_all_share_is_warned_of(tmp_path: Path) -> None:
    assert check_prices(write(tmp_path, DAYS[:10] + DAYS[20:])) == []
    (found,) = check_prices(write(tmp_path, DAYS[:10] + DAYS[21:]))
    assert found.severity == "warning"
    assert found.value == f"11 weekdays between {DAYS[9]} and {DAYS[21]}"
    write(tmp_path, name="BBB.csv")
    assert [one.severity for one in check_prices(tmp_path)] == ["info"]


def test_events_beside_prices_are_named_and_prices_load(tmp_path: Path) -> None:
    (write(tmp_path) / "tweets.csv").write_text(EVENTS)
    (found,) = check_prices(tmp_path)
    assert (found.severity, found.rule, found.value) == (
        "info",
        "a file of events was not read as prices",
        "tweets.csv",
    )
    assert load_prices(tmp_path, []).tickers == ("AAA",)


def test_a_folder_of_events_names_the_folder_of_prices_in_it(tmp_path: Path) -> None:
    (tmp_path / "tweets.csv").write_text(EVENTS)
    write(tmp_path / "price")
    with pytest.raises(DataError, match=f"only events.*Did you mean {tmp_path / 'price'}"):
        load_prices(tmp_path)


@pytest.fixture
def july() -> list[str]:
    pytest.importorskip("pandas_market_calendars")
    return [str(day) for day in sessions("NYSE", np.datetime64("2014-06-30"), np.datetime64("2014-07-11"))]


def found(folder: Path, exchange: str | None = "NYSE") -> list[tuple[str, str, str]]:
    return [(finding.severity, finding.rule, finding.value) for finding in check_prices(folder, exchange)]


def test_a_holiday_is_not_a_gap(tmp_path: Path, july: list[str]) -> None:
    assert "2014-07-04" not in july
    write(tmp_path, july)
    assert found(tmp_path) == found(tmp_path, None) == []


def test_missing_sessions_are_counted_per_ticker_even_where_no_ticker_traded(tmp_path: Path, july: list[str]) -> None:
    days = [day for day in july if day not in ("2014-07-02", "2014-07-08")]
    write(tmp_path, days)
    # Listed later and delisted earlier: only days inside its own listing count.
    write(tmp_path, [day for day in days if "2014-07-03" <= day <= "2014-07-09"], "BBB.csv")
    assert found(tmp_path)[:2] == [
        ("warning", "sessions of NYSE have no bar", "AAA: 2, 2014-07-02, 2014-07-08"),
        ("warning", "sessions of NYSE have no bar", "BBB: 1, 2014-07-08"),
    ]


def test_bars_without_a_session_are_warned_of(tmp_path: Path, july: list[str]) -> None:
    write(tmp_path, sorted([*july, "2014-07-04", "2014-07-05", "2014-07-06", "2014-06-29"]))
    value = "AAA: 4, 2014-06-29, 2014-07-04, 2014-07-05 and 1 more"
    assert found(tmp_path)[:1] == [("warning", "bars are on days without a session of NYSE", value)]


def test_the_calendar_is_that_of_the_exchange(tmp_path: Path, july: list[str]) -> None:
    days = sessions("NSE", np.datetime64("2014-08-11"), np.datetime64("2014-08-20"))
    write(tmp_path, [str(day) for day in days])
    assert found(tmp_path, "nse") == []
    assert "warning" in [severity for severity, _, _ in found(tmp_path, "NYSE")]


def test_an_unknown_exchange_is_refused_even_if_nothing_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Did you mean 'NYSE'"):
        check_prices(tmp_path / "nowhere", "NYSEE")

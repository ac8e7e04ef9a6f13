"""Dates held against an exchange's calendar: holes, holidays and days without a session are three things."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tradeschool.cli import app
from tradeschool.errors import DataError
from tradeschool.market.check import check
from tradeschool.market.exchange import sessions

pytest.importorskip("pandas_market_calendars")
JULY = sessions("NYSE", np.datetime64("2014-06-30"), np.datetime64("2014-07-11"))


def write(folder: Path, ticker: str, days: list[str]) -> None:
    lines = ["Date,Open,High,Low,Close,Volume", *(f"{day},1,1,1,1,1" for day in days)]
    (folder / f"{ticker}.csv").write_text("\n".join(lines) + "\n")


def found(folder: Path, exchange: str | None = "NYSE") -> list[tuple[str, str, str]]:
    return [(finding.severity, finding.rule, finding.value) for finding in check(folder, exchange)]


def test_a_holiday_is_no_hole(tmp_path: Path) -> None:
    days = [str(day) for day in JULY]
    assert "2014-07-04" not in days
    write(tmp_path, "AAA", days)
    assert found(tmp_path) == [("info", "weekdays without a bar are holidays of NYSE", "all tickers: 1, 2014-07-04")]
    assert found(tmp_path, None) == []


def test_holes_are_counted_per_ticker_and_named_though_no_ticker_traded(tmp_path: Path) -> None:
    days = [str(day) for day in JULY if str(day) not in ("2014-07-02", "2014-07-08")]
    write(tmp_path, "AAA", days)
    # Listed later and delisted earlier: what lies outside its own days is no hole.
    write(tmp_path, "BBB", [day for day in days if "2014-07-03" <= day <= "2014-07-09"])
    assert found(tmp_path)[:2] == [
        ("warning", "sessions of NYSE have no bar", "AAA: 2, 2014-07-02, 2014-07-08"),
        ("warning", "sessions of NYSE have no bar", "BBB: 1, 2014-07-08"),
    ]


def test_bars_without_a_session_are_warned_of(tmp_path: Path) -> None:
    write(
        tmp_path, "AAA", sorted([*(str(day) for day in JULY), "2014-07-04", "2014-07-05", "2014-07-06", "2014-06-29"])
    )
    value = "AAA: 4, 2014-06-29, 2014-07-04, 2014-07-05, ..."
    # The fourth has a bar, so it is not told as a holiday without one, too.
    assert found(tmp_path) == [("warning", "bars stand on days that are no session of NYSE", value)]


def test_the_calendar_is_that_of_the_exchange(tmp_path: Path) -> None:
    write(
        tmp_path, "AAA", [str(day) for day in sessions("NSE", np.datetime64("2014-08-11"), np.datetime64("2014-08-20"))]
    )
    assert [finding[0] for finding in found(tmp_path, "nse")] == ["info"]
    assert "warning" in [finding[0] for finding in found(tmp_path, "NYSE")]


def test_an_unknown_exchange_is_refused_also_where_nothing_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Did you mean 'NYSE'"):
        check(tmp_path / "nowhere", "NYSEE")


def test_the_command_takes_an_exchange(tmp_path: Path) -> None:
    write(tmp_path, "AAA", [str(day) for day in JULY if str(day) != "2014-07-02"])
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path), "--exchange", "NYSE"], env={"COLUMNS": "300"})
    assert result.exit_code == 0
    assert "AAA: 1, 2014-07-02" in result.output
    assert "sessions of NYSE" in result.output
    assert "1 warnings" in result.output
    plain = CliRunner().invoke(app, ["data", "check", str(tmp_path)], env={"COLUMNS": "300"})
    assert "0 warnings" in plain.output

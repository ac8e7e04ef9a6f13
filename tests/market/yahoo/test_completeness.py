"""What is missing from Yahoo's answer is named, by the exchange's calendar where there is one."""

import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from fake_yahoo import FakeYahoo, chart, days, get, refused, with_blank_day, with_cells, without
from typer.testing import CliRunner

from tradeschool.cli import app


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ("2014-05-27", "2014-05-29", "no bars from 2014-05-27 to 2014-05-29 (3 sessions)"),
        ("2014-07-10", "2014-07-11", "no bars from 2014-07-10 to 2014-07-11 (2 sessions)"),
        ("2014-06-06", "2014-06-09", "no bars from 2014-06-06 to 2014-06-09 (2 sessions)"),
        ("2014-07-07", "2014-07-07", "no bar on 2014-07-07"),
    ],
)
def test_missing_sessions_are_named(yahoo: FakeYahoo, tmp_path: Path, first: str, last: str, said: str) -> None:
    yahoo.charts["SHORT"] = without(chart(), first, last)
    text = refused(yahoo, tmp_path / "prices", "DEMO", "SHORT")
    assert f"SHORT: {said}\n" in text
    assert "DEMO:" not in text
    got = get(yahoo, tmp_path / "prices", "DEMO", "SHORT", allow_partial=True)
    assert got.manifest["complete"] is False
    (gap,) = got.manifest["tickers"]["SHORT"]["gaps"]
    assert (gap["first"], gap["last"]) == (first, last)
    assert gap["sessions"] == 33 - got.manifest["tickers"]["SHORT"]["rows"]
    assert np.isnan(got.panel.close_TN[:, 1]).sum() == gap["sessions"]


def test_a_session_without_prices_is_missing_too(yahoo: FakeYahoo, tmp_path: Path) -> None:
    yahoo.charts["DEMO"] = with_cells(chart(), "2014-06-05", None)
    assert "DEMO: no bar on 2014-06-05\n" in refused(yahoo, tmp_path / "prices")
    entry = get(yahoo, tmp_path / "prices", allow_partial=True).manifest["tickers"]["DEMO"]
    assert (entry["rows"], entry["left_out"]) == (32, {"2014-06-05": "no prices"})


def test_a_holiday_without_prices_is_left_out_and_recorded(yahoo: FakeYahoo, tmp_path: Path) -> None:
    yahoo.charts["DEMO"] = with_blank_day(chart(), "2014-07-04")
    got = get(yahoo, tmp_path / "prices")
    assert got.manifest["complete"] is True
    assert got.manifest["tickers"]["DEMO"]["left_out"] == {"2014-07-04": "no prices"}
    assert got.manifest["tickers"]["DEMO"]["rows"] == 33


@pytest.mark.parametrize(
    ("names", "value", "said"),
    [
        (("low", "open"), None, "some prices are empty"),
        (("high",), 1.0, "high is below the low"),
        (("close",), 0, "Close is zero"),
    ],
)
def test_a_row_that_breaks_a_rule_is_named(
    yahoo: FakeYahoo, tmp_path: Path, names: tuple[str, ...], value: float | None, said: str
) -> None:
    yahoo.charts["DEMO"] = with_cells(chart(), "2014-06-05", value, *names)
    assert re.search(f"2014-06-05: [^;]*{said}", refused(yahoo, tmp_path / "prices"))
    entry = get(yahoo, tmp_path / "prices", allow_partial=True).manifest["tickers"]["DEMO"]
    assert list(entry["left_out"]) == ["2014-06-05"]
    assert CliRunner().invoke(app, ["data", "check", str(tmp_path / "prices")]).exit_code == 0


def test_a_ticker_without_one_usable_row_is_lost(yahoo: FakeYahoo, tmp_path: Path) -> None:
    empty = chart()
    for day in ("2014-06-02", "2014-06-03"):
        empty = with_cells(empty, day, None)
    yahoo.charts["DEMO"] = empty
    text = refused(yahoo, tmp_path / "prices", dates=("2014-06-02", "2014-06-04"), allow_partial=True)
    assert "DEMO: Yahoo has no usable prices between these dates" in text


@pytest.mark.parametrize(
    "meta",
    [{"exchangeTimezoneName": "America/Toronto"}, {"instrumentType": "CURRENCY"}],
    ids=["no calendar of its exchange", "no exchange"],
)
def test_without_a_calendar_only_long_gaps_count(yahoo: FakeYahoo, tmp_path: Path, meta: dict[str, str]) -> None:
    whole = chart(**meta)
    yahoo.charts |= {
        "WEEK": without(without(whole, "2014-05-27", "2014-06-02"), "2014-06-10", "2014-06-20"),
        "LATE": without(whole, "2014-05-27", "2014-06-03"),
        "ENDS": without(whole, "2014-07-03", "2014-07-12"),
        "HOLE": without(whole, "2014-06-10", "2014-06-24"),
    }
    entry = get(yahoo, tmp_path / "prices", "WEEK").manifest["tickers"]["WEEK"]
    assert (entry["calendar"], entry["gaps"]) == (None, [])
    text = refused(yahoo, tmp_path / "more", "LATE", "ENDS", "HOLE")
    assert "LATE: no bars from 2014-05-27 to 2014-06-03\n" in text
    assert "ENDS: no bars from 2014-07-03 to 2014-07-11\n" in text
    assert "HOLE: no bars from 2014-06-10 to 2014-06-24\n" in text


def test_every_row_of_many_that_break_a_rule_is_left_out(yahoo: FakeYahoo, tmp_path: Path) -> None:
    broken = chart()
    for day in days(broken)[:28]:
        broken = with_cells(broken, day, 1.0, "high")
    yahoo.charts["DEMO"] = broken
    entry = get(yahoo, tmp_path / "prices", allow_partial=True).manifest["tickers"]["DEMO"]
    assert (list(entry["left_out"]), entry["rows"]) == (days(broken)[:28], 5)


def test_no_room_for_temporary_files(yahoo: FakeYahoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert "Make room, or name another in TMPDIR" in refused(yahoo, tmp_path / "prices")

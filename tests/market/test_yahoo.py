"""Prices from Yahoo through yfinance's own code and recorded answers: requests, every kind of failure, the manifest."""

import datetime
import functools
import importlib.metadata
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_yahoo import (
    DATES,
    LIMIT,
    FakeYahoo,
    another,
    chart,
    curl,
    days,
    get,
    recorded,
    refused,
    with_blank_day,
    with_cells,
    without,
)
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tradeschool.cli.main import app
from tradeschool.errors import RunError
from tradeschool.market import yahoo as market_yahoo
from tradeschool.market.load import load_prices
from tradeschool.market.yahoo import RETRIES, FetchError, fetch, parse_request


def manifest(out: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    return read


def test_a_snapshot_holds_yahoos_answer(yahoo: FakeYahoo, tmp_path: Path) -> None:
    import pandas as pd

    get(yahoo, tmp_path / "new" / "prices", "demo")
    frame = pd.read_parquet(tmp_path / "new" / "prices" / "DEMO.parquet")
    assert frame.columns.tolist() == ["Date", "Open", "High", "Low", "Close", "Adj Close", "Volume"]
    indicators = chart()["indicators"]
    for name in ("Open", "High", "Low", "Close", "Volume"):
        assert frame[name].tolist() == indicators["quote"][0][name.lower()]
    assert frame["Adj Close"].tolist() == indicators["adjclose"][0]["adjclose"]
    assert frame["Date"].dt.strftime("%Y-%m-%d").tolist()[:2] == ["2014-05-27", "2014-05-28"]
    assert frame["Date"].dt.tz is None


def test_every_command_can_read_a_snapshot(yahoo: FakeYahoo, tmp_path: Path) -> None:
    yahoo.charts["^OTHER"] = with_cells(another(chart()), "2014-06-05", None, "volume")
    got = get(yahoo, tmp_path / "prices", "DEMO", "^OTHER")
    messages: list[str] = []
    panel = load_prices(tmp_path / "prices", messages)
    assert panel.name == got.panel.name == "prices"
    assert panel.tickers == ("DEMO", "^OTHER")
    assert len(panel.dates_T) == 33
    adjusted = np.array(chart()["indicators"]["adjclose"][0]["adjclose"])
    np.testing.assert_allclose(panel.close_TN[:, 0] / panel.close_TN[0, 0], adjusted / adjusted[0], rtol=1e-6)
    # yfinance writes 0 for the missing volume.
    assert [message for message in messages if "manifest.json" not in message and "volume is 0" not in message] == []
    assert CliRunner().invoke(app, ["data", "check", str(tmp_path / "prices")]).exit_code == 0


def test_the_manifest_says_where_it_came_from(yahoo: FakeYahoo, tmp_path: Path) -> None:
    started = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    got = get(yahoo, tmp_path / "prices", dates=("2014-06-02", "2014-06-10"))
    written = manifest(tmp_path / "prices")
    assert written == got.manifest
    assert written["requested"] == ["DEMO"]
    assert written["tickers"]["DEMO"] == {
        "fullExchangeName": "NasdaqGS", "exchangeTimezoneName": "America/New_York", "currency": "USD",
        "instrumentType": "EQUITY", "calendar": "NYSE", "left_out": {}, "problems": [], "file": "DEMO.parquet",
        "rows": 6, "first_day": "2014-06-02", "last_day": "2014-06-09",
    }  # fmt: skip
    assert (written["from"], written["to"]) == ("2014-06-02", "2014-06-10")
    assert (written["complete"], written["missing_tickers"]) == (True, {})
    assert written["yfinance"] == importlib.metadata.version("yfinance")
    assert written["data_hash"] == load_prices(tmp_path / "prices").data_hash()
    fetched_at = datetime.datetime.fromisoformat(written["fetched_at"])
    assert fetched_at.utcoffset() == datetime.timedelta(0)
    assert started <= fetched_at <= datetime.datetime.now(datetime.UTC)


def test_a_row_that_yahoo_adds_after_the_end_is_not_kept(yahoo: FakeYahoo, tmp_path: Path) -> None:
    whole = chart()
    yahoo._chart = lambda ticker, params: (200, json.dumps({"chart": {"result": [whole], "error": None}}))  # type: ignore[method-assign]
    got = get(yahoo, tmp_path / "prices", dates=("2014-06-02", "2014-06-10"))
    assert got.manifest["tickers"]["DEMO"]["rows"] == 6


def test_every_fetch_requests_again(yahoo: FakeYahoo, tmp_path: Path) -> None:
    first = get(yahoo, tmp_path / "a")
    yahoo.charts["DEMO"] = with_cells(chart(), "2014-06-05", 5e6, "volume")
    assert get(yahoo, tmp_path / "b").manifest["data_hash"] != first.manifest["data_hash"]


def test_an_unknown_ticker_is_named(yahoo: FakeYahoo, tmp_path: Path) -> None:
    text = refused(yahoo, tmp_path / "prices", "DEMO", "GONE")
    assert "not complete, so nothing was written" in text
    assert "GONE: Yahoo does not know this ticker, or it is delisted" in text
    assert "DEMO:" not in text
    assert "--allow-partial" in text
    got = get(yahoo, tmp_path / "prices", "DEMO", "GONE", allow_partial=True)
    assert got.panel.tickers == ("DEMO",)
    assert "is delisted" in manifest(tmp_path / "prices")["missing_tickers"]["GONE"]
    assert got.manifest["complete"] is False


def test_only_the_first_of_many_problems_are_listed(yahoo: FakeYahoo, tmp_path: Path) -> None:
    text = refused(yahoo, tmp_path / "prices", "DEMO", *(f"GONE{i}" for i in range(30)))
    assert "GONE19:" in text
    assert "GONE20:" not in text
    assert "and 10 more" in text


@pytest.mark.parametrize(
    ("tickers", "dates", "expected"),
    [
        ((), DATES, "No tickers given"),
        (("AAPL", "aapl"), DATES, "AAPL is repeated"),
        (("../x",), DATES, "'../x' is not a valid ticker"),
        (("$AAPL",), DATES, "is not a valid ticker"),
        (("A..B",), DATES, "is not a valid ticker"),
        (("",), DATES, "'' is not a valid ticker"),
        (("brk/b",), DATES, "'brk/b' is not a valid ticker"),
        (("AAPL,MSFT",), DATES, "separate tickers by spaces"),
        (("ÄPFEL",), DATES, "is not a valid ticker"),
        (("AAPL",), ("2015-13-01", "2020-01-01"), "--from '2015-13-01' is not a date. Write it as YYYY-MM-DD"),
        (("AAPL",), ("2015-01-01", "01.01.2020"), "--to '01.01.2020' is not a date"),
        (("AAPL",), ("20150101", "2020-01-01"), "--from '20150101' is not a date"),
        (("AAPL",), ("2020-01-01", "2020-01-01"), "is not before"),
        (("AAPL",), ("2020-01-02", "2020-01-01"), "is not before"),
    ],
)
def test_invalid_requests_are_refused_before_the_network(
    yahoo: FakeYahoo, tmp_path: Path, tickers: tuple[str, ...], dates: tuple[str, str], expected: str
) -> None:
    with pytest.raises(FetchError) as caught:
        fetch(tickers, *dates, tmp_path / "prices", session=yahoo)
    assert expected in str(caught.value)
    assert (yahoo.requests, list(tmp_path.iterdir())) == ([], [])


def test_the_last_day_that_can_be_requested_is_yesterday() -> None:
    today = datetime.datetime.now(datetime.UTC).date()
    assert parse_request(["AAPL"], "2020-01-01", str(today)).end == today
    with pytest.raises(FetchError, match=f"is in the future. Give {today} at the latest"):
        parse_request(["AAPL"], "2020-01-01", str(today + datetime.timedelta(days=1)))


def test_the_tickers_of_many_markets_are_taken() -> None:
    tickers = ("AAPL", "BRK-B", "^GSPC", "RELIANCE.NS", "M&M.NS", "0700.HK", "7203.T", "VOD.L", "EURUSD=X", "BTC-USD")
    assert parse_request(tickers, *DATES).tickers == tickers


@given(st.text(max_size=20) | st.text("AB^.-=&/\\ ~", max_size=8))
def test_a_ticker_is_a_safe_file_name_or_refused(text: str) -> None:
    try:
        (ticker,) = parse_request([text], *DATES).tickers
    except FetchError:
        return
    path = Path("folder", f"{ticker}.parquet")
    assert path.resolve() == Path("folder").resolve() / f"{ticker}.parquet"
    assert path.stem == ticker == ticker.strip().upper()
    assert not ticker.startswith((".", "-"))


def test_the_command(yahoo: FakeYahoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(market_yahoo, "fetch", functools.partial(fetch, session=yahoo))
    arguments = ["data", "fetch", "demo", "--from", DATES[0], "--to", DATES[1], "--out", str(tmp_path / "prices")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    assert "2014-07-11" in done.output
    assert f"Wrote {tmp_path / 'prices'}. Check it: tradeschool data check" in done.output
    assert "is missing" not in done.output
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2
    assert "new or empty" in again.output
    arguments[-1] = str(tmp_path / "partial")
    partial = CliRunner().invoke(app, [*arguments, "gone", "--allow-partial"])
    assert partial.exit_code == 0
    assert "manifest.json lists it" in partial.output
    assert list(manifest(tmp_path / "partial")["missing_tickers"]) == ["GONE"]


def no_response() -> Any:
    """What curl_cffi's errors carry when there was no answer."""
    response = curl.Response()
    response.status_code = 0
    return response


def test_a_third_unknown_ticker_is_named_too(yahoo: FakeYahoo, tmp_path: Path) -> None:
    # yfinance looks in a second place for the first two alone.
    text = refused(yahoo, tmp_path / "prices", "AA", "BB", "CC", "DEMO")
    assert all(f"{ticker}: Yahoo does not know" in text for ticker in ("AA", "BB", "CC"))


def test_a_delisted_ticker_whose_zone_is_known(yahoo: FakeYahoo, tmp_path: Path) -> None:
    get(yahoo, tmp_path / "a")
    yahoo.charts.clear()
    assert "DEMO: Yahoo does not know this ticker, or it is delisted" in refused(yahoo, tmp_path / "b")


@pytest.mark.parametrize("answer", [(400, "no_range"), (200, "empty")])
def test_no_prices_between_the_dates(yahoo: FakeYahoo, tmp_path: Path, answer: tuple[int, str]) -> None:
    get(yahoo, tmp_path / "a")
    yahoo.troubles = [(answer[0], recorded(answer[1]))] * 2
    text = refused(yahoo, tmp_path / "b", allow_partial=True)
    assert "DEMO: Yahoo has no prices between these dates" in text
    assert "Correct the tickers" in text


def test_a_rate_limit_is_an_error_with_a_cure(yahoo: FakeYahoo, tmp_path: Path) -> None:
    yahoo.troubles = [LIMIT] * 20
    text = refused(yahoo, tmp_path / "prices")
    assert re.search("rate limit, HTTP 429.*at ticker DEMO. Wait an hour", text)


@pytest.mark.parametrize("error", ["limit", "network"])
def test_what_was_fetched_before_a_failure_is_written(yahoo: FakeYahoo, tmp_path: Path, error: str) -> None:
    answer = yahoo._chart

    def failing(ticker: str, params: dict[str, Any]) -> tuple[int, str]:
        if ticker == "DEMO":
            return answer(ticker, params)
        if error == "limit":
            return LIMIT
        raise curl.exceptions.Timeout("curl: (28) Operation timed out", 28, no_response())

    yahoo._chart = failing  # type: ignore[method-assign]
    with pytest.raises(FetchError, match=f"1 of 3 tickers were written to {tmp_path / 'prices'}"):
        get(yahoo, tmp_path / "prices", "DEMO", "NEXT", "LAST")
    assert load_prices(tmp_path / "prices", []).tickers == ("DEMO",)
    written = manifest(tmp_path / "prices")
    assert (written["complete"], list(written["missing_tickers"])) == (False, ["NEXT", "LAST"])
    assert written["requested"] == ["DEMO", "NEXT", "LAST"]


@pytest.mark.parametrize(
    "error",
    [
        curl.exceptions.DNSError("curl: (6) Could not resolve host", 6, no_response()),
        curl.exceptions.ConnectionError("curl: (7) Failed to connect", 7, no_response()),
        curl.exceptions.ProxyError("curl: (5) Could not resolve proxy", 5),
        curl.exceptions.Timeout("curl: (28) Operation timed out", 28, no_response()),
    ],
)
def test_no_network(yahoo: FakeYahoo, tmp_path: Path, error: Exception) -> None:
    yahoo.down = error
    text = refused(yahoo, tmp_path / "prices")
    assert "Yahoo Finance cannot be reached" in text
    assert str(error) in text
    assert "Check the network" in text


def test_a_connection_that_breaks_is_tried_again(yahoo: FakeYahoo, tmp_path: Path) -> None:
    yahoo.troubles = [curl.exceptions.ConnectionError("curl: (56) Connection reset", 56)] * RETRIES
    assert get(yahoo, tmp_path / "prices").manifest["complete"] is True


@pytest.mark.parametrize(
    "answer",
    [
        (502, "<html>Bad Gateway</html>"),
        (200, "Will be right back"),
        (401, '{"finance":{"result":null,"error":{"code":"Unauthorized","description":"Invalid Crumb"}}}'),
        (500, '{"chart":{"result":null,"error":{"code":"internal-error","description":"Internal error"}}}'),
    ],
)
def test_an_answer_that_cannot_be_read(yahoo: FakeYahoo, tmp_path: Path, answer: tuple[int, str]) -> None:
    get(yahoo, tmp_path / "a")
    yahoo.troubles = [answer] * 20
    text = refused(yahoo, tmp_path / "b")
    assert "answer for DEMO cannot be read" in text
    assert "pip install --upgrade yfinance" in text


@pytest.fixture
def used(tmp_path: Path) -> Path:
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "chapter.txt").touch()
    (tmp_path / "here").mkdir()
    return tmp_path


@pytest.mark.parametrize("out", ["full", "file", "file/prices", "here", "."])
def test_a_folder_that_is_used_is_refused_before_the_network(
    yahoo: FakeYahoo, used: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    monkeypatch.chdir(used / "here")
    text = refused(yahoo, used / out)
    assert str((used / out).resolve()) in text
    assert "new or empty" in text
    assert yahoo.requests == []


def test_an_empty_folder_is_filled(yahoo: FakeYahoo, tmp_path: Path) -> None:
    (tmp_path / "prices").mkdir()
    get(yahoo, tmp_path / "prices")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["DEMO.parquet", "manifest.json", "prices"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_nothing_partial_is_left_if_writing_stops(
    yahoo: FakeYahoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    import pandas as pd

    original = pd.DataFrame.to_parquet

    def stopped(frame: pd.DataFrame, path: Path, **options: Any) -> None:
        if path.name == "NEXT.parquet":
            raise error
        original(frame, path, **options)

    yahoo.charts["NEXT"] = chart()
    monkeypatch.setattr(pd.DataFrame, "to_parquet", stopped)
    expected = RunError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match="the disk is full" if isinstance(error, OSError) else None):
        get(yahoo, tmp_path / "prices", "DEMO", "NEXT")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_between_tickers_leaves_nothing(yahoo: FakeYahoo, tmp_path: Path) -> None:
    yahoo.charts["NEXT"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        get(yahoo, tmp_path / "prices", "DEMO", "NEXT")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ("2014-05-27", "2014-05-29", "3 of 33 sessions have no bar: 2014-05-27, 2014-05-28, 2014-05-29"),
        ("2014-06-06", "2014-06-11", "4 of 33 sessions have no bar: 2014-06-06, 2014-06-09, 2014-06-10 and 1 more"),
        ("2014-07-07", "2014-07-07", "1 of 33 sessions have no bar: 2014-07-07"),
    ],
)
def test_missing_sessions_are_counted(yahoo: FakeYahoo, tmp_path: Path, first: str, last: str, expected: str) -> None:
    yahoo.charts["SHORT"] = without(another(chart()), first, last)
    text = refused(yahoo, tmp_path / "prices", "DEMO", "SHORT")
    assert f"SHORT: {expected}\n" in text
    assert "DEMO:" not in text
    got = get(yahoo, tmp_path / "prices", "DEMO", "SHORT", allow_partial=True)
    assert got.manifest["complete"] is False
    assert got.manifest["tickers"]["SHORT"]["problems"] == [expected]
    assert np.isnan(got.panel.close_TN[:, 1]).sum() == int(expected[0])


def test_a_session_without_prices_is_missing_too(yahoo: FakeYahoo, tmp_path: Path) -> None:
    yahoo.charts["DEMO"] = with_cells(chart(), "2014-06-05", None)
    assert "sessions have no bar: 2014-06-05\n" in refused(yahoo, tmp_path / "prices")
    entry = get(yahoo, tmp_path / "prices", allow_partial=True).manifest["tickers"]["DEMO"]
    assert (entry["rows"], entry["left_out"]) == (32, {"2014-06-05": "no prices"})


def test_a_holiday_without_prices_is_left_out_and_recorded(yahoo: FakeYahoo, tmp_path: Path) -> None:
    yahoo.charts["DEMO"] = with_blank_day(chart(), "2014-07-04")
    got = get(yahoo, tmp_path / "prices")
    assert got.manifest["complete"] is True
    assert got.manifest["tickers"]["DEMO"]["left_out"] == {"2014-07-04": "no prices"}
    assert got.manifest["tickers"]["DEMO"]["rows"] == 33


@pytest.mark.parametrize(
    ("names", "value", "expected"),
    [
        (("low", "open"), None, "some prices are empty"),
        (("high",), 1.0, "high is below the low"),
        (("close",), 0, "Close is zero"),
    ],
)
def test_a_row_that_breaks_a_rule_is_named(
    yahoo: FakeYahoo, tmp_path: Path, names: tuple[str, ...], value: float | None, expected: str
) -> None:
    yahoo.charts["DEMO"] = with_cells(chart(), "2014-06-05", value, *names)
    assert re.search(f"2014-06-05: [^;]*{expected}", refused(yahoo, tmp_path / "prices"))
    entry = get(yahoo, tmp_path / "prices", allow_partial=True).manifest["tickers"]["DEMO"]
    assert list(entry["left_out"]) == ["2014-06-05"]
    assert CliRunner().invoke(app, ["data", "check", str(tmp_path / "prices")]).exit_code == 0


def test_every_row_of_many_that_break_a_rule_is_left_out(yahoo: FakeYahoo, tmp_path: Path) -> None:
    broken = chart()
    for day in days(broken)[:28]:
        broken = with_cells(broken, day, 1.0, "high")
    yahoo.charts["DEMO"] = broken
    entry = get(yahoo, tmp_path / "prices", allow_partial=True).manifest["tickers"]["DEMO"]
    assert (list(entry["left_out"]), entry["rows"]) == (days(broken)[:28], 5)


def test_a_ticker_without_one_usable_row_is_missing(yahoo: FakeYahoo, tmp_path: Path) -> None:
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
def test_without_a_calendar_the_first_and_last_day_count(
    yahoo: FakeYahoo, tmp_path: Path, meta: dict[str, str]
) -> None:
    whole = chart(**meta)
    yahoo.charts |= {
        "WEEK": without(whole, "2014-05-27", "2014-06-02"),
        "LATE": without(whole, "2014-05-27", "2014-06-03"),
        "ENDS": without(whole, "2014-07-03", "2014-07-12"),
    }
    entry = get(yahoo, tmp_path / "prices", "WEEK").manifest["tickers"]["WEEK"]
    assert (entry["calendar"], entry["problems"]) == (None, [])
    text = refused(yahoo, tmp_path / "more", "LATE", "ENDS")
    assert "LATE: bars only from 2014-06-04 to 2014-07-11\n" in text
    assert "ENDS: bars only from 2014-05-27 to 2014-07-02\n" in text

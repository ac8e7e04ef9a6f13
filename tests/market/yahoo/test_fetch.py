"""Prices from Yahoo: what is asked, what is kept of it, and what the manifest says."""

import datetime
import functools
import hashlib
import importlib.metadata
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_yahoo import DATES, LIMIT, FakeYahoo, Waits, chart, get, refused, with_cells, without
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tradeschool.cli import app
from tradeschool.market import sources
from tradeschool.market.yahoo import fetch as market_fetch
from tradeschool.market.yahoo.client import FetchError
from tradeschool.market.yahoo.fetch import ask, fetch


def manifest(out: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    return read


def test_a_snapshot_holds_what_yahoo_said(yahoo: FakeYahoo, tmp_path: Path) -> None:
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
    yahoo.charts["^OTHER"] = with_cells(chart(), "2014-06-05", None, "volume")
    got = get(yahoo, tmp_path / "prices", "DEMO", "^OTHER")
    messages: list[str] = []
    panel = sources.load(tmp_path / "prices", messages)
    assert panel.name == got.panel.name == "prices"
    assert panel.tickers == ("DEMO", "^OTHER")
    assert len(panel.dates_T) == 33
    np.testing.assert_allclose(panel.close_TN[:, 0], chart()["indicators"]["adjclose"][0]["adjclose"], rtol=1e-12)
    assert [message for message in messages if "manifest.json" not in message] == []
    assert CliRunner().invoke(app, ["data", "check", str(tmp_path / "prices")]).exit_code == 0


def test_the_manifest_says_where_it_came_from(yahoo: FakeYahoo, tmp_path: Path) -> None:
    started = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    got = get(yahoo, tmp_path / "prices", dates=("2014-06-02", "2014-06-10"))
    written = manifest(tmp_path / "prices")
    assert written == got.manifest
    entry = written["tickers"]["DEMO"]
    digest = hashlib.sha256((tmp_path / "prices" / entry.pop("file")).read_bytes()).hexdigest()
    assert entry == {
        "exchange": "NasdaqGS", "time_zone": "America/New_York", "currency": "USD", "instrument": "EQUITY",
        "calendar": "NYSE", "gaps": [], "left_out": {}, "sha256": digest,
        "rows": 6, "first_day": "2014-06-02", "last_day": "2014-06-09",
    }  # fmt: skip
    assert (written["from"], written["to"]) == ("2014-06-02", "2014-06-10")
    assert (written["complete"], written["missing_tickers"]) == (True, {})
    assert written["yfinance"] == importlib.metadata.version("yfinance")
    assert written["data_hash"] == sources.load(tmp_path / "prices").data_hash()
    fetched_at = datetime.datetime.fromisoformat(written["fetched_at"])
    assert fetched_at.utcoffset() == datetime.timedelta(0)
    assert started <= fetched_at <= datetime.datetime.now(datetime.UTC)


def test_a_row_that_yahoo_adds_after_the_end_is_not_kept(yahoo: FakeYahoo, tmp_path: Path) -> None:
    whole = chart()
    yahoo._chart = lambda ticker, params: (200, json.dumps({"chart": {"result": [whole], "error": None}}))  # type: ignore[method-assign]
    got = get(yahoo, tmp_path / "prices", dates=("2014-06-02", "2014-06-10"))
    assert got.manifest["tickers"]["DEMO"]["rows"] == 6


def test_every_fetch_asks_anew(yahoo: FakeYahoo, tmp_path: Path) -> None:
    first = get(yahoo, tmp_path / "a")
    yahoo.charts["DEMO"] = with_cells(chart(), "2014-06-05", 5e6, "volume")
    assert get(yahoo, tmp_path / "b").manifest["data_hash"] != first.manifest["data_hash"]


def test_an_unknown_ticker_is_named(yahoo: FakeYahoo, tmp_path: Path) -> None:
    text = refused(yahoo, tmp_path / "prices", "DEMO", "GONE")
    assert "not complete, so nothing was written" in text
    assert "GONE: Yahoo knows no such ticker, or it is delisted" in text
    assert "DEMO:" not in text
    assert "--allow-partial" in text
    got = get(yahoo, tmp_path / "prices", "DEMO", "GONE", allow_partial=True)
    assert got.panel.tickers == ("DEMO",)
    assert manifest(tmp_path / "prices")["missing_tickers"] == {"GONE": "Yahoo knows no such ticker, or it is delisted"}
    assert got.manifest["complete"] is False


def test_only_the_first_of_many_problems_are_listed(yahoo: FakeYahoo, tmp_path: Path) -> None:
    holes = chart()
    for day in range(9, 28, 2):
        holes = without(holes, f"2014-06-{day:02}", f"2014-06-{day:02}")
    yahoo.charts["HOLES"] = holes
    text = refused(yahoo, tmp_path / "prices", "HOLES", *(f"GONE{i}" for i in range(30)))
    assert "no bar on 2014-06-17; no bar on 2014-06-19; and 3 more\n" in text
    assert "and 11 more tickers" in text


@pytest.mark.parametrize(
    ("tickers", "dates", "said"),
    [
        ((), DATES, "no ticker to fetch"),
        (("AAPL", "aapl"), DATES, "AAPL comes twice"),
        (("../x",), DATES, "'../x' cannot be a ticker"),
        (("/etc/passwd",), DATES, "cannot be a ticker"),
        ((".AAPL",), DATES, "Did you mean 'AAPL'?"),
        (("$AAPL",), DATES, "Did you mean 'AAPL'?"),
        (("A..B",), DATES, "cannot be a ticker"),
        (("",), DATES, "'' cannot be a ticker"),
        (("BRK.B",), DATES, "Did you mean 'BRK-B'?"),
        (("brk/b",), DATES, "Did you mean 'BRK-B'?"),
        (("AAPL,MSFT",), DATES, "Separate tickers by spaces"),
        (("ÄPFEL",), DATES, "cannot be a ticker"),
        (("US0378331005",), DATES, "is an ISIN"),
        (("AAPL",), ("2015-13-01", "2020-01-01"), "--from '2015-13-01' is no date. Write it as YYYY-MM-DD"),
        (("AAPL",), ("2015-01-01", "01.01.2020"), "--to '01.01.2020' is no date"),
        (("AAPL",), ("20150101", "2020-01-01"), "--from '20150101' is no date"),
        (("AAPL",), ("2020-01-01", "2020-01-01"), "does not come before"),
        (("AAPL",), ("2020-01-02", "2020-01-01"), "does not come before"),
        (("AAPL",), ("0001-01-01", "2020-01-01"), "lies before 1900-01-01"),
    ],
)
def test_nonsense_is_refused_before_the_network(
    yahoo: FakeYahoo, tmp_path: Path, tickers: tuple[str, ...], dates: tuple[str, str], said: str
) -> None:
    with pytest.raises(FetchError) as caught:
        fetch(tickers, *dates, tmp_path / "prices", session=yahoo)
    assert said in str(caught.value)
    assert (yahoo.asked, list(tmp_path.iterdir())) == ([], [])


def test_the_last_day_that_can_be_asked_for_is_yesterday() -> None:
    today = datetime.datetime.now(datetime.UTC).date()
    assert ask(["AAPL"], "2020-01-01", str(today)).end == today
    with pytest.raises(FetchError, match=f"lies in the future. Give {today} at the latest"):
        ask(["AAPL"], "2020-01-01", str(today + datetime.timedelta(days=1)))


def test_the_tickers_of_many_markets_are_taken() -> None:
    tickers = ("AAPL", "BRK-B", "^GSPC", "RELIANCE.NS", "M&M.NS", "0700.HK", "7203.T", "VOD.L", "EURUSD=X", "BTC-USD")
    assert ask(tickers, *DATES).tickers == tickers


@given(st.text(max_size=20) | st.text("AB^.-=&/\\ ~", max_size=8))
def test_a_ticker_is_a_safe_file_name_or_refused(text: str) -> None:
    try:
        (ticker,) = ask([text], *DATES).tickers
    except FetchError:
        return
    path = Path("folder", f"{ticker}.parquet")
    assert path.resolve() == Path("folder").resolve() / f"{ticker}.parquet"
    assert path.stem == ticker == ticker.strip().upper()
    assert not ticker.startswith((".", "-"))


def test_the_command(yahoo: FakeYahoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(market_fetch, "fetch", functools.partial(fetch, session=yahoo, wait=Waits()))
    arguments = ["data", "fetch", "demo", "--from", DATES[0], "--to", DATES[1], "--out", str(tmp_path / "prices")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    assert "2014-07-11" in done.output
    assert f"Wrote {tmp_path / 'prices'}. Look closer: tradeschool data check" in done.output
    assert "is missing" not in done.output
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2
    assert "replace the snapshot in it with --force" in again.output
    partial = CliRunner().invoke(app, [*arguments, "gone", "--force", "--allow-partial"])
    assert partial.exit_code == 0
    assert "manifest.json names what is missing" in partial.output
    assert list(manifest(tmp_path / "prices")["missing_tickers"]) == ["GONE"]


def test_the_command_says_why_it_waits(yahoo: FakeYahoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(market_fetch, "fetch", functools.partial(fetch, session=yahoo, wait=Waits()))
    yahoo.troubles = [LIMIT] * 20
    arguments = ["data", "fetch", "DEMO", "--from", DATES[0], "--to", DATES[1], "--out", str(tmp_path / "prices")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "Yahoo refuses more requests for a while. Next try in 5 s." in done.output
    assert "Wait some minutes" in done.output

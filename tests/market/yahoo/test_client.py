"""yfinance's own code over recorded answers: every way of getting no prices is told apart."""

import builtins
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fake_yahoo import (
    DATES,
    LIMIT,
    FakeYahoo,
    Waits,
    curl,
    get,
    recorded,
    refused,
)

from tradeschool.errors import TradeschoolError
from tradeschool.market.yahoo.client import RateLimitError
from tradeschool.market.yahoo.fetch import fetch


def no_response() -> Any:
    """What curl_cffi's errors carry when nobody answered."""
    response = curl.Response()
    response.status_code = 0
    return response


def test_a_third_unknown_ticker_is_named_too(yahoo: FakeYahoo, tmp_path: Path) -> None:
    # yfinance looks in a second place for the first two alone.
    waits = Waits()
    text = refused(yahoo, tmp_path / "prices", "AA", "BB", "CC", "DEMO", wait=waits)
    assert waits == []
    assert all(f"{ticker}: Yahoo knows no such ticker" in text for ticker in ("AA", "BB", "CC"))


def test_a_delisted_ticker_whose_zone_is_known(yahoo: FakeYahoo, tmp_path: Path) -> None:
    get(yahoo, tmp_path / "a")
    yahoo.charts.clear()
    assert "DEMO: Yahoo knows no such ticker, or it is delisted" in refused(yahoo, tmp_path / "b")


@pytest.mark.parametrize("answer", [(400, "no_range"), (200, "empty")])
def test_no_prices_between_the_dates(yahoo: FakeYahoo, tmp_path: Path, answer: tuple[int, str]) -> None:
    get(yahoo, tmp_path / "a")
    yahoo.troubles = [(answer[0], recorded(answer[1]))] * 2
    text = refused(yahoo, tmp_path / "b", allow_partial=True)
    assert "DEMO: Yahoo has no prices between these dates" in text
    assert "Check the tickers" in text


def test_a_rate_limit_is_waited_out(yahoo: FakeYahoo, tmp_path: Path) -> None:
    yahoo.troubles = [LIMIT] * 4  # yfinance asks twice at every try
    waits = Waits()
    got = get(yahoo, tmp_path / "prices", wait=waits)
    assert (waits, got.manifest["complete"]) == ([5, 20], True)


def test_a_rate_limit_that_stays_is_an_error(yahoo: FakeYahoo, tmp_path: Path) -> None:
    yahoo.troubles = [LIMIT] * 20
    waits = Waits()
    with pytest.raises(RateLimitError, match="rate limit, HTTP 429.*at ticker DEMO. Wait some minutes"):
        get(yahoo, tmp_path / "prices", wait=waits)
    assert waits == [5, 20, 60]
    assert list(tmp_path.iterdir()) == []


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
    waits = Waits()
    text = refused(yahoo, tmp_path / "prices", wait=waits)
    assert "Yahoo Finance cannot be reached" in text
    assert str(error) in text
    assert "Check the network" in text
    assert waits == [2, 8]


def test_a_connection_that_breaks_once_is_tried_again(yahoo: FakeYahoo, tmp_path: Path) -> None:
    yahoo.troubles = [curl.exceptions.ConnectionError("curl: (56) Connection reset", 56)]
    waits = Waits()
    get(yahoo, tmp_path / "prices", wait=waits)
    assert waits == [2]


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
    yahoo.troubles = [answer] * 2
    get(yahoo, tmp_path / "b")
    yahoo.troubles = [answer] * 20
    text = refused(yahoo, tmp_path / "c")
    assert "answer for DEMO cannot be read" in text
    assert "pip install --upgrade yfinance" in text


def test_without_yfinance_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without_yfinance(name: str, *others: Any) -> ModuleType:
        if name.split(".")[0] == "yfinance":
            raise ImportError(name)
        return imported(name, *others)

    monkeypatch.setattr(builtins, "__import__", without_yfinance)
    with pytest.raises(TradeschoolError, match=r"pip install 'tradeschool\[data\]'"):
        fetch(["DEMO"], *DATES, tmp_path / "prices")
    assert list(tmp_path.iterdir()) == []


def test_a_caching_session_is_refused_at_once(yahoo: FakeYahoo, tmp_path: Path) -> None:
    yahoo.cache = {"a": "store"}
    waits = Waits()
    assert "does not take this session: Caching sessions" in refused(yahoo, tmp_path / "prices", wait=waits)
    assert waits == []


CACHE_SCRIPT = """
import sys
from fake_yahoo import FakeYahoo, chart
from tradeschool.market.yahoo.fetch import fetch
print(fetch(["DEMO"], "2014-05-27", "2014-07-12", sys.argv[1], session=FakeYahoo(DEMO=chart())).panel.shape)
"""


@pytest.mark.parametrize("state", ["new", "no folder can be made", "damaged"])
def test_yfinances_cache_folder(tmp_path: Path, state: str) -> None:
    folder = tmp_path / "cache"
    if state == "no folder can be made":
        folder.touch()
    elif state == "damaged":
        (folder / "py-yfinance").mkdir(parents=True)
        (folder / "py-yfinance" / "tkr-tz.db").write_bytes(b"this is no database" * 99)
    tests, root = Path(__file__).parents[1], Path(__file__).parents[2]
    environment = os.environ | {"XDG_CACHE_HOME": str(folder), "PYTHONPATH": f"{root}{os.pathsep}{tests}"}
    command = [sys.executable, "-c", CACHE_SCRIPT, str(tmp_path / "prices")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    if state == "damaged":
        assert "yfinance's cache cannot be used (file is not a database). Delete the folder py-yfinance" in done.stderr
        assert not (tmp_path / "prices").exists()
    else:
        assert (done.stdout, done.stderr) == ("(33, 1)\n", "")

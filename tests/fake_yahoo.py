"""A session that answers yfinance as Yahoo would, from the recorded answers in tests/data/yahoo."""

import copy
import datetime
import json
import math
from http.cookiejar import Cookie
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tradeschool.errors import TradeschoolError
from tradeschool.market.yahoo import Fetched, fetch

curl = pytest.importorskip("curl_cffi.requests")
Session: Any = curl.Session

DATES = ("2014-05-27", "2014-07-12")
"""The recorded days, all sessions of New York's: Memorial Day was the day before, July 4 lies between."""
LIMIT = (429, "Too Many Requests\r\n")
FOLDER = Path(__file__).parent / "data" / "yahoo"
Answer = tuple[int, str]
Chart = dict[str, Any]


def recorded(name: str) -> str:
    return (FOLDER / f"{name}.json").read_text(encoding="utf-8")


def chart(**meta: Any) -> Chart:
    """The recorded result of the chart endpoint, with changes to its ``meta``."""
    result: Chart = json.loads(recorded("chart"))["chart"]["result"][0]
    result["meta"] |= meta
    return result


def days(result: Chart) -> list[str]:
    """The day of every row, in New York."""
    shift = datetime.timezone(datetime.timedelta(hours=-4))
    return [str(datetime.datetime.fromtimestamp(stamp, shift).date()) for stamp in result["timestamp"]]


def lists(result: Chart) -> list[list[Any]]:
    """Every list that has an entry per row; the same objects as in ``result``."""
    indicators = result["indicators"]
    return [result["timestamp"], *indicators["quote"][0].values(), indicators["adjclose"][0]["adjclose"]]


def without(result: Chart, first: str, last: str) -> Chart:
    """The chart without the rows from ``first`` to ``last``, both included."""
    result = copy.deepcopy(result)
    kept = [not first <= day <= last for day in days(result)]
    for cells in lists(result):
        cells[:] = [cell for cell, keep in zip(cells, kept, strict=True) if keep]
    return result


def with_cells(result: Chart, day: str, value: float | None, *names: str) -> Chart:
    """The chart with the named prices of a day (all, and the volume, without names) set to ``value``."""
    result = copy.deepcopy(result)
    row = days(result).index(day)
    quote = result["indicators"]["quote"][0]
    for name in names or tuple(quote):
        quote[name][row] = value
    if not names:
        result["indicators"]["adjclose"][0]["adjclose"][row] = value
    return result


def another(result: Chart) -> Chart:
    """The chart of another company: every row's prices times another factor."""
    result = copy.deepcopy(result)
    for cells in (*result["indicators"]["quote"][0].values(), result["indicators"]["adjclose"][0]["adjclose"]):
        if cells is not result["indicators"]["quote"][0]["volume"]:
            cells[:] = [value and value * (1 + 0.1 * math.sin(2 * row)) for row, value in enumerate(cells)]
    return result


def with_blank_day(result: Chart, day: str) -> Chart:
    """The chart with a further row at 09:30 in New York that has no values."""
    result = copy.deepcopy(result)
    stamp = int(datetime.datetime.fromisoformat(f"{day}T09:30:00-04:00").timestamp())
    row = sum(known < stamp for known in result["timestamp"])
    for cells in lists(result):
        cells.insert(row, None)
    result["timestamp"][row] = stamp
    return result


class FakeYahoo(Session):
    """``charts`` has the tickers that exist; an exception there is raised. ``troubles`` answer the next chart requests.

    A trouble is an answer (status, text) or an exception to raise. With ``down`` every request raises it. A request
    without a recorded answer fails the test: yfinance has changed its requests.
    """

    def __init__(self, **charts: Chart | BaseException) -> None:
        super().__init__()
        self.charts = charts
        self.troubles: list[Answer | BaseException] = []
        self.down: BaseException | None = None
        self.requests: list[str] = []

    def request(self, method: Any, url: str, params: Any = None, **_: Any) -> Any:
        self.requests.append(url)
        if self.down is not None:
            raise self.down
        response = curl.Response()
        response.url = url
        response.status_code, text = self._answer(urlsplit(url).hostname or "", urlsplit(url).path, params or {})
        response.content = text.encode()
        response.ok = response.status_code < 400
        response.reason = "OK" if response.ok else "Not OK"
        return response

    def _answer(self, host: str, path: str, params: dict[str, Any]) -> Answer:
        if path.startswith("/v8/finance/chart/"):
            if self.troubles:
                trouble = self.troubles.pop(0)
                if isinstance(trouble, BaseException):
                    raise trouble
                return trouble
            return self._chart(path.rsplit("/", 1)[1], params)
        if host == "fc.yahoo.com":
            self._set_cookie()
            return 404, "<html></html>"
        if path == "/v1/test/getcrumb":
            return 200, "6QrJ3lS.kZy"
        if host == "guce.yahoo.com":
            return 200, "<html></html>"
        if path.startswith("/v10/finance/quoteSummary/"):
            return 404, recorded("quote_not_found")
        raise AssertionError(f"no recorded answer for {host}{path}")

    def _chart(self, ticker: str, params: dict[str, Any]) -> Answer:
        if ticker not in self.charts:
            return 404, recorded("not_found")
        known = self.charts[ticker]
        if isinstance(known, BaseException):
            raise known
        result = copy.deepcopy(known)
        result["meta"]["symbol"] = ticker
        if "timestamp" in result:
            begin, end = params.get("period1", result["timestamp"][-1]), params.get("period2", 2**40)
            wanted = [begin <= stamp < end for stamp in result["timestamp"]]
            if not any(wanted):
                return 400, recorded("no_range")
            for cells in lists(result):
                cells[:] = [cell for cell, keep in zip(cells, wanted, strict=True) if keep]
        return 200, json.dumps({"chart": {"result": [result], "error": None}})

    def _set_cookie(self) -> None:
        expires = int(datetime.datetime.now().timestamp()) + 86400
        domain = (".yahoo.com", True, True)
        self.cookies.jar.set_cookie(
            Cookie(0, "A3", "d=x", None, False, *domain, "/", True, True, expires, False, None, None, {})
        )


def get(yahoo: FakeYahoo, out: Path, *tickers: str, **options: Any) -> Fetched:
    first, end = options.pop("dates", DATES)
    return fetch(tickers or ("DEMO",), first, end, out, session=yahoo, **options)


def refused(yahoo: FakeYahoo, out: Path, *tickers: str, **options: Any) -> str:
    """The text of the refusal, which leaves the folder above ``out`` as it was."""
    before = sorted(out.parent.rglob("*"))
    with pytest.raises(TradeschoolError) as caught:
        get(yahoo, out, *tickers, **options)
    assert sorted(out.parent.rglob("*")) == before
    return str(caught.value)

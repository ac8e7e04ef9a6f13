"""A panel of single open and close prices by ticker and date, as tables of questions and outcomes have them."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tradeschool.market.finding import Report
from tradeschool.market.notes.fields import plain, text_of
from tradeschool.market.notes.known_at import Clock
from tradeschool.market.panel import Panel

TOLERANCE = 1e-6
"""Prices that differ by no more than this share are the same price, written by another program."""


@dataclass(frozen=True)
class Closed:
    """One day's prices as a row tells them; ``own`` where the row is about this day."""

    row: int
    ticker: str
    own: bool
    date: Any
    open: Any
    close: Any


def closed_bars(found: Sequence[Closed], report: Report, name: str, exchange: str) -> Panel | None:
    """The prices on one grid, NaN where there is none; None, with an error reported, where there are none at all.

    High and low are the higher and the lower of open and close, volumes NaN.
    """
    kept: dict[tuple[str, datetime.date], tuple[float, float]] = {}
    clock = Clock(report, same_day=True)
    for one in sorted(found, key=lambda one: not one.own):
        prices = _prices(one, report)
        date = clock.moment(one.date, one.row, "the date of a price")
        if prices is None or date is None:
            continue
        day = date.date() if isinstance(date, datetime.datetime) else date
        first = kept.setdefault((one.ticker, day), prices)
        if not np.allclose(first, prices, rtol=TOLERANCE, atol=0):
            rule = "rows tell different prices of the same ticker and date: the first are kept"
            value = f"{one.ticker} on {day}: open {first[0]:g} and {prices[0]:g}, close {first[1]:g} and {prices[1]:g}"
            report.warning(one.row, rule, value, "Take prices of one adjustment for all rows.")
    if not kept:
        report.error(None, "there are no prices", "", "Give rows with price_date, open and close.")
        return None
    return _panel(kept, name, exchange)


def _prices(one: Closed, report: Report) -> tuple[float, float] | None:
    prices = plain(one.open), plain(one.close)
    first, last = prices
    if isinstance(first, float) and isinstance(last, float) and min(first, last) > 0:
        return first, last
    rule = "open and close are not both positive numbers"
    value = f"{text_of(one.open) or 'missing'}, {text_of(one.close) or 'missing'}"
    report.error(one.row, rule, value, "Correct the row, or remove it.")
    return None


def _panel(kept: dict[tuple[str, datetime.date], tuple[float, float]], name: str, exchange: str) -> Panel:
    tickers = sorted({ticker for ticker, _ in kept})
    dates_T = np.array(sorted({day for _, day in kept}), dtype="datetime64[D]")
    open_TN, close_TN = (np.full((len(dates_T), len(tickers)), np.nan) for _ in range(2))
    columns = {ticker: n for n, ticker in enumerate(tickers)}
    rows = np.searchsorted(dates_T, np.array([day for _, day in kept], dtype="datetime64[D]"))
    where = rows, [columns[ticker] for ticker, _ in kept]
    open_TN[where], close_TN[where] = np.array(list(kept.values())).T
    return Panel(
        dates_T,
        tuple(tickers),
        open_TN,
        np.maximum(open_TN, close_TN),
        np.minimum(open_TN, close_TN),
        close_TN,
        np.full_like(open_TN, np.nan),
        name=name,
        exchange=exchange,
    )

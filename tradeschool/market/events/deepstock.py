"""DeepStock rows: a company's news, financials and prices around one decision date, split into events and bars.

A row is ``{ticker, company_info{current_date, company_info{name, description}, news{news_headlines[], news_date},
financials{year, financials}, price{open, close, open_previous, close_previous, previous_date, price_date}}}``. The
public code that builds these rows leaks the future, so this module reads them as follows:

- ``news_date`` is the first day of a span of headlines that ends at ``current_date``, not their publication date.
- ``financials`` are those of the fiscal year still running: ``year`` is its last day, the figures are JSON text.
- Descriptions are those at the time of building.
- ``price`` is the price of ``price_date`` itself, the outcome of the row: it becomes a bar, never an event. Bars are
  checked as those of other price files, by ``market/load.py``.
"""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tradeschool.market.events.event import (
    Event,
    Record,
    Value,
    as_mapping,
    cell_text,
    cell_value,
    column_names,
    flatten_fields,
)
from tradeschool.market.events.timing import TimeParser, is_blank, parse_day
from tradeschool.market.findings import Report
from tradeschool.market.prices.read import REQUIRED_COLUMNS, Table

COLUMN = "company_info"
HEADLINE_DAYS = np.timedelta64(7, "D")
"""How far back the headlines of a row without a news_date reach."""
FILING_DAYS = np.timedelta64(90, "D")
"""A yearly report is due 60 to 90 days after the fiscal year ends (SEC form 10-K). Figures without a filing date count
as public after the longest of these."""
PRICE_TOLERANCE = 1e-6
"""Prices that differ by at most this share count as equal: the difference is rounding."""
CORRECT = "Correct the row."
_NOT_FIGURES = ("year", "period_end", "filing_date", "financials")


def is_deepstock_file(path: str | Path) -> bool:
    """Whether a file holds DeepStock rows, judging by its columns; False if it cannot be read."""
    return Path(path).is_file() and COLUMN in column_names(Path(path))


def extract_names(rows: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    """Company names by ticker."""
    found: dict[str, dict[str, None]] = {}
    for _, cells in rows:
        company = (_info(cells) or {}).get(COLUMN)
        name = cell_text(company.get("name")) if isinstance(company, Mapping) else ""
        if (ticker := _ticker(cells)) and name:
            found.setdefault(ticker, {})[name] = None
    return {ticker: tuple(names) for ticker, names in found.items()}


def extract_events(rows: Sequence[Record], report: Report, times: TimeParser) -> list[Event]:
    """News, descriptions and financials, each known from when it was public.

    - A headline counts as published on the ``current_date`` of the first row that contains it, or on its ``news_date``
      if that is later or has a time. It counts again if the span of a later row does not reach back to it.
    - Financials are public on their ``filing_date``, or :data:`FILING_DAYS` after the fiscal year's end. If a later row
      has other figures for the same year, they were restated: a second event, known from that row's date.
    - A description is known from the first row that contains it.
    """
    dated, empty = [], []
    for number, cells in rows:
        ticker = _ticker(cells)
        if (info := _info(cells)) is None:
            empty.append(number)
        elif not ticker:
            report.error(number, "the row has no ticker", "", "Name the ticker, or remove the row.")
        elif (current := times.known_at(info.get("current_date"), number, "current_date")) is not None:
            dated.append(_Row(number, ticker, info, current))
    report.counted(empty, "rows without a company_info were left out")
    collector = _Collector(report, times)
    for row in sorted(dated, key=lambda row: (row.current, row.number)):
        collector.add_news(row)
        collector.add_description(row)
        collector.add_financials(row)
    collector.report_assumptions()
    return [*collector.events, *collector.fundamentals.values()]


class _Row(NamedTuple):
    """A row with a company, known at ``current``."""

    number: int
    ticker: str
    info: Mapping[str, Any]
    current: np.datetime64


class _Collector:
    """Collects the events of rows that are added in the order of their dates."""

    def __init__(self, report: Report, times: TimeParser) -> None:
        self.events: list[Event] = []
        self.fundamentals: dict[tuple[str, str, np.datetime64], Event] = {}
        self._report, self._times = report, times
        self._last_seen: dict[tuple[str, str], np.datetime64] = {}
        self._descriptions: dict[str, str] = {}
        self._last_figures: dict[tuple[str, str], tuple[dict[str, float], np.datetime64 | None]] = {}
        self._repeats = 0
        self._spans: list[int] = []
        self._held_back: list[int] = []

    def add_news(self, row: _Row) -> None:
        part = self._part(row, "news")
        given = part.get("news_headlines")
        given = [given] if isinstance(given, str) else [] if is_blank(given) else given
        if not isinstance(given, list):
            self._report.error(row.number, "news_headlines is not a list of texts", cell_text(given), CORRECT)
            return
        headlines = list(filter(None, map(cell_text, given)))
        start, known_at = row.current.astype("datetime64[D]") - HEADLINE_DAYS, row.current
        if headlines and not is_blank(date := part.get("news_date")):
            if (found := self._times.known_at(date, row.number, "news_date")) is None:
                return
            start = found.astype("datetime64[D]")
            if np.datetime_data(found.dtype)[0] == "D" and found < row.current:
                self._spans.append(row.number)
            else:
                known_at = found
        for text in headlines:
            seen = self._last_seen.get((row.ticker, text))
            self._last_seen[row.ticker, text] = known_at.astype("datetime64[D]")
            if seen is not None and start <= seen:
                self._repeats += 1
            else:
                self.events.append(Event(known_at, row.ticker, "news", text))

    def add_description(self, row: _Row) -> None:
        text = cell_text(self._part(row, COLUMN).get("description"))
        if text and self._descriptions.get(row.ticker) != text:
            self._descriptions[row.ticker] = text
            self.events.append(Event(row.current, row.ticker, "company", text))

    def add_financials(self, row: _Row) -> None:
        part = self._part(row, "financials")
        try:
            figures = _figures(part)
        except ValueError as error:
            self._report.error(row.number, "the financials are not a JSON object", str(error), CORRECT)
            return
        if not figures:
            return
        if (end := _fiscal_year_end(part)) is None:
            cure = "Give year as the day of its end, or as a whole number."
            self._report.error(row.number, "the financials have no fiscal year", cell_text(part.get("year")), cure)
            return
        filed = None
        if not is_blank(given := part.get("filing_date")):
            if (filed := self._times.known_at(given, row.number, "filing_date")) is None:
                return
            if (day := self._times.day_given(filed)) <= end:
                rule = "filing_date is not after the end of the fiscal year"
                self._report.error(row.number, rule, f"{day}, {end}", "Correct one of them.")
                return
        public = end + FILING_DAYS if filed is None else filed
        if public.astype("datetime64[D]") > row.current.astype("datetime64[D]"):
            self._held_back.append(row.number)
        last, last_filed = self._last_figures.get((row.ticker, str(end)), (None, None))
        if figures == last:
            return
        # Restated figures are known from the first row that has them, unless it says when they were filed.
        if last is not None and filed in (None, last_filed):
            public = max(public, row.current)
        key = row.ticker, str(end), public
        if key in self.fundamentals:
            rule = "rows have different figures for the same year, public on the same day: the later row is kept"
            self._report.warning(row.number, rule, f"{row.ticker}, year to {end}", "Give the filing_date of each.")
        fields: dict[str, Value] = {"period_end": str(end), **figures}
        self.fundamentals[key] = Event(public, row.ticker, "fundamentals", fields=fields)
        self._last_figures[row.ticker, str(end)] = figures, filed

    def _part(self, row: _Row, name: str) -> Mapping[str, Any]:
        try:
            return as_mapping(row.info.get(name))
        except ValueError as error:
            self._report.error(row.number, f"{name} is not a JSON object", str(error), CORRECT)
            return {}

    def report_assumptions(self) -> None:
        rule = "news_date is before current_date, the first day of a span: headlines count from current_date"
        self._report.counted(self._spans, rule)
        rule = "financials were not public on the row's date: they are held back until they were"
        self._report.counted(self._held_back, rule)
        if self._repeats:
            self._report.info("headlines repeated by later rows were kept once", f"{self._repeats} headlines")
        if self._descriptions:
            rule = "company descriptions have no date of their own: they may be newer than their rows"
            cure = "Leave the section company out of prompts if this matters."
            self._report.warning(None, rule, f"{len(self._descriptions)} companies", cure)


def _ticker(cells: Mapping[str, Any]) -> str:
    return cell_text(cells.get("ticker")).lstrip("$")


def _info(cells: Mapping[str, Any]) -> Mapping[str, Any] | None:
    try:
        return as_mapping(cells.get(COLUMN)) or None
    except ValueError:
        return None


def _figures(part: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a row: those beside ``year``, and those in the mapping or JSON text ``financials``."""
    given = flatten_fields((name, cell) for name, cell in part.items() if name not in _NOT_FIGURES)
    given |= flatten_fields(as_mapping(part.get("financials")).items())
    return {name: value for name, value in given.items() if isinstance(value, float)}


def _fiscal_year_end(part: Mapping[str, Any]) -> np.datetime64 | None:
    """The last day of the fiscal year: ``period_end``, or ``year`` as a day, or the end of the calendar year."""
    for name in ("period_end", "year"):
        if (day := parse_day(part.get(name))) is not None:
            return day
    try:
        year = float(part.get("year"))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return np.datetime64(f"{year:.0f}-12-31", "D") if year.is_integer() and 1900 <= year <= 2100 else None


# Prices ----------------------------------------------------------------------------------------------


def extract_prices(rows: Sequence[Record], report: Report) -> Table | None:
    """A table of the rows' prices: open and close of ``price_date`` and of ``previous_date``, which is days earlier.

    High and low are the higher and the lower of the two; volume is NaN. If rows give different prices for a ticker and
    date, the first row whose ``price_date`` it is counts, and a warning is reported. None, after an error, if there is
    no price.
    """
    own: list[tuple[int, str, Any, Any, Any]] = []
    previous: list[tuple[int, str, Any, Any, Any]] = []
    without: list[int] = []
    for row, cells in rows:
        ticker = _ticker(cells)
        try:
            price = as_mapping((_info(cells) or {}).get("price"))
        except ValueError:
            price = {}
        if not ticker or not price:
            without.append(row)
            continue
        own.append((row, ticker, price.get("price_date"), price.get("open"), price.get("close")))
        if not is_blank(date := price.get("previous_date")):
            previous.append((row, ticker, date, price.get("open_previous"), price.get("close_previous")))
    report.counted(without, "rows without a price make no bar")
    kept: dict[tuple[datetime.date, str], tuple[float, float, int]] = {}
    times = TimeParser(report, same_day=True)
    for row, ticker, date, *given in (*own, *previous):
        opened, closed = map(cell_value, given)
        moment = times.moment(date, row, "the date of a price")
        if not (isinstance(opened, float) and isinstance(closed, float) and min(opened, closed) > 0):
            value = ", ".join(cell_text(price) or "missing" for price in given)
            report.error(row, "open and close are not both positive numbers", value, "Correct the row, or remove it.")
        elif moment is not None:
            day = moment.date() if isinstance(moment, datetime.datetime) else moment
            first = kept.setdefault((day, ticker), (opened, closed, row))
            if not np.allclose(first[:2], (opened, closed), rtol=PRICE_TOLERANCE, atol=0):
                rule = "rows have different prices for the same ticker and date: the first are kept"
                value = f"{ticker} on {day}: open {first[0]:g} and {opened:g}, close {first[1]:g} and {closed:g}"
                report.warning(row, rule, value, "Use prices with the same adjustment in all rows.")
    if not kept:
        report.error(None, "there are no prices", "", "Give rows with price_date, open and close.")
        return None
    import pandas as pd

    kept = dict(sorted(kept.items()))
    open_T, close_T, rows_T = np.array(list(kept.values())).T
    values = open_T, np.maximum(open_T, close_T), np.minimum(open_T, close_T), close_T, np.full(len(kept), np.nan)
    dates_T = np.array([day for day, _ in kept], dtype="datetime64[D]")
    tickers = pd.Categorical(np.array([ticker for _, ticker in kept], dtype=object))
    return Table(rows_T.astype(np.int64), dates_T, {None: dict(zip(REQUIRED_COLUMNS, values, strict=True))}, tickers)

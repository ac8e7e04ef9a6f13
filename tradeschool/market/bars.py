"""From a file's table to checked daily bars per ticker: dates and numbers read, rules held, repairs counted."""

import datetime
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.finding import Report
from tradeschool.market.panel import FIELDS, Floats
from tradeschool.market.pricefile import Table

ROUNDING = 1e-4
"""Open or close outside the day's range by up to this share of the price is rounding and mended; more is an error."""
SMALLEST_PRICE, LARGEST_PRICE, LARGEST_VOLUME = 1e-9, 1e12, 1e18
EARLIEST = np.datetime64("1800-01-01", "D")
SPLIT_FACTOR = 1.9
"""A close that changes by this factor in a day gets a warning: it may be a split that was not adjusted for."""
_BLANK = {"", "null", "nan", "na", "n/a", "#n/a", "none", "-"}
_PRICES = ("Open", "High", "Low", "Close")
_FORMATS = {
    "YYYY-MM-DD": (r"\d{4}-\d{1,2}-\d{1,2}", "%Y-%m-%d"),
    "YYYY/MM/DD": (r"\d{4}/\d{1,2}/\d{1,2}", "%Y/%m/%d"),
    "YYYYMMDD": (r"\d{8}", "%Y%m%d"),
    "MM/DD/YYYY": (r"\d{1,2}/\d{1,2}/\d{4}", "%m/%d/%Y"),
    "DD/MM/YYYY": (r"\d{1,2}/\d{1,2}/\d{4}", "%d/%m/%Y"),
    "DD.MM.YYYY": (r"\d{1,2}\.\d{1,2}\.\d{4}", "%d.%m.%Y"),
    "DD-Mon-YYYY": (r"\d{1,2}-[A-Za-z]{3}-\d{4}", "%d-%b-%Y"),
}
_CLOCK = re.compile(r"(\d{4}-\d{2}-\d{2})[ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?", re.ASCII)
Bools = NDArray[np.bool_]
Days = NDArray[np.datetime64]


@dataclass(frozen=True)
class History:
    """One ticker's traded days, ascending, and its adjusted bars: open, high, low, close, volume, each [T]."""

    ticker: str
    dates_T: Days
    bars: dict[str, Floats]


def histories(table: Table, default_ticker: str, report: Report) -> list[History]:
    """Check a table's rows and return a history per ticker (one, unless there is a ticker column).

    Prices are adjusted where there is an Adj Close: open, high, low and close times Adj Close / Close,
    volume divided by it, so that price times volume stays the money that was traded. Findings go to
    ``report``; a ticker with an error has no history.
    """
    numbers = {name: _numbers(cells) for name, cells in table.columns.items() if name not in ("Date", "Ticker")}
    empty_T = np.all([column.blank_T for column in numbers.values()], axis=0)
    empty_T[empty_T] = _blank(table.columns["Date"][empty_T])
    report.counted(table.rows[empty_T], "empty rows were left out")
    if empty_T.all():
        report.error(None, "the file has no rows with values", "", "Add the daily rows, or remove the file.")
        return []
    for name, column in numbers.items():
        for i in np.flatnonzero(column.bad_T):
            cure = "Write a plain number such as 1234.5, or leave all prices of a day without trading empty."
            report.error(int(table.rows[i]), f"{name} is not a number", f"'{table.columns[name][i]}'", cure)
    dates_T = np.full(len(table.rows), np.datetime64("NaT"), dtype="datetime64[D]")
    dates_T[~empty_T] = _dates(table.columns["Date"][~empty_T], table.rows[~empty_T], report)
    groups = {default_ticker: ~empty_T}
    if "Ticker" in table.columns:
        tickers_T = np.array([str(cell).strip() for cell in table.columns["Ticker"]])
        for row in table.rows[_blank(table.columns["Ticker"]) & ~empty_T]:
            report.error(int(row), "the ticker is missing", "", "Name the ticker in every row.")
        groups = {str(ticker): (tickers_T == ticker) & ~empty_T for ticker in np.unique(tickers_T[~empty_T])}
    raw = [
        _Raw(
            ticker, table.rows[chosen], dates_T[chosen], {name: column.take(chosen) for name, column in numbers.items()}
        )
        for ticker, chosen in groups.items()
    ]
    return [history for one in raw if (history := _history(one, report))]


@dataclass(frozen=True)
class _Numbers:
    """A column as floats (NaN where there is none), which cells are blank, and which are no finite number."""

    values_T: Floats
    blank_T: Bools
    bad_T: Bools

    def take(self, chosen: Bools) -> "_Numbers":
        return _Numbers(self.values_T[chosen], self.blank_T[chosen], self.bad_T[chosen])


@dataclass(frozen=True)
class _Raw:
    """The rows of one ticker as they stand in the file."""

    ticker: str
    rows_T: NDArray[np.int64]
    dates_T: Days
    columns: dict[str, _Numbers]

    @property
    def prices(self) -> tuple[str, ...]:
        return tuple(name for name in (*_PRICES, "Adj Close") if name in self.columns)


def _history(raw: _Raw, report: Report) -> History | None:
    blank_T = np.all([raw.columns[name].blank_T for name in raw.prices], axis=0)
    cure = "Nothing to do: the ticker counts as not traded on these days."
    report.counted(raw.rows_T[blank_T], f"{raw.ticker} has rows without any price, which were left out", cure)
    _check_dates(raw, report)
    _check_prices(raw, ~blank_T, report)
    if report.has_errors:
        return None
    late_T = raw.rows_T[1:][raw.dates_T[1:] < raw.dates_T[:-1]]
    report.counted(late_T, f"{raw.ticker}'s rows were not in the order of their dates and were sorted")
    order = np.argsort(raw.dates_T, kind="stable")
    order = order[~blank_T[order]]
    if not len(order):
        report.error(None, f"{raw.ticker} has no day with prices", "", "Give it prices, or remove it.")
        return None
    values = {name: column.values_T[order] for name, column in raw.columns.items()}
    bars = _adjusted(_mended(values, raw.rows_T[order], raw.ticker, report))
    history = History(raw.ticker, raw.dates_T[order], bars)
    _warn_of_jumps(history, raw.rows_T[order], report)
    return history


def _blank(cells: NDArray[Any]) -> Bools:
    import pandas as pd

    missing = np.asarray(pd.isna(cells), dtype=bool)
    if cells.dtype.kind in "OUST":
        missing = missing | np.array([str(cell).strip().casefold() in _BLANK for cell in cells], dtype=bool)
    return missing


def _numbers(cells: NDArray[Any]) -> _Numbers:
    import pandas as pd

    values_T = np.array(pd.to_numeric(pd.Series(cells, dtype=cells.dtype), errors="coerce"), dtype=np.float64)
    bad_T = ~np.isfinite(values_T)
    blank_T = np.zeros(len(cells), dtype=bool)
    # Only what did not read as a number is looked at cell by cell: that is what makes loading fast.
    blank_T[bad_T] = _blank(cells[bad_T])
    values_T[bad_T] = np.nan
    return _Numbers(values_T, blank_T, bad_T & ~blank_T)


def _dates(cells: NDArray[Any], rows_T: NDArray[np.int64], report: Report) -> Days:
    """The dates as days, NaT where unreadable (reported). Text is read in one format for the whole file."""
    import pandas as pd

    if cells.dtype.kind == "M":
        for row in rows_T[np.isnat(cells)]:
            report.error(int(row), "the date is missing", "", "Write it, or remove the row.")
        return cells.astype("datetime64[D]")
    # Dates with a clock time (yfinance writes midnight and a time zone) keep the day that is written.
    texts = [str(cell).strip() for cell in cells]
    texts = [match[1] if (match := _CLOCK.fullmatch(text)) else text for text in texts]
    read: dict[str, Days] = {}
    for name, (pattern, form) in _FORMATS.items():
        compiled = re.compile(pattern, re.ASCII)
        fits = pd.Series([text if compiled.fullmatch(text) else None for text in texts], dtype=object)
        read[name] = pd.to_datetime(fits, format=form, errors="coerce").to_numpy().astype("datetime64[D]")
        if name not in ("MM/DD/YYYY", "DD/MM/YYYY") and not np.isnat(read[name]).any():
            return read[name]
    return _one_format(texts, rows_T, read, report)


def _one_format(texts: list[str], rows_T: NDArray[np.int64], read: dict[str, Days], report: Report) -> Days:
    best = min(read, key=lambda name: int(np.isnat(read[name]).sum()))
    month_first, day_first = read["MM/DD/YYYY"], read["DD/MM/YYYY"]
    unsure = np.flatnonzero(month_first != day_first)
    if not np.isnat(month_first).any() and not np.isnat(day_first).any() and len(unsure):
        rule = "the date can be read as month/day and as day/month"
        value = f"'{texts[int(unsure[0])]}'"
        report.error(int(rows_T[unsure[0]]), rule, value, "Write all dates as YYYY-MM-DD.")
    for i in np.flatnonzero(np.isnat(read[best])).tolist():
        other = next((name for name, days in read.items() if not np.isnat(days[i])), None)
        rule = f"the date is written as {other}, others as {best}" if other else "the date cannot be read"
        cure = "Write all dates in one format, best as YYYY-MM-DD."
        report.error(int(rows_T[i]), rule, f"'{texts[i]}'", cure)
    return read[best]


def _check_dates(raw: _Raw, report: Report) -> None:
    # One day of grace: somewhere on earth it is already tomorrow.
    latest = np.datetime64(datetime.date.today() + datetime.timedelta(days=1), "D")
    for i in np.flatnonzero(raw.dates_T > latest):
        cure = "Correct it, or remove the row."
        report.error(int(raw.rows_T[i]), "the date lies in the future", str(raw.dates_T[i]), cure)
    for i in np.flatnonzero(raw.dates_T < EARLIEST):
        report.error(int(raw.rows_T[i]), f"the date lies before {EARLIEST}", str(raw.dates_T[i]), "Correct it.")
    known = np.flatnonzero(~np.isnat(raw.dates_T))
    _, first, inverse = np.unique(raw.dates_T[known], return_index=True, return_inverse=True)
    earlier = known[first[inverse]]
    for i in np.flatnonzero(known != earlier):
        value = f"{raw.dates_T[known[i]]}, also in row {int(raw.rows_T[earlier[i]])}"
        report.error(int(raw.rows_T[known[i]]), "the date comes twice", value, "Keep one row per day and ticker.")


def _check_prices(raw: _Raw, traded_T: Bools, report: Report) -> None:
    values = {name: column.values_T for name, column in raw.columns.items()}
    o, h, low, c = (values[name] for name in _PRICES)
    slack_T = ROUNDING * np.abs(c)
    # A cell that is no number has its own finding, so here it is not called empty.
    partly_T = traded_T & np.any([raw.columns[name].blank_T for name in raw.prices], axis=0)
    rules: list[tuple[Bools, str, tuple[str, ...], str]] = [
        (partly_T, "some prices are empty, others are not", raw.prices, "Fill them, or empty the whole row."),
        (values["Volume"] < 0, "the volume is negative", ("Volume",), "Correct it, or leave it empty."),
        (
            values["Volume"] > LARGEST_VOLUME,
            "the volume is not plausible",
            ("Volume",),
            "Correct it, or leave it empty.",
        ),
    ]
    sane_T = np.all([np.isfinite(values[name]) for name in raw.prices], axis=0)
    for name in raw.prices:
        bad_T = values[name] <= 0
        rules.append((bad_T, f"{name} is zero or negative", (name,), "Correct it, or empty the row's prices."))
        odd_T = ~bad_T & ((values[name] < SMALLEST_PRICE) | (values[name] > LARGEST_PRICE))
        rules.append((odd_T, f"{name} is no plausible price", (name,), "Correct it, or empty the row's prices."))
        sane_T &= ~bad_T & ~odd_T
    below_T = sane_T & (h < low - slack_T)
    rules.append(
        (
            below_T,
            "the high is below the low",
            ("High", "Low"),
            "Correct the row, or the header if columns are swapped.",
        )
    )
    outside_T = sane_T & ~below_T & ((np.maximum(o, c) > h + slack_T) | (np.minimum(o, c) < low - slack_T))
    rules.append((outside_T, "open or close lies outside the day's high and low", _PRICES, "Correct the row."))
    for broken_T, rule, shown, cure in rules:
        for i in np.flatnonzero(broken_T):
            value = ", ".join(f"{name} {values[name][i]:g}" for name in shown)
            report.error(int(raw.rows_T[i]), rule, value, cure)


def _mended(values: dict[str, Floats], rows_T: NDArray[np.int64], ticker: str, report: Report) -> dict[str, Floats]:
    o, h, low, c = (values[name] for name in _PRICES)
    high_T, low_T = np.maximum.reduce([o, h, low, c]), np.minimum.reduce([o, h, low, c])
    rule = f"{ticker}'s high or low was widened by at most {ROUNDING:.2%} to hold open and close"
    report.counted(rows_T[(high_T > h) | (low_T < low)], rule, "Nothing to do: this is rounding.")
    unknown = np.isnan(values["Volume"])
    report.counted(rows_T[unknown], f"{ticker} has rows without a volume", "Nothing to do: it counts as unknown.")
    return values | {"High": high_T, "Low": low_T}


def _adjusted(values: dict[str, Floats]) -> dict[str, Floats]:
    ratio_T = values["Adj Close"] / values["Close"] if "Adj Close" in values else np.ones_like(values["Close"])
    # Exactly one factor per row keeps high >= open, close >= low to the last bit.
    bars = {name.lower(): values[name] * ratio_T for name in _PRICES} | {"volume": values["Volume"] / ratio_T}
    return {name: bars[name] for name in FIELDS}


def _warn_of_jumps(history: History, rows_T: NDArray[np.int64], report: Report) -> None:
    change_T = np.abs(np.diff(np.log(history.bars["close"])))
    for i in np.flatnonzero(change_T > np.log(SPLIT_FACTOR)) + 1:
        close = history.bars["close"]
        value = f"{history.ticker} from {close[i - 1]:g} to {close[i]:g} on {history.dates_T[i]}"
        cure = "Check whether it is a split that was not adjusted for; if it is real, nothing to do."
        report.warning(int(rows_T[i]), "the close jumps in one day", value, cure)

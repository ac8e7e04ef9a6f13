"""From a file's table to checked daily bars per ticker: dates and numbers read, rules held, repairs counted."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.finding import Report
from tradeschool.market.panel import FIELDS, Floats
from tradeschool.market.prices import rules
from tradeschool.market.prices.cells import Bools, Numbers, blank, numbers
from tradeschool.market.prices.dates import Days, check_days, days
from tradeschool.market.prices.jumps import Splits, check_jumps
from tradeschool.market.prices.layout import PRICES
from tradeschool.market.prices.rules import Raw
from tradeschool.market.prices.table import Labels, Table

Parsed = dict[str | None, dict[str, Numbers]]


@dataclass(frozen=True)
class History:
    """One ticker's traded days, ascending, its bars (open, high, low, close, volume, each [T]), and what its prices
    were multiplied by; None where they were not adjusted."""

    ticker: str
    dates_T: Days
    bars: dict[str, Floats]
    file: str = ""
    factor_T: Floats | None = None


def histories(
    table: Table, default_ticker: str, report: Report, adjust: bool = True, splits: Splits = "refuse"
) -> list[History]:
    """Check a table's rows and return a history per ticker (one, unless the table is long or wide).

    Findings go to ``report``; a ticker with an error has no history. What is found wrong never depends on
    ``adjust``, but jumps are looked for in the prices that are loaded.

    Args:
        table: the cells as read.
        default_ticker: the ticker of a table that names none.
        report: receives what is found.
        adjust: where there is an Adj Close, multiply open, high, low and close by Adj Close / Close and
            divide the volume by it, so that price times volume stays the money that was traded. False leaves
            all as it stands in the file.
        splits: whether a split that was not adjusted for is an error, see :func:`jumps.check_jumps`.
    """
    parsed: Parsed = {
        ticker: {name: numbers(cells) for name, cells in columns.items()} for ticker, columns in table.columns.items()
    }
    empty_T = _empty(table, parsed)
    report.counted(table.rows[empty_T], "empty rows were left out")
    if empty_T.all():
        report.error(None, "the file has no rows with values", "", "Add the daily rows, or remove the file.")
        return []
    report_bad_numbers(table, parsed, report)
    dates_T = np.full(len(table.rows), np.datetime64("NaT"), dtype="datetime64[D]")
    dates_T[~empty_T] = days(table.dates[~empty_T], table.rows[~empty_T], report)
    if None not in parsed:
        check_days(dates_T[~empty_T], table.rows[~empty_T], report)
        return checked_wide(table.rows, dates_T, parsed, report, adjust, splits)
    if table.tickers is not None:
        raws = _long(table, table.tickers, parsed[None], dates_T, ~empty_T, report)
    else:
        raws = iter([_taken(Raw(default_ticker, table.rows, dates_T, parsed[None]), ~empty_T)])
    return [one for raw in raws if (one := checked(raw, report, adjust, splits))]


def checked_wide(
    rows_T: NDArray[np.int64], dates_T: Days, parsed: Parsed, report: Report, adjust: bool, splits: Splits
) -> list[History]:
    """A history per ticker of a wide table. Where all its cells are blank, it was not traded: no row is meant."""
    found = []
    idle_T = ~np.isnat(dates_T)
    for ticker, columns in parsed.items():
        blank_T = np.all([column.blank_T for column in columns.values()], axis=0)
        idle_T &= blank_T
        # A ticker without any price keeps its rows, to be refused with them.
        chosen_T = blank_T if blank_T.all() else ~blank_T
        raw = _taken(Raw(str(ticker), rows_T, dates_T, columns), chosen_T)
        found.append(checked(raw, report.of(str(ticker)), adjust, splits, dates_checked=True))
    report.counted(rows_T[idle_T], "rows with a date but no values were left out")
    return [history for history in found if history is not None]


def report_bad_numbers(table: Table, parsed: Parsed, report: Report) -> None:
    """An error for every cell that holds something else than a number."""
    cure = "Write a plain number such as 1234.5, or leave all prices of a day without trading empty."
    for ticker, columns in parsed.items():
        about = report if ticker is None else report.of(ticker)
        for name, column in columns.items():
            at, cells = np.flatnonzero(column.bad_T), table.columns[ticker][name]
            about.error_each(table.rows[at], f"{name} is not a number", (f"'{cells[i]}'" for i in at), cure)


def checked(raw: Raw, report: Report, adjust: bool, splits: Splits, dates_checked: bool = False) -> History | None:
    """One ticker's rows as a history: without blank rows, in order of time, all rules held; None after an error."""
    blank_T = np.all([raw.columns[name].blank_T for name in raw.prices], axis=0)
    cure = "Nothing to do: the ticker counts as not traded on these days."
    kind = "rows without any price, which were left out"
    report.counted(raw.rows_T[blank_T], f"{raw.ticker} has {kind}", cure, kind)
    before = report.errors
    if not dates_checked:
        check_days(raw.dates_T, raw.rows_T, report)
    rules.check_prices(raw, report)
    if blank_T.all():
        report.error(None, f"{raw.ticker} has no day with prices", "", "Give it prices, or remove it.")
    bad = any(column.bad_T.any() for column in raw.columns.values()) or np.isnat(raw.dates_T).any()
    if bad or report.errors > before:
        return None
    raw = _sorted(raw, report)
    if blank_T.any():
        raw = raw.take(~np.all([raw.columns[name].blank_T for name in raw.prices], axis=0))
    values = rules.mended(raw, report)
    factor_T = values["Adj Close"] / values["Close"] if adjust and "Adj Close" in values else None
    bars = _bars(values, factor_T)
    check_jumps(raw, bars, report, splits)
    return History(raw.ticker, raw.dates_T, bars, report.file, factor_T)


def _taken(raw: Raw, chosen_T: Bools) -> Raw:
    return raw if chosen_T.all() else raw.take(chosen_T)


def _empty(table: Table, parsed: Parsed) -> Bools:
    """Rows in which nothing stands but, at most, a ticker."""
    empty_T = np.ones(len(table.rows), dtype=bool)
    for columns in parsed.values():
        for column in columns.values():
            if not (empty_T := empty_T & column.blank_T).any():
                return empty_T
    empty_T[empty_T] = blank(table.dates[empty_T])
    return empty_T


def _long(
    table: Table, labels: Labels, columns: dict[str, Numbers], dates_T: Days, filled_T: Bools, report: Report
) -> Iterator[Raw]:
    stripped = [name.strip() for name in labels.names]
    missing = blank(np.array(stripped, dtype=object))
    names = sorted({name for name, none in zip(stripped, missing, strict=True) if not none})
    code_of = {name: code for code, name in enumerate(names)}
    # The last entry is what code -1, a missing cell, finds.
    new_codes = np.array([code_of.get(name, -1) for name in stripped] + [-1])
    codes_T = np.where(filled_T, new_codes[labels.codes_T], -1)
    at = np.flatnonzero((codes_T < 0) & filled_T)
    report.error_each(table.rows[at], "the ticker is missing", repeat(""), "Name the ticker in every row.")
    spaced = np.array([name != short for name, short in zip(labels.names, stripped, strict=True)] + [False])
    report.counted(table.rows[spaced[labels.codes_T] & (codes_T >= 0)], "blanks around the ticker were removed")
    whole = Raw("", table.rows, dates_T, columns)
    if (np.diff(codes_T) < 0).any():
        order = np.argsort(codes_T, kind="stable")
        whole, codes_T = whole.take(order), codes_T[order]
    bounds = np.searchsorted(codes_T, np.arange(len(names) + 1))
    for code, name in enumerate(names):
        if bounds[code] < bounds[code + 1]:
            yield whole.take(slice(bounds[code], bounds[code + 1]), name)


def _sorted(raw: Raw, report: Report) -> Raw:
    if (np.diff(raw.dates_T) > np.timedelta64(0)).all():
        return raw
    late_T = np.append(False, raw.dates_T[1:] < raw.dates_T[:-1])
    kind = "rows were not in the order of their dates and were sorted"
    report.counted(raw.rows_T[late_T], f"{raw.ticker}'s {kind}", kind=kind)
    return raw.take(np.argsort(raw.dates_T, kind="stable"))


def _bars(values: dict[str, Floats], factor_T: Floats | None) -> dict[str, Floats]:
    bars = {name.lower(): values[name] for name in (*PRICES, "Volume")}
    if factor_T is not None:
        # Exactly one factor per row keeps high >= open, close >= low to the last bit.
        bars = {name: value / factor_T if name == "volume" else value * factor_T for name, value in bars.items()}
    return {name: bars[name] for name in FIELDS}

"""From tables to checked daily bars per ticker: rows checked and sorted, prices adjusted."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.calendar import find_frequency
from tradeschool.market.findings import Report
from tradeschool.market.panel import FIELDS, Floats
from tradeschool.market.prices.moves import MOVE_CHECKS, without_spikes
from tradeschool.market.prices.padding import without_padding
from tradeschool.market.prices.parse import Bools, check_days
from tradeschool.market.prices.read import COLUMNS, PRICES, REQUIRED_COLUMNS, Table, read_table, standard_name
from tradeschool.market.prices.validate import (
    ROUNDING,
    History,
    Options,
    TickerRows,
    blank_rows,
    broken_rules,
    is_sound,
)

if TYPE_CHECKING:
    import pandas as pd

LARGEST_NOISE = 5e-5
"""A smaller change of Adj Close / Close from one day to the next is rounding, not a dividend."""
USUAL_NOISE = 1e-6
"""Twice the largest one of Yahoo's files, which are computed in single precision and have six decimals."""
EXACT_NOISE = 1e-12
"""A file whose factors change by no more than this without a dividend was not rounded."""
ROWS_SEEN = 5
"""Changes without a dividend after which a file counts as not rounded."""
CENT = 0.01
DIVIDEND_UNITS = (CENT / 7, CENT / 6, CENT / 3, CENT / 100, CENT / 20, CENT / 4, CENT / 10, CENT)
"""What dividends are multiples of, the likeliest last; parts of a cent where the stock was split later."""
SPLIT = 0.15
"""A change of the factor above this share may be a split."""


def table_histories(table: Table, default_ticker: str, report: Report, options: Options) -> list[History]:
    """Check the rows of a table and return a history per ticker; a ticker with an error has none.

    ``default_ticker`` is the ticker of a table that names none.
    """
    if None not in table.columns:
        check_days(table.dates_T, table.rows, report)
        return _wide_histories(table, report, options)
    rows = TickerRows(table.rows, table.dates_T, table.columns[None])
    groups = [(default_ticker, rows)] if table.tickers is None else _split_tickers(rows, table.tickers, report)
    found = [_history(ticker, own, report, options) for ticker, own in groups]
    return [history for history in found if history is not None]


def _wide_histories(table: Table, report: Report, options: Options) -> list[History]:
    """A history per ticker of a wide table, in which a day with only blank cells is a day without trading."""
    found = []
    idle_T = ~np.isnat(table.dates_T)
    for ticker, columns in table.columns.items():
        blank_T = np.isnan(np.array(list(columns.values()))).all(axis=0)
        idle_T &= blank_T
        rows = TickerRows(table.rows, table.dates_T, columns)
        # A ticker without any price keeps its rows: they are the error.
        own = rows.take(~blank_T) if blank_T.any() and not blank_T.all() else rows
        found.append(_history(str(ticker), own, report.for_ticker(str(ticker)), options, dates_checked=True))
    report.counted(table.rows[idle_T], "rows with a date but no values were skipped")
    return [history for history in found if history is not None]


def _split_tickers(rows: TickerRows, tickers: "pd.Categorical", report: Report) -> Iterator[tuple[str, TickerRows]]:
    """The rows of a long table by ticker, sorted. Only an empty cell names none: NA and NULL are tickers too."""
    given = [str(ticker) for ticker in tickers.categories]
    names = sorted({ticker.strip() for ticker in given} - {""})
    place_of = {ticker: place for place, ticker in enumerate(names)} | {"": -1}
    # One more at the end, for cells without a ticker, which have code -1.
    place_T = np.array([*(place_of[ticker.strip()] for ticker in given), -1])[tickers.codes]
    blanks_T = np.array([*(ticker != ticker.strip() for ticker in given), False])[tickers.codes]
    report.error_each(rows.rows_T[place_T < 0], "the ticker is missing", repeat(""), "Name it in every row.")
    report.counted(rows.rows_T[blanks_T & (place_T >= 0)], "blanks around the ticker were removed")
    if (np.diff(place_T) < 0).any():
        order = np.argsort(place_T, kind="stable")
        rows, place_T = rows.take(order), place_T[order]
    edges = np.searchsorted(place_T, np.arange(len(names) + 1))
    for ticker, start, stop in zip(names, edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if start < stop:
            yield ticker, rows.take(slice(start, stop))


def _history(
    ticker: str, given: TickerRows, report: Report, options: Options, dates_checked: bool = False
) -> History | None:
    """The rows of one ticker, checked, without blank ones, in order of time; None after an error."""
    rows_T, dates_T, columns = given.rows_T, given.dates_T, given.columns
    errors_before = report.errors
    if not dates_checked:
        check_days(dates_T, rows_T, report)
    bad = bool(np.isnat(dates_T).any())
    kept = given
    if not is_sound(columns):
        blank_T = blank_rows(columns)
        kept = given.take(~blank_T)
        bad |= bool(np.isinf(list(columns.values())).any())
        _report_rows(ticker, given, blank_T, report)
    found = None if bad or report.errors > errors_before else _finished(ticker, kept, report, options)
    report.locate(ticker, rows_T, dates_T)
    return found


def _report_rows(ticker: str, given: TickerRows, blank_T: Bools, report: Report) -> None:
    """Report blank rows, and rows that break a rule."""
    kind = "rows without any price, which were skipped"
    cure = "Nothing to do: the ticker counts as not traded on these days."
    report.counted(given.rows_T[blank_T], f"{ticker} has {kind}", cure, kind)
    for rule in broken_rules(given.columns):
        at = np.flatnonzero(rule.broken_T)
        texts = (", ".join(f"{name} {given.columns[name][i]:g}" for name in rule.shown) for i in at)
        report.error_each(given.rows_T[at], rule.rule, texts, rule.cure)
    if blank_T.all():
        report.error(None, f"{ticker} has no day with prices", "", "Give it prices, or remove it.")


def _finished(ticker: str, rows: TickerRows, report: Report, options: Options) -> History:
    """The bars of good rows: sorted, repaired, adjusted, without padding, and checked in order of time."""
    late = rows.rows_T[1:][np.diff(rows.dates_T) < np.timedelta64(0)]
    kind = "rows were not in order of their dates and were sorted"
    report.counted(late, f"{ticker}'s {kind}", kind=kind)
    rows = rows.take(np.argsort(rows.dates_T, kind="stable")) if len(late) else rows
    values = _repaired(ticker, rows, report)
    has_adj_close = "Adj Close" in values
    factor_T = np.ones(len(rows.rows_T))
    if options.adjust and has_adj_close:
        factor_T = adjustment_factor_T(values["Adj Close"], values["Close"])
    # Exactly one factor per row keeps high >= open and close >= low to the last bit.
    bars = {name: values[name.title()] * factor_T for name in FIELDS if name != "volume"}
    bars["volume"] = values["Volume"] / factor_T
    history = History(ticker, rows.dates_T, bars, rows.rows_T, factor_T, report, options, has_adj_close)
    history = without_padding(history)
    # Padding may hide five days a week behind seven, or show a step where a rarely traded stock has none.
    frequency = find_frequency(history.dates_T) or find_frequency(rows.dates_T)
    history = without_spikes(replace(history, frequency=frequency))
    for check in MOVE_CHECKS:
        check(history)
    return history


def _repaired(ticker: str, rows: TickerRows, report: Report) -> dict[str, Floats]:
    """The columns, high and low widened to contain open and close up to rounding. Unknown volumes are counted."""
    values, rows_T = dict(rows.columns), rows.rows_T
    prices = [values[name] for name in PRICES]
    high_T, low_T = np.maximum.reduce(prices), np.minimum.reduce(prices)
    kind = f"high or low was widened by at most {ROUNDING:.2%} to contain open and close"
    changed_T = (high_T > values["High"]) | (low_T < values["Low"])
    report.counted(rows_T[changed_T], f"{ticker}'s {kind}", "Nothing to do: this is rounding.", kind)
    kind = "rows without a volume"
    unknown_T = np.isnan(values["Volume"])
    report.counted(rows_T[unknown_T], f"{ticker} has {kind}", "Nothing to do: it counts as unknown.", kind)
    return values | {"High": high_T, "Low": low_T}


# What an Adj Close says about splits and dividends, each known from its own day on


def adjustment_factor_T(adj_close_T: Floats, close_T: Floats) -> Floats:
    """What to multiply each day's prices by to get prices whose returns are what a holder earned, [T].

    The factor is 1 on the first day and grows with every split and dividend on its own day. So the prices of a day
    depend on the past alone. Adj Close itself is 1 on the last day, and every later dividend changes its whole past.

    The change of the factor on a day is read from Adj Close / Close of the day and of the day before. Files round the
    Adj Close, and a later dividend changes how. So changes that rounding explains are taken for none. Others are
    taken for the dividend or split ratio in round figures that is within the rounding. A change that is near none is
    rounded to 10 decimals in a file that was not rounded, otherwise to 5.

    Args:
        adj_close_T: the file's Adj Close, positive.
        close_T: its Close.
    """
    listed_T = adj_close_T / close_T
    # 1 - dividend / close before it; of a split 1 / (shares after for one before).
    step_T = listed_T[:-1] / listed_T[1:]
    moved_T = np.abs(step_T - 1)
    noise_T, exact_T = _noise(moved_T)
    at = np.flatnonzero(moved_T > np.where(exact_T, EXACT_NOISE, LARGEST_NOISE))
    plain_T = np.ones(len(step_T))
    plain_T[at] = _plain_steps(step_T[at], close_T[at], noise_T[at])
    factor_T = np.ones(len(listed_T))
    np.cumprod(1 / plain_T, out=factor_T[1:])
    return factor_T


def _noise(moved_T: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """How far a change may be off for rounding, by the changes until then that are rounding, and where it is not."""
    small_T = moved_T <= LARGEST_NOISE
    # A running maximum, because later rows may not change what is read from earlier ones.
    largest_T = np.maximum.accumulate(np.where(small_T, moved_T, 0.0))
    exact_T = (largest_T <= EXACT_NOISE) & (np.cumsum(small_T) >= ROWS_SEEN)
    return np.where(exact_T, EXACT_NOISE, np.maximum(USUAL_NOISE, 2 * largest_T)), exact_T


def _plain_steps(step_E: Floats, close_E: Floats, noise_E: Floats) -> Floats:
    """Each step as the plainest figure within its noise, [E]."""
    plain_E = np.where(noise_E > EXACT_NOISE, np.round(step_E, 5), np.round(step_E, 10))
    paid_E, slack_E = (1 - step_E) * close_E, noise_E * close_E
    for unit in DIVIDEND_UNITS:
        whole_E = np.round(paid_E / unit) * unit
        near_E = (np.abs(paid_E - whole_E) <= slack_E) & (4 * slack_E < unit) & (whole_E < close_E)
        plain_E = np.where(near_E, 1 - whole_E / close_E, plain_E)
    for below in (5, 4, 3, 2, 1):
        for inverse in (False, True):
            ratio_E = 1 / step_E if inverse else step_E
            whole_E = np.maximum(np.round(ratio_E * below), 1) / below
            near_E = (np.abs(ratio_E - whole_E) <= noise_E * ratio_E) & (np.abs(step_E - 1) > SPLIT)
            plain_E = np.where(near_E, 1 / whole_E if inverse else whole_E, plain_E)
    return plain_E


# Folders of field tables: open.csv, high.csv, ..., each dates x tickers


def field_files(files: Sequence[Path]) -> dict[str, list[Path]]:
    """The files by field if there are a close and at least two others, because LOW and OPEN are tickers too."""
    found: dict[str, list[Path]] = {}
    for file in files:
        if (name := standard_name(file.stem)) in COLUMNS:
            found.setdefault(str(name), []).append(file)
    return found if "Close" in found and len(found) >= 3 else {}


def field_histories(path: Path, files: dict[str, list[Path]], options: Options) -> tuple[list[History], list[Report]]:
    """The histories in a folder of field tables, which must hold the same dates and tickers, and all reports.

    A rule across tables, such as a high below the low, is reported in the table of closes.
    """
    whole = Report(str(path), most=options.most)
    for name in REQUIRED_COLUMNS:
        if name not in files:
            cure = f"Add {name.casefold()}.csv: all of {', '.join(REQUIRED_COLUMNS)} are needed."
            whole.error(None, "a field table is missing", name, cure)
    for name, several in files.items():
        if several[1:]:
            whole.error(None, f"two files mean {name}", ", ".join(file.name for file in several), "Keep one of them.")
    reports = {name: Report(str(several[0]), most=options.most) for name, several in files.items()}
    read = {name: _read_field(name, files[name][0], report) for name, report in reports.items()}
    tables = {name: table for name, table in read.items() if table is not None}
    for name, table in tables.items() if "Close" in tables else ():
        _compare(table, tables["Close"], reports[name], reports["Close"])
        _compare(tables["Close"], table, reports["Close"], reports[name])
    found: list[History] = []
    every = [whole, *reports.values()]
    if "Close" in tables and not any(report.has_errors for report in every):
        close = tables["Close"]
        columns = {
            ticker: {name: tables[name].columns[ticker][name] for name in COLUMNS if name in tables}
            for ticker in close.columns
        }
        found = _wide_histories(replace(close, columns=columns), reports["Close"], options)
    return found, every


def _read_field(name: str, file: Path, report: Report) -> Table | None:
    """The table in order of its dates; None if its form or dates do not allow a comparison with the others."""
    table = read_table(file, report, name)
    if table is None:
        return None
    check_days(table.dates_T, table.rows, report)
    if np.isnat(table.dates_T).any():
        return None
    late = np.flatnonzero(np.diff(table.dates_T) < np.timedelta64(0)) + 1
    report.counted(table.rows[late], "rows were not in order of their dates and were sorted")
    order = np.argsort(table.dates_T, kind="stable")
    columns = {ticker: {name: fields[name][order]} for ticker, fields in table.columns.items()}
    return Table(table.rows[order], table.dates_T[order], columns)


def _compare(one: Table, other: Table, report: Report, other_report: Report) -> None:
    """Report every date and ticker of one table that the other lacks."""
    file = Path(other_report.file).name
    cure = "Give all field tables the same dates and tickers; leave the cells of days without trading empty."
    missing = np.flatnonzero(~np.isin(one.dates_T, other.dates_T))
    texts = (str(one.dates_T[i]) for i in missing)
    report.error_each(one.rows[missing], f"the date is not in {file}", texts, cure)
    for ticker in one.columns:
        if ticker not in other.columns:
            report.error(1, f"the ticker is not in {file}", str(ticker), cure)

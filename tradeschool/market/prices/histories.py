"""From tables to checked daily bars per ticker: cells parsed, rows checked and sorted, prices adjusted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from tradeschool.market.adjustment import adjustment_factor_T
from tradeschool.market.findings import Finding, Report
from tradeschool.market.frequency import find_frequency
from tradeschool.market.panel import FIELDS, Floats
from tradeschool.market.prices.moves import MOVE_CHECKS, without_spikes
from tradeschool.market.prices.padding import without_padding
from tradeschool.market.prices.parse import Bools, Days, Numbers, Rows, check_days, is_blank, parse_days, parse_numbers
from tradeschool.market.prices.read import COLUMNS, REQUIRED_COLUMNS, Table, read_table, standard_name
from tradeschool.market.prices.validate import (
    History,
    Options,
    TickerRows,
    check_rows,
    repair_rounding,
)

Parsed = dict[str | None, dict[str, Numbers]]


def table_histories(table: Table, default_ticker: str, report: Report, options: Options) -> list[History]:
    """Check the rows of a table and return a history per ticker; a ticker with an error has none.

    ``default_ticker`` is the ticker of a table that names none.
    """
    parsed = _parse_columns(table, report)
    filled_T = _filled_rows(table, parsed)
    report.counted(table.rows[~filled_T], "empty rows were skipped")
    if not filled_T.any():
        report.error(None, "the file has no rows with values", "", "Add the daily rows, or remove the file.")
        return []
    dates_T = np.full(len(table.rows), np.datetime64("NaT"), dtype="datetime64[D]")
    dates_T[filled_T] = parse_days(table.dates[filled_T], table.rows[filled_T], report)
    if None not in parsed:
        check_days(dates_T[filled_T], table.rows[filled_T], report)
        return _wide_histories(table.rows, dates_T, parsed, report, options)
    whole = TickerRows(default_ticker, table.rows, dates_T, parsed[None])
    if table.tickers is not None:
        groups = _split_tickers(whole, table.tickers, filled_T, report)
    else:
        groups = iter([whole if filled_T.all() else whole.take(filled_T)])
    return [one for rows in groups if (one := _history(rows, report, options))]


def _parse_columns(table: Table, report: Report) -> Parsed:
    parsed: Parsed = {}
    cure = "Write a plain number such as 1234.5, or leave all prices of a day without trading empty."
    for ticker, columns in table.columns.items():
        own = report if ticker is None else report.for_ticker(ticker)
        parsed[ticker] = {name: parse_numbers(cells) for name, cells in columns.items()}
        for name, cells in columns.items():
            at = np.flatnonzero(parsed[ticker][name].bad_T)
            own.error_each(table.rows[at], f"{name} is not a number", (f"'{cells[i]}'" for i in at), cure)
    return parsed


def _filled_rows(table: Table, parsed: Parsed) -> Bools:
    """Rows that hold more than, at most, a ticker."""
    empty_T: Bools = np.all([column.blank_T for columns in parsed.values() for column in columns.values()], axis=0)
    empty_T[empty_T] = is_blank(table.dates[empty_T])
    return ~empty_T


def _wide_histories(rows_T: Rows, dates_T: Days, parsed: Parsed, report: Report, options: Options) -> list[History]:
    """A history per ticker of a wide table, in which a day with only blank cells is a day without trading."""
    found = []
    idle_T = ~np.isnat(dates_T)
    for ticker, columns in parsed.items():
        blank_T = np.all([column.blank_T for column in columns.values()], axis=0)
        idle_T &= blank_T
        rows = TickerRows(str(ticker), rows_T, dates_T, columns)
        # A ticker without any price keeps its rows: they are the error.
        if blank_T.any() and not blank_T.all():
            rows = rows.take(~blank_T)
        found.append(_history(rows, report.for_ticker(str(ticker)), options, dates_checked=True))
    report.counted(rows_T[idle_T], "rows with a date but no values were skipped")
    return [history for history in found if history is not None]


def _split_tickers(whole: TickerRows, tickers: Any, filled_T: Bools, report: Report) -> Iterator[TickerRows]:
    """The rows of a long table by ticker; ``tickers`` is a text array of Arrow."""
    encoded = tickers.dictionary_encode()
    given, given_codes_T = encoded.dictionary.to_pylist(), encoded.indices.fill_null(-1).to_numpy()
    stripped = [str(name).strip() for name in given]
    missing = is_blank(np.array(stripped, dtype=object))
    names = sorted({name for name, none in zip(stripped, missing, strict=True) if not none})
    code_of = {name: code for code, name in enumerate(names)}
    # Code -1, a missing cell, finds the last entry.
    new_codes = np.array([code_of.get(name, -1) for name in stripped] + [-1])
    codes_T = np.where(filled_T, new_codes[given_codes_T], -1)
    at = np.flatnonzero((codes_T < 0) & filled_T)
    report.error_each(whole.rows_T[at], "the ticker is missing", repeat(""), "Name the ticker in every row.")
    spaced = np.array([name != short for name, short in zip(given, stripped, strict=True)] + [False])
    report.counted(whole.rows_T[spaced[given_codes_T] & (codes_T >= 0)], "blanks around the ticker were removed")
    if (np.diff(codes_T) < 0).any():
        order = np.argsort(codes_T, kind="stable")
        whole, codes_T = whole.take(order), codes_T[order]
    bounds = np.searchsorted(codes_T, np.arange(len(names) + 1))
    for code, name in enumerate(names):
        if bounds[code] < bounds[code + 1]:
            yield replace(whole.take(slice(bounds[code], bounds[code + 1])), ticker=name)


def _history(rows: TickerRows, report: Report, options: Options, dates_checked: bool = False) -> History | None:
    """The rows of one ticker, checked, without blank ones, in order of time; None after an error."""
    found = _checked_history(rows, report, options, dates_checked)
    report.locate(rows.ticker, rows.rows_T, rows.dates_T)
    return found


def _checked_history(rows: TickerRows, report: Report, options: Options, dates_checked: bool) -> History | None:
    blank_T = rows.blank_T
    kind = "rows without any price, which were skipped"
    cure = "Nothing to do: the ticker counts as not traded on these days."
    report.counted(rows.rows_T[blank_T], f"{rows.ticker} has {kind}", cure, kind)
    errors_before = report.errors
    if not dates_checked:
        check_days(rows.dates_T, rows.rows_T, report)
    check_rows(rows, report)
    if blank_T.all():
        report.error(None, f"{rows.ticker} has no day with prices", "", "Give it prices, or remove it.")
    bad = any(column.bad_T.any() for column in rows.columns.values()) or np.isnat(rows.dates_T).any()
    if bad or report.errors > errors_before:
        return None
    rows = _sorted(rows if not blank_T.any() else rows.take(~blank_T), report)
    values = repair_rounding(rows, report).values
    has_adj_close = "Adj Close" in values
    adjusted = options.adjust and has_adj_close
    factor_T = adjustment_factor_T(values["Adj Close"], values["Close"]) if adjusted else None
    bars = _adjusted(values, factor_T)
    history = History(rows.ticker, rows.dates_T, bars, rows.rows_T, report.file, factor_T, has_adj_close)
    history = without_padding(history, report)
    # Padding may hide five days a week behind seven, or show a step where a rarely traded stock has none.
    frequency = find_frequency(history.dates_T) or find_frequency(rows.dates_T)
    history = without_spikes(replace(history, frequency=frequency), report, options)
    for check in MOVE_CHECKS:
        check(history, report, options)
    return history


def _sorted(rows: TickerRows, report: Report) -> TickerRows:
    if (np.diff(rows.dates_T) > np.timedelta64(0)).all():
        return rows
    late_T = np.append(False, rows.dates_T[1:] < rows.dates_T[:-1])
    kind = "rows were not in order of their dates and were sorted"
    report.counted(rows.rows_T[late_T], f"{rows.ticker}'s {kind}", kind=kind)
    return rows.take(np.argsort(rows.dates_T, kind="stable"))


def _adjusted(values: dict[str, Floats], factor_T: Floats | None) -> dict[str, Floats]:
    bars = {name: values["Volume" if name == "volume" else name.title()] for name in FIELDS}
    if factor_T is not None:
        # Exactly one factor per row keeps high >= open and close >= low to the last bit.
        bars = {name: value / factor_T if name == "volume" else value * factor_T for name, value in bars.items()}
    return bars


# Folders of field tables: open.csv, high.csv, ..., each dates x tickers


def field_files(files: Sequence[Path]) -> dict[str, list[Path]]:
    """The files by field if there are a close and at least two others, because LOW and OPEN are tickers too."""
    found: dict[str, list[Path]] = {}
    for file in files:
        if (name := standard_name(file.stem)) in COLUMNS:
            found.setdefault(str(name), []).append(file)
    return found if "Close" in found and len(found) >= 3 else {}


def field_histories(path: Path, files: dict[str, list[Path]], options: Options) -> tuple[list[History], list[Finding]]:
    """The histories in a folder of field tables, which must hold the same dates and tickers, and all findings.

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
    close = tables.get("Close")
    if close is not None:
        for name, table in tables.items():
            _compare(table, close, reports[name], reports["Close"])
    found: list[History] = []
    if close is not None and not any(report.has_errors for report in (whole, *reports.values())):
        parsed: Parsed = {
            ticker: {name: tables[name].numbers[ticker] for name in COLUMNS if name in tables}
            for ticker in close.numbers
        }
        found = _wide_histories(close.rows, close.dates_T, parsed, reports["Close"], options)
    return found, [finding for report in (whole, *reports.values()) for finding in report.findings]


@dataclass(frozen=True)
class _FieldTable:
    """One field, dates ascending, by ticker."""

    rows: Rows
    dates_T: Days
    numbers: dict[str, Numbers]


def _read_field(name: str, file: Path, report: Report) -> _FieldTable | None:
    """None if the table's form or dates do not allow a comparison with the others."""
    table = read_table(file, report, name)
    if table is None:
        return None
    parsed = _parse_columns(table, report)
    dates_T = parse_days(table.dates, table.rows, report)
    check_days(dates_T, table.rows, report)
    if np.isnat(dates_T).any():
        return None
    order = np.argsort(dates_T, kind="stable")
    late = np.flatnonzero(np.diff(dates_T) < np.timedelta64(0)) + 1
    report.counted(table.rows[late], "rows were not in order of their dates and were sorted")
    numbers = {str(ticker): columns[name].take(order) for ticker, columns in parsed.items()}
    return _FieldTable(table.rows[order], dates_T[order], numbers)


def _compare(table: _FieldTable, close: _FieldTable, report: Report, close_report: Report) -> None:
    """Report every date and ticker of one table that the other lacks."""
    cure = "Give all field tables the same dates and tickers; leave the cells of days without trading empty."
    for one, other, own, file in (
        (table, close, report, close_report.file),
        (close, table, close_report, report.file),
    ):
        missing = np.flatnonzero(~np.isin(one.dates_T, other.dates_T))
        rule = f"the date is not in {Path(file).name}"
        own.error_each(one.rows[missing], rule, (str(one.dates_T[i]) for i in missing), cure)
        for ticker in one.numbers:
            if ticker not in other.numbers:
                own.error(1, f"the ticker is not in {Path(file).name}", ticker, cure)

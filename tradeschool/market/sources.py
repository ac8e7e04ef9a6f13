"""Panels from price files: a folder of CSV or parquet files, one file, or the sample of five stocks."""

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tradeschool.errors import DataError, TradeschoolError
from tradeschool.market.exchange import exchange as known_exchange
from tradeschool.market.finding import Finding, Report
from tradeschool.market.notes.read import holds_notes
from tradeschool.market.panel import FIELDS, Floats, Panel
from tradeschool.market.prices.bars import History, histories
from tradeschool.market.prices.calendar_check import check_calendar
from tradeschool.market.prices.coverage import check_tickers, check_week, note_gaps, united
from tradeschool.market.prices.entries import price_files, refuse_notes, tell_notes
from tradeschool.market.prices.fieldtables import field_files, read_fields
from tradeschool.market.prices.jumps import Splits
from tradeschool.market.prices.pricefile import read_table
from tradeschool.market.prices.table import Table

SUFFIXES = (".csv", ".parquet")
SAMPLE_TICKERS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
_THREADS = min(2, os.cpu_count() or 1)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inspection:
    """All that was read under a path, and all that was found on the way."""

    histories: list[History]
    findings: list[Finding]


def load(path: str | Path, messages: list[str] | None = None, adjust: bool = True, splits: Splits = "refuse") -> Panel:
    """A panel from whatever ``path`` is: a folder of CSV or parquet files, or one such file.

    Columns are Yahoo's (Date, Open, High, Low, Close, Volume, and Adj Close where there is one), in any case.
    A file is one of:

    - one ticker, named by the file;
    - long: several tickers, with a Ticker column;
    - wide: yfinance's CSV of several header lines, columns of two levels (field and ticker, in either order) in
      parquet, or titles such as ``Close_AAPL`` and ``AAPL Close``;
    - one of a folder's field tables (``open.csv``, ``high.csv``, ..., ``adj_close.csv``), dates x tickers each.

    Dates of all tickers are united; a day on which a ticker has no bar is NaN.

    Args:
        path: folder or file.
        messages: receives a sentence for every repair and warning. Without it they go to Python's log.
        adjust: where there is an Adj Close, adjust open, high, low, close by Adj Close / Close and the volume by
            its inverse. False leaves prices and volumes as they stand in the files.
        splits: "refuse" stops at a split that neither the prices nor an Adj Close account for; "accept" takes it
            for a real move and warns.

    Raises:
        DataError: the path or a file breaks a rule; the text names file, row, value, rule and cure.
    """
    return _panel(inspect(path, adjust=adjust, splits=splits), Path(path), messages)


def from_folder(
    path: str | Path, messages: list[str] | None = None, adjust: bool = True, splits: Splits = "refuse"
) -> Panel:
    """A panel from a folder of CSV files, or one CSV file. As :func:`load`, which see."""
    return _panel(inspect(path, (".csv",), adjust, splits=splits), Path(path), messages)


def from_parquet(
    path: str | Path, messages: list[str] | None = None, adjust: bool = True, splits: Splits = "refuse"
) -> Panel:
    """A panel from a folder of parquet files, or one parquet file. As :func:`load`, which see."""
    return _panel(inspect(path, (".parquet",), adjust, splits=splits), Path(path), messages)


def sample() -> Panel:
    """Real daily bars of AAPL, FB, GOOG, IBM and MSFT, 2000-03 to 2013-03, adjusted, from bokeh_sampledata.

    Raises:
        TradeschoolError: the ``sample`` extra is not installed.
    """
    try:
        from bokeh_sampledata import stocks
    except ImportError as error:
        raise TradeschoolError(
            "The sample market needs the package bokeh_sampledata, which is not installed. "
            "Install it: pip install 'tradeschool[sample]'"
        ) from error
    found: list[History] = []
    for ticker in SAMPLE_TICKERS:
        columns = {name.replace("_", " ").title(): np.array(cells) for name, cells in getattr(stocks, ticker).items()}
        dates = columns.pop("Date")
        report = Report(f"bokeh_sampledata {ticker}")
        found += histories(Table(np.arange(1, len(dates) + 1), dates, {None: columns}), ticker, report)
        _refuse_errors(report.findings, report.file)
    return _align(found, "sample")


def inspect(
    path: str | Path,
    suffixes: Sequence[str] = SUFFIXES,
    adjust: bool = True,
    exchange: str | None = None,
    splits: Splits = "refuse",
) -> Inspection:
    """Read every price file under ``path`` and collect what is found, without stopping at the first error.

    Args:
        path: folder or file.
        suffixes: endings of the files to read.
        adjust: as in :func:`load`.
        exchange: compare the dates with this exchange's calendar, to tell holes from holidays. Without it an
            info counts the days on which only other tickers have bars, and warnings tell of weekends and long gaps.
        splits: as in :func:`load`.

    Raises:
        DataError: there is no exchange of this name.
        TradeschoolError: an exchange is given, and the ``data`` extra is not installed.
    """
    name = known_exchange(exchange).name if exchange is not None else None
    whole = Report(str(path))
    files = price_files(Path(path), tuple(suffixes), whole)
    found, findings = _read(Path(path), files, whole, adjust, splits)
    check_tickers(found, whole)
    note_gaps(found, whole, holes=name is None)
    if name is not None:
        check_calendar(found, name, whole)
    else:
        check_week(found, whole)
    return Inspection(found, whole.findings + findings)


def _read(
    path: Path, files: list[Path], whole: Report, adjust: bool, splits: Splits
) -> tuple[list[History], list[Finding]]:
    if fields := field_files(files):
        tables = {file for several in fields.values() for file in several}
        beside = [file for file in files if file not in tables]
        noted = [file for file in beside if holds_notes(file)]
        tell_notes(noted, whole)
        if others := [file.name for file in beside if file not in noted]:
            whole.warning(None, "files beside field tables were not read", ", ".join(others), "Move them away.")
        return read_fields(path, fields, adjust, splits=splits)
    if not files:
        return [], []
    found: list[History] = []
    findings: list[Finding] = []
    notes: list[Path] = []
    # Threads read ahead; results come in the order of the files, so nothing depends on who is first.
    with ThreadPoolExecutor(_THREADS) as pool:
        for file, (some, report) in zip(
            files, pool.map(lambda file: _read_file(file, adjust, splits), files), strict=True
        ):
            found += some
            # Only a file that is no good table of prices is looked at again: the others cost nothing more.
            if report.has_errors and not some and holds_notes(file):
                notes.append(file)
            else:
                findings += report.findings
    tell_notes(notes, whole)
    if len(notes) == len(files):
        refuse_notes(path, whole)
    return found, findings


def _read_file(file: Path, adjust: bool, splits: Splits) -> tuple[list[History], Report]:
    report = Report(str(file))
    table = read_table(file, report)
    ticker = file.stem.strip()
    if ticker != file.stem:
        report.info("blanks around the ticker were removed", f"'{file.stem}'")
    if table is not None and not ticker and None in table.columns and table.tickers is None:
        report.error(None, "the file's name gives no ticker", f"'{file.name}'", "Name the file by its ticker.")
        table = None
    return ([] if table is None else histories(table, ticker, report, adjust, splits)), report


def _panel(inspection: Inspection, path: Path, messages: list[str] | None) -> Panel:
    _refuse_errors(inspection.findings, str(path))
    for finding in inspection.findings:
        if messages is None:
            logger.log(logging.WARNING if finding.severity == "warning" else logging.INFO, finding.text)
        else:
            messages.append(finding.text)
    return _align(inspection.histories, path.absolute().name)


def _refuse_errors(findings: Sequence[Finding], path: str) -> None:
    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors:
        return
    first = min(
        (error for error in errors if error.file == errors[0].file), key=lambda error: (error.count, error.row or 0)
    )
    rest = sum(error.count for error in errors) - first.count
    more = (
        f" {rest:,} more error{'s' if rest > 1 else ''}: list all with 'tradeschool data check {path}'." if rest else ""
    )
    raise DataError(first.text + more)


def _align(found: Sequence[History], name: str) -> Panel:
    found = sorted(found, key=lambda history: history.ticker)
    dates_T = united(found)
    row_of_day = np.zeros(int((dates_T[-1] - dates_T[0]).astype(np.int64)) + 1, dtype=np.int64)
    row_of_day[(dates_T - dates_T[0]).astype(np.int64)] = np.arange(len(dates_T))
    places: list[Any] = []
    for history in found:
        rows = row_of_day[(history.dates_T - dates_T[0]).astype(np.int64)]
        # A history without a hole, the common case, is one stretch of rows.
        places.append(slice(rows[0], rows[-1] + 1) if rows[-1] - rows[0] + 1 == len(rows) else rows)
    tickers = tuple(history.ticker for history in found)
    # Filled by ticker, which is how histories lie in memory, and turned at once; the gaps are the same in all fields.
    one_NT = np.full((len(found), len(dates_T)), np.nan)

    def turned(field: str) -> Floats:
        for n, (history, at) in enumerate(zip(found, places, strict=True)):
            one_NT[n, at] = history.bars[field]
        # A copy also where there is one ticker, whose transpose is contiguous as it is.
        return one_NT.T.copy(order="C")

    open_TN, high_TN, low_TN, close_TN, volume_TN = (turned(field) for field in FIELDS)
    factor_TN = _factors(found, places, len(dates_T))
    return Panel(dates_T, tickers, open_TN, high_TN, low_TN, close_TN, volume_TN, name=name, factor_TN=factor_TN)


def _factors(found: Sequence[History], places: Sequence[Any], dates: int) -> Floats | None:
    """Each ticker's factors on its rows, 1 on all others; None where nothing was adjusted."""
    if all(history.factor_T is None for history in found):
        return None
    factor_NT = np.ones((len(found), dates))
    for n, (history, at) in enumerate(zip(found, places, strict=True)):
        if history.factor_T is not None:
            factor_NT[n, at] = history.factor_T
    return factor_NT.T

"""Panels from price files: a folder of CSV or parquet files, one file, or the sample of five stocks."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tradeschool.errors import DataError, TradeschoolError, did_you_mean
from tradeschool.market.bars import History, histories
from tradeschool.market.finding import Finding, Report
from tradeschool.market.panel import FIELDS, Panel
from tradeschool.market.pricefile import Table, read_table

SUFFIXES = (".csv", ".parquet")
SAMPLE_TICKERS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inspection:
    """All that was read under a path, and all that was found on the way."""

    histories: list[History]
    findings: list[Finding]


def load(path: str | Path, messages: list[str] | None = None) -> Panel:
    """A panel from whatever ``path`` is: a folder of CSV or parquet files, or one such file.

    CSV columns are Yahoo's (Date, Open, High, Low, Close, Volume, and Adj Close where there is one), in any
    case. A file holds one ticker, named by the file, or several with a Ticker column. Dates of all tickers
    are united; a day on which a ticker has no bar is NaN. How prices are adjusted: see :func:`bars.histories`.

    Args:
        path: folder or file.
        messages: receives a sentence for every repair and warning. Without it they go to Python's log.

    Raises:
        DataError: the path or a file breaks a rule; the text names file, row, value, rule and cure.
    """
    return _panel(inspect(path), Path(path), messages)


def from_folder(path: str | Path, messages: list[str] | None = None) -> Panel:
    """A panel from a folder of CSV files, a ticker each. As :func:`load`, which see."""
    return _panel(inspect(path, suffixes=(".csv",)), Path(path), messages)


def from_parquet(path: str | Path, messages: list[str] | None = None) -> Panel:
    """A panel from a parquet file (long: date, ticker, open, ...) or a folder with one per ticker. As :func:`load`."""
    return _panel(inspect(path, suffixes=(".parquet",)), Path(path), messages)


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
        report = Report(f"bokeh_sampledata {ticker}")
        found += histories(Table(columns, np.arange(1, len(columns["Date"]) + 1)), ticker, report)
        _refuse_errors(report.findings, report.file)
    return _align(found, "sample")


def inspect(path: str | Path, suffixes: Sequence[str] = SUFFIXES) -> Inspection:
    """Read every price file under ``path`` and collect what is found, without stopping at the first error."""
    whole = Report(str(path))
    found: list[History] = []
    findings: list[Finding] = []
    for file in _files(Path(path), tuple(suffixes), whole):
        report = Report(str(file))
        table = read_table(file, report)
        if table is not None:
            found += histories(table, file.stem, report)
        findings += report.findings
    _check_tickers(found, whole)
    _note_gaps(found, whole)
    return Inspection(found, whole.findings + findings)


def _files(path: Path, suffixes: tuple[str, ...], report: Report) -> list[Path]:
    wanted = " or ".join(suffixes)
    if not path.exists():
        parent = path.absolute().parent
        near = did_you_mean(path.name, [entry.name for entry in parent.iterdir()]) if parent.is_dir() else ""
        report.error(None, "there is no such file or folder", "", f"Give a folder of {wanted} files.{near}")
        return []
    if path.is_file():
        if path.suffix.casefold() in suffixes:
            return [path]
        report.error(None, "the file has an unknown ending", f"'{path.suffix}'", f"Give a {wanted} file.")
        return []
    try:
        entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        report.error(None, "the folder cannot be read", error.strerror or str(error), "Check its rights.")
        return []
    files = [entry for entry in entries if entry.is_file() and entry.suffix.casefold() in suffixes]
    folders = [entry.name for entry in entries if entry.is_dir()]
    if not files:
        inside = f" Did you mean one of its folders: {', '.join(folders[:5])}?" if folders else ""
        report.error(
            None, f"the folder has no {wanted} file", f"{len(entries)} entries", f"Give a folder that has.{inside}"
        )
    elif others := [entry.name for entry in entries if entry not in files]:
        report.info("entries that are no price files were not read", ", ".join(others[:5]))
    return files


def _check_tickers(found: Sequence[History], report: Report) -> None:
    tickers = [history.ticker for history in found]
    for ticker in dict.fromkeys(ticker for ticker in tickers if tickers.count(ticker) > 1):
        report.error(None, "a ticker comes from more than one file", ticker, "Keep one file per ticker.")


def _note_gaps(found: Sequence[History], report: Report) -> None:
    if not found:
        return
    dates_T = np.unique(np.concatenate([history.dates_T for history in found]))
    gaps = {}
    for history in found:
        first, last = np.searchsorted(dates_T, history.dates_T[[0, -1]])
        gaps[history.ticker] = int(last - first + 1 - len(history.dates_T))
    if listed := ", ".join(f"{ticker} {count}" for ticker, count in gaps.items() if count):
        rule = "days on which others traded are missing inside a ticker's history"
        cure = "Nothing to do: they count as not traded, and indicators begin anew after them."
        report.info(rule, listed, cure)


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
    first = min((error for error in errors if error.file == errors[0].file), key=lambda error: error.row or 0)
    rest = len(errors) - 1
    more = (
        f" {rest} more error{'s' if rest > 1 else ''}: list all with 'tradeschool data check {path}'." if rest else ""
    )
    raise DataError(first.text + more)


def _align(found: Sequence[History], name: str) -> Panel:
    found = sorted(found, key=lambda history: history.ticker)
    dates_T = np.unique(np.concatenate([history.dates_T for history in found]))
    fields = {field: np.full((len(dates_T), len(found)), np.nan) for field in FIELDS}
    for n, history in enumerate(found):
        rows = np.searchsorted(dates_T, history.dates_T)
        for field in FIELDS:
            fields[field][rows, n] = history.bars[field]
    tickers = tuple(history.ticker for history in found)
    open_TN, high_TN, low_TN, close_TN, volume_TN = (fields[field] for field in FIELDS)
    return Panel(dates_T, tickers, open_TN, high_TN, low_TN, close_TN, volume_TN, name=name)

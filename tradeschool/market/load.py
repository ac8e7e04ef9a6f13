"""A market from price files (a folder of CSV or parquet files, or one file), or the sample of five stocks."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tradeschool.errors import did_you_mean
from tradeschool.market.calendar import find_exchange
from tradeschool.market.events.deepstock import extract_prices, is_deepstock_file
from tradeschool.market.events.event import read_records
from tradeschool.market.events.read import holds_events
from tradeschool.market.findings import Finding, Report, join_some, raise_on_errors
from tradeschool.market.panel import FIELDS, Floats, Panel
from tradeschool.market.prices.coverage import MARKET_CHECKS, all_days
from tradeschool.market.prices.histories import field_files, field_histories, table_histories
from tradeschool.market.prices.read import COLUMNS, Table, read_table, standard_name
from tradeschool.market.prices.validate import History, Options, accepted

SAMPLE_TICKERS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
SUFFIXES = (".csv", ".parquet")
logger = logging.getLogger(__name__)


def load_prices(
    path: str | Path, messages: list[str] | None = None, *, suffixes: Sequence[str] = SUFFIXES, **options: Any
) -> Panel:
    """A panel from a folder of CSV or parquet files, from one such file, or from a file of DeepStock rows.

    Columns are Yahoo's (Date, Open, High, Low, Close, Volume, and Adj Close if there is one), in any case. A file holds
    one ticker, several in a Ticker column, several in columns (``Close_AAPL``, yfinance's header of several lines), or
    one field of all tickers (``open.csv``, ``high.csv``, ...).

    Args:
        path: folder or file.
        messages: receives a sentence for every repair and warning. Without it they go to Python's log.
        suffixes: endings of the files to read.
        options: fields of :class:`~tradeschool.market.prices.validate.Options`, such as ``adjust=False``. ``accept`` is
            a list of entries like "ABC 2016-01-04".

    Raises:
        DataError: the path or a file breaks a rule; the text names file, row, value, rule and cure.
    """
    panel, findings = read_prices(path, _options(**options), suffixes)
    for finding in findings:
        if messages is None:
            logger.log(logging.WARNING if finding.severity == "warning" else logging.INFO, finding.text)
        else:
            messages.append(finding.text)
    return panel


def read_prices(path: str | Path, options: Options, suffixes: Sequence[str] = SUFFIXES) -> tuple[Panel, list[Finding]]:
    """As :func:`load_prices`, with what was found on the way; a DataError if the path or a file breaks a rule."""
    found, findings = _inspect(Path(path), suffixes, options)
    raise_on_errors(findings, str(path))
    return _align(found, Path(path).absolute().name), findings


def check_prices(path: str | Path, exchange: str | None = None, **options: Any) -> list[Finding]:
    """All findings about the price files under a path, errors first, then by file and row; ``options`` as above.

    A path loads if and only if no finding is an error. With an ``exchange`` the dates are compared with its calendar,
    to tell missing days from holidays. Without it, an info counts the days on which only other tickers have bars, and
    warnings name weekends and long gaps.
    """
    order = {"error": 0, "warning": 1, "info": 2}
    name = None if exchange is None else find_exchange(exchange).name
    _, findings = _inspect(Path(path), SUFFIXES, _options(exchange=name, **options))
    return sorted(findings, key=lambda f: (order[f.severity], f.file, f.count > 1, f.row or 0))


def _options(accept: Sequence[str] = (), **given: Any) -> Options:
    return Options(accept=accepted(accept), **given)


def require_sample() -> None:
    """Import the package of the sample market, so that a missing one is known before anything is computed."""
    import bokeh_sampledata  # noqa: F401


def load_sample() -> Panel:
    """Real daily bars of AAPL, FB, GOOG, IBM and MSFT, 2000-03 to 2013-03, adjusted, from bokeh_sampledata."""
    from bokeh_sampledata import stocks

    found: list[History] = []
    for ticker in SAMPLE_TICKERS:
        cells = {name.replace("_", " ").title(): np.array(cells) for name, cells in getattr(stocks, ticker).items()}
        dates_T = cells.pop("Date").astype("datetime64[D]")
        columns = {name: values.astype(np.float64) for name, values in cells.items()}
        report = Report(f"bokeh_sampledata {ticker}")
        table = Table(np.arange(1, len(dates_T) + 1), dates_T, {None: columns})
        found += table_histories(table, ticker, report, Options())
        raise_on_errors(report.findings, report.file)
    return _align(found, "sample")


def _inspect(path: Path, suffixes: Sequence[str], options: Options) -> tuple[list[History], list[Finding]]:
    """Read every price file, or DeepStock's rows, and collect all findings, without stopping at the first error."""
    whole = Report(str(path), most=options.most)
    reports: list[Report] = []
    if is_deepstock_file(path):
        table = extract_prices(read_records(path, whole), whole)
        found = [] if table is None else table_histories(table, "", whole, options)
    else:
        found, reports = _read_prices(path, _price_files(path, suffixes, whole), whole, options)
    for check in MARKET_CHECKS if found else ():
        check(found, whole, options)
    return found, [finding for report in (whole, *reports) for finding in report.findings]


def _read_prices(path: Path, files: list[Path], whole: Report, options: Options) -> tuple[list[History], list[Report]]:
    if not (fields := field_files(files)):
        return _read_files(path, files, whole, options)
    if unread := [file.name for file in files if standard_name(file.stem) not in COLUMNS]:
        whole.warning(None, "files beside field tables were not read", ", ".join(unread), "Move them away.")
    return field_histories(path, fields, options)


def _read_files(path: Path, files: list[Path], whole: Report, options: Options) -> tuple[list[History], list[Report]]:
    found: list[History] = []
    reports: list[Report] = []
    for file in files:
        report = Report(str(file), most=options.most)
        table = read_table(file, report)
        ticker = file.stem.strip()
        if ticker != file.stem:
            report.info("blanks around the ticker were removed", f"'{file.stem}'")
        some = [] if table is None else table_histories(table, ticker, report, options)
        found += some
        # Only a file that is not a good price table is opened again, so the others cost nothing more.
        if report.has_errors and not some and holds_events(file):
            cure = "Check it by itself, or give it as market.events."
            whole.info("a file of events was not read as prices", file.name, cure)
        else:
            reports.append(report)
    if files and not reports:
        hint = _price_folder(sorted(path.iterdir())) if path.is_dir() else ""
        cure = f"Give prices as market.path, and events as market.events.{hint}"
        whole.error(None, "there are only events, no prices", "", cure)
    return found, reports


def _price_files(path: Path, suffixes: Sequence[str], report: Report) -> list[Path]:
    """The files to read, by name; empty, with an error in ``report``, if there are none."""
    wanted = " or ".join(suffixes)
    try:
        if path.is_file():
            if path.suffix.casefold() in suffixes:
                return [path]
            report.error(None, "the file has an unknown ending", f"'{path.suffix}'", f"Give a {wanted} file.")
            return []
        if not path.is_dir():
            parent = path.absolute().parent
            hint = did_you_mean(path.name, [entry.name for entry in parent.iterdir()]) if parent.is_dir() else ""
            report.error(None, "there is no such file or folder", "", f"Give a folder of {wanted} files.{hint}")
            return []
        entries = sorted(path.iterdir())
    except OSError as error:
        report.error(None, "the path cannot be read", error.strerror or str(error), "Check that you may read it.")
        return []
    named = [one for one in entries if not one.name.startswith(".") and one.suffix.casefold() in suffixes]
    if not named:
        cure = f"Give a folder that has one.{_price_folder(entries)}"
        report.error(None, f"the folder has no {wanted} file", f"{len(entries)} entries", cure)
    # Hidden entries are named only if they look like prices.
    shown = [one for one in entries if not one.name.startswith(".") or one.suffix in SUFFIXES]
    if named and (others := [one.name for one in shown if one not in named]):
        report.info("entries that are not price files were not read", join_some(others))
    for entry in named:
        if not entry.is_file():
            cure = "Put a file in its place, or remove it."
            report.error(None, "an entry is named like a price file but is not a file", entry.name, cure)
    return [one for one in named if one.is_file()]


def _price_folder(entries: Sequence[Path]) -> str:
    """A hint: the first subfolder with files that are named like prices."""
    for folder in entries:
        if any(entry.suffix.casefold() in SUFFIXES for entry in folder.glob("*")):
            return f" Did you mean {folder}?"
    return ""


def _align(found: Sequence[History], name: str) -> Panel:
    found = sorted(found, key=lambda history: history.ticker)
    dates_T = all_days(found)
    places = [np.searchsorted(dates_T, history.dates_T) for history in found]

    def grid(values: Sequence[Floats], empty: float = np.nan) -> Floats:
        """One array or number per ticker on all dates, [T, N]."""
        grid_NT = np.full((len(found), len(dates_T)), empty)
        for n, (value_T, at) in enumerate(zip(values, places, strict=True)):
            grid_NT[n, at] = value_T
        return grid_NT.T.copy()

    bars: dict[str, Any] = {f"{field}_TN": grid([history.bars[field] for history in found]) for field in FIELDS}
    adjusted = any(history.has_adj_close and history.options.adjust for history in found)
    factor_TN = grid([history.factor_T for history in found], 1.0) if adjusted else None
    return Panel(dates_T, tuple(history.ticker for history in found), **bars, name=name, factor_TN=factor_TN)

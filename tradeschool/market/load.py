"""A market from price files (a folder of CSV or parquet files, or one file), or the sample of five stocks."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tradeschool.errors import TradeschoolError, did_you_mean
from tradeschool.market.calendar import find_exchange
from tradeschool.market.events.read import holds_events
from tradeschool.market.findings import Finding, Report, join_some, raise_on_errors
from tradeschool.market.panel import FIELDS, Floats, Panel
from tradeschool.market.prices.coverage import MARKET_CHECKS
from tradeschool.market.prices.doubles import all_days
from tradeschool.market.prices.histories import field_files, field_histories, table_histories
from tradeschool.market.prices.read import Table, read_table
from tradeschool.market.prices.validate import History, Options, Spikes, Splits, accepted

SAMPLE_TICKERS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
SUFFIXES = (".csv", ".parquet")
logger = logging.getLogger(__name__)


def load_prices(
    path: str | Path,
    messages: list[str] | None = None,
    adjust: bool = True,
    splits: Splits = "refuse",
    suffixes: Sequence[str] = SUFFIXES,
    spikes: Spikes = "refuse",
    accept: Sequence[str] = (),
) -> Panel:
    """A panel from a folder of CSV or parquet files, or from one such file.

    Columns are Yahoo's (Date, Open, High, Low, Close, Volume, and Adj Close if there is one), in any case. A file holds
    one ticker, several in a Ticker column, several in columns (``Close_AAPL``, yfinance's header of several lines), or
    one field of all tickers (``open.csv``, ``high.csv``, ...).

    Args:
        path: folder or file.
        messages: receives a sentence for every repair and warning. Without it they go to Python's log.
        adjust: where there is an Adj Close, adjust prices by Adj Close / Close and the volume by the inverse.
        splits: "refuse" stops at a split that prices are not adjusted for; "accept" takes it for a real move and
            warns.
        suffixes: endings of the files to read.
        spikes: "refuse" stops at a bar that is far from both of its neighbours; "leave_out" leaves it out and warns.
        accept: ticker and day, like "ABC 2016-01-04", of what would be refused although it is real.

    Raises:
        DataError: the path or a file breaks a rule; the text names file, row, value, rule and cure.
    """
    panel, findings = read_prices(path, Options(adjust, splits, spikes, accepted(accept)), suffixes)
    for finding in findings:
        if messages is None:
            logger.log(logging.WARNING if finding.severity == "warning" else logging.INFO, finding.text)
        else:
            messages.append(finding.text)
    return panel


def read_prices(path: str | Path, options: Options, suffixes: Sequence[str] = SUFFIXES) -> tuple[Panel, list[Finding]]:
    """As :func:`load_prices`, with what was found on the way.

    Raises:
        DataError: the path or a file breaks a rule.
    """
    found, findings = _inspect(Path(path), suffixes, options)
    raise_on_errors(findings, str(path))
    return _align(found, Path(path).absolute().name), findings


def require_sample() -> None:
    """Refuse to go on without the package of the sample market.

    Raises:
        TradeschoolError: it is not installed.
    """
    try:
        import bokeh_sampledata  # noqa: F401
    except ImportError as error:
        raise TradeschoolError(
            "The sample market needs the package bokeh_sampledata, which is not installed. "
            "Install it: pip install 'tradeschool[sample]'"
        ) from error


def load_sample() -> Panel:
    """Real daily bars of AAPL, FB, GOOG, IBM and MSFT, 2000-03 to 2013-03, adjusted, from bokeh_sampledata.

    Raises:
        TradeschoolError: the ``sample`` extra is not installed.
    """
    require_sample()
    from bokeh_sampledata import stocks

    found: list[History] = []
    for ticker in SAMPLE_TICKERS:
        columns = {name.replace("_", " ").title(): np.array(cells) for name, cells in getattr(stocks, ticker).items()}
        dates = columns.pop("Date")
        report = Report(f"bokeh_sampledata {ticker}")
        found += table_histories(Table(np.arange(1, len(dates) + 1), dates, {None: columns}), ticker, report, Options())
        raise_on_errors(report.findings, report.file)
    return _align(found, "sample")


def check_prices(
    path: str | Path,
    exchange: str | None = None,
    splits: Splits = "refuse",
    spikes: Spikes = "refuse",
    accept: Sequence[str] = (),
    every: bool = False,
) -> list[Finding]:
    """All findings about the price files under a path, errors first, then by file and row.

    A path loads if and only if no finding is an error.

    Args:
        path: folder or file.
        exchange: compare the dates with this exchange's calendar, to tell missing days from holidays. Without it, an
            info counts the days on which only other tickers have bars, and warnings name weekends and long gaps.
        splits, spikes, accept: as in :func:`load_prices`.
        every: list every finding, not the first ones of each rule and a count of the rest.

    Raises:
        DataError: the exchange is unknown, or an entry of ``accept`` is not a ticker and a day.
        TradeschoolError: an exchange is given, and the ``data`` extra is not installed.
    """
    order = {"error": 0, "warning": 1, "info": 2}
    name = None if exchange is None else find_exchange(exchange).name
    options = Options(splits=splits, spikes=spikes, accept=accepted(accept), every=every, exchange=name)
    _, findings = _inspect(Path(path), SUFFIXES, options)
    return sorted(findings, key=lambda f: (order[f.severity], f.file, f.count > 1, f.row or 0))


def _inspect(path: Path, suffixes: Sequence[str], options: Options) -> tuple[list[History], list[Finding]]:
    """Read every price file and collect all findings, without stopping at the first error."""
    whole = Report(str(path), most=options.most)
    files = _price_files(path, suffixes, whole)
    if fields := field_files(files):
        found, findings = field_histories(path, fields, options)
        tables = {file for several in fields.values() for file in several}
        if unread := [file.name for file in files if file not in tables]:
            whole.warning(None, "files beside field tables were not read", ", ".join(unread), "Move them away.")
    else:
        found, findings = _read_files(path, files, whole, options)
    for check in MARKET_CHECKS if found else ():
        check(found, whole, options)
    return found, whole.findings + findings


def _read_files(path: Path, files: list[Path], whole: Report, options: Options) -> tuple[list[History], list[Finding]]:
    found: list[History] = []
    findings: list[Finding] = []
    events = 0
    for file in files:
        some, report = _read_file(file, options)
        found += some
        # Only a file that is not a good price table is opened again, so the others cost nothing more.
        if report.has_errors and not some and holds_events(file):
            cure = "Check it by itself, or give it as market.events."
            whole.info("a file of events was not read as prices", file.name, cure)
            events += 1
        else:
            findings += report.findings
    if files and events == len(files):
        hint = _price_folder(sorted(path.iterdir())) if path.is_dir() else ""
        cure = f"Give prices as market.path, and events as market.events.{hint}"
        whole.error(None, "there are only events, no prices", "", cure)
    return found, findings


def _read_file(file: Path, options: Options) -> tuple[list[History], Report]:
    report = Report(str(file), most=options.most)
    table = read_table(file, report)
    ticker = file.stem.strip()
    if ticker != file.stem:
        report.info("blanks around the ticker were removed", f"'{file.stem}'")
    return ([] if table is None else table_histories(table, ticker, report, options)), report


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
        shown = [entry for entry in entries if not entry.name.startswith(".")]
        files = [entry for entry in shown if entry.suffix.casefold() in suffixes]
        if not files:
            cure = f"Give a folder that has one.{_price_folder(shown)}"
            report.error(None, f"the folder has no {wanted} file", f"{len(entries)} entries", cure)
        # Hidden entries are named only if they look like prices.
        unread = {entry.name for entry in entries if entry in shown or entry.suffix in SUFFIXES}
        if files and (others := sorted(unread - {entry.name for entry in files})):
            report.info("entries that are not price files were not read", join_some(others))
        for file in files:
            if not file.is_file():
                cure = "Put a file in its place, or remove it."
                report.error(None, "an entry is named like a price file but is not a file", file.name, cure)
        return [file for file in files if file.is_file()]
    except OSError as error:
        report.error(None, "the path cannot be read", error.strerror or str(error), "Check that you may read it.")
        return []


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

    def grid(values: Sequence[Floats | float], empty: float = np.nan) -> Floats:
        """One array or number per ticker on all dates, [T, N]."""
        grid_NT = np.full((len(found), len(dates_T)), empty)
        for n, (value_T, at) in enumerate(zip(values, places, strict=True)):
            grid_NT[n, at] = value_T
        return grid_NT.T.copy()

    bars: dict[str, Any] = {f"{field}_TN": grid([history.bars[field] for history in found]) for field in FIELDS}
    factors = [1.0 if history.factor_T is None else history.factor_T for history in found]
    adjusted = any(history.factor_T is not None for history in found)
    tickers = tuple(history.ticker for history in found)
    return Panel(dates_T, tickers, **bars, name=name, factor_TN=grid(factors, 1.0) if adjusted else None)

"""A folder of field tables (open.csv, high.csv, ..., each dates x tickers) as the histories they hold together."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tradeschool.market.finding import Finding, Report
from tradeschool.market.prices.bars import History, Parsed, checked_wide, report_bad_numbers
from tradeschool.market.prices.cells import Numbers, numbers
from tradeschool.market.prices.dates import Days, check_days, days
from tradeschool.market.prices.jumps import Splits
from tradeschool.market.prices.layout import FIELD_NAMES, standard_name
from tradeschool.market.prices.pricefile import read_table
from tradeschool.market.prices.table import Table

FIELDS_OF_FILES = (*FIELD_NAMES, "Adj Close")


def field_files(files: Sequence[Path]) -> dict[str, list[Path]]:
    """The files by field, if this is a folder of field tables: a close and two others at least, by their names.

    LOW and OPEN are tickers, too, so two such files are none.
    """
    found: dict[str, list[Path]] = {}
    for file in files:
        if (name := standard_name(file.stem)) in FIELDS_OF_FILES:
            found.setdefault(str(name), []).append(file)
    return found if "Close" in found and len(found) >= 3 else {}


def read_fields(
    path: Path, files: dict[str, list[Path]], adjust: bool, careful: bool = False, splits: Splits = "refuse"
) -> tuple[list[History], list[Finding]]:
    """The histories of all tickers, and what was found in every file.

    All tables must hold the same dates and tickers, in any order. What breaks a rule across the tables, as a
    high below the low, is reported in the table of closes.
    """
    whole = Report(str(path))
    for name in FIELD_NAMES:
        if name not in files:
            report_missing = f"Add {name.casefold()}.csv: all of {', '.join(FIELD_NAMES)} are needed."
            whole.error(None, "a field table is missing", name, report_missing)
    for name, several in files.items():
        if several[1:]:
            whole.error(None, f"two files mean {name}", ", ".join(file.name for file in several), "Keep one of them.")
    reports = {name: Report(str(several[0])) for name, several in files.items()}
    tables = {name: _Field.read(name, files[name][0], report, careful) for name, report in reports.items()}
    read = {name: table for name, table in tables.items() if table is not None}
    close = read.get("Close")
    if close is not None:
        for name, table in read.items():
            _compare(table, close, reports[name], reports["Close"])
    found: list[History] = []
    if close is not None and not whole.has_errors and not any(report.has_errors for report in reports.values()):
        parsed: Parsed = {}
        for ticker in close.numbers:
            parsed[ticker] = {name: read[name].numbers[ticker] for name in FIELDS_OF_FILES if name in read}
        found = checked_wide(close.table.rows, close.dates_T, parsed, reports["Close"], adjust, splits)
    return found, [finding for report in (whole, *reports.values()) for finding in report.findings]


class _Field:
    """One table, its dates ascending and its numbers read."""

    def __init__(self, table: Table, dates_T: Days, cells: dict[str, Numbers]) -> None:
        self.table, self.dates_T, self.numbers = table, dates_T, cells

    @classmethod
    def read(cls, name: str, file: Path, report: Report, careful: bool) -> "_Field | None":
        """None where the table's form or dates are so broken that it cannot be laid beside the others."""
        table = read_table(file, report, name, careful)
        if table is None:
            return None
        parsed: Parsed = {
            ticker: {field: numbers(cells) for field, cells in columns.items()}
            for ticker, columns in table.columns.items()
        }
        report_bad_numbers(table, parsed, report)
        dates_T = days(table.dates, table.rows, report)
        check_days(dates_T, table.rows, report)
        if np.isnat(dates_T).any():
            return None
        order = np.argsort(dates_T, kind="stable")
        late = np.flatnonzero(np.diff(dates_T) < np.timedelta64(0)) + 1
        report.counted(table.rows[late], "rows were not in the order of their dates and were sorted")
        cells = {str(ticker): columns[name].take(order) for ticker, columns in parsed.items()}
        return cls(Table(table.rows[order], table.dates[order], {}), dates_T[order], cells)


def _compare(table: _Field, close: _Field, report: Report, of_close: Report) -> None:
    """Every date and ticker of one table must be in the other."""
    cure = "Give all field tables the same dates and tickers; leave the cells of days without trading empty."
    for one, other, found, file in ((table, close, report, of_close.file), (close, table, of_close, report.file)):
        lacking = np.flatnonzero(~np.isin(one.dates_T, other.dates_T))
        rule = f"the date is not in {Path(file).name}"
        found.error_each(one.table.rows[lacking], rule, (str(one.dates_T[i]) for i in lacking), cure)
        for ticker in one.numbers:
            if ticker not in other.numbers:
                found.error(1, f"the ticker is not in {Path(file).name}", ticker, cure)

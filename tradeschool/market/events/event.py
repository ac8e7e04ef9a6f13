"""Events (texts and rows of figures that became public at a known moment), and the rows and cells of their files."""

import csv
import datetime
import io
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tradeschool.errors import DataError
from tradeschool.market.findings import Finding, Report, raise_on_errors

ROW_KINDS = ("fundamentals", "insider", "analyst", "macro", "volatility_index", "company")
"""Kinds with a prompt section of their own: rows of figures, and descriptions of a company."""
TEXT_KINDS = ("news", "tweet", "filing", "market")
"""Kinds that are news. ``market``, and every text without a ticker, is news about the whole market."""
MARKET_KINDS = ("market", "macro", "volatility_index")
"""Kinds that never have a ticker."""
KINDS = TEXT_KINDS + ROW_KINDS
Value = str | float
"""The value of one field of an event."""
SUFFIXES = (".jsonl", ".parquet", ".csv")
_CSV_CURE = 'Separate cells by commas and quote texts that contain commas or line breaks ("a, b").'
_NAME_COLUMNS = {"symbol": "ticker", "name": "company", "company name": "company", "security": "company"}
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?", re.ASCII)


@dataclass(frozen=True)
class Event:
    """Something that became public at ``known_at``: the time of publication, not the period it covers.

    Attributes:
        known_at: a moment in UTC, or a day (``datetime64[D]``), which counts as known by that day's close.
        ticker: None for the whole market.
        kind: one of :data:`KINDS`.
        text: the headline, tweet or description; may be empty when there are fields.
        source: the publisher, or the name of an index or a macro series.
        fields: figures and short texts by name, in snake_case.
    """

    known_at: np.datetime64
    ticker: str | None
    kind: str
    text: str = ""
    source: str = ""
    fields: Mapping[str, Value] = field(default_factory=dict)

    @property
    def day_only(self) -> bool:
        """Whether only the day of publication is known, not the time."""
        return np.datetime_data(self.known_at.dtype)[0] == "D"

    def digest_line(self) -> str:
        """Everything in the event on one line, for the data hash."""
        more = "|".join(f"{name}={value}" for name, value in self.fields.items())
        parts = [str(self.known_at), str(self.ticker), self.kind, self.text, *filter(None, (self.source, more))]
        return "|".join(parts) + "\n"


@dataclass(frozen=True)
class EventFile:
    """The events of one file, what was found wrong with it, and company names by ticker."""

    events: list[Event]
    findings: list[Finding]
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


# Files ----------------------------------------------------------------------------------------------


class Record(NamedTuple):
    """``row`` is the line in a CSV or JSON lines file, or the record number (from 1) in a parquet file."""

    row: int
    cells: dict[str, Any]


def read_records(path: Path, report: Report, kind: str | None = None) -> list[Record]:
    """All readable rows of a file; everything else goes to ``report`` as an error.

    ``kind`` is one of :data:`SUFFIXES`, by default the file's own ending.
    """
    kind = (kind or path.suffix).casefold()
    found: list[Record] = []
    try:
        if kind == ".parquet":
            found = _read_parquet(path, report)
        elif kind in SUFFIXES:
            text = path.read_text("utf-8-sig")
            found = _read_csv(text, report) if kind == ".csv" else _read_jsonl(text, report)
        else:
            cure = f"Give a file that ends in {', '.join(SUFFIXES)}."
            report.error(None, "unknown file type", f"'{path.suffix}'", cure)
    except UnicodeDecodeError as error:
        report.error(None, "the text is not UTF-8", f"byte {error.start}", "Save the file as UTF-8.")
    except OSError as error:
        report.error(None, "the file cannot be read", error.strerror or str(error), "Check that it exists.")
    if not found and not report.has_errors:
        report.error(None, "the file has no rows", "", "Write it again, or remove it.")
    return found


def column_names(path: Path) -> list[str]:
    """Column names (of JSON lines those of the first row); empty if they cannot be read: reading the file says why."""
    try:
        if path.suffix.casefold() == ".parquet":
            import pyarrow.parquet as pq

            return [str(name) for name in pq.read_schema(path).names]
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.casefold() != ".jsonl":
                return next(csv.reader(file), [])
            row = json.loads(next((line for line in file if line.strip()), "null"))
            return list(row) if isinstance(row, dict) else []
    except (OSError, ValueError, RecursionError, csv.Error):
        return []


def read_names(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Company names by ticker, from a table with columns Ticker (or Symbol) and Company (or Name).

    StockNet's StockTable is such a table (``Sector, Symbol, Company``). Cells are separated by commas, semicolons or
    tabs. A leading dollar sign of a symbol is dropped. Several rows for a ticker give it several names.
    """
    report = Report(str(path))
    rows = read_records(Path(path), report, ".csv")
    raise_on_errors(report.findings, str(path))
    names: dict[str, tuple[str, ...]] = {}
    for _, cells in rows:
        known = {_NAME_COLUMNS.get(title.casefold(), title.casefold()): cell.strip() for title, cell in cells.items()}
        if not {"ticker", "company"} <= known.keys():
            raise DataError(f"{path}: the table has columns {', '.join(cells)}. It needs Ticker and Company.")
        ticker, name = known["ticker"].lstrip("$").strip(), known["company"]
        if ticker and name:
            names[ticker] = tuple(dict.fromkeys([*names.get(ticker, ()), name]))
    if not names:
        raise DataError(f"{path}: no row of the table has a ticker and a name. Fill it, or leave it out.")
    return names


def _read_jsonl(text: str, report: Report) -> list[Record]:
    found = []
    # Not splitlines(), which also breaks at characters that JSON strings may contain unescaped.
    for row, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            report.error(row, "the line is not JSON", str(error), "Write one JSON object per line.")
            continue
        if isinstance(record, dict):
            found.append(Record(row, record))
        else:
            report.error(row, "the line is not a JSON object", line, "Write one JSON object per line.")
    return found


def _read_csv(text: str, report: Report) -> list[Record]:
    """Cells are separated by the most frequent delimiter of the first line."""
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    found: list[Record] = []
    row = 1
    try:
        titles = [title.strip() for title in next(reader, [])]
        if _has_duplicates(titles, report, 1):
            return []
        for cells in reader:
            row, first = reader.line_num, row + 1
            if cells and len(cells) != len(titles):
                value = f"{len(cells)} cells, {len(titles)} columns"
                report.error(first, "the number of cells differs from the number of columns", value, _CSV_CURE)
            elif any(cell.strip() for cell in cells):
                found.append(Record(first, dict(zip(titles, cells, strict=True))))
    except csv.Error as error:
        report.error(row + 1, "the file is not CSV from here on", str(error), _CSV_CURE)
    return found


def _read_parquet(path: Path, report: Report) -> list[Record]:
    import pyarrow as pa
    import pyarrow.parquet

    with pa.OSFile(str(path)) as source:  # outside try: a missing file is not the same error as broken content
        try:
            table = pyarrow.parquet.ParquetFile(source, page_checksum_verification=True).read(use_threads=False)
            names = [str(name) for name in table.column_names]
            if _has_duplicates(names, report, None):
                return []
            columns = [column.to_pylist() for column in table.columns]
        except (pa.ArrowException, ArithmeticError, KeyError, OSError, TypeError, ValueError) as error:
            lines = str(error).splitlines() or [type(error).__name__]
            report.error(None, "the file is not readable parquet", lines[0], "Write it again, or remove it.")
            return []
    rows = enumerate(zip(*columns, strict=True), start=1)
    return [Record(row, dict(zip(names, cells, strict=True))) for row, cells in rows]


def _has_duplicates(names: list[str], report: Report, row: int | None) -> bool:
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        report.error(row, "duplicate column", duplicates[0], "Keep one column of each name.")
    return bool(duplicates)


# Cells ----------------------------------------------------------------------------------------------


def cell_text(cell: Any) -> str:
    """A cell as text, empty where it is missing. Lone surrogates, which UTF-8 cannot encode, become "?"."""
    if isinstance(cell, str):
        text = cell.strip()
    elif cell is None or cell != cell:  # NaN
        return ""
    elif isinstance(cell, bytes):
        text = cell.decode("utf-8", "replace").strip()
    elif isinstance(cell, datetime.date):
        text = str(cell).replace("T", " ").removesuffix(" 00:00:00")
    elif isinstance(cell, list):
        text = ", ".join(filter(None, map(cell_text, cell)))
    else:
        text = str(cell).strip()
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def cell_value(cell: Any) -> Value | None:
    """A cell as a number, or as text if it is not one; None where it is empty or not finite."""
    if isinstance(cell, int | float):
        try:
            number = float(cell)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None
    text = cell_text(cell)
    try:
        number = float(text.replace(",", "") if _THOUSANDS.fullmatch(text) else text)
    except ValueError:
        return text or None
    return number if math.isfinite(number) else None


def flatten_fields(cells: Iterable[tuple[Any, Any]], prefix: str = "") -> dict[str, Value]:
    """Named values in snake_case, without empty ones; a nested mapping is flattened to ``outer_inner``."""
    found: dict[str, Value] = {}
    for name, cell in cells:
        key = prefix + snake_case(str(name))
        if isinstance(cell, Mapping):
            found |= flatten_fields(cell.items(), f"{key}_")
        elif (value := cell_value(cell)) is not None:
            found[key] = value
    return found


def snake_case(name: str) -> str:
    """``Total Revenue``, ``totalRevenue`` and ``total-revenue`` all become ``total_revenue``.

    An acronym is one word: ``reportedEPS`` and ``EPSReported`` become ``reported_eps`` and ``eps_reported``.
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name.strip())
    return re.sub(r"[\s_.-]+", "_", words).casefold()


def as_mapping(cell: Any) -> Mapping[str, Any]:
    """A mapping, or the JSON object in a text cell; empty for an empty cell, a ValueError for anything else."""
    if isinstance(cell, Mapping):
        return cell
    text = cell_text(cell)
    if not text:
        return {}
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if isinstance(found, Mapping):
        return found
    raise ValueError(f"it is a {type(found).__name__}")

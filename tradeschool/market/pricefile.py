"""A price file as a table of named columns: CSV or parquet in, every trouble with the file's form reported."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import did_you_mean
from tradeschool.market.finding import Report

REQUIRED = ("Date", "Open", "High", "Low", "Close", "Volume")
OPTIONAL = ("Adj Close", "Ticker")
_OTHER_SPELLINGS = {"datetime": "Date", "adjustedclose": "Adj Close", "symbol": "Ticker", "vol": "Volume"}
_BY_SPELLING = {re.sub(r"[\W_]", "", name).casefold(): name for name in REQUIRED + OPTIONAL} | _OTHER_SPELLINGS
_MAGIC = {
    b"PK\x03\x04": "an Excel or zip file",
    b"PAR1": "a parquet file",
    b"\x1f\x8b": "a gzip file",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True)
class Table:
    """Columns by their standard names, all of one length; ``rows`` are line or record numbers in the file.

    Cells of a CSV file are text, cells of a parquet file have whatever type the file gave them.
    """

    columns: dict[str, NDArray[Any]]
    rows: NDArray[np.int64]


def read_table(path: Path, report: Report) -> Table | None:
    """Read a CSV or parquet file; None when its form is so broken that no row can be read.

    Columns may be in any case, with spaces or underscores. Everything found goes to ``report``.
    """
    try:
        return _read_parquet(path, report) if path.suffix.casefold() == ".parquet" else _read_csv(path, report)
    except OSError as error:
        report.error(
            None, "the file cannot be read", error.strerror or str(error), "Check that it exists and its rights."
        )
        return None


def _read_csv(path: Path, report: Report) -> Table | None:
    text = _decode(path.read_bytes(), report)
    if text is None:
        return None
    header, records, rows = _split_records(text, report)
    if not header:
        return None
    names = _column_names(header, records[0] if records else [], report)
    if names is None:
        return None
    if not records:
        report.error(None, "the file has a header but no rows", "", "Add the daily rows, or remove the file.")
        return None
    cells = np.array(records, dtype=object)
    return Table({name: cells[:, i] for name, i in names.items()}, np.array(rows, dtype=np.int64))


def _decode(data: bytes, report: Report) -> str | None:
    if not data.removeprefix(b"\xef\xbb\xbf").strip():
        report.error(None, "the file is empty", f"{len(data)} bytes", "Download it again, or remove it.")
        return None
    for magic, kind in _MAGIC.items():
        if data.startswith(magic):
            report.error(None, "the file is not plain CSV text", f"it is {kind}", "Save it as CSV in UTF-8.")
            return None
    if b"\0" in data:
        row = data[: data.index(b"\0")].count(b"\n") + 1
        report.error(row, "the file is binary, not CSV text", "a zero byte", "Save it as CSV in UTF-8.")
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data[: error.start].count(b"\n") + 1
        report.error(row, "the text is not UTF-8", f"byte 0x{data[error.start]:02x}", "Save the file in UTF-8.")
        return None


def _split_records(text: str, report: Report) -> tuple[list[str], list[list[str]], list[int]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    records: list[list[str]] = []
    rows: list[int] = []
    try:
        for cells in reader:
            if not header:
                header = cells
                if len(header) == 1 and (wrong := [mark for mark in _DELIMITERS if mark in header[0]]):
                    rule = f"columns are separated by {_DELIMITERS[wrong[0]]}, not by commas"
                    cure = "Save the file with commas between columns and points in numbers."
                    report.error(reader.line_num, rule, header[0], cure)
                    return [], [], []
                continue
            if len(cells) > len(header) and not any(cell.strip() for cell in cells[len(header) :]):
                cells = cells[: len(header)]  # commas left at the end of a line
            if len(cells) == len(header):
                records.append(cells)
                rows.append(reader.line_num)
            elif cells:
                cure = "Give every row as many values as the header, and write numbers without commas."
                report.error(
                    reader.line_num, f"the row has {len(cells)} values for {len(header)} columns", ",".join(cells), cure
                )
    except csv.Error as error:
        report.error(reader.line_num, "the row cannot be read as CSV", str(error), "Check the quotes and commas in it.")
    return header, records, rows


def _column_names(header: Sequence[str], first: Sequence[str], report: Report) -> dict[str, int] | None:
    """Standard name -> position, or None when a required column is missing or one comes twice."""
    if header[0].strip() == "Price" and first and first[0].strip() == "Ticker":
        cure = "Download it with yfinance's multi_level_index=False."
        report.error(1, "the file has yfinance's header of several lines", ",".join(header), cure)
        return None
    names: dict[str, int] = {}
    unknown: list[str] = []
    twice = False
    for position, title in enumerate(header):
        name = _BY_SPELLING.get(re.sub(r"[\W_]", "", title).casefold())
        if name is None:
            unknown.append(title)
        elif name in names:
            report.error(1, f"two columns mean {name}", f"'{header[names[name]]}' and '{title}'", "Keep one of them.")
            twice = True
        else:
            names[name] = position
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        hints = "".join(f" Column '{title}':{hint}" for title in unknown if (hint := did_you_mean(title, missing)))
        rule = f"column{'s' if missing[1:] else ''} {', '.join(missing)} missing"
        cure = f"Name the columns in the first line: {', '.join(REQUIRED)}.{hints}"
        report.error(1, rule, f"found {', '.join(header)}", cure)
    if missing or twice:
        return None
    _report_unknown(unknown, names, report)
    return names


def _report_unknown(unknown: Sequence[str], names: dict[str, int], report: Report) -> None:
    absent = [name for name in OPTIONAL if name not in names]
    for title in unknown:
        if hint := did_you_mean(title, absent):
            report.warning(1, "a column is not used", f"'{title}'", f"Nothing to do, unless it is misspelt.{hint}")
        elif title.strip():
            report.info("a column is not used", f"'{title.strip()}'")


def _read_parquet(path: Path, report: Report) -> Table | None:
    import pandas as pd
    import pyarrow as pa

    try:
        frame = pd.read_parquet(path)
        if not isinstance(frame.index, pd.RangeIndex):
            frame = frame.rename_axis(index=[str(name or "Date") for name in frame.index.names]).reset_index()
    except (pa.ArrowException, ValueError, TypeError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        report.error(None, "the file is not readable parquet", lines[0], "Write it again, or remove it.")
        return None
    names = _column_names([str(title) for title in frame.columns], [], report) if len(frame.columns) else None
    if names is None or frame.empty:
        if not report.has_errors:
            report.error(None, "the file has no rows", "", "Write it again, or remove it.")
        return None
    columns = {name: frame.iloc[:, i].to_numpy() for name, i in names.items()}
    return Table(columns, np.arange(1, len(frame) + 1, dtype=np.int64))

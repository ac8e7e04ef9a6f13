"""A price file as a table of named columns: CSV or parquet in, every trouble with the file's form reported."""

import csv
import io
from pathlib import Path

import numpy as np

from tradeschool.market.finding import Report
from tradeschool.market.prices import fastcsv, layout, parquetfile
from tradeschool.market.prices.table import Table, labels, table_of

_MAGIC = {
    b"PK\x03\x04": "an Excel or zip file",
    b"PAR1": "a parquet file",
    b"\x1f\x8b": "a gzip file",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}
_BOM = b"\xef\xbb\xbf"
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def read_table(path: Path, report: Report, field: str | None = None, careful: bool = False) -> Table | None:
    """Read a CSV or parquet file; None when its form is so broken that no row can be read.

    Columns may be in any case, with spaces or underscores. Everything found goes to ``report``. Clean CSV goes
    through Arrow; what is odd in any way, and everything if ``careful``, is read cell by cell, to the same bars.

    Args:
        path: the file.
        report: receives what is found.
        field: the file is a table of dates x tickers of this one field, as ``close.csv``.
        careful: leave Arrow's CSV reader out.
    """
    try:
        if path.suffix.casefold() == ".parquet":
            return parquetfile.read(path, report, field)
        data = path.read_bytes().removeprefix(_BOM)
    except OSError as error:
        report.error(
            None, "the file cannot be read", error.strerror or str(error), "Check that it exists and its rights."
        )
        return None
    table = None if careful else fastcsv.read(data, report, field)
    if table is None:
        table = _read_carefully(data, report, field)
    if table is not None and not data.endswith((b"\n", b"\r")):
        cure = "Nothing to do if the last row is whole: a file that was cut off looks like this, too."
        report.info("the file does not end with the end of a line", f"the last row is row {table.rows[-1]}", cure)
    return table


def _read_carefully(data: bytes, report: Report, field: str | None) -> Table | None:
    text = _decode(data, report)
    if text is None:
        return None
    header, records, rows = _split_records(text, report)
    if not header or (found := layout.of_lines([header, *records[:2]], field, report)) is None:
        return None
    heads = [header, *records[: found.lines - 1]]
    again = {i for i, record in enumerate(records) if record in heads}
    kept = [i for i in range(found.lines - 1, len(records)) if i not in again]
    repeats = sorted(rows[i] for i in again if i >= found.lines - 1)
    report.counted(repeats, "rows that repeat the header were left out", "Nothing to do.")
    if not kept:
        report.error(None, "the file has a header but no rows", "", "Add the daily rows, or remove the file.")
        return None
    cells = dict(enumerate(np.array([records[i] for i in kept], dtype=object).T))
    tickers = None if found.ticker is None else labels(cells[found.ticker])
    return table_of(found, cells, np.array([rows[i] for i in kept], dtype=np.int64), tickers)


def _decode(data: bytes, report: Report) -> str | None:
    if not data.strip():
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
        return data.decode("utf-8")
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
                _report_length(cells, len(header), reader.line_num, report)
    except csv.Error as error:
        report.error(reader.line_num, "the row cannot be read as CSV", str(error), "Check the quotes and commas in it.")
    return header, records, rows


def _report_length(cells: list[str], wanted: int, row: int, report: Report) -> None:
    rule = f"the row has {len(cells)} values for {wanted} columns"
    cure = "Give every row as many values as the header, and write numbers without commas."
    report.error(row, rule, ",".join(cells[:9]), cure, kind="the row has too few or too many values")

"""The cells of a CSV file: its text, its records by line, and its columns as numbers, days or tickers."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from tradeschool.market.findings import Report

_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}
HEAD = 3
"""Lines that a header may have."""


def decode(data: bytes, report: Report) -> str | None:
    if not data.strip():
        report.error(None, "the file is empty", f"{len(data)} bytes", "Download it again, or remove it.")
        return None
    try:
        if (at := data.find(b"\0")) < 0:
            return data.decode("utf-8")
    except UnicodeDecodeError as error:
        at = error.start
    row = data[:at].count(b"\n") + 1
    cure = "Save the file as CSV in UTF-8; an Excel, zip or parquet file needs its own ending."
    report.error(row, "the text is not UTF-8", f"byte 0x{data[at]:02x}", cure)
    return None


def split_records(text: str, report: Report) -> tuple[list[list[str]], list[int]]:
    """The header and all records that are as long as it, and their line numbers."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    records: list[list[str]] = []
    rows: list[int] = []
    width = 0
    try:
        for cells in reader:
            if not width:
                width = len(cells)
                if width == 1 and (wrong := [mark for mark in _DELIMITERS if mark in cells[0]]):
                    rule = f"columns are separated by {_DELIMITERS[wrong[0]]}, not by commas"
                    report.error(reader.line_num, rule, cells[0], "Use commas between columns and points in numbers.")
                    return [], []
            if len(cells) > width and not any(cell.strip() for cell in cells[width:]):
                cells = cells[:width]  # trailing commas
            if cells and len(cells) == width:
                records.append(cells)
                rows.append(reader.line_num)
            elif cells:
                rule = f"the row has {len(cells)} values for {width} columns"
                cure = "Give every row as many values as the header, and write numbers without commas."
                kind = "the row has too few or too many values"
                report.error(reader.line_num, rule, ",".join(cells[:9]), cure, kind)
    except csv.Error as error:
        report.error(reader.line_num, "the row cannot be read as CSV", str(error), "Check its quotes and commas.")
    return records, rows


def plain_columns(data: bytes) -> list[Any] | None:
    """The columns of a file by Arrow, which is fast: texts, with the header; None for :func:`split_records` to read.

    Left to it are files in which a line may be no record of its own: with quotes, empty lines, a repeated header, rows
    of other lengths, or hardly any rows.
    """
    import pyarrow as pa
    import pyarrow.csv

    if b'"' in data or data.count(b"\r") != data.count(b"\r\n"):
        return None
    if b"\n\n" in data or b"\n\r\n" in data or data[:1] in b"\r\n":
        return None
    width = data.partition(b"\n")[0].count(b",") + 1
    names = [str(i) for i in range(width)]
    try:
        table = pyarrow.csv.read_csv(
            io.BytesIO(data),
            read_options=pyarrow.csv.ReadOptions(use_threads=False, column_names=names, block_size=len(data) + 1),
            parse_options=pyarrow.csv.ParseOptions(quote_char=False),
            convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    except pa.ArrowException:
        return None
    columns = table.columns
    return None if width == 1 or len(table) <= HEAD or _repeats_head(columns) else columns


def _repeats_head(columns: Sequence[Any]) -> bool:
    """Whether a row equals one of the first :data:`HEAD`, which may be the header's."""
    import pyarrow.compute as pc

    for line in range(HEAD):
        repeats_T = np.arange(len(columns[0])) > line
        for column in columns:
            repeats_T &= np.asarray(pc.equal(column, column[line]))
            if not repeats_T.any():
                break
        else:
            return True
    return False


def typed_cells(column: Any, kind: str) -> Any:
    """A column of texts as finite numbers ("float64") or days ("date32"), as far as all can be read; else as objects.

    Args:
        column: an Arrow array.
        kind: or "category", for a pandas Categorical.
    """
    import pyarrow as pa

    if kind == "category":
        return column.dictionary_encode().to_pandas().array
    try:
        cells = np.asarray(column.cast(kind))
    except pa.ArrowException:
        return column.to_pandas().to_numpy(dtype=object)
    return cells if kind == "date32" or np.isfinite(cells).all() else column.to_pandas().to_numpy(dtype=object)

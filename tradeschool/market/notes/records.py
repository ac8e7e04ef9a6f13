"""The rows of a JSON lines, parquet or CSV file, with their numbers, whatever is in them."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tradeschool.market.finding import Report

SUFFIXES = (".jsonl", ".parquet", ".csv")
_CSV_CURE = 'Separate cells by commas and put texts that have commas or line breaks into quotes ("a, b").'


class Record(NamedTuple):
    """``row`` is the line of a CSV or JSON lines file, the record (from 1) of a parquet file."""

    row: int
    cells: dict[str, Any]


def read(path: Path, report: Report) -> list[Record]:
    """All rows of a file that can be read; what cannot is reported."""
    readers = {".jsonl": _json_lines, ".csv": _csv, ".parquet": _parquet}
    reader = readers.get(path.suffix.casefold())
    if reader is None:
        report.error(None, "the file has an unknown ending", f"'{path.suffix}'", f"Give one of {', '.join(SUFFIXES)}.")
        return []
    try:
        found = reader(path, report)
    except UnicodeDecodeError as error:
        report.error(None, "the text is not UTF-8", f"byte {error.start}", "Save the file in UTF-8.")
        return []
    except OSError as error:
        report.error(None, "the file cannot be read", error.strerror or str(error), "Check that it exists.")
        return []
    if not found and not report.has_errors:
        report.error(None, "the file has no rows", "", "Write it again, or remove it.")
    return found


def _json_lines(path: Path, report: Report) -> list[Record]:
    found = []
    # Not splitlines(): it also breaks at characters that JSON texts may hold as they are.
    for row, line in enumerate(path.read_text("utf-8-sig").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            report.error(row, "the line is no JSON", str(error), "Write one JSON object per line.")
            continue
        if isinstance(record, dict):
            found.append(Record(row, record))
        else:
            report.error(row, "the line is no JSON object", line, "Write one JSON object per line.")
    return found


def _csv(path: Path, report: Report) -> list[Record]:
    text = path.read_text("utf-8-sig")
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    found: list[Record] = []
    row = 1
    try:
        titles = [title.strip() for title in next(reader, [])]
        if twice := {title for title in titles if titles.count(title) > 1}:
            report.error(1, "a column comes twice", sorted(twice)[0], "Keep one column of a name.")
            return []
        for cells in reader:
            row, first = reader.line_num, row + 1
            if cells and len(cells) != len(titles):
                rule = "the row has more or fewer cells than there are columns"
                report.error(first, rule, f"{len(cells)} cells, {len(titles)} columns", _CSV_CURE)
            elif any(cell.strip() for cell in cells):
                found.append(Record(first, dict(zip(titles, cells, strict=True))))
    except csv.Error as error:
        report.error(row + 1, "the file is no CSV from here on", str(error), _CSV_CURE)
    return found


def _parquet(path: Path, report: Report) -> list[Record]:
    import pyarrow as pa
    import pyarrow.parquet

    with pa.OSFile(str(path)) as source:  # outside try, so that a missing file is told from broken content
        try:
            table = pyarrow.parquet.ParquetFile(source, page_checksum_verification=True).read(use_threads=False)
            names = [str(name) for name in table.column_names]
            if twice := {name for name in names if names.count(name) > 1}:
                report.error(None, "a column comes twice", sorted(twice)[0], "Keep one column of a name.")
                return []
            columns = [column.to_pylist() for column in table.columns]
        except (pa.ArrowException, ArithmeticError, KeyError, OSError, TypeError, ValueError) as error:
            lines = str(error).splitlines() or [type(error).__name__]
            report.error(None, "the file is not readable parquet", lines[0], "Write it again, or remove it.")
            return []
    return _rows(names, columns)


def _rows(names: Sequence[str], columns: Sequence[list[Any]]) -> list[Record]:
    return [
        Record(row, dict(zip(names, cells, strict=True))) for row, cells in enumerate(zip(*columns, strict=True), 1)
    ]


def columns(path: Path) -> list[str]:
    """The names of a CSV or parquet file's columns; empty where they cannot be read, whatever the reason."""
    try:
        if path.suffix.casefold() == ".parquet":
            import pyarrow.parquet as pq

            return [str(name) for name in pq.read_schema(path).names]
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file), [])
    except (OSError, ValueError, csv.Error):
        return []  # reading it says what is wrong

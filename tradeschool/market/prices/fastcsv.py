"""Clean CSV through Arrow. Whatever is odd is left to the reader that goes cell by cell, which knows what to say."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.finding import Report
from tradeschool.market.prices import layout
from tradeschool.market.prices.table import Table, arrow_labels, table_of

_BLANK = ["", "null", "Null", "NULL", "nan", "NaN", "NAN", "NA", "na", "N/A", "n/a", "#N/A", "None", "none", "-"]
"""Some spellings of ``cells.BLANK``; other ones go the careful way."""
_LARGE = 1 << 22
"""Bytes above which a file is read in blocks, by several threads."""
_LONGEST_LINE = 100_000
"""Python's csv module refuses a cell of more than 131,072 characters."""


def read(data: bytes, report: Report, field: str | None) -> Table | None:
    """The table of a file in which nothing has to be mended and every number reads; None for any other file.

    ``report`` receives only what the careful reader would say of the same header.
    """
    rows = _plain_lines(data)
    if rows is None:
        return None
    head = [line.decode("ascii").rstrip("\r").split(",") for line in data[: 3 * _LONGEST_LINE].split(b"\n", 3)[:3]]
    own = Report(report.file)
    found = layout.of_lines(head, field, own)
    if found is None or own.has_errors or rows <= found.lines:
        return None
    if any(data.count(",".join(line).encode()) > 1 for line in head[: found.lines]):
        return None  # the header may come again, which the careful reader mends
    columns = _columns(data, len(head[0]), found)
    if columns is None or columns.num_rows != rows - found.lines:
        return None
    cells: dict[int, NDArray[Any]] = {found.date: _days(columns.column(str(found.date)))}
    for i in layout.numbers_of(found):
        column = columns.column(str(i))
        cells[i] = column.to_numpy()
        if np.count_nonzero(np.isfinite(cells[i])) + column.null_count != len(cells[i]):
            return None
    report.take(own)
    tickers = None if found.ticker is None else arrow_labels(columns.column(str(found.ticker)))
    return table_of(found, cells, np.arange(found.lines + 1, rows + 1, dtype=np.int64), tickers)


def _plain_lines(data: bytes) -> int | None:
    """The number of lines of text in ASCII without quotes, blank or overlong lines; None for other text."""
    if not data or not data.isascii() or b'"' in data or b"\0" in data:
        return None
    ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n"))
    if not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    lengths = np.diff(ends, prepend=-1)
    # A line of one character, or of \r alone, is at most 2 long with its end: no row of prices is.
    return len(ends) if lengths.min() > 2 and lengths.max() < _LONGEST_LINE else None


def _columns(data: bytes, width: int, found: layout.Layout) -> Any:
    """The needed columns as an Arrow table, named by position; None unless every number reads."""
    import pyarrow as pa
    import pyarrow.csv

    types = {str(i): pa.float64() for i in layout.numbers_of(found)} | {str(found.date): pa.string()}
    if found.ticker is not None:
        types[str(found.ticker)] = pa.dictionary(pa.int32(), pa.string())
    try:
        return pyarrow.csv.read_csv(
            io.BytesIO(data),
            read_options=pyarrow.csv.ReadOptions(
                use_threads=len(data) > _LARGE,
                skip_rows=found.lines,
                column_names=[str(i) for i in range(width)],
                block_size=min(len(data) + 1, _LARGE),
            ),
            parse_options=pyarrow.csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=types, include_columns=list(types), null_values=_BLANK, strings_can_be_null=False
            ),
        )
    except pa.ArrowException:
        return None


def _days(column: Any) -> NDArray[Any]:
    """Days where all are written as YYYY-MM-DD, otherwise text, for whose reading the whole file is looked at."""
    import pyarrow as pa

    try:
        return np.asarray(column.cast(pa.date32()).to_numpy(), dtype="datetime64[D]")
    except pa.ArrowException:
        return np.asarray(column.to_numpy(), dtype=object)

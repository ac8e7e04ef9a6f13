"""A parquet file as a table of named columns."""

import ast
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.finding import Report
from tradeschool.market.prices import layout
from tradeschool.market.prices.table import Labels, Table, arrow_labels, labels, table_of


def read(path: Path, report: Report, field: str | None) -> Table | None:
    """The columns that hold prices; None, with the reason in ``report``, when there are none.

    Titles of two levels, as pandas writes them (``('Close', 'AAPL')``), are read in either order. Page
    checksums are verified where the file has them. Rows are numbered from 1.

    Raises:
        OSError: the file cannot be opened.
    """
    import pyarrow as pa
    import pyarrow.parquet

    source = pa.OSFile(str(path))  # outside try, so that a missing right is told from broken content
    try:
        with source, pyarrow.parquet.ParquetFile(source, page_checksum_verification=True) as file:
            names = list(file.schema_arrow.names)
            if not names or not file.metadata.num_rows:
                report.error(None, "the file has no rows", "", "Write it again, or remove it.")
                return None
            found = layout.of_titles([_title(name) for name in names], field, report)
            return None if found is None else _table(file, names, found)
    except (pa.ArrowException, ArithmeticError, KeyError, OSError, TypeError, ValueError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        report.error(None, "the file is not readable parquet", lines[0], "Write it again, or remove it.")
        return None


def _title(name: str) -> layout.Title:
    """pandas writes the parts of a column's title as the text of a tuple."""
    if not name.startswith("("):
        return name
    try:
        parts = ast.literal_eval(name)
    except (ValueError, SyntaxError):
        return name
    return (str(parts[0]), str(parts[1])) if isinstance(parts, tuple) and len(parts) == 2 else name


def _table(file: Any, names: list[str], found: layout.Layout) -> Table:
    import pyarrow as pa

    numbers = layout.numbers_of(found)
    wanted = [found.date, *numbers] + ([] if found.ticker is None else [found.ticker])
    read = file.read(columns=[names[i] for i in wanted], use_threads=len(wanted) * file.metadata.num_rows > 1e6)
    cells = {i: _cells(read.column(names[i])) for i in (found.date, *numbers)}
    tickers: Labels | None = None
    if found.ticker is not None:
        column = read.column(names[found.ticker])
        text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        tickers = arrow_labels(column) if text or pa.types.is_dictionary(column.type) else labels(_cells(column))
    return table_of(found, cells, np.arange(1, read.num_rows + 1, dtype=np.int64), tickers)


def _cells(column: Any) -> NDArray[Any]:
    """A column as floats or moments without a zone, whatever else there is as objects."""
    import pyarrow as pa
    import pyarrow.compute

    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.asarray(column.to_numpy())
    if pa.types.is_decimal(kind):
        return np.asarray(column.cast(pa.float64()).to_numpy())
    if pa.types.is_timestamp(kind):
        local = column if kind.tz is None else pyarrow.compute.local_timestamp(column)
        return np.asarray(local.to_numpy())
    if pa.types.is_date(kind):
        return np.asarray(column.cast(pa.date32()).to_numpy())
    return np.asarray(column.to_pandas().to_numpy(dtype=object))

"""What a price file's reader hands on: columns of cells, by ticker and field, with their rows in the file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.prices.layout import Layout


@dataclass(frozen=True)
class Labels:
    """A column of few different words: ``names[codes_T[row]]``, with code -1 for a missing cell."""

    codes_T: NDArray[np.int64]
    names: list[str]


@dataclass(frozen=True)
class Table:
    """Columns of one length: ``columns[ticker][field]``; ``rows`` are line or record numbers in the file.

    A table of one ticker, and a long one with a column ``tickers``, has the single key None. Cells are text
    or whatever type the file gave them; dates may be days, and fields floats with NaN for a blank cell.
    """

    rows: NDArray[np.int64]
    dates: NDArray[Any]
    columns: dict[str | None, dict[str, NDArray[Any]]]
    tickers: Labels | None = None


def table_of(
    found: Layout, cells: Mapping[int, NDArray[Any]], rows: NDArray[np.int64], tickers: Labels | None = None
) -> Table:
    """The columns that a layout names, out of all columns by position."""
    columns = {
        ticker: {name: cells[position] for name, position in fields.items()} for ticker, fields in found.columns.items()
    }
    return Table(rows, cells[found.date], columns, tickers)


def labels(cells: NDArray[Any]) -> Labels:
    """A column of words as codes; what is no text counts by how it prints."""
    import pandas as pd

    missing_T = np.asarray(pd.isna(cells), dtype=bool)
    codes_T, names = pd.factorize(np.array([str(cell) for cell in cells], dtype=object))
    return Labels(np.where(missing_T, -1, codes_T), [str(name) for name in names])


def arrow_labels(column: Any) -> Labels:
    """As :func:`labels`, for a text or dictionary column of Arrow."""
    import pyarrow as pa

    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    whole = encoded.unify_dictionaries().combine_chunks()
    codes_T = whole.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return Labels(codes_T, [str(name) for name in whole.dictionary.to_pylist()])

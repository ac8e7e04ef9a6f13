"""Cells of a price file as numbers: a cell is a finite number, blank, or refused."""

import decimal
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.panel import Floats

Bools = NDArray[np.bool_]
BLANK = frozenset({"", "null", "nan", "na", "n/a", "#n/a", "none", "-"})
"""Words that mean that there is no value, in any case, with blanks around them or not."""
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Numbers:
    """A column as floats (NaN where there is none), which cells are blank, and which are no finite number."""

    values_T: Floats
    blank_T: Bools
    bad_T: Bools

    def take(self, chosen: Any) -> "Numbers":
        """The rows of an index, a mask or a slice."""
        return Numbers(self.values_T[chosen], self.blank_T[chosen], self.bad_T[chosen])


def numbers(cells: NDArray[Any]) -> Numbers:
    """Read cells as numbers, each by itself: what reads as a number never depends on its neighbours.

    Text must be a plain decimal number in ASCII (``-1234.5e3``), and reads to the nearest float. Truth values,
    dates, ``inf`` and numbers too large for a float are bad.
    """
    if cells.dtype.kind in "fiu":
        values_T = cells.astype(np.float64, copy=False)
        finite_T = np.isfinite(values_T)
        if finite_T.all():
            nothing_T = np.zeros(len(cells), dtype=bool)
            return Numbers(values_T, nothing_T, nothing_T)
        blank_T = np.isnan(values_T)
        return Numbers(np.where(finite_T, values_T, np.nan), blank_T, ~finite_T & ~blank_T)
    values_T = np.array([_number(cell) for cell in cells], dtype=np.float64)
    bad_T = ~np.isfinite(values_T)
    blank_T = np.zeros(len(cells), dtype=bool)
    blank_T[bad_T] = blank(cells[bad_T])
    values_T[bad_T] = np.nan
    return Numbers(values_T, blank_T, bad_T & ~blank_T)


def blank(cells: NDArray[Any]) -> Bools:
    """Which cells hold no value: missing, or one of the words in :data:`BLANK`."""
    import pandas as pd

    missing_T = np.asarray(pd.isna(cells), dtype=bool)
    if cells.dtype.kind in "OUST":
        words = np.array([isinstance(cell, str) and cell.strip().casefold() in BLANK for cell in cells], dtype=bool)
        missing_T = missing_T | words
    return missing_T


def _number(cell: object) -> float:
    """The finite number in a cell, otherwise NaN."""
    if isinstance(cell, str):
        text = cell.strip()
        return float(text) if _NUMBER.fullmatch(text) else float("nan")
    if isinstance(cell, (bool, np.bool_)) or not isinstance(cell, (int, float, decimal.Decimal, np.number)):
        return float("nan")
    try:
        return float(cell)
    except OverflowError:
        return float("inf")

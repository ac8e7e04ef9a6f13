"""Cells of a price file as numbers and days: strict, without guesses, every refused cell reported by its row."""

import datetime
import decimal
import re
from collections import Counter
from collections.abc import Sequence
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.findings import Report
from tradeschool.market.panel import Floats

Bools = NDArray[np.bool_]
Rows = NDArray[np.int64]
"""Line or record numbers in the file."""
Days = NDArray[np.datetime64]
"""datetime64[D]."""
BLANK_WORDS = frozenset({"", "null", "nan", "na", "n/a", "#n/a", "none", "-"})
"""Texts that mean a missing value, in any case, with or without blanks around them."""
EARLIEST = np.datetime64("1800-01-01", "D")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_FORMATS = {
    "YYYY-MM-DD": "%Y-%m-%d",
    "YYYY/MM/DD": "%Y/%m/%d",
    "YYYYMMDD": "%Y%m%d",
    "MM/DD/YYYY": "%m/%d/%Y",
    "DD/MM/YYYY": "%d/%m/%Y",
    "DD.MM.YYYY": "%d.%m.%Y",
    "DD-Mon-YYYY": "%d-%b-%Y",
}
_DATE = re.compile(r"\d{8}|\d{1,4}[-/.](\d{1,2}|[A-Za-z]{3})[-/.]\d{1,4}", re.ASCII)
_TIMESTAMP = re.compile(r"(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)(Z|[+-]\d{2}:?\d{2})?", re.ASCII)
_ONE_FORMAT = "Write all dates in one format, best as YYYY-MM-DD."


def parse_numbers(cells: NDArray[Any]) -> Floats:
    """Read cells as numbers, each independently of the others: NaN where a cell is blank, inf where it is no number.

    Text must be a plain decimal number in ASCII (``-1234.5e3``) and becomes the nearest float. Booleans, dates, and
    numbers too large for a float are none.
    """
    if cells.dtype.kind in "fiu":
        return np.where(np.isinf(cells), np.inf, cells.astype(np.float64))
    if (cast_T := _cast(cells, "float64")) is not None and np.isfinite(cast_T).all():
        return cast_T
    values_T = np.array([_number(cell) for cell in cells], dtype=np.float64)
    values_T[~np.isfinite(values_T)] = np.inf
    values_T[is_blank(cells)] = np.nan
    return values_T


def _cast(cells: NDArray[Any], kind: str) -> NDArray[Any] | None:
    """Texts by Arrow, which is fast; None if it cannot read one of them. Days must be written as YYYY-MM-DD."""
    import pyarrow as pa

    try:
        return np.asarray(pa.array(cells, pa.string()).cast(kind))
    except (pa.ArrowException, TypeError):
        return None


def is_blank(cells: NDArray[Any]) -> Bools:
    """Which cells hold no value: missing, or one of :data:`BLANK_WORDS`."""
    import pandas as pd

    missing_T = np.asarray(pd.isna(cells), dtype=bool)
    if cells.dtype.kind in "OUST":
        words = (isinstance(cell, str) and cell.strip().casefold() in BLANK_WORDS for cell in cells)
        missing_T = missing_T | np.fromiter(words, dtype=bool, count=len(cells))
    return missing_T


def _number(cell: object) -> float:
    """The number in a cell; NaN or infinite if it is not a finite one."""
    if isinstance(cell, str):
        text = cell.strip()
        return float(text) if _NUMBER.fullmatch(text) else np.nan
    if isinstance(cell, (bool, np.bool_)) or not isinstance(cell, (int, float, decimal.Decimal, np.number)):
        return np.nan
    try:
        return float(cell)
    except OverflowError:
        return np.inf


def parse_days(cells: NDArray[Any], rows_T: Rows, report: Report) -> Days:
    """Read dates as days, NaT where they cannot be read, which is reported. Text has one format for the whole file.

    Timestamps keep the day that is written. Either all dates or none must have a time, and all or none a time zone.
    """
    if cells.dtype.kind == "M":
        report.error_each(rows_T[np.isnat(cells)], "the date is missing", repeat(""), "Write it, or remove the row.")
        days_T = cells.astype("datetime64[D]")
        odd = np.flatnonzero(~np.isnat(cells) & (days_T != cells))
        _warn_of_times(odd, [str(cell) for cell in cells[odd[:1]]], rows_T, report)
        return days_T
    if (read_T := _cast(cells, "date32")) is not None and not np.isnat(read_T).any():
        return read_T.astype("datetime64[D]")
    texts = [str(cell).strip() for cell in cells]
    matches = [_TIMESTAMP.fullmatch(text) for text in texts]
    if any(matches):
        _check_times(texts, matches, rows_T, report)
        texts = [match[1] if match else text for text, match in zip(texts, matches, strict=True)]
    return _parse_one_format(texts, rows_T, report)


def check_days(dates_T: Days, rows_T: Rows, report: Report) -> None:
    """Report days in the future, days before 1800, repeated days, and several bars a day. NaT is skipped."""
    import pandas as pd

    # One day of grace: somewhere on earth it is already tomorrow.
    latest = np.datetime64(datetime.date.today() + datetime.timedelta(days=1), "D")
    for broken_T, rule in (
        (dates_T > latest, "the date is in the future"),
        (dates_T < EARLIEST, f"the date is before {EARLIEST}"),
    ):
        at = np.flatnonzero(broken_T)
        report.error_each(rows_T[at], rule, (str(dates_T[i]) for i in at), "Correct it, or remove the row.")
    if (np.diff(dates_T) > np.timedelta64(0)).all():
        return
    row_of = pd.Series(rows_T, index=dates_T)[~np.isnat(dates_T)]
    again = row_of[row_of.index.duplicated()]
    if again.empty:
        return
    firsts = row_of[~row_of.index.duplicated()]
    rule, cure = "the date is repeated", "Keep one row per day and ticker."
    # Bars within a day follow each other. A file that was appended to itself repeats its days much later.
    if len(again) >= max(5, len(firsts) / 2) and (dates_T[1:] == dates_T[:-1]).sum() > 0.9 * len(again):
        rule = "the date is repeated: the file has several bars a day"
        cure = (
            "Only daily bars and longer ones can be used. Join the bars of each day into one: first open, highest "
            "high, lowest low, last close, sum of volumes."
        )
    texts = (f"{str(day)[:10]}, also in row {firsts[day]}" for day in again.index)
    report.error_each(again.to_numpy(), rule, texts, cure)


def _check_times(texts: list[str], matches: Sequence[re.Match[str] | None], rows_T: Rows, report: Report) -> None:
    """Report dates with or without a time (zone) unlike most, and times other than midnight."""
    kinds = ["no time" if not match else "a time zone" if match[3] else "a time" for match in matches]
    ((usual, _),) = Counter(kinds).most_common(1)
    at = np.array([i for i, kind in enumerate(kinds) if kind != usual], dtype=np.int64)
    rule = f"the date does not have {usual} like most"
    report.error_each(rows_T[at], rule, (f"'{texts[i]}'" for i in at), _ONE_FORMAT)
    at = np.array([i for i, match in enumerate(matches) if match and match[2].strip("0:.")], dtype=np.int64)
    _warn_of_times(at, [texts[i] for i in at[:1]], rows_T, report)


def _warn_of_times(at: NDArray[np.int64], first: list[str], rows_T: Rows, report: Report) -> None:
    if len(at):
        count = f"{len(at)} rows, the first is '{first[0]}'"
        cure = "Check that it is the exchange's day: a time in another zone may fall on the day before or after."
        report.warning(int(rows_T[at[0]]), "the date has a time; only its day was kept", count, cure)


def _parse_one_format(texts: list[str], rows_T: Rows, report: Report) -> Days:
    """The days by the first format that reads all texts, or the one that reads most; a second reading is an error."""
    import pandas as pd

    codes_T, unique = pd.factorize(np.array(texts, dtype=object))  # long tables repeat their dates
    fits = pd.Series([text if _DATE.fullmatch(text) else None for text in unique], dtype=object)
    read: dict[str, Days] = {
        name: pd.to_datetime(fits, format=form, errors="coerce").to_numpy().astype("datetime64[D]")
        for name, form in _FORMATS.items()
    }
    name = min(read, key=lambda name: int(np.isnat(read[name]).sum()))
    days_T = read[name][codes_T]
    at = np.flatnonzero(np.isnat(days_T))
    rule = f"the date cannot be read as {name}"
    report.error_each(rows_T[at], rule, (f"'{texts[i]}'" for i in at), _ONE_FORMAT)
    if len(at):
        return days_T
    for other in read.values():
        differ = np.flatnonzero(other[codes_T] != days_T)
        if not np.isnat(other).any() and len(differ):
            i, rule = int(differ[0]), "the date can be read as month/day and as day/month"
            report.error(int(rows_T[i]), rule, f"'{texts[i]}'", "Write all dates as YYYY-MM-DD.")
    if name != "YYYY-MM-DD" and texts:
        report.info(f"dates were read as {name}", f"'{texts[0]}' is {days_T[0]}")
    return days_T

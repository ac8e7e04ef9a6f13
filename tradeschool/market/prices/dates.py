"""Dates of a price file as days: one format, one time zone, no guesses."""

import datetime
import re
from collections.abc import Sequence
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.finding import Report
from tradeschool.market.prices.cells import Bools

Days = NDArray[np.datetime64]
EARLIEST = np.datetime64("1800-01-01", "D")
_FORMATS = {
    "YYYY-MM-DD": (r"\d{4}-\d{1,2}-\d{1,2}", "%Y-%m-%d"),
    "YYYY/MM/DD": (r"\d{4}/\d{1,2}/\d{1,2}", "%Y/%m/%d"),
    "YYYYMMDD": (r"\d{8}", "%Y%m%d"),
    "MM/DD/YYYY": (r"\d{1,2}/\d{1,2}/\d{4}", "%m/%d/%Y"),
    "DD/MM/YYYY": (r"\d{1,2}/\d{1,2}/\d{4}", "%d/%m/%Y"),
    "DD.MM.YYYY": (r"\d{1,2}\.\d{1,2}\.\d{4}", "%d.%m.%Y"),
    "DD-Mon-YYYY": (r"\d{1,2}-[A-Za-z]{3}-\d{4}", "%d-%b-%Y"),
}
_CLOCK = re.compile(r"(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)(Z|[+-]\d{2}:?\d{2})?", re.ASCII)
_ONE_WAY = "Write all dates in one format, best as YYYY-MM-DD."


def days(cells: NDArray[Any], rows_T: NDArray[np.int64], report: Report) -> Days:
    """The dates as days, NaT where unreadable (reported). Text is read in one format for the whole file.

    Dates with a clock time (yfinance writes midnight and a time zone) keep the day that is written. They must
    all have one, all with a zone or all without, and zones may differ by one hour only, as summer time does.
    """
    if cells.dtype.kind == "M":
        report.error_each(rows_T[np.isnat(cells)], "the date is missing", repeat(""), "Write it, or remove the row.")
        days_T = cells.astype("datetime64[D]")
        odd_T = ~np.isnat(cells) & (days_T != cells)
        _warn_of_clocks(np.flatnonzero(odd_T), [str(cell) for cell in cells[odd_T][:1]], rows_T, report)
        return days_T
    texts = [str(cell).strip() for cell in cells]
    if len(different := list(dict.fromkeys(texts))) < len(texts) / 2:
        # Long tables repeat their dates: where all of them read well, each is read once.
        own = Report(report.file)
        once = days(np.array(different, dtype=object), np.arange(len(different)), own)
        if all(finding.severity == "info" for finding in own.findings):
            report.take(own)
            place = {text: i for i, text in enumerate(different)}
            return once[[place[text] for text in texts]]
    matches = [_CLOCK.fullmatch(text) for text in texts]
    if any(matches):
        _check_clocks(texts, matches, rows_T, report)
        texts = [match[1] if match else text for text, match in zip(texts, matches, strict=True)]
    return _in_one_format(texts, rows_T, report)


def check_days(dates_T: Days, rows_T: NDArray[np.int64], report: Report) -> None:
    """Report days in the future, before 1800, and days that come twice; NaT is passed over."""
    # One day of grace: somewhere on earth it is already tomorrow.
    latest = np.datetime64(datetime.date.today() + datetime.timedelta(days=1), "D")
    if (np.diff(dates_T) > np.timedelta64(0)).all() and dates_T[0] >= EARLIEST and dates_T[-1] <= latest:
        return
    for broken_T, rule in (
        (dates_T > latest, "the date lies in the future"),
        (dates_T < EARLIEST, f"the date lies before {EARLIEST}"),
    ):
        at = np.flatnonzero(broken_T)
        report.error_each(rows_T[at], rule, (str(dates_T[i]) for i in at), "Correct it, or remove the row.")
    known = np.flatnonzero(~np.isnat(dates_T))
    _, first, inverse = np.unique(dates_T[known], return_index=True, return_inverse=True)
    again, earlier = known, known[first[inverse]]
    again, earlier = again[known != earlier], earlier[known != earlier]
    texts = (f"{dates_T[i]}, also in row {rows_T[j]}" for i, j in zip(again, earlier, strict=True))
    report.error_each(rows_T[again], "the date comes twice", texts, "Keep one row per day and ticker.")


def _check_clocks(
    texts: list[str], matches: Sequence[re.Match[str] | None], rows_T: NDArray[np.int64], report: Report
) -> None:
    kinds = ["none" if not match else "a clock time" if match[3] is None else "a time zone" for match in matches]
    for kind, others in (("none", "a clock time"), ("none", "a time zone"), ("a clock time", "a time zone")):
        if kind in kinds and others in kinds:
            fewer = kind if kinds.count(kind) <= kinds.count(others) else others
            at = np.array([i for i, one in enumerate(kinds) if one == fewer])
            rule = f"some dates have {others}, others have not"
            report.error_each(rows_T[at], rule, (f"'{texts[i]}'" for i in at), _ONE_WAY)
            return
    zones = [_minutes(match[3]) if match and match[3] else 0 for match in matches]
    usual = max(set(zones), key=zones.count)
    apart = [minutes - usual for minutes in zones]
    summer = 60 if apart.count(60) >= apart.count(-60) else -60
    at = np.array([i for i, minutes in enumerate(apart) if minutes not in (0, summer)], dtype=np.int64)
    rule = "the date has another time zone than most"
    report.error_each(rows_T[at], rule, (f"'{texts[i]}'" for i in at), "Write all dates in the exchange's time zone.")
    odd = np.array([i for i, match in enumerate(matches) if match and match[2].strip("0:.")], dtype=np.int64)
    _warn_of_clocks(odd, [texts[i] for i in odd[:1]], rows_T, report)


def _warn_of_clocks(at: NDArray[np.int64], first: list[str], rows_T: NDArray[np.int64], report: Report) -> None:
    if len(at):
        count = f"{len(at)} rows, the first has '{first[0]}'"
        cure = "Check that it is the exchange's own day, as a time in another zone may fall on the day before or after."
        report.warning(int(rows_T[at[0]]), "the date has a clock time, of which the day was kept", count, cure)


def _minutes(zone: str) -> int:
    if zone == "Z":
        return 0
    digits = zone[1:].replace(":", "")
    return (int(digits[:2]) * 60 + int(digits[2:])) * (-1 if zone[0] == "-" else 1)


def _in_one_format(texts: list[str], rows_T: NDArray[np.int64], report: Report) -> Days:
    import pandas as pd

    read: dict[str, Days] = {}
    for name, (pattern, form) in _FORMATS.items():
        compiled = re.compile(pattern, re.ASCII)
        fits = pd.Series([text if compiled.fullmatch(text) else None for text in texts], dtype=object)
        read[name] = pd.to_datetime(fits, format=form, errors="coerce").to_numpy().astype("datetime64[D]")
        if name not in ("MM/DD/YYYY", "DD/MM/YYYY") and not np.isnat(read[name]).any():
            _tell_format(name, texts, read[name], report)
            return read[name]
    _report_unclear(texts, rows_T, read, report)
    best = min(read, key=lambda name: int(np.isnat(read[name]).sum()))
    _report_other_formats(texts, rows_T, read, best, report)
    if not np.isnat(read[best]).any():
        _tell_format(best, texts, read[best], report)
    return read[best]


def _tell_format(name: str, texts: list[str], days_T: Days, report: Report) -> None:
    if name != "YYYY-MM-DD" and texts:
        report.info(f"dates were read as {name}", f"'{texts[0]}' is {days_T[0]}")


def _report_unclear(texts: list[str], rows_T: NDArray[np.int64], read: dict[str, Days], report: Report) -> None:
    month_first, day_first = read["MM/DD/YYYY"], read["DD/MM/YYYY"]
    unsure = np.flatnonzero(month_first != day_first)
    if not np.isnat(month_first).any() and not np.isnat(day_first).any() and len(unsure):
        rule = "the date can be read as month/day and as day/month"
        value = f"'{texts[int(unsure[0])]}'"
        report.error(int(rows_T[unsure[0]]), rule, value, "Write all dates as YYYY-MM-DD.")


def _report_other_formats(
    texts: list[str], rows_T: NDArray[np.int64], read: dict[str, Days], best: str, report: Report
) -> None:
    open_T: Bools = np.isnat(read[best])
    for name, other in read.items():
        at = np.flatnonzero(open_T & ~np.isnat(other))
        open_T = open_T & np.isnat(other)
        rule = f"the date is written as {name}, others as {best}"
        report.error_each(rows_T[at], rule, (f"'{texts[i]}'" for i in at), _ONE_WAY)
    at = np.flatnonzero(open_T)
    report.error_each(rows_T[at], "the date cannot be read", (f"'{texts[i]}'" for i in at), _ONE_WAY)

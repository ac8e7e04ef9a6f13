"""Parses when an event became public, and checks it against the period that the event covers."""

import datetime
import email.utils
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from tradeschool.market.events.event import Value
from tradeschool.market.findings import Report

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}|\d{8}", re.ASCII)
_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}", re.ASCII)
_MAIL = re.compile(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}", re.ASCII)
_UTC_SUFFIX = re.compile(r"\s*\b(?:UTC|GMT)$")
_TWITTER = "%a %b %d %H:%M:%S %z %Y"
_EARLIEST = datetime.date(1900, 1, 1)
_MIDNIGHT = datetime.time(0)
_ONE_DAY = np.timedelta64(1, "D")

PERIODS = (
    "period_end", "period_ending", "period_end_date", "period_ended", "period_of_report", "period",
    "fiscal_date", "fiscal_date_ending", "fiscal_date_end", "fiscal_period", "fiscal_period_end",
    "fiscal_period_ending", "fiscal_quarter", "fiscal_quarter_end", "fiscal_quarter_ending", "fiscal_year_end",
    "fiscal_year_ending", "quarter", "quarter_end", "quarter_ending", "quarter_ended", "latest_quarter", "month",
    "report_period", "reporting_period", "end_date", "end", "frame", "as_of", "as_of_date",
)  # fmt: skip
"""Fields that name the period of a row: its last day, or 2014-06, 2014-Q1, 2014-H1 or 2014."""
OCCURRENCES = (
    "date", "transaction_date", "trade_date", "report_date", "reported_date", "filing_date", "filling_date",
    "filed_date", "date_filed", "filed", "accepted_date", "acceptance_date", "published_date", "publication_date",
)  # fmt: skip
"""Fields that name the day on which something happened."""
_YEARS = ("fiscal_year", "fy", "calendar_year", "year")
_PARTS = ("fiscal_quarter", "quarter", "fiscal_period", "fp", "period", "fiscal_month", "month")
"""Fields that name the part of a year that another field gives."""
_AS_OF = ("as_of", "as_of_date")
_WHOLE_YEAR = frozenset({"fy", "cy", "a", "annual", "annually", "year", "yearly", "12m"})
_PERIOD = re.compile(r"(?:[CF]Y)?\s*(\d{4})(?:[\s_/-]*([QH])([1-4])I?|[-/.](\d{1,2})|(\d{2}))?", re.I | re.A)
"""2014, 2014-06, 201406, 2014-Q1 or 2014-H1."""
_PART_FIRST = re.compile(r"([QH][1-4])[\s_/-]*((?:[CF]Y)?\s*\d{4})", re.I | re.A)
_SLASHED = re.compile(r"(\d{4})/(\d{2})/(\d{2})", re.A)


class TimeParser:
    """Parses the times in a file, and counts the rows without a time or a time zone.

    Midnight counts as a day without a time, because most programs write a plain date that way.

    Args:
        report: receives errors by row.
        same_day: a day without a time counts as known at that day's close instead of the next day's.
    """

    def __init__(self, report: Report, same_day: bool) -> None:
        self._report, self._same_day = report, same_day
        self._without_time: dict[int, None] = {}
        self._without_zone: dict[int, None] = {}
        self._latest = datetime.date.today() + datetime.timedelta(days=1)

    def known_at(self, cell: Any, row: int, name: str = "known_at") -> np.datetime64 | None:
        """When a row became known: a moment (datetime64[s], UTC) or a day (datetime64[D]); None after an error."""
        if (moment := self.moment(cell, row, name)) is None:
            return None
        if not isinstance(moment, datetime.datetime):
            self._without_time[row] = None
            day = np.datetime64(moment, "D")
            return day if self._same_day else day + _ONE_DAY
        if moment.tzinfo is None:
            self._without_zone[row] = None
        else:
            moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
        # Rounded up to a full second: rounding down could make an event known a moment too early.
        if moment.microsecond:
            moment = moment.replace(microsecond=0) + datetime.timedelta(seconds=1)
        return np.datetime64(moment, "s")

    def moment(self, cell: Any, row: int, name: str) -> datetime.datetime | datetime.date | None:
        """A cell as a datetime or a date, as it is written; None after an error."""
        moment = parse_moment(cell)
        if moment is None:
            blank = is_blank(cell)
            rule = f"{name} is missing" if blank else f"{name} is neither a day nor a timestamp"
            cure = "Write it as 2014-03-31, or with the time as 2014-03-31T16:05:00Z."
            self._report.error(row, rule, "" if blank else f"'{cell}'", cure)
            return None
        day = moment.date() if isinstance(moment, datetime.datetime) else moment
        if _EARLIEST <= day <= self._latest:
            return moment
        rule = f"{name} is " + ("in the future" if day > self._latest else f"before {_EARLIEST}")
        self._report.error(row, rule, str(day), "Correct it, or remove the row.")
        return None

    def day_given(self, known_at: np.datetime64) -> np.datetime64:
        """The day in the file from which :meth:`known_at` was derived."""
        shifted = np.datetime_data(known_at.dtype)[0] == "D" and not self._same_day
        return known_at - _ONE_DAY if shifted else known_at.astype("datetime64[D]")

    def report_assumptions(self) -> None:
        """Add to the report how many rows have no time, or no time zone."""
        which = "the same day's" if self._same_day else "the next day's"
        cure = "Nothing to do; give times to be exact." if self._same_day else "Give times to use them earlier."
        rule = f"events with a day and no time, or midnight, count as known at {which} close"
        self._report.counted(list(self._without_time), rule, cure)
        if self._without_zone:
            value = f"{len(self._without_zone)} rows, the first is row {next(iter(self._without_zone))}"
            cure = "Write the zone (+00:00). If the times are New York's, events are known up to five hours too early."
            self._report.warning(None, "events with a time and no time zone count as UTC", value, cure)


def parse_moment(cell: Any) -> datetime.datetime | datetime.date | None:
    """A datetime where the cell has a time, a date where it has none; None where it is neither."""
    if hasattr(cell, "to_pydatetime"):  # pyarrow gives a pandas Timestamp
        cell = cell.to_pydatetime(warn=False)
    try:
        if isinstance(cell, str | int):
            text = str(cell).strip()
            if _DAY.fullmatch(text):
                return datetime.date.fromisoformat(text)
            if _TIMESTAMP.match(text):
                cell = datetime.datetime.fromisoformat(_UTC_SUFFIX.sub("+00:00", text))
            elif _MAIL.match(text):
                cell = email.utils.parsedate_to_datetime(text)
            else:
                cell = datetime.datetime.strptime(text, _TWITTER)
    except (ValueError, TypeError, IndexError):
        return None
    if isinstance(cell, datetime.datetime):
        return cell.date() if cell.time() == _MIDNIGHT else cell
    return cell if isinstance(cell, datetime.date) else None


def parse_day(cell: Any) -> np.datetime64 | None:
    """The day (datetime64[D]) that a cell names, in its own time zone."""
    moment = parse_moment(cell)
    return None if moment is None else np.datetime64(moment.isoformat()[:10], "D")


def is_blank(cell: Any) -> bool:
    """Whether a cell is empty or holds a word for a missing value."""
    return cell is None or str(cell).strip() in ("", "NaT", "nan", "None", "<NA>", "null")


# The period that a row covers ------------------------------------------------------------------------


def check_period(published: np.datetime64, kind: str, fields: Mapping[str, Value], row: int, report: Report) -> bool:
    """Whether a row can have been public on the day ``published`` (datetime64[D]); reports an error if not.

    Its period must have ended before that day, and the event itself must not be later. Two fields may name that day:
    ``as_of`` except of fundamentals, and ``period_of_report`` of insiders and filings, the day of the transaction.
    """
    cure = "Give the day of publication as known_at, such as the filing date"
    for name, end in period_ends(kind, fields):
        transaction = name == "period_of_report" and kind in ("insider", "filing")
        same_day = kind != "fundamentals" if name in _AS_OF else transaction
        if published < end or (published == end and not same_day):
            rule = f"known_at is not after the end of the row's period ({name})"
            if kind == "analyst":
                cure += "; name the period of a forecast forecast_period"
            elif name.split()[0] in _YEARS:
                cure += "; if the fiscal year differs from the calendar year, give its last day as period_end"
            report.error(row, rule, f"known_at {published}, {name} {end}", f"{cure}.")
            return False
    for name in (name for name in OCCURRENCES if name in fields):
        if (day := _day_of_occurrence(fields[name])) is not None and published < day:
            rule = f"known_at is before the day on which it happened ({name})"
            report.error(row, rule, f"known_at {published}, {name} {day}", f"{cure}.")
            return False
    return True


def period_ends(kind: str, fields: Mapping[str, Value]) -> list[tuple[str, np.datetime64]]:
    """The last day of a row's period, by each field that gives it; otherwise the end of its (calendar) year."""
    found = [(name, end) for name in PERIODS if name in fields and (end := period_end(fields[name])) is not None]
    # In other kinds a year can mean anything, such as the year of publication.
    years = [name for name in _YEARS if name in fields and (name != "year" or kind in ("fundamentals", "macro"))]
    if found or not years:
        return found
    year, part = period_end(fields[years[0]]), next((part for part in _PARTS if part in fields), None)
    month = 12 if part is None else _last_month(part, fields[part])
    end = None if year is None else _last_day(int(str(year)[:4]), month)
    return [] if end is None else [(years[0] if part is None else f"{years[0]} and {part}", end)]


def period_end(value: Value) -> np.datetime64 | None:
    """The last day (datetime64[D]) of a day, month, quarter, half-year or year; None for anything else."""
    text = (f"{value:.0f}" if value.is_integer() else "") if isinstance(value, float) else value.strip()
    if (day := parse_day(_SLASHED.sub(r"\1-\2-\3", text))) is not None:
        return day
    if (found := _PERIOD.fullmatch(_PART_FIRST.sub(r"\2\1", text))) is None:
        return None
    year, letter, part, month, joined_month = found.groups()
    if letter:
        return _last_day(int(year), int(part) * (3 if letter in "Qq" else 6))
    return _last_day(int(year), int(month or joined_month or 12))


def _last_month(name: str, value: Value) -> int:
    """The last month of a part of a year; 0 if unknown."""
    text = f"{value:.0f}" if isinstance(value, float) else value.strip().casefold()
    if text in _WHOLE_YEAR:
        return 12
    if name.endswith("month"):
        return int(text) if re.fullmatch(r"1[0-2]|0?[1-9]", text, re.A) else 0
    if found := re.fullmatch(r"q?([1-4])|([1-4])q", text):
        return 3 * int(found[1] or found[2])
    return {"h1": 6, "h2": 12}.get(text, 0)


def _last_day(year: int, month: int) -> np.datetime64 | None:
    if not (1900 <= year <= 2100 and 1 <= month <= 12):
        return None
    return (np.datetime64(f"{year}-{month:02}", "M") + 1).astype("datetime64[D]") - _ONE_DAY


def _day_of_occurrence(value: Value) -> np.datetime64 | None:
    """The earlier of the day as written and the day in UTC, because known_at is in UTC."""
    text = f"{value:.0f}" if isinstance(value, float) else _SLASHED.sub(r"\1-\2-\3", value.strip())
    day, moment = parse_day(text), parse_moment(text)
    if day is None or not isinstance(moment, datetime.datetime) or moment.tzinfo is None:
        return day
    return min(day, np.datetime64(moment.astimezone(datetime.UTC).date(), "D"))

"""Which period or day a row tells of, held against the day on which it is said to have been known."""

import calendar
import datetime
import re
from collections.abc import Iterator, Mapping

import numpy as np

from tradeschool.market.finding import Report
from tradeschool.market.notes.fields import Value
from tradeschool.market.notes.known_at import day_of, moment_of

PERIODS = (
    "period_end", "period_ending", "period_end_date", "period_ended", "period_of_report", "period",
    "fiscal_date", "fiscal_date_ending", "fiscal_date_end", "fiscal_period", "fiscal_period_end",
    "fiscal_period_ending", "fiscal_quarter", "fiscal_quarter_end", "fiscal_quarter_ending", "fiscal_year_end",
    "fiscal_year_ending", "quarter", "quarter_end", "quarter_ending", "quarter_ended", "latest_quarter", "month",
    "report_period", "reporting_period", "end_date", "end", "frame", "as_of", "as_of_date",
)  # fmt: skip
"""Fields that say which period a row tells of: by its last day, or as 2014-06, 2014-Q1, 2014-H1 or 2014."""
EVENTS = (
    "date", "transaction_date", "trade_date", "report_date", "reported_date", "filing_date", "filling_date",
    "filed_date", "date_filed", "filed", "accepted_date", "acceptance_date", "published_date", "publication_date",
)  # fmt: skip
"""Fields that say when what a row tells of took place."""
_YEARS = ("fiscal_year", "fy", "calendar_year", "year")
_PARTS = ("fiscal_quarter", "quarter", "fiscal_period", "fp", "period", "fiscal_month", "month")
"""Fields that, beside a year, say which part of it."""
_STATES = ("as_of", "as_of_date")
_WHOLE = frozenset({"fy", "cy", "a", "annual", "annually", "year", "yearly", "12m"})
_QUARTER = re.compile(r"(?:[CF]Y)?\s*(\d{4})[\s_/-]*Q([1-4])I?|Q([1-4])[\s_/-]*(?:[CF]Y)?\s*(\d{4})", re.I | re.A)
_HALF = re.compile(r"(?:[CF]Y)?\s*(\d{4})[\s_/-]*H([12])|H([12])[\s_/-]*(?:[CF]Y)?\s*(\d{4})", re.I | re.A)
_MONTH = re.compile(r"(\d{4})[-/.](\d{1,2})|(\d{4})(\d{2})", re.A)
_NAMED_MONTH = re.compile(r"([A-Z]{3,9})\.?[\s,-]+(\d{4})", re.I | re.A)
_YEAR = re.compile(r"(?:[CF]Y)?\s*(\d{4})", re.I | re.A)
_SLASHED = re.compile(r"(\d{4})/(\d{2})/(\d{2})", re.A)
_CURE = "Give the day of the publication as known_at, such as the filing date"


def holds(published: np.datetime64, kind: str, fields: Mapping[str, Value], row: int, report: Report) -> bool:
    """Whether a row could be known on the day ``published`` (datetime64[D]); an error is reported where not.

    Its period must have ended before that day, and what it tells of must not lie after it. A state (``as_of``) of
    something else than fundamentals, and the period of an insider's report or a filing, which is the day of what it
    tells of, may be the day itself.
    """
    for name, end in ends(kind, fields):
        if published < end or (published == end and not _may_be_the_day(name, kind)):
            rule = f"known_at is not after the end of the period that the row tells of ({name})"
            report.error(row, rule, f"known_at {published}, {name} {end}", _cure(name, kind))
            return False
    for name in (name for name in EVENTS if name in fields):
        if (day := _event(fields[name])) is not None and published < day:
            rule = f"known_at lies before the day that the row tells of ({name})"
            report.error(row, rule, f"known_at {published}, {name} {day}", f"{_CURE}.")
            return False
    return True


def ends(kind: str, fields: Mapping[str, Value]) -> list[tuple[str, np.datetime64]]:
    """The last day of the row's period, as each field tells it.

    A year, alone or with its quarter or month, counts where no other field says it: as of the calendar.
    """
    found = [(name, end) for name in PERIODS if name in fields and (end := period_end(fields[name])) is not None]
    return found or list(_of_a_year(kind, fields))


def period_end(value: Value) -> np.datetime64 | None:
    """The last day (datetime64[D]) of a day, month, quarter, half or whole year; None for anything else."""
    text = (f"{value:.0f}" if value.is_integer() else "") if isinstance(value, float) else value.strip()
    if (day := day_of(_SLASHED.sub(r"\1-\2-\3", text))) is not None:
        return day
    for pattern, months in ((_QUARTER, 3), (_HALF, 6)):
        if found := pattern.fullmatch(text):
            year, part = (found[1], found[2]) if found[1] else (found[4], found[3])
            return _last_day(int(year), months * int(part))
    if found := _MONTH.fullmatch(text):
        return _last_day(int(found[1] or found[3]), int(found[2] or found[4]))
    if found := _NAMED_MONTH.fullmatch(text):
        return _last_day(int(found[2]), _month(found[1]))
    found = _YEAR.fullmatch(text)
    return _last_day(int(found[1]), 12) if found else None


def _of_a_year(kind: str, fields: Mapping[str, Value]) -> Iterator[tuple[str, np.datetime64]]:
    for name in _YEARS:
        # Of a note of another kind a year may be anything, such as that of its publication.
        if name not in fields or (name == "year" and kind not in ("fundamentals", "macro")):
            continue
        year = period_end(fields[name])
        part = next((part for part in _PARTS if part in fields), None)
        if year is not None and (month := 12 if part is None else _month_of(part, fields[part])):
            end = _last_day(int(str(year)[:4]), month)
            if end is not None:
                yield (name if part is None else f"{name} and {part}"), end
        return


def _month_of(name: str, value: Value) -> int:
    """The last month of a part of a year; 0 where it cannot be told."""
    text = f"{value:.0f}" if isinstance(value, float) else value.strip().casefold()
    if text in _WHOLE:
        return 12
    if name.endswith("month"):
        return int(text) if text.isascii() and text.isdigit() and 1 <= int(text) <= 12 else _month(text)
    if found := re.fullmatch(r"q?([1-4])|([1-4])q", text):
        return 3 * int(found[1] or found[2])
    found = re.fullmatch(r"h([12])", text)
    return 6 * int(found[1]) if found else _month(text)


def _month(name: str) -> int:
    names = {
        month.casefold(): n for names in (calendar.month_name, calendar.month_abbr) for n, month in enumerate(names)
    }
    return names.get(name.casefold().rstrip("."), 0)


def _last_day(year: int, month: int) -> np.datetime64 | None:
    if not (1900 <= year <= 2100 and 1 <= month <= 12):
        return None
    return np.datetime64(datetime.date(year, month, calendar.monthrange(year, month)[1]), "D")


def _event(value: Value) -> np.datetime64 | None:
    """The day of an event: the earlier of that which is written and that in UTC, in which known_at is counted."""
    text = f"{value:.0f}" if isinstance(value, float) else _SLASHED.sub(r"\1-\2-\3", value.strip())
    day, moment = day_of(text), moment_of(text)
    if day is None or not isinstance(moment, datetime.datetime) or moment.tzinfo is None:
        return day
    return min(day, np.datetime64(moment.astimezone(datetime.UTC).date(), "D"))


def _may_be_the_day(name: str, kind: str) -> bool:
    if name in _STATES:
        return kind != "fundamentals"
    return name == "period_of_report" and kind in ("insider", "filing")


def _cure(name: str, kind: str) -> str:
    if kind == "analyst":
        return f"{_CURE}; name the period of a forecast forecast_period."
    if name.split()[0] in _YEARS:
        return f"{_CURE}; where the fiscal year is not the calendar's, add the period's last day as period_end."
    return f"{_CURE}."

"""When a note became public, read from whatever a file says."""

import datetime
import email.utils
import re
from typing import Any

import numpy as np

from tradeschool.market.finding import Report

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}|\d{8}", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}", re.ASCII)
_MAIL = re.compile(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}", re.ASCII)
_ZONE = re.compile(r"\s*\b(?:UTC|GMT)$")
_TWITTER = "%a %b %d %H:%M:%S %z %Y"
_EARLIEST = datetime.date(1900, 1, 1)
_MIDNIGHT = datetime.time(0)
_ONE_DAY = np.timedelta64(1, "D")
_SECOND = datetime.timedelta(seconds=1)


class Clock:
    """Reads ``known_at`` cells into moments in UTC or days; tells once, at the end, what was assumed and how often.

    Midnight counts as a day without an hour, in any time zone: it is how most programs write one.

    Args:
        report: receives what is wrong, by row.
        same_day: whether a day without an hour counts as known at its own close, not at the next day's.
    """

    def __init__(self, report: Report, same_day: bool) -> None:
        self._report, self._same_day = report, same_day
        self._without_hour: dict[int, None] = {}
        self._without_zone: dict[int, None] = {}
        self._latest = datetime.date.today() + datetime.timedelta(days=1)

    def read(self, cell: Any, row: int, name: str = "known_at") -> np.datetime64 | None:
        """A moment (datetime64[s], UTC) or a day (datetime64[D]); None, with an error reported, where there is none."""
        if (moment := self.moment(cell, row, name)) is None:
            return None
        if isinstance(moment, datetime.datetime):
            return self._instant(moment, row)
        self._without_hour[row] = None
        day = np.datetime64(moment, "D")
        return day if self._same_day else day + _ONE_DAY

    def moment(self, cell: Any, row: int, name: str) -> datetime.datetime | datetime.date | None:
        """A cell as it stands, a datetime or a date; None, with an error reported, where there is none."""
        moment = moment_of(cell)
        if moment is None:
            blank = is_blank(cell)
            rule = f"{name} is missing" if blank else f"{name} is neither a day nor a moment"
            cure = "Write it as 2014-03-31, or with the hour as 2014-03-31T16:05:00Z."
            self._report.error(row, rule, "" if blank else f"'{cell}'", cure)
            return None
        day = moment.date() if isinstance(moment, datetime.datetime) else moment
        if _EARLIEST <= day <= self._latest:
            return moment
        rule = f"{name} lies " + ("in the future" if day > self._latest else f"before {_EARLIEST}")
        self._report.error(row, rule, str(day), "Correct it, or remove the row.")
        return None

    def day_given(self, known_at: np.datetime64) -> np.datetime64:
        """The day that the file gave for what :meth:`read` made of it."""
        shifted = np.datetime_data(known_at.dtype)[0] == "D" and not self._same_day
        return known_at - _ONE_DAY if shifted else known_at.astype("datetime64[D]")

    def _instant(self, moment: datetime.datetime, row: int) -> np.datetime64:
        if moment.tzinfo is None:
            self._without_zone[row] = None
        else:
            moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
        # Up to the next full second: rounding down could make a note known a moment too early.
        if moment.microsecond:
            moment = moment.replace(microsecond=0) + _SECOND
        return np.datetime64(moment, "s")

    def tell(self) -> None:
        """Report what was assumed."""
        shown = "their own day's" if self._same_day else "the next day's"
        cure = "Nothing to do; give hours to be exact." if self._same_day else "Give hours to have them known earlier."
        rule = f"notes with a day and no hour, or midnight, count as known at {shown} close"
        self._report.counted(list(self._without_hour), rule, cure)
        if self._without_zone:
            rule = "notes with an hour and no time zone count as UTC"
            cure = (
                "Write the zone (+00:00): were they New York's hours, notes would be known up to five hours too early."
            )
            row = next(iter(self._without_zone))
            self._report.warning(None, rule, f"{len(self._without_zone)} rows, the first is row {row}", cure)


def moment_of(cell: Any) -> datetime.datetime | datetime.date | None:
    """A datetime where an hour is given, a date where not, None where the cell says neither."""
    if isinstance(cell, np.datetime64):
        cell = cell.astype("datetime64[us]").item()
    if isinstance(cell, datetime.datetime):
        if cell != cell:  # NaT
            return None
        if (nanosecond := getattr(cell, "nanosecond", None)) is not None:  # a pandas Timestamp
            cell = _python(cell) + datetime.timedelta(microseconds=1 if nanosecond else 0)
        return cell.date() if cell.time() == _MIDNIGHT else cell
    if isinstance(cell, datetime.date):
        return cell
    return _read(str(cell).strip()) if isinstance(cell, str | int | np.str_ | np.integer) else None


def day_of(cell: Any) -> np.datetime64 | None:
    """The day (datetime64[D]) that a cell names, as it is written, whatever the hour and the zone."""
    moment = moment_of(cell)
    return None if moment is None else np.datetime64(moment.isoformat()[:10], "D")


def _python(timestamp: Any) -> datetime.datetime:
    found: datetime.datetime = timestamp.to_pydatetime(warn=False)
    return found


def is_blank(cell: Any) -> bool:
    """Whether a cell is there but says nothing."""
    return cell is None or str(cell).strip() in ("", "NaT", "nan", "None", "<NA>", "null")


def _read(text: str) -> datetime.datetime | datetime.date | None:
    try:
        if _DAY.fullmatch(text):
            return datetime.date.fromisoformat(text)
        if _MOMENT.match(text):
            moment = datetime.datetime.fromisoformat(_ZONE.sub("+00:00", text))
        elif _MAIL.match(text):
            moment = email.utils.parsedate_to_datetime(text)
        else:
            moment = datetime.datetime.strptime(text, _TWITTER)
    except (ValueError, TypeError, IndexError):
        return None
    return moment.date() if moment.time() == _MIDNIGHT else moment

"""All events of a panel by ticker and kind, looked up by what was known at a close."""

import bisect
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.calendar import find_exchange
from tradeschool.market.events.event import ROW_KINDS, Event, Value
from tradeschool.market.panel import Panel

TEXTS = "texts"
"""The group of all kinds of news; each of :data:`ROW_KINDS` is a group of its own."""
MARKET = ""
"""In place of a ticker: the whole market."""
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ][\d:.]+Z?)?$", re.ASCII)
_YEARS = re.compile(r"(?:^|_)(?:year|fy)$|^(?:calendar|fiscal)_?year")
_NEAR_YEARS = {1: "last year", 0: "this year", -1: "next year"}
Days = NDArray[np.datetime64]


@dataclass(frozen=True)
class KnownEvent:
    """An event as it is shown at a close.

    Attributes:
        text: one line, masked if the archive masks.
        age: trading days since the first close at which it was known.
        days: calendar days since it was published; 0 on the date of the close.
        fields: name and value, with dates as ages if the archive masks.
    """

    text: str
    age: int
    days: int = 0
    kind: str = "news"
    source: str = ""
    fields: tuple[tuple[str, Value], ...] = ()


class EventArchive:
    """Finds the events known at the close of a date row.

    An event with a time is known at the first close at or after it; an event with only a day at that day's close, or
    at the next one if the day has no row. Events after the last close are never known.

    Args:
        panel: the market whose events are looked up.
        mask: maps a text and its ticker to what is shown; dates and years in fields then become ages. None shows all.
    """

    def __init__(self, panel: Panel, mask: Callable[[str, str | None], str] | None = None) -> None:
        self._dates_T = panel.dates_T.astype("datetime64[D]").astype(np.int64).tolist()
        self._mask = mask
        self._texts: dict[tuple[str, str | None], str] = {}
        # Per ticker and group: row, day and event, in the order in which they became known. Rows and days both ascend.
        self._timelines: dict[tuple[str, str], list[tuple[int, int, Event]]] = defaultdict(list)
        moments_K, day_only_K, days_K, rows_K = _placed(panel)
        # Within a day, events without a time come last.
        for k in np.lexsort((moments_K, day_only_K, days_K, rows_K)).tolist():
            event = panel.events[k]
            group = event.kind if event.kind in ROW_KINDS else TEXTS
            self._timelines[event.ticker or MARKET, group].append((int(rows_K[k]), int(days_K[k].astype(int)), event))

    def within_rows(self, ticker: str, group: str, t: int, rows: int) -> tuple[KnownEvent, ...]:
        """Events that became known in the last ``rows`` date rows, ``t`` included, newest first."""
        return self._known(ticker, group, t, 0, t - rows + 1)

    def within_days(self, ticker: str, group: str, t: int, days: int) -> tuple[KnownEvent, ...]:
        """Events published at most ``days`` calendar days before the date of row ``t``, newest first."""
        return self._known(ticker, group, t, 1, self._dates_T[t] - days)

    def _known(self, ticker: str, group: str, t: int, column: int, least: int) -> tuple[KnownEvent, ...]:
        """The events known at row ``t`` whose row (column 0) or day (column 1) is at least ``least``."""
        timeline = self._timelines.get((ticker, group), [])
        first = bisect.bisect_left(timeline, least, key=itemgetter(column))
        known = timeline[first : bisect.bisect_right(timeline, t, key=itemgetter(0))]
        return tuple(
            KnownEvent(
                text=self._text(event.text, event),
                age=t - row,
                days=self._dates_T[t] - day,
                kind=event.kind,
                source=self._text(event.source, event) if event.source else "",
                fields=tuple((name, self._field(name, value, event, t)) for name, value in event.fields.items()),
            )
            for row, day, event in reversed(known)
        )

    def _text(self, text: str, event: Event) -> str:
        key = (text, event.ticker)
        if (shown := self._texts.get(key)) is None:
            printable = (letter if letter.isprintable() else " " for letter in text)
            line = text if text.isprintable() else " ".join("".join(printable).split())
            shown = self._texts[key] = self._mask(line, event.ticker) if self._mask else line
        return shown

    def _field(self, name: str, value: Value, event: Event, t: int) -> Value:
        """A field as it is shown: where texts are masked, dates and years are ages."""
        today = self._dates_T[t]
        if not isinstance(value, str):
            number = float(value)
            if self._mask is None or not number.is_integer() or not _YEARS.search(name):
                return number
            ago = np.datetime64(today, "D").item().year - int(number)
            far = number if abs(ago) > 100 else f"{ago} years ago" if ago > 0 else f"in {-ago} years"
            return _NEAR_YEARS.get(ago, far)
        if self._mask is not None and _DAY.match(value):
            try:
                days = today - int(np.datetime64(value[:10], "D").astype(np.int64))
            except ValueError:  # such as the 31st of April
                return self._text(value, event)
            return f"{days} days ago" if days >= 0 else f"in {-days} days"
        return self._text(value, event) if self._mask else value


def known_rows(panel: Panel) -> NDArray[np.int64]:
    """The first date row at whose close each event was known, [K]; T for events after the last close.

    Events known on a day before the first date have rows below 0, counted in weekdays.
    """
    return _placed(panel)[3]


def _placed(panel: Panel) -> tuple[Days, NDArray[np.bool_], Days, NDArray[np.int64]]:
    """Of each event, [K]: its moment, whether that is only a day, the exchange's local day on which it was published,
    and the row of :func:`known_rows`.
    """
    moments_K = np.array([event.known_at for event in panel.events], dtype="datetime64[us]")
    day_only_K = np.array([event.day_only for event in panel.events], dtype=bool)
    days_K = sessions_K = moments_K.astype("datetime64[D]")
    if not day_only_K.all():
        import pandas as pd

        where = find_exchange(panel.exchange)
        local = pd.DatetimeIndex(moments_K).tz_localize("UTC").tz_convert(where.zone).tz_localize(None)
        local_K = np.where(day_only_K, moments_K, local.to_numpy().astype(moments_K.dtype))
        days_K = local_K.astype("datetime64[D]")
        # What was published after the time of the close was known at that of the next day.
        close = np.timedelta64(3600 * where.close.hour + 60 * where.close.minute, "s")
        sessions_K = days_K + (local_K - days_K > close).astype(np.int64)
    dates_T = panel.dates_T.astype("datetime64[D]")
    rows_K = np.searchsorted(dates_T, sessions_K).astype(np.int64)
    # What was known long before the first row must not look like news of that row.
    early_K = sessions_K < dates_T[0]
    rows_K[early_K] = -np.busday_count(sessions_K[early_K], dates_T[0])
    return moments_K, day_only_K, days_K, rows_K

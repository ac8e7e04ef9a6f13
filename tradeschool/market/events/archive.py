"""All events of a panel by ticker and kind, looked up by what was known at a close."""

import bisect
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

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
"""datetime64[D]."""


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


@dataclass
class _Timeline:
    """Events of one ticker and group in the order in which they became known; rows and days both ascend."""

    rows: list[int] = field(default_factory=list)
    days: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


_NO_EVENTS = _Timeline()


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
        self._timelines: dict[tuple[str, str], _Timeline] = defaultdict(_Timeline)
        days_K, sessions_K = _days(panel)
        rows_K = _rows(panel, sessions_K)
        for k in _order(panel, rows_K, days_K).tolist():
            event = panel.events[k]
            group = event.kind if event.kind in ROW_KINDS else TEXTS
            timeline = self._timelines[event.ticker or MARKET, group]
            timeline.rows.append(int(rows_K[k]))
            timeline.days.append(int(days_K[k].astype(np.int64)))
            timeline.events.append(event)

    def within_rows(self, ticker: str, group: str, t: int, rows: int) -> tuple[KnownEvent, ...]:
        """Events that became known in the last ``rows`` date rows, ``t`` included, newest first."""
        timeline = self._timelines.get((ticker, group), _NO_EVENTS)
        return self._known(timeline, t, bisect.bisect_right(timeline.rows, t - rows))

    def within_days(self, ticker: str, group: str, t: int, days: int) -> tuple[KnownEvent, ...]:
        """Events published at most ``days`` calendar days before the date of row ``t``, newest first."""
        timeline = self._timelines.get((ticker, group), _NO_EVENTS)
        return self._known(timeline, t, bisect.bisect_left(timeline.days, self._dates_T[t] - days))

    def _known(self, timeline: _Timeline, t: int, first: int) -> tuple[KnownEvent, ...]:
        last = bisect.bisect_right(timeline.rows, t)
        return tuple(self._build(timeline, i, t) for i in range(last - 1, first - 1, -1))

    def _build(self, timeline: _Timeline, i: int, t: int) -> KnownEvent:
        event = timeline.events[i]
        days = self._dates_T[t] - timeline.days[i]
        fields = tuple((name, self._field(name, value, event, t)) for name, value in event.fields.items())
        source = self._text(event.source, event) if event.source else ""
        return KnownEvent(self._text(event.text, event), t - timeline.rows[i], days, event.kind, source, fields)

    def _text(self, text: str, event: Event) -> str:
        key = (text, event.ticker)
        if (shown := self._texts.get(key)) is None:
            line = text if text.isprintable() else _one_line(text)
            shown = self._texts[key] = self._mask(line, event.ticker) if self._mask else line
        return shown

    def _field(self, name: str, value: Value, event: Event, t: int) -> Value:
        if not isinstance(value, str):
            number = float(value)
            return self._year(number, t) if self._mask and number.is_integer() and _YEARS.search(name) else number
        if self._mask is None:
            return value
        if _DAY.match(value):
            try:
                days = self._dates_T[t] - int(np.datetime64(value[:10], "D").astype(np.int64))
            except ValueError:  # such as the 31st of April
                return self._text(value, event)
            return f"{days} days ago" if days >= 0 else f"in {-days} days"
        return self._text(value, event)

    def _year(self, value: float, t: int) -> Value:
        ago = np.datetime64(self._dates_T[t], "D").item().year - int(value)
        if abs(ago) > 100:
            return value
        return f"{ago} years ago" if ago > 1 else f"in {-ago} years" if ago < -1 else _NEAR_YEARS[ago]


def _one_line(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def known_rows(panel: Panel) -> NDArray[np.int64]:
    """The first date row at whose close each event was known, [K]; T for events after the last close.

    Events known on a day before the first date have rows below 0, counted in weekdays.
    """
    return _rows(panel, _days(panel)[1])


def _rows(panel: Panel, sessions_K: Days) -> NDArray[np.int64]:
    dates_T = panel.dates_T.astype("datetime64[D]")
    rows_K = np.searchsorted(dates_T, sessions_K).astype(np.int64)
    # What was known long before the first row must not look like news of that row.
    early_K = sessions_K < dates_T[0]
    rows_K[early_K] = -np.busday_count(sessions_K[early_K], dates_T[0])
    return rows_K


def _days(panel: Panel) -> tuple[Days, Days]:
    """The exchange's local day on which each event was published, and the day by whose close it was known, both [K].

    They differ for events published after the time of the close.
    """
    import pandas as pd

    day_only_K, known_K = _times(panel)
    if day_only_K.all():
        return known_K.astype("datetime64[D]"), known_K.astype("datetime64[D]")
    where = find_exchange(panel.exchange)
    local = pd.DatetimeIndex(known_K).tz_localize("UTC").tz_convert(where.zone).tz_localize(None)
    local_K = np.where(day_only_K, known_K, local.to_numpy().astype(known_K.dtype))
    days_K = local_K.astype("datetime64[D]")
    close = np.timedelta64(3600 * where.close.hour + 60 * where.close.minute, "s")
    return days_K, days_K + (local_K - days_K > close).astype(np.int64)


def _times(panel: Panel) -> tuple[NDArray[np.bool_], NDArray[np.datetime64]]:
    """Whether each event has only a day, and its ``known_at``, both [K]."""
    day_only_K = np.array([event.day_only for event in panel.events], dtype=bool)
    return day_only_K, np.array([event.known_at for event in panel.events], dtype="datetime64[us]")


def _order(panel: Panel, rows_K: NDArray[np.int64], days_K: Days) -> NDArray[np.int64]:
    """The order in which both rows and days ascend, so that both can be bisected, [K]."""
    day_only_K, known_K = _times(panel)
    # Within a day, events without a time come last.
    order: NDArray[np.int64] = np.lexsort((known_K, day_only_K, days_K, rows_K))
    return order

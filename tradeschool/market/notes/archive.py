"""Every note of a panel by ticker and kind, found by what was known at a close."""

import bisect
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.exchange import exchange
from tradeschool.market.notes.note import ROW_KINDS, Note
from tradeschool.market.panel import Panel

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ][\d:.]+Z?)?$", re.ASCII)
_YEARS = re.compile(r"(?:^|_)(?:year|fy)$|^(?:calendar|fiscal)_?year")
_NEAR_YEARS = {1: "last year", 0: "this year", -1: "next year"}
Days = NDArray[np.datetime64]
"""datetime64[D]."""
TEXTS = "texts"
"""The group of all notes that are texts; notes of each row kind form a group of their own."""
MARKET = ""
"""The key of the whole market, beside the tickers."""


@dataclass(frozen=True)
class DatedNote:
    """A note as a Window shows it: its text, and its age at the window's close in trading and in calendar days.

    An age of 0 days is the date of the close itself.
    """

    text: str
    age: int
    days: int = 0
    kind: str = "news"
    source: str = ""
    fields: tuple[tuple[str, str | float], ...] = ()


@dataclass
class _Shelf:
    """The notes of one ticker and group, in the order in which they became known."""

    rows: list[int] = field(default_factory=list)
    days: list[int] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


class _Told(Sequence[DatedNote]):
    """Notes that are written when they are looked at: of many that are known, few are shown."""

    def __init__(self, places: range, dated: Callable[[int], DatedNote]) -> None:
        self._places, self._dated = places, dated

    @overload
    def __getitem__(self, i: int) -> DatedNote: ...
    @overload
    def __getitem__(self, i: slice) -> "_Told": ...
    def __getitem__(self, i: int | slice) -> "DatedNote | _Told":
        if isinstance(i, slice):
            return _Told(self._places[i], self._dated)
        return self._dated(self._places[i])

    def __len__(self) -> int:
        return len(self._places)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


class Archive:
    """Finds the notes known at the close of a date row.

    A note with an hour is known at the first close at or after it; a note with a day alone at that day's
    close, or the next one where the day has no row. Notes after the last close are never known.

    Args:
        panel: whose notes they are.
        mask: what is shown of a text, given the text and the note's ticker; dates and years in fields are
            then told as so long before the window's own. None shows everything as it stands.
    """

    def __init__(self, panel: Panel, mask: Callable[[str, str | None], str] | None = None) -> None:
        self._dates_T = panel.dates_T.astype("datetime64[D]").astype(np.int64).tolist()
        self._mask = mask
        self._known: dict[tuple[str, str | None], str] = {}
        self._shelves: dict[tuple[str, str], _Shelf] = defaultdict(_Shelf)
        days_K, sessions_K = _days(panel)
        rows_K = _rows(panel, sessions_K)
        for k in _order(panel, rows_K, days_K).tolist():
            note = panel.notes[k]
            group = note.kind if note.kind in ROW_KINDS else TEXTS
            shelf = self._shelves[note.ticker or MARKET, group]
            shelf.rows.append(int(rows_K[k]))
            shelf.days.append(int(days_K[k].astype(np.int64)))
            shelf.notes.append(note)

    def within_rows(self, ticker: str, group: str, t: int, rows: int) -> Sequence[DatedNote]:
        """Notes that became known in the last ``rows`` date rows, ``t`` included, newest first."""
        if (shelf := self._shelves.get((ticker, group))) is None:
            return ()
        return self._take(shelf, t, bisect.bisect_right(shelf.rows, t - rows))

    def within_days(self, ticker: str, group: str, t: int, days: int) -> Sequence[DatedNote]:
        """Notes published in the last ``days`` calendar days before the date of row ``t`` or on it, newest first."""
        if (shelf := self._shelves.get((ticker, group))) is None:
            return ()
        return self._take(shelf, t, bisect.bisect_left(shelf.days, self._dates_T[t] - days))

    def _take(self, shelf: _Shelf, t: int, first: int) -> Sequence[DatedNote]:
        last = bisect.bisect_right(shelf.rows, t)
        return _Told(range(last - 1, first - 1, -1), lambda i: self._dated(shelf, i, t)) if last > first else ()

    def _dated(self, shelf: _Shelf, i: int, t: int) -> DatedNote:
        note = shelf.notes[i]
        days = self._dates_T[t] - shelf.days[i]
        fields = tuple((name, self._value(name, value, note, t)) for name, value in note.fields.items())
        source = self._said(note.source, note) if note.source else ""
        return DatedNote(self._said(note.text, note), t - shelf.rows[i], days, note.kind, source, fields)

    def _said(self, text: str, note: Note) -> str:
        key = (text, note.ticker)
        if (said := self._known.get(key)) is None:
            line = text if text.isprintable() else _one_line(text)
            said = self._known[key] = self._mask(line, note.ticker) if self._mask else line
        return said

    def _value(self, name: str, value: str | float, note: Note, t: int) -> str | float:
        if not isinstance(value, str):
            number = float(value)
            told = self._mask is not None and _YEARS.search(name) and number.is_integer()
            return self._year(number, t) if told else number
        if self._mask is None:
            return value
        if _DAY.match(value):
            try:
                days = self._dates_T[t] - int(np.datetime64(value[:10], "D").astype(np.int64))
            except ValueError:  # such as the 31st of April
                return self._said(value, note)
            return f"{days} days ago" if days >= 0 else f"in {-days} days"
        return self._said(value, note)

    def _year(self, value: float, t: int) -> str | float:
        ago = np.datetime64(self._dates_T[t], "D").item().year - int(value)
        if abs(ago) > 100:
            return value
        return f"{ago} years ago" if ago > 1 else f"in {-ago} years" if ago < -1 else _NEAR_YEARS[ago]


def _one_line(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def known_rows(panel: Panel) -> NDArray[np.int64]:
    """The first date row at whose close each note was known, [K]; T for notes after the last close.

    Notes that were known on a day before the first date have rows below 0, counted in weekdays.
    """
    return _rows(panel, _days(panel)[1])


def _rows(panel: Panel, sessions_K: Days) -> NDArray[np.int64]:
    dates_T = panel.dates_T.astype("datetime64[D]")
    rows_K = np.searchsorted(dates_T, sessions_K).astype(np.int64)
    # What was known long before the first row must not look as if it were today's.
    early_K = sessions_K < dates_T[0]
    rows_K[early_K] = -np.busday_count(sessions_K[early_K], dates_T[0])
    return rows_K


def _days(panel: Panel) -> tuple[Days, Days]:
    """The day on which each note was published where the exchange stands, and the day by whose close it was known.

    They differ for what came after the hour of the close. Both [K].
    """
    import pandas as pd

    by_day_K, known_K = _times(panel)
    if by_day_K.all():
        return known_K.astype("datetime64[D]"), known_K.astype("datetime64[D]")
    where = exchange(panel.exchange)
    local = pd.DatetimeIndex(known_K).tz_localize("UTC").tz_convert(where.zone).tz_localize(None)
    local_K = np.where(by_day_K, known_K, local.to_numpy().astype(known_K.dtype))
    days_K = local_K.astype("datetime64[D]")
    close = np.timedelta64(3600 * where.close.hour + 60 * where.close.minute, "s")
    return days_K, days_K + (local_K - days_K > close).astype(np.int64)


def _times(panel: Panel) -> tuple[NDArray[np.bool_], NDArray[np.datetime64]]:
    """Whether each note has a day alone, and its ``known_at``, both [K]."""
    by_day_K = np.array([note.by_day for note in panel.notes], dtype=bool)
    return by_day_K, np.array([note.known_at for note in panel.notes], dtype="datetime64[us]")


def _order(panel: Panel, rows_K: NDArray[np.int64], days_K: Days) -> NDArray[np.int64]:
    # Within a day those without an hour come last. So rows and days both ascend, and can be bisected.
    by_day_K, known_K = _times(panel)
    order: NDArray[np.int64] = np.lexsort((known_K, by_day_K, days_K, rows_K))
    return order

"""Which bars and notes are there: per ticker and over time, against the panel's own days or an exchange's."""

import itertools
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.exchange import sessions
from tradeschool.market.indicators import segments
from tradeschool.market.panel import Panel

Days = NDArray[np.datetime64]


@dataclass(frozen=True)
class Presence:
    """One ticker's bars. ``missing`` counts the days between its first and its last on which it has none.

    ``runs`` are its unbroken runs of bars as (first row, last row); ``longest_gap`` the most rows between two.
    ``first`` and ``last`` are days like 2014-01-02, empty for a ticker that was never listed.
    """

    ticker: str
    first: str
    last: str
    bars: int
    missing: int
    longest_gap: int
    runs: tuple[tuple[int, int], ...]

    @property
    def span(self) -> int:
        """Days on which it should have had a bar."""
        return self.bars + self.missing


@dataclass(frozen=True)
class Calendar:
    """An exchange's days beside the panel's: sessions on which nobody has a bar, and days that are none."""

    exchange: str
    missing: tuple[str, ...]
    extra: tuple[str, ...]


@dataclass(frozen=True)
class NoteKind:
    """The notes of one kind; ``months`` counts them by month like 2014-01, months without any left out."""

    kind: str
    count: int
    tickers: int
    first: str
    last: str
    months: dict[str, int]


def presence(panel: Panel, exchange: str | None = None) -> list[Presence]:
    """A row per ticker, in the panel's order.

    Args:
        exchange: count missing days by this exchange's sessions; by the panel's own dates without it.

    Raises:
        TradeschoolError: the calendars are not installed, or there is no such exchange.
    """
    dates_T = _days(panel)
    expected = dates_T if exchange is None else sessions(exchange, dates_T[0], dates_T[-1])
    return [_presence(panel, n, dates_T, expected) for n in range(len(panel.tickers))]


def _presence(panel: Panel, n: int, dates_T: Days, expected: Days) -> Presence:
    listed_T = panel.listed_TN[:, n]
    if not listed_T.any():
        return Presence(panel.tickers[n], "", "", 0, 0, 0, ())
    runs = tuple((rows.start, rows.stop - 1) for rows in segments(listed_T))
    days = dates_T[listed_T]
    within = expected[(expected >= days[0]) & (expected <= days[-1])]
    gaps = [later[0] - earlier[1] - 1 for earlier, later in itertools.pairwise(runs)]
    return Presence(
        ticker=panel.tickers[n],
        first=str(days[0]),
        last=str(days[-1]),
        bars=len(days),
        missing=int((~np.isin(within, days)).sum()),
        longest_gap=max(gaps, default=0),
        runs=runs,
    )


def calendar(panel: Panel, exchange: str) -> Calendar:
    """The panel's dates held against the exchange's sessions between the first and the last of them.

    Raises:
        TradeschoolError: the calendars are not installed, or there is no such exchange.
    """
    dates_T = _days(panel)
    expected = sessions(exchange, dates_T[0], dates_T[-1])
    missing, extra = np.setdiff1d(expected, dates_T), np.setdiff1d(dates_T, expected)
    return Calendar(exchange.upper(), tuple(map(str, missing)), tuple(map(str, extra)))


def note_kinds(panel: Panel) -> list[NoteKind]:
    """The panel's notes by kind, the most frequent kind first."""
    found = []
    for kind, count in Counter(note.kind for note in panel.notes).most_common():
        notes = [note for note in panel.notes if note.kind == kind]
        days = sorted(str(note.known_at.astype("datetime64[D]")) for note in notes)
        tickers = len({note.ticker for note in notes if note.ticker is not None})
        months = dict(sorted(Counter(day[:7] for day in days).items()))
        found.append(NoteKind(kind, count, tickers, days[0], days[-1], months))
    return found


def _days(panel: Panel) -> Days:
    days: Days = panel.dates_T.astype("datetime64[D]")
    return days

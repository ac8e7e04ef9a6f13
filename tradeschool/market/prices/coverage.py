"""How the tickers found in price files lie beside each other: spellings, gaps, weekends."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tradeschool.market.finding import Report
from tradeschool.market.prices.bars import History
from tradeschool.market.prices.dates import Days

_LISTED = 10
LONG_GAP = 10
"""Weekdays without any bar inside a history, above which a gap is longer than holidays are."""


def check_tickers(found: Sequence[History], report: Report) -> None:
    """A ticker must come once, in one spelling: neither case nor ``.``, ``-``, ``/``, ``_`` or a blank make another."""
    by_spelling: dict[str, list[History]] = {}
    for history in found:
        by_spelling.setdefault(_folded(history.ticker), []).append(history)
    for several in by_spelling.values():
        if not several[1:]:
            continue
        shown = ", ".join(f"'{one.ticker}' in {Path(one.file).name}" for one in several[:4])
        if len({one.ticker for one in several}) > 1:
            report.error(None, "a ticker comes in two spellings", shown, "Write it one way, and keep it once.")
        else:
            cure = "Keep one file per ticker."
            report.error(None, f"a ticker comes from more than one file ({several[0].ticker})", shown, cure)


def _folded(ticker: str) -> str:
    return re.sub(r"[\s._/-]+", "-", unicodedata.normalize("NFKC", ticker).strip().casefold())


def note_gaps(found: Sequence[History], report: Report, holes: bool = True) -> None:
    """Infos about days inside a ticker's history on which only others traded, and about unequal ends."""
    if not found:
        return
    dates_T = united(found)
    gaps, ends = [], []
    for history in found:
        first, last = (int(i) for i in np.searchsorted(dates_T, history.dates_T[[0, -1]]))
        if missing := last - first + 1 - len(history.dates_T):
            gaps.append(f"{history.ticker} {missing}")
        if first > 0 or last < len(dates_T) - 1:
            ends.append(f"{history.ticker} {history.dates_T[0]} to {history.dates_T[-1]}")
    if gaps and holes:
        rule = "days on which others traded are missing inside a ticker's history"
        cure = "Nothing to do: they count as not traded, and indicators begin anew after them."
        report.info(rule, listed(gaps), cure)
    if ends:
        rule = f"{len(ends)} ticker{'s' if ends[1:] else ''} begin later or end earlier than others"
        report.info(rule, listed(ends), "Nothing to do if they were listed later or delisted.")


def check_week(found: Sequence[History], report: Report) -> None:
    """Without a calendar: warn of bars on Saturdays and Sundays, and of long gaps that all tickers share."""
    if not found:
        return
    weekend = {one.ticker: int((~np.is_busday(one.dates_T)).sum()) for one in found}
    if told := [f"{ticker} {count}" for ticker, count in weekend.items() if count]:
        cure = "Check the dates' time zone; nothing to do where this market trades on weekends."
        report.warning(None, f"{sum(weekend.values())} bars stand on Saturdays and Sundays", listed(told), cure)
    dates_T = united(found)
    before_T, after_T = dates_T[:-1], dates_T[1:]
    weekdays_T = np.busday_count(before_T + np.timedelta64(1, "D"), after_T)
    for i in np.flatnonzero(weekdays_T > LONG_GAP):
        if any(one.dates_T[0] <= before_T[i] and one.dates_T[-1] >= after_T[i] for one in found):
            rule = f"no ticker has a bar on more than {LONG_GAP} weekdays in a row"
            value = f"{weekdays_T[i]} weekdays between {before_T[i]} and {after_T[i]}"
            report.warning(None, rule, value, "Download these days again; if there was no trading, nothing to do.")


def united(found: Sequence[History]) -> Days:
    """All days on which any of them has a bar, ascending, [T]."""
    first, last = min(one.dates_T[0] for one in found), max(one.dates_T[-1] for one in found)
    present = np.zeros(int((last - first).astype(np.int64)) + 1, dtype=bool)
    for one in found:
        present[(one.dates_T - first).astype(np.int64)] = True
    days_T: Days = first + np.flatnonzero(present).astype("timedelta64[D]")
    return days_T


def listed(words: Sequence[str]) -> str:
    """The first ten words, and how many more there are."""
    more = f" and {len(words) - _LISTED} more" if len(words) > _LISTED else ""
    return ", ".join(words[:_LISTED]) + more

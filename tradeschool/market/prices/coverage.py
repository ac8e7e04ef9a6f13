"""How the tickers of one market fit together: spellings, common days, weekends, the exchange's calendar.

Every function of :data:`MARKET_CHECKS` looks at all histories and reports what it finds. A new check is one function.
Where an exchange is given, the dates are compared with its calendar.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tradeschool.market.calendar import sessions
from tradeschool.market.findings import Report, join_some
from tradeschool.market.prices.parse import Days
from tradeschool.market.prices.validate import History

LONG_GAP = 10
"""A gap that all tickers share, in weekdays, above which it is too long for holidays."""


def _check_spellings(found: Sequence[History], report: Report, exchange: str | None) -> None:
    """A ticker must come once. Case and ``.``, ``-``, ``/``, ``_`` or a blank make no difference."""
    by_spelling: dict[str, list[History]] = {}
    for history in found:
        ticker = unicodedata.normalize("NFKC", history.ticker).strip().casefold()
        by_spelling.setdefault(re.sub(r"[\s._/-]+", "-", ticker), []).append(history)
    for several in by_spelling.values():
        if several[1:]:
            shown = ", ".join(f"'{one.ticker}' in {Path(one.file).name}" for one in several[:4])
            report.error(None, "a ticker comes more than once", shown, "Keep it once, in one spelling.")


def _check_common_days(found: Sequence[History], report: Report, exchange: str | None) -> None:
    """Infos about days inside a ticker's history on which only others traded, and about unequal ends."""
    dates_T = all_days(found)
    gaps, ends = [], []
    for history in found:
        first, last = (int(i) for i in np.searchsorted(dates_T, history.dates_T[[0, -1]]))
        if missing := last - first + 1 - len(history.dates_T):
            gaps.append(f"{history.ticker} {missing}")
        if first > 0 or last < len(dates_T) - 1:
            ends.append(f"{history.ticker} {history.dates_T[0]} to {history.dates_T[-1]}")
    if gaps and exchange is None:
        rule = "days on which other tickers traded are missing inside a ticker's history"
        cure = "Nothing to do: they count as not traded, and indicators restart after them."
        report.info(rule, join_some(gaps), cure)
    if ends:
        rule = f"{len(ends)} ticker{'s' if ends[1:] else ''} begin later or end earlier than others"
        report.info(rule, join_some(ends), "Nothing to do if they were listed later or delisted.")


def _check_week(found: Sequence[History], report: Report, exchange: str | None) -> None:
    """Without a calendar: warnings about bars on weekends, and about long gaps that all tickers share."""
    if exchange is not None:
        return
    weekend = {one.ticker: int((~np.is_busday(one.dates_T)).sum()) for one in found}
    if shown := [f"{ticker} {count}" for ticker, count in weekend.items() if count]:
        cure = "Check the time zone of the dates; nothing to do if this market trades on weekends."
        report.warning(None, f"{sum(weekend.values())} bars are on Saturdays and Sundays", join_some(shown), cure)
    dates_T = all_days(found)
    before_T, after_T = dates_T[:-1], dates_T[1:]
    weekdays_T = np.busday_count(before_T + np.timedelta64(1, "D"), after_T)
    for i in np.flatnonzero(weekdays_T > LONG_GAP):
        if any(one.dates_T[0] <= before_T[i] and one.dates_T[-1] >= after_T[i] for one in found):
            rule = f"no ticker has a bar on more than {LONG_GAP} weekdays in a row"
            value = f"{weekdays_T[i]} weekdays between {before_T[i]} and {after_T[i]}"
            report.warning(None, rule, value, "Download these days again; if there was no trading, nothing to do.")


def _check_calendar(found: Sequence[History], report: Report, exchange: str | None) -> None:
    """With a calendar: warnings about sessions without a bar and bars without a session."""
    if exchange is None:
        return
    dates_T = all_days(found)
    sessions_T = sessions(exchange, dates_T[0], dates_T[-1])
    for one in found:
        own_T = sessions_T[(sessions_T >= one.dates_T[0]) & (sessions_T <= one.dates_T[-1])]
        missing_T = own_T[~np.isin(own_T, one.dates_T)]
        if len(missing_T):
            cure = "Download them again; if it was not traded then, nothing to do: indicators restart after them."
            report.warning(None, f"sessions of {exchange} have no bar", _join_days(one.ticker, missing_T), cure)
        extra_T = one.dates_T[~np.isin(one.dates_T, sessions_T)]
        if len(extra_T):
            rule = f"bars are on days without a session of {exchange}"
            cure = "Check the time zone of the dates and the exchange, or remove these rows."
            report.warning(None, rule, _join_days(one.ticker, extra_T), cure)


MARKET_CHECKS: tuple[Callable[[Sequence[History], Report, str | None], None], ...] = (
    _check_spellings,
    _check_common_days,
    _check_week,
    _check_calendar,
)


def all_days(found: Sequence[History]) -> Days:
    """All days on which any ticker has a bar, ascending, [T]."""
    import pandas as pd

    numbers = pd.unique(np.concatenate([one.dates_T for one in found]).astype(np.int64))
    return np.sort(numbers).astype("datetime64[D]")


def _join_days(ticker: str, days_T: Days) -> str:
    return f"{ticker}: {len(days_T)}, {join_some([str(day) for day in days_T], 3)}"

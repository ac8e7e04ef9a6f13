"""How the tickers of one market fit together: spellings, frequencies, common days, the exchange's calendar.

Every function of :data:`MARKET_CHECKS` looks at all histories and reports what it finds. A new check is one function.
Where an exchange is given, the dates are compared with its calendar.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tradeschool.errors import did_you_mean
from tradeschool.market.calendar import sessions
from tradeschool.market.findings import Report, join_some
from tradeschool.market.frequency import BUSINESS_DAYS, Frequency, find_frequency
from tradeschool.market.prices.doubles import all_days, check_doubles, check_renames
from tradeschool.market.prices.parse import Days
from tradeschool.market.prices.validate import History, Options

LONG_GAP = 10
"""A gap that all tickers share, in weekdays, above which it is too long for holidays."""


def _check_spellings(found: Sequence[History], report: Report, options: Options) -> None:
    """A ticker must come once. Case and ``.``, ``-``, ``/``, ``_`` or a blank make no difference."""
    by_spelling: dict[str, list[History]] = {}
    for history in found:
        ticker = unicodedata.normalize("NFKC", history.ticker).strip().casefold()
        by_spelling.setdefault(re.sub(r"[\s._/-]+", "-", ticker), []).append(history)
    for several in by_spelling.values():
        if several[1:]:
            shown = ", ".join(f"'{one.ticker}' in {Path(one.file).name}" for one in several[:4])
            report.error(None, "a ticker comes more than once", shown, "Keep it once, in one spelling.")


def _check_frequency(found: Sequence[History], report: Report, options: Options) -> None:
    """Errors about tickers whose bars come at another step than those of most, and an info about an unusual step."""
    regular = [one.frequency for one in found if one.frequency is not None]
    usual = Counter(map(_shared, regular)).most_common(1)[0][0] if regular else None
    for one in found:
        own = report.for_file(one.file)
        if one.frequency is None and (usual is None or not usual.is_daily):
            rule, cure = "the bars have no regular step", "Give a bar for every day, week or month."
            one.refuse(0, rule, f"{one.ticker}, {len(one.dates_T)} bars", cure, own, options)
        elif one.frequency is None:
            cure = "Nothing to do if it is rarely traded: the other days count as not traded."
            own.warning(int(one.rows_T[0]), "the bars have no regular step", one.ticker, cure)
        elif _shared(one.frequency) != usual:
            rule = f"the bars are {one.frequency.name}, but those of most tickers are {usual.name if usual else ''}"
            own.error(int(one.rows_T[0]), rule, one.ticker, "Give each frequency its own folder.")
        own.locate(one.ticker, one.rows_T, one.dates_T)
    if usual is not None and not usual.is_daily:
        alike = [one for one in found if one.frequency is not None and _shared(one.frequency) == usual]
        together = find_frequency(all_days(alike))
        if together is None or together.bars_per_year > 1.3 * usual.bars_per_year:
            rule = f"the bars are {usual.name}, but on different days"
            firsts = join_some([f"{one.ticker} from {one.dates_T[0]}" for one in alike], 4)
            report.error(None, rule, firsts, "Date them alike, on the last day of each step.")
    for frequency in sorted({replace(one, step=0.0) for one in regular}, key=lambda one: one.bars_per_year):
        if frequency.bars_per_year != BUSINESS_DAYS.bars_per_year:
            named = [one.ticker for one in found if one.frequency and one.frequency.name == frequency.name]
            cure = "Nothing to do: horizons, windows and the embargo count bars, and figures a year use this number."
            report.info(f"the bars are {frequency.name}: {frequency.bars_per_year} a year", join_some(named, 4), cure)


def _shared(frequency: Frequency) -> Frequency:
    """One frequency for every daily one: markets of five and of seven days can be in one folder."""
    return BUSINESS_DAYS if frequency.is_daily else replace(frequency, step=0.0)


def _check_accepted(found: Sequence[History], report: Report, options: Options) -> None:
    """Warnings about what is accepted and does not exist."""
    days = {one.ticker: one.dates_T for one in found}
    for ticker, day in sorted(options.accept):
        if ticker not in days:
            cure = f"Correct it or leave it out.{did_you_mean(ticker, list(days))}"
            report.warning(None, "accept names an unknown ticker", f"{ticker} {day}", cure)
        elif np.datetime64(day) not in days[ticker]:
            report.warning(None, "accept names a day without a bar", f"{ticker} {day}", "Correct it or leave it out.")


def _check_common_days(found: Sequence[History], report: Report, options: Options) -> None:
    """Infos about days inside a ticker's history on which only others traded, and about unequal ends."""
    dates_T = all_days(found)
    gaps, ends = [], []
    for history in found:
        first, last = (int(i) for i in np.searchsorted(dates_T, history.dates_T[[0, -1]]))
        if missing := last - first + 1 - len(history.dates_T):
            gaps.append(f"{history.ticker} {missing}")
        if first > 0 or last < len(dates_T) - 1:
            ends.append(f"{history.ticker} {history.dates_T[0]} to {history.dates_T[-1]}")
    if gaps and options.exchange is None:
        rule = "days on which other tickers traded are missing inside a ticker's history"
        cure = "Nothing to do if they trade on different days: indicators, returns and horizons count own bars."
        report.info(rule, join_some(gaps), cure)
    if ends:
        rule = f"{len(ends)} ticker{'s' if ends[1:] else ''} begin later or end earlier than others"
        report.info(rule, join_some(ends), "Nothing to do if they were listed later or delisted.")


def _check_week(found: Sequence[History], report: Report, options: Options) -> None:
    """Without a calendar: warnings about bars on weekends, and about long gaps that all tickers share."""
    if options.exchange is not None:
        return
    # A ticker on five days a week should have no bar on a weekend.
    five = [one for one in found if one.frequency == BUSINESS_DAYS]
    weekend = {one.ticker: int((~np.is_busday(one.dates_T)).sum()) for one in five}
    if shown := [f"{ticker} {count}" for ticker, count in weekend.items() if count]:
        cure = "Check the time zone of the dates; nothing to do if this market trades on weekends."
        report.warning(None, f"{sum(weekend.values())} bars are on Saturdays and Sundays", join_some(shown), cure)
    if not five:
        return
    dates_T = all_days(found)
    before_T, after_T = dates_T[:-1], dates_T[1:]
    weekdays_T = np.busday_count(before_T + np.timedelta64(1, "D"), after_T)
    for i in np.flatnonzero(weekdays_T > LONG_GAP):
        if any(one.dates_T[0] <= before_T[i] and one.dates_T[-1] >= after_T[i] for one in found):
            rule = f"no ticker has a bar on more than {LONG_GAP} weekdays in a row"
            value = f"{weekdays_T[i]} weekdays between {before_T[i]} and {after_T[i]}"
            report.warning(None, rule, value, "Download these days again; if there was no trading, nothing to do.")


def _check_calendar(found: Sequence[History], report: Report, options: Options) -> None:
    """With a calendar: warnings about sessions without a bar and bars without a session."""
    if (exchange := options.exchange) is None:
        return
    dates_T = all_days(found)
    sessions_T = sessions(exchange, dates_T[0], dates_T[-1])
    for one in found:
        if one.frequency is not None and not one.frequency.is_daily:
            continue
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


MARKET_CHECKS: tuple[Callable[[Sequence[History], Report, Options], None], ...] = (
    _check_spellings,
    _check_frequency,
    _check_accepted,
    check_doubles,
    check_renames,
    _check_common_days,
    _check_week,
    _check_calendar,
)


def _join_days(ticker: str, days_T: Days) -> str:
    return f"{ticker}: {len(days_T)}, {join_some([str(day) for day in days_T], 3)}"

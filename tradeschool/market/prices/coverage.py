"""How the tickers of one market fit together: spellings, frequencies, days, calendar, one company under two tickers.

Every function of :data:`MARKET_CHECKS` looks at all histories and reports what it finds. A new check is one function.
Where an exchange is given, the dates are compared with its calendar.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import did_you_mean
from tradeschool.market.calendar import BUSINESS_DAYS, find_change, find_frequency, frequency_name, is_daily, sessions
from tradeschool.market.findings import Report, join_some
from tradeschool.market.panel import Floats
from tradeschool.market.prices.parse import Days
from tradeschool.market.prices.validate import History, Options

LONG_GAP = 10
"""A gap that all tickers share, in weekdays, above which it is too long for holidays."""

OWN_WEEK = 20
"""Bars that are enough to know on which days of a week a market trades."""


def _check_spellings(found: Sequence[History], report: Report, options: Options) -> None:
    """A ticker must come once. Case and ``.``, ``-``, ``/``, ``_`` or a blank make no difference."""
    by_spelling: dict[str, list[History]] = {}
    for history in found:
        ticker = unicodedata.normalize("NFKC", history.ticker).strip().casefold()
        by_spelling.setdefault(re.sub(r"[\s._/-]+", "-", ticker), []).append(history)
    for several in by_spelling.values():
        if several[1:]:
            shown = ", ".join(f"'{one.ticker}' in {Path(one.report.file).name}" for one in several[:4])
            report.error(None, "a ticker comes more than once", shown, "Keep it once, in one spelling.")


def _check_frequency(found: Sequence[History], report: Report, options: Options) -> None:
    """Errors about changes of the frequency and about tickers that differ from most, infos about unusual ones.

    Every daily frequency counts as one: markets of five and of seven days can be in one folder.
    """
    shared = [one.frequency and min(one.frequency, BUSINESS_DAYS) for one in found]
    usual = Counter(filter(None, shared)).most_common(1)[0][0] if any(shared) else 0
    for one, own in zip(found, shared, strict=True):
        if at := find_change(one.dates_T):
            rule, value = "the frequency of the bars changes", f"{one.ticker}, until {one.dates_T[at - 1]}"
            cure = "Give bars of one frequency, in files of their own."
            one.report.error(int(one.rows_T[at]), rule, value, cure)
        elif own is None and is_daily(usual):
            cure = "Nothing to do if it is rarely traded: the other days count as not traded."
            one.warn(0, "the bars have no regular step", one.ticker, cure)
        elif own is None:
            cure = "Give a bar for every day, week or month."
            one.refuse(0, "the bars have no regular step", f"{one.ticker}, {len(one.dates_T)} bars", cure)
        elif own != usual:
            names = frequency_name(one.frequency or 0), frequency_name(usual)
            rule = f"the bars are {names[0]}, but those of most tickers are {names[1]}"
            one.report.error(int(one.rows_T[0]), rule, one.ticker, "Give each frequency its own folder.")
        one.locate()
    alike = [one for one, own in zip(found, shared, strict=True) if own == usual]
    if alike and not is_daily(usual):
        together = find_frequency(all_days(alike))
        if together is None or together > 1.3 * usual:
            rule = f"the bars are {frequency_name(usual)}, but on different days"
            firsts = join_some([f"{one.ticker} from {one.dates_T[0]}" for one in alike], 4)
            report.error(None, rule, firsts, "Date them alike, on the last day of each step.")
    for bars in sorted({one.frequency for one in found if one.frequency} - {BUSINESS_DAYS}):
        named = [one.ticker for one in found if one.frequency == bars]
        cure = "Nothing to do: horizons, windows and the embargo count bars, and figures a year use this number."
        report.info(f"the bars are {frequency_name(bars)}: {bars} a year", join_some(named, 4), cure)


def _check_accepted(found: Sequence[History], report: Report, options: Options) -> None:
    """Warnings about what is accepted and does not exist."""
    days = {one.ticker: one.dates_T for one in found}
    for entry in sorted(options.accept):
        ticker, day = entry[:-11], entry[-10:]
        if ticker not in days:
            cure = f"Correct it or leave it out.{did_you_mean(ticker, list(days))}"
            report.warning(None, "accept names an unknown ticker", entry, cure)
        elif np.datetime64(day) not in days[ticker]:
            report.warning(None, "accept names a day without a bar", entry, "Correct it or leave it out.")


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
    """Without a calendar: findings about bars on weekends, and warnings about long gaps that all tickers share."""
    # A ticker on five days a week should have no bar on a weekend.
    five = [one for one in found if one.frequency == BUSINESS_DAYS]
    if options.exchange is not None or not five:
        return
    weekend = {one.ticker: int((~np.is_busday(one.dates_T)).sum()) for one in five}
    own_week = [one.ticker for one in five if weekend[one.ticker] and _has_own_week(one.dates_T)]
    if own_week:
        rule = "the five days of the week with bars include a Saturday or Sunday"
        cure = "Nothing to do where the exchange has this week (Tel Aviv, Riyadh); otherwise check the time zone."
        report.info(rule, join_some(own_week), cure)
    if shown := {ticker: count for ticker, count in weekend.items() if count and ticker not in own_week}:
        cure = "Check the time zone of the dates; nothing to do if this market trades on weekends."
        counts = join_some([f"{ticker} {count}" for ticker, count in shown.items()])
        report.warning(None, f"{sum(shown.values())} bars are on Saturdays and Sundays", counts, cure)
    dates_T = all_days(found)
    before_T, after_T = dates_T[:-1], dates_T[1:]
    weekdays_T = np.busday_count(before_T + np.timedelta64(1, "D"), after_T)
    for i in np.flatnonzero(weekdays_T > LONG_GAP):
        if any(one.dates_T[0] <= before_T[i] and one.dates_T[-1] >= after_T[i] for one in found):
            rule = f"no ticker has a bar on more than {LONG_GAP} weekdays in a row"
            value = f"{weekdays_T[i]} weekdays between {before_T[i]} and {after_T[i]}"
            report.warning(None, rule, value, "Download these days again; if there was no trading, nothing to do.")


def _has_own_week(dates_T: Days) -> bool:
    """Whether nearly all bars are on five days of the week that are not Monday to Friday."""
    count_W = np.bincount((dates_T.astype(np.int64) + 3) % 7, minlength=7)  # from Monday on
    own_W = np.argsort(count_W)[-5:]
    return len(dates_T) >= OWN_WEEK and own_W.max() > 4 and count_W[own_W].sum() >= 0.98 * len(dates_T)


def _check_calendar(found: Sequence[History], report: Report, options: Options) -> None:
    """With a calendar: warnings about sessions without a bar and bars without a session."""
    if (exchange := options.exchange) is None:
        return
    dates_T = all_days(found)
    sessions_T = sessions(exchange, dates_T[0], dates_T[-1])
    for one in found:
        if one.frequency is not None and not is_daily(one.frequency):
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


def _join_days(ticker: str, days_T: Days) -> str:
    return f"{ticker}: {len(days_T)}, {join_some([str(day) for day in days_T], 3)}"


# one company under two tickers --------------------------------------------------------------------


COMMON = 20
"""Common bars from which two tickers are compared."""
ALIKE = 0.98
"""Correlation of the returns of two tickers from which they are compared bar by bar."""
EQUAL_SHARE, EQUAL = 0.9, 2e-4
"""Share of the returns that must be equal, up to this difference and the rounding of the prices. Share classes of one
company move alike, but no more than half of their daily returns are so close."""
CONTINUED = 0.1
"""Largest log return from the last close of a symbol to the first open of the one that continues it."""
BLOCK = 500


def _check_doubles(found: Sequence[History], report: Report, options: Options) -> None:
    """Errors about pairs of tickers with the same returns: one company twice, also in other units or a day apart."""
    refused = set()
    for first, second, days in _alike(found):
        one, other = found[first], found[second]
        _, own_at, at = np.intersect1d(one.dates_T + days, other.dates_T, assume_unique=True, return_indices=True)
        share = _equal_share(one, other, own_at, at)
        if share < EQUAL_SHARE or (first, second) in refused:
            continue
        refused.add((first, second))
        rule = "two tickers have the same returns: one company twice"
        value = f"{one.ticker} and {other.ticker}, {share:.0%} of the returns are equal"
        if days:
            value += ", a day apart"
        other.refuse(int(at[0]), rule, value, f"Remove {one.ticker} or {other.ticker}.")
        other.locate()


def _check_renames(found: Sequence[History], report: Report, options: Options) -> None:
    """Warnings where a ticker begins at the price, and on the next date, at which another one ends."""
    dates_T = all_days(found)
    begins: dict[int, list[History]] = {}
    for one in found:
        begins.setdefault(int(np.searchsorted(dates_T, one.dates_T[0])), []).append(one)
    for one in found:
        for other in begins.get(int(np.searchsorted(dates_T, one.dates_T[-1])) + 1, []):
            if abs(np.log(other.bars["open"][0] / one.bars["close"][-1])) <= CONTINUED:
                value = f"{one.ticker} until {one.dates_T[-1]}, {other.ticker} from {other.dates_T[0]}"
                cure = "If the symbol was changed, join the two files; otherwise nothing to do."
                other.warn(0, "a ticker begins where another one ends, at its price", value, cure)
                other.locate()


def all_days(found: Sequence[History]) -> Days:
    """All days on which any ticker has a bar, ascending, [T]."""
    # Most tickers of a market have the same days.
    several = {one.dates_T.tobytes(): one.dates_T for one in found}
    return np.unique(np.concatenate(list(several.values())))


def _returns(history: History) -> Floats:
    """The log return to each bar from the one before; 0 for the first."""
    log_T = np.log(history.bars["close"])
    return np.diff(log_T, prepend=log_T[0])


def _alike(found: Sequence[History]) -> list[tuple[int, int, int]]:
    """Pairs of tickers with correlated returns on at least :data:`COMMON` common days, the first one first.

    Also those of which the second has the returns of the first some days later: the third number, -1, 0 or 1.
    """
    return_ND, known_PD, pattern_N = _return_grid(found)
    square_ND = return_ND**2
    pairs: list[tuple[int, int, int]] = []
    for start in range(0, len(found), BLOCK):
        block = slice(start, start + BLOCK)
        for later in (0, 1):
            own, others = slice(0, return_ND.shape[1] - later), slice(later, None)
            common_PP = known_PD[:, own] @ known_PD[:, others].T
            product = return_ND[block, own] @ return_ND[:, others].T
            # What tickers with the same days have in common with another one is summed once for all of them.
            one_size = (square_ND[block, own] @ known_PD[:, others].T)[:, pattern_N]
            other_size = (known_PD[:, own] @ square_ND[:, others].T)[pattern_N[block]]
            size = one_size * other_size
            common = common_PP[np.ix_(pattern_N[block], pattern_N)]
            alike: NDArray[np.bool_] = (common > COMMON) & (size > 0) & (product > ALIKE * np.sqrt(size))
            for n, m in np.argwhere(alike).tolist():
                if start + n < m:
                    pairs.append((later, start + n, m))
                elif later and start + n > m:  # the first one has the returns of the second a day later
                    pairs.append((2, m, start + n))
    return [(n, m, -1 if later == 2 else later) for later, n, m in sorted(pairs)]


def _return_grid(found: Sequence[History]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.intp]]:
    """The returns by calendar day [N, D], 0 without a bar; the patterns of days with a bar [P, D]; and whose is which.

    One wrong bar in one of two files must not hide that they are the same, so returns are limited.
    """
    begin = min(one.dates_T[0] for one in found)
    days = int((max(one.dates_T[-1] for one in found) - begin).astype(int)) + 1
    return_ND = np.zeros((len(found), days), dtype=np.float32)
    pattern_of: dict[bytes, int] = {}
    patterns: list[NDArray[np.intp]] = []
    pattern_N = np.zeros(len(found), dtype=np.intp)
    for n, one in enumerate(found):
        key = one.dates_T.tobytes()
        if key not in pattern_of:
            pattern_of[key] = len(patterns)
            patterns.append((one.dates_T - begin).astype(np.intp))
        pattern_N[n] = pattern_of[key]
        return_T = _returns(one)
        most = 5 * float(np.median(np.abs(return_T)))
        return_ND[n, patterns[pattern_N[n]]] = np.clip(return_T, -most, most)
    known_PD = np.zeros((len(patterns), days), dtype=np.float32)
    for known_D, at in zip(known_PD, patterns, strict=True):
        known_D[at] = 1
    return return_ND, known_PD, pattern_N


def _equal_share(one: History, other: History, own_at: NDArray[np.intp], at: NDArray[np.intp]) -> float:
    """The share of common bars at which both have the same return; 0 where the moves are as small as the rounding."""
    own_T, others_T = _returns(one)[own_at][1:], _returns(other)[at][1:]
    slack_T = EQUAL + _rounding(one)[own_at][1:] + _rounding(other)[at][1:]
    if np.median(np.abs(own_T)) <= 3 * np.median(slack_T):
        return 0.0
    return float(np.mean(np.abs(own_T - others_T) <= slack_T))


def _rounding(history: History) -> Floats:
    """By how much a return may be off because prices are written in cents; 0 where they have more digits."""
    close_T = history.bars["close"] / history.factor_T
    cents_T = 100 * close_T
    in_cents = np.mean(np.abs(cents_T - np.round(cents_T)) < 1e-4) > 0.95
    return 0.01 / close_T if in_cents else np.zeros(len(close_T))


MARKET_CHECKS: tuple[Callable[[Sequence[History], Report, Options], None], ...] = (
    _check_spellings,
    _check_frequency,
    _check_accepted,
    _check_doubles,
    _check_renames,
    _check_common_days,
    _check_week,
    _check_calendar,
)

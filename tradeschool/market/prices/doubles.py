"""One company under two tickers: files that hold the same prices twice, and a symbol that continues another."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.findings import Report
from tradeschool.market.panel import Floats
from tradeschool.market.prices.parse import Days
from tradeschool.market.prices.validate import History, Options

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


def check_doubles(found: Sequence[History], report: Report, options: Options) -> None:
    """Errors about pairs of tickers with the same returns: one company twice, in the same units or in others."""
    for first, second in _alike(found):
        one, other = found[first], found[second]
        share = _equal_share(one, other)
        if share < EQUAL_SHARE:
            continue
        own = report.for_file(other.file)
        at = int(np.flatnonzero(np.isin(other.dates_T, one.dates_T))[0])
        rule = "two tickers have the same returns: one company twice"
        value = f"{one.ticker} and {other.ticker}, {share:.0%} of the returns are equal"
        other.refuse(at, rule, value, f"Remove {one.ticker} or {other.ticker}.", own, options)
        own.locate(other.ticker, other.rows_T, other.dates_T)


def check_renames(found: Sequence[History], report: Report, options: Options) -> None:
    """Warnings where a ticker begins at the price, and on the next date, at which another one ends."""
    dates_T = all_days(found)
    begins: dict[int, list[History]] = {}
    for one in found:
        begins.setdefault(int(np.searchsorted(dates_T, one.dates_T[0])), []).append(one)
    for one in found:
        for other in begins.get(int(np.searchsorted(dates_T, one.dates_T[-1])) + 1, []):
            if abs(np.log(other.bars["open"][0] / one.bars["close"][-1])) <= CONTINUED:
                own = report.for_file(other.file)
                value = f"{one.ticker} until {one.dates_T[-1]}, {other.ticker} from {other.dates_T[0]}"
                cure = "If the symbol was changed, join the two files; otherwise nothing to do."
                own.warning(int(other.rows_T[0]), "a ticker begins where another one ends, at its price", value, cure)
                own.locate(other.ticker, other.rows_T, other.dates_T)


def all_days(found: Sequence[History]) -> Days:
    """All days on which any ticker has a bar, ascending, [T]."""
    import pandas as pd

    numbers = pd.unique(np.concatenate([one.dates_T for one in found]).astype(np.int64))
    return np.sort(numbers).astype("datetime64[D]")


def _returns(history: History) -> Floats:
    """The log return to each bar from the one before; 0 for the first."""
    log_T = np.log(history.bars["close"])
    return np.diff(log_T, prepend=log_T[0])


def _alike(found: Sequence[History]) -> Iterator[tuple[int, int]]:
    """Pairs of tickers with correlated returns on at least :data:`COMMON` common days, the first one first."""
    dates_T = all_days(found)
    known_NT = np.zeros((len(found), len(dates_T)), dtype=np.float32)
    return_NT = np.zeros_like(known_NT)
    for n, one in enumerate(found):
        at, return_T = np.searchsorted(dates_T, one.dates_T), _returns(one)
        # One wrong bar in one of two files must not hide that they are the same.
        most = 5 * float(np.median(np.abs(return_T)))
        known_NT[n, at], return_NT[n, at] = 1, np.clip(return_T, -most, most)
    for start in range(0, len(found), BLOCK):
        block = slice(start, start + BLOCK)
        count = known_NT[block] @ known_NT.T
        product = return_NT[block] @ return_NT.T
        own, other = return_NT[block] ** 2 @ known_NT.T, known_NT[block] @ (return_NT**2).T
        alike: NDArray[np.bool_] = (count > COMMON) & (own > 0) & (product > ALIKE * np.sqrt(own * other))
        for n, m in np.argwhere(alike).tolist():
            if start + n < m:
                yield start + n, m


def _equal_share(one: History, other: History) -> float:
    """The share of common days on which both have the same return; 0 where the moves are as small as the rounding."""
    _, first, second = np.intersect1d(one.dates_T, other.dates_T, assume_unique=True, return_indices=True)
    own_T, others_T = _returns(one)[first][1:], _returns(other)[second][1:]
    slack_T = EQUAL + _rounding(one)[first][1:] + _rounding(other)[second][1:]
    if np.median(np.abs(own_T)) <= 3 * np.median(slack_T):
        return 0.0
    return float(np.mean(np.abs(own_T - others_T) <= slack_T))


def _rounding(history: History) -> Floats:
    """By how much a return may be off because prices are written in cents; 0 where they have more digits."""
    close_T = history.bars["close"] if history.factor_T is None else history.bars["close"] / history.factor_T
    cents_T = 100 * close_T
    in_cents = np.mean(np.abs(cents_T - np.round(cents_T)) < 1e-4) > 0.95
    return 0.01 / close_T if in_cents else np.zeros(len(close_T))

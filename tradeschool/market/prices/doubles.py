"""One company under two tickers: files that hold the same prices twice, and a symbol that continues another."""

from collections.abc import Sequence

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


def check_renames(found: Sequence[History], report: Report, options: Options) -> None:
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

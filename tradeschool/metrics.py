"""Metrics of daily returns (empyrical-reloaded's), correlations and Sharpe ratios corrected for chance.

Returns are simple and of one bar each. A year has 252 bars, unless a market has another number
(``Panel.bars_per_year``); ddof is 1. A metric that is not defined (no variance, no days) is NaN, never infinite.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
DAYS_A_YEAR = 252
ROUNDING = 1e-9
"""A spread below this share of the largest value is an error of floating-point arithmetic."""
ROUNDING_OF_RETURNS = 1e-10
"""The same in absolute terms for returns, which are quotients of capitals near 1."""


def sharpe(returns: ArrayLike, bars_per_year: float = DAYS_A_YEAR) -> float:
    """Annualised Sharpe ratio without a risk-free rate: mean / standard deviation * sqrt(bars a year)."""
    import empyrical

    returns_T = np.asarray(returns, float)
    if not _is_real(returns_T.std() if returns_T.size > 1 else 0.0, returns_T):
        return math.nan
    return float(empyrical.sharpe_ratio(returns_T, annualization=bars_per_year))


def sortino(returns: ArrayLike, bars_per_year: float = DAYS_A_YEAR) -> float:
    """Annualised Sortino ratio: mean / root mean square of the losses * sqrt(bars a year); NaN without a loss."""
    import empyrical

    returns_T = np.asarray(returns, float)
    if not _is_real(-returns_T.min(initial=0.0), returns_T):
        return math.nan
    return float(empyrical.sortino_ratio(returns_T, annualization=bars_per_year))


def _is_real(risk: float, returns_T: Floats) -> bool:
    """Whether a risk is more than an error of rounding, as that of constant growth is."""
    return bool(risk > max(ROUNDING_OF_RETURNS, ROUNDING * np.abs(returns_T).max(initial=0.0)))


def max_drawdown(returns: ArrayLike) -> float:
    """Largest fall from a peak of the compounded equity, first day included: 0 to -1 (all lost)."""
    import empyrical

    return float(empyrical.max_drawdown(np.asarray(returns, float)))


def cumulative_return(returns: ArrayLike) -> float:
    """Compounded return over all days: 0.1 = 10 % more than at the start."""
    import empyrical

    returns_T = np.asarray(returns, float)
    return float(empyrical.cum_returns_final(returns_T)) if returns_T.size else math.nan


def ranks(forecasts: ArrayLike, outcomes: ArrayLike) -> tuple[Floats, Floats]:
    """Both arrays as ranks among the finite pairs, centred on 0, with mean ranks for ties; NaN where either is NaN."""
    from scipy.stats import rankdata

    x, y = np.asarray(forecasts, float), np.asarray(outcomes, float)
    known = np.isfinite(x) & np.isfinite(y)
    ranked = []
    for values in (x, y):
        rank, given = np.full(values.shape, np.nan), values[known]
        if given.size and not _varies(given - given.mean(), given):
            given = np.zeros(given.size)  # a constant, whose errors of rounding have no order
        rank[known] = rankdata(given) - (given.size + 1) / 2
        ranked.append(rank)
    return ranked[0], ranked[1]


def correlation(x: ArrayLike, y: ArrayLike) -> Any:
    """Pearson correlation of the finite pairs along the last axis; NaN where one side is constant."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    known = np.isfinite(x) & np.isfinite(y)
    count = known.sum(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = (np.where(known, given, 0.0) for given in (x, y))
        dx, dy = (np.where(known, given - given.sum(-1, keepdims=True) / count, 0.0) for given in (x, y))
        value = (dx * dy).sum(-1) / np.sqrt((dx * dx).sum(-1) * (dy * dy).sum(-1))
        return np.where(_varies(dx, x) & _varies(dy, y), np.clip(value, -1, 1), np.nan)[()]


def _varies(deviations: Floats, values: Floats) -> Any:
    """Whether the values along the last axis differ by more than rounding."""
    return np.abs(deviations).max(-1, initial=0.0) > ROUNDING * np.abs(values).max(-1, initial=0.0)


def calibration_error(probability: ArrayLike, came_true: ArrayLike, bins: int = 10) -> float:
    """Expected calibration error: how far the mean probability and the share that came true are apart, over bins.

    Bins of equal width, weighted by their number of forecasts (Naeini, Cooper & Hauskrecht 2015). It is above 0 by
    chance even for a calibrated forecaster.
    """
    p, y = np.asarray(probability, float), np.asarray(came_true, float)
    known = np.isfinite(p) & np.isfinite(y)
    if not known.any():
        return math.nan
    number = np.minimum((p[known] * bins + ROUNDING).astype(int), bins - 1)
    return float(np.abs(np.bincount(number, p[known] - y[known])).sum() / known.sum())


def probabilistic_sharpe(returns: ArrayLike, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio is above ``benchmark`` (annualised); NaN for constant returns.

    Source: Bailey & Lopez de Prado (2012), "The Sharpe Ratio Efficient Frontier".
    """
    from scipy.stats import kurtosis, skew

    returns_T = np.asarray(returns, float)
    per_day = sharpe(returns_T) / math.sqrt(DAYS_A_YEAR)
    if not math.isfinite(per_day):
        return math.nan
    bend, tails = float(skew(returns_T)), float(kurtosis(returns_T, fisher=False))
    return probabilistic_sharpe_of(per_day, benchmark / math.sqrt(DAYS_A_YEAR), len(returns_T), bend, tails)


def probabilistic_sharpe_of(sharpe: float, benchmark: float, count: int, skew: float, kurtosis: float) -> float:
    """The same from moments: both Sharpe ratios are per day, and ``kurtosis`` is 3 for a normal distribution."""
    from scipy.stats import norm

    variance = 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2
    if variance <= 0 or count < 2:
        return math.nan
    return float(norm.cdf((sharpe - benchmark) * math.sqrt(count - 1) / math.sqrt(variance)))


def expected_maximum_sharpe(variance: float, trials: int) -> float:
    """The expected best Sharpe ratio of ``trials`` policies without skill, in the units of sqrt(variance).

    Source: Bailey & Lopez de Prado (2014), "The Deflated Sharpe Ratio", equation 1.
    """
    from scipy.stats import norm

    if trials < 2:
        return 0.0
    first, second = norm.ppf(1 - 1 / trials), norm.ppf(1 - 1 / (trials * math.e))
    return float(math.sqrt(variance) * ((1 - np.euler_gamma) * first + np.euler_gamma * second))


def deflated_sharpe(returns: ArrayLike, tried: ArrayLike, bars_per_year: float = DAYS_A_YEAR) -> float:
    """Probabilistic Sharpe ratio above the best that would be expected of all policies tried without skill.

    Args:
        returns: daily returns of one policy, [T].
        tried: annualised Sharpe ratios of all policies tried, this one included; NaN (never traded) is left out.
        bars_per_year: by which ``tried`` were annualised.
    """
    known = np.asarray(tried, float) * math.sqrt(DAYS_A_YEAR / bars_per_year)
    known = known[np.isfinite(known)]
    variance = float(known.var(ddof=1)) if known.size > 1 else 0.0
    return probabilistic_sharpe(returns, expected_maximum_sharpe(variance, known.size))


def shrinkage(forecast_QA: Floats, outcome_QA: Floats, block_Q: NDArray[np.int64], most: float = 1.0) -> float:
    """What a unit of forecast is worth on other dates, from 0 to ``most``, less the more uncertain that is.

    The slope of outcomes on forecasts, both centred over a question's decisions, times 1 - 1 / t^2 of the slope
    (the positive-part estimator of James and Stein 1961): 0 where the slope is within its standard error of 0 or below.

    Args:
        forecast_QA: by question and decision.
        outcome_QA: the same, NaN where not known.
        block_Q: equal for questions whose outcomes may be related, such as those of one date.
        most: the largest value returned.
    """
    known_Q = np.isfinite(outcome_QA).all(1) & np.isfinite(forecast_QA).all(1)
    f_QA, y_QA = forecast_QA[known_Q], outcome_QA[known_Q]
    f_QA, y_QA = f_QA - f_QA.mean(1, keepdims=True), y_QA - y_QA.mean(1, keepdims=True)
    scale = float((f_QA**2).sum())
    if scale == 0:
        return 0.0
    slope = float((f_QA * y_QA).sum()) / scale
    error_Q = (f_QA * (y_QA - slope * f_QA)).sum(1)
    _, block = np.unique(block_Q[known_Q], return_inverse=True)
    error = float(np.sqrt((np.bincount(block, error_Q) ** 2).sum())) / scale
    return float(min(most, slope * (1 - (error / slope) ** 2))) if slope > error else 0.0

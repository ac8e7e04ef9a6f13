"""Metrics of daily returns (empyrical-reloaded's), correlations and Sharpe ratios corrected for chance.

Returns are simple and daily, along the last axis: [T] gives a float, [B, T] gives B values. A year has 252 days; ddof
is 1. A metric that is not defined (no variance, no days) is NaN, never infinite.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
DAYS_A_YEAR = 252


def sharpe(returns: ArrayLike) -> Any:
    """Annualised Sharpe ratio without a risk-free rate: mean / standard deviation * sqrt(252)."""
    import empyrical

    return _finite(empyrical.sharpe_ratio, returns)


def sortino(returns: ArrayLike) -> Any:
    """Annualised Sortino ratio: mean / root mean square of the losses * sqrt(252); NaN without a loss."""
    import empyrical

    return _finite(empyrical.sortino_ratio, returns)


def max_drawdown(returns: ArrayLike) -> Any:
    """Largest fall from a peak of the compounded equity, first day included: 0 to -1 (all lost)."""
    import empyrical

    return _finite(empyrical.max_drawdown, returns)


def cumulative_return(returns: ArrayLike) -> Any:
    """Compounded return over all days: 0.1 = 10 % more than at the start."""
    import empyrical

    return _finite(empyrical.cum_returns_final, returns)


def mean(values: ArrayLike) -> Any:
    """Arithmetic mean over the days, of returns or of a turnover."""
    return _finite(lambda values_TB: np.mean(values_TB, axis=0), values)


def ranks(forecasts: ArrayLike, outcomes: ArrayLike) -> tuple[Floats, Floats]:
    """Both arrays as ranks among the finite pairs, centred on 0, with mean ranks for ties; NaN where either is NaN."""
    from scipy.stats import rankdata

    x, y = np.asarray(forecasts, float), np.asarray(outcomes, float)
    known = np.isfinite(x) & np.isfinite(y)
    ranked = []
    for values in (x, y):
        rank = np.full(values.shape, np.nan)
        rank[known] = rankdata(values[known]) - (known.sum() + 1) / 2
        ranked.append(rank)
    return ranked[0], ranked[1]


def moment_sums(x: Floats, y: Floats) -> Floats:
    """Count, sums, squares and cross product of the finite pairs along the last axis: [..., 6].

    Sums of several dates add up, so the bootstrap can combine dates into one correlation.
    """
    known = np.isfinite(x) & np.isfinite(y)
    x, y = np.where(known, x, 0.0), np.where(known, y, 0.0)
    return np.stack([a.sum(-1) for a in (known.astype(float), x, y, x * x, y * y, x * y)], axis=-1)


def correlation(sums: Floats) -> Floats:
    """Pearson correlation from :func:`moment_sums`, [..., 6] to [...]; NaN where one side is constant."""
    count, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance_x, variance_y = xx - x * x / count, yy - y * y / count
        # Rounding leaves a constant with a tiny variance, which does not count.
        varies = (variance_x > 1e-12 * xx) & (variance_y > 1e-12 * yy)
        return np.where(varies, np.clip((xy - x * y / count) / np.sqrt(variance_x * variance_y), -1, 1), np.nan)


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


def deflated_sharpe(returns: ArrayLike, tried: ArrayLike) -> float:
    """Probabilistic Sharpe ratio above the best that would be expected of all policies tried without skill.

    Args:
        returns: daily returns of one policy, [T].
        tried: annualised Sharpe ratios of all policies tried, this one included; NaN (never traded) is left out.
    """
    known = np.asarray(tried, float)
    known = known[np.isfinite(known)]
    variance = float(known.var(ddof=1)) if known.size > 1 else 0.0
    return probabilistic_sharpe(returns, expected_maximum_sharpe(variance, known.size))


def _finite(metric: Callable[..., Any], returns: ArrayLike) -> Any:
    """Apply a metric of columns along the last axis; infinities become NaN."""
    returns_BT = np.asarray(returns, float)
    if returns_BT.shape[-1] == 0:
        return np.full(returns_BT.shape[:-1], np.nan)[()]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        value = np.asarray(metric(np.moveaxis(returns_BT, -1, 0)), float)
    value = np.where(np.isfinite(value), value, np.nan)
    return float(value) if value.ndim == 0 else value

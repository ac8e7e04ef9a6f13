"""Metrics of returns, answers and forecasts: numpy in, float out, or one value a row where rows are given.

Conventions: simple daily returns along the last axis (``returns_T``, or ``returns_BT`` for B series
at once), K = 252 trading days a year, ddof 1. A metric that is not defined (no variance, nothing
to count) is NaN, never an infinity. Plain metrics are empyrical-reloaded's.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
DAYS_A_YEAR = 252


def sharpe(returns: ArrayLike, risk_free: float = 0.0) -> Any:
    """Annualised Sharpe ratio: mean excess return / its standard deviation * sqrt(252).

    ``risk_free`` is a rate a year (.04 = 4 %), spread evenly over 252 days. NaN below two days and
    for constant returns.
    """
    import empyrical

    return _guarded(empyrical.sharpe_ratio, returns, risk_free=risk_free / DAYS_A_YEAR)


def sortino(returns: ArrayLike, required: float = 0.0) -> Any:
    """Annualised Sortino ratio: mean excess return / root mean square of the shortfall * sqrt(252).

    ``required`` is a rate a year. NaN where no day falls short of it.
    """
    import empyrical

    return _guarded(empyrical.sortino_ratio, returns, required_return=required / DAYS_A_YEAR)


def max_drawdown(returns: ArrayLike) -> Any:
    """Largest fall from a peak of the compounded equity, first day included: 0 to -1 (all lost)."""
    import empyrical

    return _guarded(empyrical.max_drawdown, returns)


def cumulative_return(returns: ArrayLike) -> Any:
    """Compounded return over the whole time: .1 = 10 % more than at the start."""
    import empyrical

    return _guarded(empyrical.cum_returns_final, returns)


def annual_volatility(returns: ArrayLike) -> Any:
    """Standard deviation of the daily returns * sqrt(252); NaN below two days."""
    import empyrical

    return _guarded(empyrical.annual_volatility, returns)


def mean_return(returns: ArrayLike) -> Any:
    """Arithmetic mean of the daily returns."""
    return _guarded(lambda returns_TB: np.mean(returns_TB, axis=0), returns)


def turnover(turnover_T: ArrayLike) -> Any:
    """Mean traded notional a day, as a fraction of the equity: .1 = a tenth of it traded every day."""
    return mean_return(turnover_T)


def hit_rate(positions: ArrayLike, returns: ArrayLike) -> float:
    """Share of positions on the right side: sign(position) = sign(return).

    Flat positions and returns of exactly zero take no side and are left out; NaN where none is left.
    """
    position, value = _pairs(positions, returns)
    sided = (position != 0) & (value != 0)
    return float(np.mean(np.sign(position[sided]) == np.sign(value[sided]))) if sided.any() else math.nan


def ic(forecasts: ArrayLike, outcomes: ArrayLike) -> float:
    """Information coefficient: Pearson correlation over all finite pairs; NaN where one side is constant."""
    x, y = _pairs(forecasts, outcomes)
    return float(correlation(moment_sums(x, y)))


def rank_ic(forecasts: ArrayLike, outcomes: ArrayLike) -> float:
    """Spearman correlation over all finite pairs, ties sharing their mean rank."""
    return ic(*ranks(forecasts, outcomes))


def ranks(forecasts: ArrayLike, outcomes: ArrayLike) -> tuple[Floats, Floats]:
    """Both arrays as ranks among the finite pairs, centred on 0; NaN where either is not finite."""
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

    Sums of dates add up to the sums of their union, which is all a correlation needs.
    """
    known = np.isfinite(x) & np.isfinite(y)
    x, y = np.where(known, x, 0.0), np.where(known, y, 0.0)
    return np.stack([a.sum(-1) for a in (known.astype(float), x, y, x * x, y * y, x * y)], axis=-1)


def correlation(sums: Floats) -> Floats:
    """Pearson correlation from :func:`moment_sums`, [..., 6] to [...]; NaN where one side is constant."""
    count, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance_x, variance_y = xx - x * x / count, yy - y * y / count
        # What is left of a constant's variance after rounding is no variance.
        varies = (variance_x > 1e-12 * xx) & (variance_y > 1e-12 * yy)
        return np.where(varies, np.clip((xy - x * y / count) / np.sqrt(variance_x * variance_y), -1, 1), np.nan)


def brier(probabilities: ArrayLike, outcomes: ArrayLike) -> float:
    """Mean squared distance of a probability from what happened (0 or 1): 0 is perfect, .25 a coin's."""
    probability, happened = _pairs(probabilities, outcomes)
    return float(np.mean((probability - happened) ** 2)) if probability.size else math.nan


def probabilistic_sharpe(returns: ArrayLike, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio is above ``benchmark`` (annualised), given these returns.

    Source: Bailey & Lopez de Prado (2012), "The Sharpe Ratio Efficient Frontier". NaN for constant returns.
    """
    from scipy.stats import kurtosis, skew

    returns_T = np.asarray(returns, float)
    per_day = sharpe(returns_T) / math.sqrt(DAYS_A_YEAR)
    if not math.isfinite(per_day):
        return math.nan
    bend, tails = float(skew(returns_T)), float(kurtosis(returns_T, fisher=False))
    return probabilistic_sharpe_of(per_day, benchmark / math.sqrt(DAYS_A_YEAR), len(returns_T), bend, tails)


def probabilistic_sharpe_of(sharpe: float, benchmark: float, count: int, skew: float, kurtosis: float) -> float:
    """The same from moments: both Sharpe ratios per period, ``kurtosis`` 3 for a normal distribution."""
    from scipy.stats import norm

    variance = 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2
    if variance <= 0 or count < 2:
        return math.nan
    return float(norm.cdf((sharpe - benchmark) * math.sqrt(count - 1) / math.sqrt(variance)))


def expected_maximum_sharpe(variance: float, trials: int) -> float:
    """The best Sharpe ratio that ``trials`` policies without skill would show, in the units of sqrt(variance).

    Source: Bailey & Lopez de Prado (2014), "The Deflated Sharpe Ratio", equation 1.
    """
    from scipy.stats import norm

    if trials < 2:
        return 0.0
    first, second = norm.ppf(1 - 1 / trials), norm.ppf(1 - 1 / (trials * math.e))
    return float(math.sqrt(variance) * ((1 - np.euler_gamma) * first + np.euler_gamma * second))


def deflated_sharpe(returns: ArrayLike, tried: ArrayLike) -> float:
    """Probabilistic Sharpe ratio against the best of all policies tried, had none of them skill.

    ``tried`` holds the annualised Sharpe ratios of every policy tried, this one included; NaN ones
    (policies that never traded) are left out. Their number counts as the effective number of trials.
    """
    known = np.asarray(tried, float)
    known = known[np.isfinite(known)]
    variance = float(known.var(ddof=1)) if known.size > 1 else 0.0
    return probabilistic_sharpe(returns, expected_maximum_sharpe(variance, known.size))


def _pairs(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(first, float).ravel(), np.asarray(second, float).ravel()
    known = np.isfinite(x) & np.isfinite(y)
    return x[known], y[known]


def _guarded(metric: Callable[..., Any], returns: ArrayLike, **options: float) -> Any:
    """Call a metric that works down columns on the last axis; infinities become NaN."""
    returns_BT = np.asarray(returns, float)
    if returns_BT.shape[-1] == 0:
        return np.full(returns_BT.shape[:-1], np.nan)[()]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        value = np.asarray(metric(np.moveaxis(returns_BT, -1, 0), **options), float)
    value = np.where(np.isfinite(value), value, np.nan)
    return float(value) if value.ndim == 0 else value

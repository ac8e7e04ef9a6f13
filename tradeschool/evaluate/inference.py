"""Intervals and p-values by one method for all figures over dates: cosine long-run variances and t critical values.

Every figure is expanded into what each date adds to it (its influence). Neighbouring dates depend on each other, so the
variance of the sum is estimated from the projections of the influences on the nu slowest cosines of time, and the
figure divided by its standard error follows a t distribution with nu degrees of freedom (Mueller 2007; Lazarus, Lewis,
Stock & Watson 2018, "HAR Inference: Recommendations for Practice"). Nothing is drawn at random. Subtracting two figures
subtracts their influences, which pairs them by date. ``benchmarks/levels.py`` measures coverage, level and power.

Array names end in their dimensions: T dates, Q questions of a date, K cosines.
"""

import functools
import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from tradeschool import metrics
from tradeschool.evaluate.comparison import Interval
from tradeschool.market.panel import Floats

COSINES = 0.4
"""nu = COSINES * dates^(2/3), which Lazarus et al. recommend, and at most COSINES * dates / horizon."""
FEWEST_DATES = 10
"""With fewer dates no figure has an interval."""
FEWEST_COSINES = 2
"""With fewer cosines an interval is too wide to say anything (12.7 standard errors), and nothing is claimed."""
Key = TypeVar("Key", bound=Hashable)
ROUNDING = 1e-12
"""Relative size below which a difference of figures is an error of floating-point arithmetic."""


@dataclass(frozen=True)
class Link:
    """A scale on which a figure is closer to normal and its interval keeps to the possible values."""

    to: Callable[[float], float]
    back: Callable[[float], float]
    slope: Callable[[float], float]


FISHER = Link(math.atanh, math.tanh, lambda r: 1 / (1 - r * r))
ARCSINE = Link(math.asin, lambda a: math.sin(min(max(a, -math.pi / 2), math.pi / 2)), lambda r: (1 - r * r) ** -0.5)
GROWTH = Link(math.log1p, math.expm1, lambda growth: 1 / (1 + growth))


@dataclass(frozen=True, eq=False)
class Curvature:
    """The second-order error of a figure: e' A e for the errors e of M means, each known by what the dates add to it.

    The error of a correlation is that of the mean product, and that of the two means which are subtracted. The latter
    matters where one side lasts, as positions do: 60 dates of them are as good as 7.
    """

    influence_MT: Floats
    form_MM: Floats

    def __sub__(self, other: "Curvature") -> "Curvature":
        from scipy.linalg import block_diag

        form_MM = block_diag(self.form_MM, -other.form_MM)
        return Curvature(np.concatenate([self.influence_MT, other.influence_MT]), form_MM)

    def variance(self, basis_KT: Floats) -> float:
        """Of the error, as if the means were normal."""
        projection_MK = self.influence_MT @ basis_KT.T
        product_MM = self.form_MM @ (2 / len(basis_KT) * projection_MK @ projection_MK.T)
        return 2 * float(np.trace(product_MM @ product_MM))


@dataclass(frozen=True, eq=False)
class Estimate:
    """A figure and what each date adds to its deviation from the true value. Subtracting two pairs their dates.

    Attributes:
        value: the figure, NaN where undefined.
        influence_T: adds up to 0.
        weight_T: each date's share of the data, which is how far time moves on that date: dates without data take none.
        cosines: nu, the degrees of freedom; 0 where the dates are too few for an interval.
        bottom_T: of a ratio, the relative influence of its denominator. The interval is then Fieller's (1954): the
            ratios that a t-test does not reject, however noisy the denominator is.
        curvature: what is added to the variance for errors of second order.
        link: the scale of the interval, by default the figure's own.
        bounds: the possible values.
        only_paired: whether the figure alone has no interval, and differences from another have one.
        scale: the size of what the figure was computed from, to recognise errors of rounding.
    """

    value: float
    influence_T: Floats
    weight_T: Floats
    cosines: int
    bottom_T: Floats | None = None
    curvature: Curvature | None = None
    link: Link | None = None
    bounds: tuple[float, float] = (-math.inf, math.inf)
    only_paired: bool = False
    scale: float = 0.0

    def __sub__(self, other: "Estimate") -> "Estimate":
        value, influence_T = self.value - other.value, self.influence_T - other.influence_T
        scale = max(self.scale, other.scale, abs(self.value), abs(other.value))
        moved = max(abs(value), len(influence_T) * float(np.abs(influence_T).max(initial=0.0)))
        if moved <= ROUNDING * scale:
            value, influence_T = 0.0, np.zeros_like(influence_T)
        mine, theirs = self.bottom_T, other.bottom_T
        shared = mine if mine is not None and theirs is not None and np.array_equal(mine, theirs) else None
        weight_T = (self.weight_T + other.weight_T) / 2
        curvature = self.curvature or other.curvature
        if self.curvature and other.curvature:
            curvature = self.curvature - other.curvature
        return Estimate(value, influence_T, weight_T, min(self.cosines, other.cosines), shared, curvature, scale=scale)

    @property
    def is_zero(self) -> bool:
        """Whether the figure is 0 on every date: the difference of policies that are the same."""
        return self.value == 0 and not self.influence_T.any()

    @functools.cached_property
    def _variances(self) -> tuple[float, float, float]:
        """Of the influences, of the denominator's, and their covariance."""
        time_T = np.cumsum(self.weight_T) - self.weight_T / 2
        basis_KT = np.cos(np.pi * np.outer(np.arange(1, self.cosines + 1), time_T))
        own_K = basis_KT @ self.influence_T
        bottom_K = np.zeros(self.cosines) if self.bottom_T is None else basis_KT @ self.bottom_T
        products = float(own_K @ own_K), float(bottom_K @ bottom_K), float(own_K @ bottom_K)
        own, bottom, both = (2 / self.cosines * product for product in products)
        if math.sqrt(own) <= ROUNDING * self.scale:
            return 0.0, bottom, both
        return own + (self.curvature.variance(basis_KT) if self.curvature else 0.0), bottom, both

    def interval(self, confidence: float) -> Interval:
        """The interval; its ends are NaN where the figure is undefined, the dates too few, or a denominator near 0."""
        if not (self.cosines and math.isfinite(self.value)) or self.only_paired:
            return Interval(value=self.value)
        own, bottom, both = self._variances
        if own == 0:
            return Interval(value=self.value, low=self.value, high=self.value)
        t = _critical_value(self.cosines, confidence)
        if self.link:
            middle, reach = self.link.to(self.value), t * math.sqrt(own) * self.link.slope(self.value)
            return self._within(self.link.back(middle - reach), self.link.back(middle + reach))
        # The ratios s with (value - s)^2 <= t^2 Var(influence + (value - s) bottom).
        curve = 1 - t * t * bottom
        if curve <= 0:
            return Interval(value=self.value)
        middle = -t * t * both / curve
        reach = math.sqrt(max(middle * middle + t * t * own / curve, 0.0))
        return self._within(self.value + middle - reach, self.value + middle + reach)

    def _within(self, low: float, high: float) -> Interval:
        return Interval(value=self.value, low=max(low, self.bounds[0]), high=min(high, self.bounds[1]))

    def statistic(self) -> float:
        """The figure in standard errors, which a true figure of 0 gives a t distribution; NaN without an error."""
        if self.cosines < FEWEST_COSINES or not math.isfinite(self.value):
            return math.nan
        own, bottom, both = self._variances
        size, variance = self.value, own + 2 * self.value * both + self.value**2 * bottom
        if self.link:
            size = self.link.to(self.value) - self.link.to(0.0)
            variance *= self.link.slope(self.value) ** 2
        return math.nan if own == 0 or variance <= 0 else size / math.sqrt(variance)

    def p_above(self) -> float:
        """One-sided p of a true figure of 0 or less; NaN where nothing can be claimed from so few dates."""
        from scipy.stats import t

        if self.cosines < FEWEST_COSINES or not math.isfinite(self.value):
            return math.nan
        statistic = self.statistic()
        if math.isnan(statistic):
            return 0.0 if self.value > 0 else 1.0
        return float(t.sf(statistic, self.cosines))

    def p_value(self) -> float:
        """Two-sided p of a true figure of 0; NaN where nothing can be claimed."""
        above = self.p_above()
        return above if math.isnan(above) or self.is_zero else 2 * min(above, 1 - above)


@functools.cache
def _critical_value(freedom: int, confidence: float) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + confidence) / 2, freedom))


def cosines_of(weight_T: Floats, horizon: int = 1) -> int:
    """The number of cosines for dates with these amounts of data, whose outcomes look ``horizon`` dates ahead.

    It depends on the dates alone, never on the figures. Dates with unequal amounts of data count as fewer (Kish).
    """
    known = np.flatnonzero(weight_T)
    if not known.size:
        return 0
    dates = float(weight_T.sum() ** 2 / (weight_T**2).sum())
    if dates < FEWEST_DATES:
        return 0
    apart = min(len(np.unique(known // horizon)), (known[-1] - known[0] + 1) / horizon)
    return int(COSINES * min(dates ** (2 / 3), apart * min(1.0, dates * horizon / known.size)))


# figures -----------------------------------------------------------------------------------------


def ratio(top_T: Floats, bottom_T: Floats, horizon: int = 1) -> Estimate:
    """sum(top) / sum(bottom) over dates, such as a share of something that is itself uncertain."""
    known_T = ((top_T != 0) | (bottom_T != 0)).astype(float)
    total = float(bottom_T.sum())
    if abs(total) <= ROUNDING * np.abs(bottom_T).sum():
        return _estimate(math.nan, np.zeros_like(top_T), known_T, horizon)
    value, dates = float(top_T.sum()) / total, max(known_T.sum(), 1.0)
    relative_T = bottom_T / total - known_T / dates
    influence_T = top_T / total - value * known_T / dates - value * relative_T
    return _estimate(value, influence_T, known_T, horizon, bottom_T=relative_T)


def mean(value_TQ: Floats, horizon: int = 1) -> Estimate:
    """The mean of all finite values. Of values that are all 0 or 1 it is a share, within 0 and 1."""
    known_TQ = np.isfinite(value_TQ)
    count_T, total = known_TQ.sum(1).astype(float), max(int(known_TQ.sum()), 1)
    filled_TQ = np.where(known_TQ, value_TQ, 0.0)
    value = float(filled_TQ.sum()) / total if known_TQ.any() else math.nan
    is_share = bool(((filled_TQ == 0) | (filled_TQ == 1)).all())
    bounds = (0.0, 1.0) if is_share else (-math.inf, math.inf)
    influence_T = np.where(known_TQ, value_TQ - value, 0.0).sum(1) / total
    return _estimate(value, influence_T, count_T, horizon, bounds=bounds, scale=float(np.abs(filled_TQ).max(initial=0)))


def root_mean(value_TQ: Floats, horizon: int = 1) -> Estimate:
    """The square root of the mean of all finite values, such as squared errors.

    How large errors are depends most on whether the dates were volatile, and volatile weeks come in clusters: intervals
    of that level held the true one in 46 to 87 % of simulations. Differences cancel it and have an interval.
    """
    square = mean(value_TQ, horizon)
    root = math.sqrt(square.value) if square.value >= 0 else math.nan
    influence_T = square.influence_T / (2 * root) if root > 0 else np.zeros_like(square.influence_T)
    return Estimate(root, influence_T, square.weight_T, square.cosines, only_paired=True, scale=root)


def correlation(x_TQ: Floats, y_TQ: Floats, horizon: int = 1) -> Estimate:
    """Pearson correlation of forecasts and outcomes, pooled over all finite pairs.

    Its interval is that of the regression of outcomes on forecasts, measured in their spreads. It holds where outcomes
    have fat tails, so that their spread is uncertain, and is wider than needed for high correlations.
    """
    return _correlation(x_TQ, y_TQ, horizon, _slope, lambda value: np.array([[value, -0.5], [-0.5, 0.0]]), ARCSINE)


def rank_correlation(x_TQ: Floats, y_TQ: Floats, horizon: int = 1) -> Estimate:
    """Spearman correlation, pooled, on Fisher's scale. Ranks are taken once, in the whole sample."""
    x_TQ, y_TQ = metrics.ranks(x_TQ, y_TQ)
    return _correlation(
        x_TQ, y_TQ, horizon, _pearson, lambda value: np.array([[value, -1.0], [-1.0, value]]) / 2, FISHER
    )


def _correlation(
    x_TQ: Floats,
    y_TQ: Floats,
    horizon: int,
    figure: Callable[[Floats], Floats],
    form_MM: Callable[[float], Floats],
    link: Link,
) -> Estimate:
    known_TQ = np.isfinite(x_TQ) & np.isfinite(y_TQ)
    count_T, value = known_TQ.sum(1).astype(float), float(metrics.correlation(x_TQ[known_TQ], y_TQ[known_TQ]))
    if not math.isfinite(value):
        return _estimate(value, np.zeros_like(count_T), count_T, horizon)
    u_TQ, v_TQ = (
        np.where(known_TQ, (given - given[known_TQ].mean()) / given[known_TQ].std(), 0.0) for given in (x_TQ, y_TQ)
    )
    sums_ST = np.stack([one.sum(1) for one in (known_TQ, u_TQ, v_TQ, u_TQ**2, v_TQ**2, u_TQ * v_TQ)])
    curvature = Curvature(sums_ST[1:3] / count_T.sum(), form_MM(value))
    return _estimate(value, _jackknife(figure, sums_ST), count_T, horizon, link=link, curvature=curvature)


def _pearson(sums_ST: Floats) -> Floats:
    count_T, u_T, v_T, uu_T, vv_T, uv_T = sums_ST
    spread_T = (uu_T - u_T**2 / count_T) * (vv_T - v_T**2 / count_T)
    value_T: Floats = (uv_T - u_T * v_T / count_T) / _root(spread_T, count_T**2)
    return value_T


def _slope(sums_ST: Floats) -> Floats:
    count_T, u_T, v_T, uu_T, _, uv_T = sums_ST
    value_T: Floats = (uv_T - u_T * v_T / count_T) / _root((uu_T - u_T**2 / count_T) ** 2, count_T**2)
    return value_T


def sharpe(returns_T: Floats, bars_per_year: float = metrics.DAYS_A_YEAR) -> Estimate:
    """The annualised Sharpe ratio of daily returns."""

    def ratio_T(sums_ST: Floats) -> Floats:
        days_T, sum_T, square_T = sums_ST
        value_T: Floats = (mean + sum_T / days_T) / _root((square_T - sum_T**2 / days_T) / (days_T - 1), spread)
        return value_T

    value, mean, spread = float(metrics.sharpe(returns_T, bars_per_year)), returns_T.mean(), returns_T.var()
    sums_ST = np.stack([np.ones_like(returns_T), returns_T - mean, (returns_T - mean) ** 2])
    return _of_returns(value, ratio_T, sums_ST, bars_per_year)


def sortino(returns_T: Floats, bars_per_year: float = metrics.DAYS_A_YEAR) -> Estimate:
    """The annualised Sortino ratio of daily returns."""

    def ratio_T(sums_ST: Floats) -> Floats:
        days_T, sum_T, loss_T = sums_ST
        value_T: Floats = sum_T / days_T / _root(loss_T / days_T, losses.mean())
        return value_T

    value, losses = float(metrics.sortino(returns_T, bars_per_year)), np.minimum(returns_T, 0.0) ** 2
    return _of_returns(value, ratio_T, np.stack([np.ones_like(returns_T), returns_T, losses]), bars_per_year)


def _of_returns(value: float, ratio_T: Callable[[Floats], Floats], sums_ST: Floats, bars_per_year: float) -> Estimate:
    days_T = sums_ST[0]
    if not math.isfinite(value):
        return _estimate(value, np.zeros_like(days_T), days_T)
    return _estimate(value, math.sqrt(bars_per_year) * _jackknife(ratio_T, sums_ST), days_T)


def _jackknife(figure: Callable[[Floats], Floats], sums_ST: Floats) -> Floats:
    """What each date adds to a figure of sums over dates: how far the figure moves when the date is left out.

    With few dates and fat tails this is closer to the figure's error than its linear approximation. NaN where the
    figure is undefined without one of the dates, such as a Sharpe ratio of a single day that is not 0.

    Args:
        figure: of S sums, one value for each column.
        sums_ST: what each date adds to the sums. The first counts the date's data.
    """
    total_S1 = sums_ST.sum(1, keepdims=True)
    share_T = sums_ST[0] / total_S1[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        influence_T = (1 - share_T) * (figure(total_S1) - figure(total_S1 - sums_ST))
    centred_T: Floats = influence_T - share_T * influence_T.sum()
    return centred_T


def _root(square_T: Floats, scale: ArrayLike) -> Floats:
    """The root of squares, NaN for errors of rounding."""
    return np.sqrt(np.where(square_T > metrics.ROUNDING * np.asarray(scale), square_T, np.nan))


def cumulative_return(returns_T: Floats) -> Estimate:
    """The compounded return of daily returns; its interval is that of the mean log return, compounded as long."""
    value, days = float(metrics.cumulative_return(returns_T)), len(returns_T)
    if not value > -1:
        return _estimate(value, np.full(days, math.nan), np.zeros(days))
    log_T = np.log1p(returns_T)
    return _estimate(value, (1 + value) * (log_T - log_T.mean()), np.ones(days), link=GROWTH)


def without_interval(value: float, days: int) -> Estimate:
    """A figure that describes what happened and estimates nothing."""
    return _estimate(value, np.zeros(days), np.zeros(days))


def _estimate(
    value: float, influence_T: Floats, weight_T: Floats, horizon: int = 1, *, scale: float = 0.0, **more: Any
) -> Estimate:
    share_T = weight_T / max(float(weight_T.sum()), 1.0)
    size = max(scale, abs(value) if math.isfinite(value) else 0.0)
    cosines = cosines_of(weight_T, horizon) if np.isfinite(influence_T).all() else 0
    return Estimate(value, influence_T, share_T, cosines, scale=size, **more)


def holm(p_values: dict[Key, float]) -> dict[Key, float]:
    """Holm's step-down adjustment (1979): controls the chance of any false claim among all. NaN stays NaN."""
    adjusted, largest = dict(p_values), 0.0
    known = [(key, p_value) for key, p_value in p_values.items() if not math.isnan(p_value)]
    for rank, (key, p_value) in enumerate(sorted(known, key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(known) - rank) * p_value))
        adjusted[key] = largest
    return adjusted

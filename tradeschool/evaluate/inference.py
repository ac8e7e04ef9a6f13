"""Intervals and p-values: one block bootstrap over dates, shared by all policies so that differences are paired.

The interval is the percentile interval: its ends are values of the metric itself (a drawdown stays within 0..-1), it
needs no standard error inside every draw (a studentized interval costs some hundred times more), and it excludes zero
exactly where the share of draws on the other side of zero is below half of 1 - level. It is a little too narrow on
few or strongly dependent dates.

Array names end in their dimensions: T dates, Q questions of a date, K series, B bootstrap draws.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradeschool import metrics
from tradeschool.evaluate.comparison import Interval
from tradeschool.market.panel import Floats

MOST_UNDEFINED = 0.05
"""A figure that is undefined in a larger share of the draws gets no interval."""


@dataclass(frozen=True)
class BootstrapEstimate:
    """A figure and its value in each of B bootstrap draws."""

    value: float
    draws_B: Floats

    def __sub__(self, other: "BootstrapEstimate") -> "BootstrapEstimate":
        return BootstrapEstimate(self.value - other.value, self.draws_B - other.draws_B)

    def __neg__(self) -> "BootstrapEstimate":
        return BootstrapEstimate(-self.value, -self.draws_B)

    def interval(self, level: float) -> Interval:
        """The percentile interval; its ends are NaN where the figure is undefined in too many draws."""
        known_B = self.draws_B[np.isfinite(self.draws_B)]
        if known_B.size < (1 - MOST_UNDEFINED) * self.draws_B.size or not np.isfinite(self.value):
            return Interval(value=self.value)
        low, high = np.quantile(known_B, [(1 - level) / 2, (1 + level) / 2])
        return Interval(value=self.value, low=float(low), high=float(high))

    def p_above(self) -> float:
        """One-sided p of a true figure of 0 or less: the share of draws at or below 0."""
        return float(1 + np.count_nonzero(self.draws_B <= 0)) / (1 + self.draws_B.size)

    def p_below_best(self, errors: Sequence["BootstrapEstimate"], own: "BootstrapEstimate") -> float:
        """One-sided p that this difference from the best of several policies is no worse than chance.

        The best of several noisy figures stands above its true value, so an equal policy looks worse than it. The
        difference is therefore compared with the distribution of (own error - largest error of all of them), as in
        White's Reality Check (2000).

        Args:
            errors: the estimates of all policies that the best was chosen from.
            own: the estimate of the policy itself.
        """
        luckiest_B = np.max([other.draws_B - other.value for other in errors], axis=0)
        chance_B = own.draws_B - own.value - luckiest_B
        return float(1 + np.count_nonzero(chance_B <= self.value)) / (1 + self.draws_B.size)


@dataclass(frozen=True)
class DateBootstrap:
    """B resamplings of T dates.

    Attributes:
        index_BT: the dates drawn, in order.
        counts_BT: how often each date was drawn.
        block: mean length of a block, in dates.
    """

    index_BT: NDArray[np.int64]
    counts_BT: Floats
    block: int

    def ratio(self, top_T: Floats, bottom_T: Floats) -> BootstrapEstimate:
        """sum(top) / sum(bottom) over dates: a mean over questions, or a share. NaN where the bottom is 0."""

        def divide(top: Floats, bottom: Floats) -> Floats:
            scale = 1e-12 * np.abs(bottom_T).sum()
            quotient = np.full(top.shape, np.nan)
            np.divide(top, bottom, out=quotient, where=np.abs(bottom) > scale)
            return quotient

        value = divide(np.asarray(top_T.sum()), np.asarray(bottom_T.sum()))
        return BootstrapEstimate(float(value), divide(self.counts_BT @ top_T, self.counts_BT @ bottom_T))

    def mean(self, value_TQ: Floats) -> BootstrapEstimate:
        """The mean of all finite values."""
        known_TQ = np.isfinite(value_TQ)
        return self.ratio(np.where(known_TQ, value_TQ, 0.0).sum(1), known_TQ.sum(1).astype(float))

    def root_mean(self, value_TQ: Floats) -> BootstrapEstimate:
        """The square root of the mean of all finite values, such as squared errors."""
        mean = self.mean(value_TQ)
        return BootstrapEstimate(math.sqrt(mean.value) if mean.value >= 0 else math.nan, np.sqrt(mean.draws_B))

    def correlation(self, x_TQ: Floats, y_TQ: Floats) -> BootstrapEstimate:
        """Pearson correlation pooled over all finite pairs."""
        sums_T6 = metrics.moment_sums(x_TQ, y_TQ)
        return BootstrapEstimate(
            float(metrics.correlation(sums_T6.sum(0))), metrics.correlation(self.counts_BT @ sums_T6)
        )

    def rank_correlation(self, x_TQ: Floats, y_TQ: Floats) -> BootstrapEstimate:
        """Spearman correlation, pooled. Ranks are taken once, in the whole sample."""
        return self.correlation(*metrics.ranks(x_TQ, y_TQ))

    def path(self, metric: Callable[[Floats], Floats], series_T: Floats) -> BootstrapEstimate:
        """A metric of one daily series, such as the Sharpe ratio: ``metric`` maps [T] and [B, T]."""
        return BootstrapEstimate(float(metric(series_T)), metric(series_T[self.index_BT]))


def bootstrap_dates(series_TK: Floats, *, draws: int, seed: int, shortest: float = 1.0) -> DateBootstrap:
    """Draw dates by the stationary bootstrap (Politis & Romano 1994), blocks wrapping around the end.

    The mean block length is the largest of the optimal lengths of the K daily series (Politis & White 2004, corrected
    2009), at least ``shortest`` and at most a tenth of the dates.

    Args:
        series_TK: the daily series behind the figures.
        draws: how many resamplings.
        seed: of the resamplings.
        shortest: the horizon of the outcomes, in dates: overlapping outcomes depend on each other that long.
    """
    from arch.bootstrap import StationaryBootstrap

    dates = len(series_TK)
    block = math.ceil(min(max(_optimal_block(series_TK), shortest, 1.0), max(1.0, dates / 10)))
    bootstrap = StationaryBootstrap(block, np.arange(dates), seed=np.random.default_rng(seed))
    index_BT = np.stack([positional[0] for positional, _ in bootstrap.bootstrap(draws)]).astype(np.int64)
    offset_B1 = np.arange(draws)[:, None] * dates
    counts = np.bincount((index_BT + offset_B1).ravel(), minlength=draws * dates)
    return DateBootstrap(index_BT, counts.reshape(draws, dates).astype(float), block)


def _optimal_block(series_TK: Floats) -> float:
    """NaN days count as the series' mean; series that never change say nothing about dependence."""
    from arch.bootstrap import optimal_block_length

    known_TK = np.isfinite(series_TK)
    mean_K = np.where(known_TK, series_TK, 0.0).sum(0) / np.maximum(known_TK.sum(0), 1)
    filled_TK = np.where(known_TK, series_TK, mean_K)
    moving_TK = filled_TK[:, np.ptp(filled_TK, axis=0) > 1e-12]
    # Too short to estimate autocorrelations from: the caller's shortest block stands.
    if moving_TK.shape[1] == 0 or len(moving_TK) < 20:
        return 1.0
    lengths_K = optimal_block_length(moving_TK)["stationary"].to_numpy(dtype=float)
    lengths_K = lengths_K[np.isfinite(lengths_K)]
    return float(lengths_K.max()) if lengths_K.size else 1.0


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """Holm's step-down adjustment (1979): controls the chance of any false claim among all."""
    adjusted, largest = {}, 0.0
    for rank, (policy, p_value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_value))
        adjusted[policy] = largest
    return adjusted

"""How sure a figure is: one block bootstrap over dates, shared by all policies so that differences are paired.

The interval is the percentile interval: its ends are values of the metric itself (a drawdown never
leaves 0..-1), it needs no estimate of a standard error inside every draw (a studentized interval
costs some hundred times more), and it excludes zero exactly where the share of draws on the other
side of zero is below half of 1 - level. On short or strongly dependent exams it is a little too narrow.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradeschool import metrics
from tradeschool.evaluate.result import Interval
from tradeschool.market.panel import Floats

# A figure that is undefined in more than this share of the draws gets no interval.
MOST_UNDEFINED = 0.05


@dataclass(frozen=True)
class Estimate:
    """A figure and its value in each of B bootstrap draws. Subtracting two pairs them draw by draw."""

    value: float
    draws_B: Floats

    def __sub__(self, other: "Estimate") -> "Estimate":
        return Estimate(self.value - other.value, self.draws_B - other.draws_B)

    def interval(self, level: float) -> Interval:
        """The percentile interval; its ends are NaN where the figure is undefined in too many draws."""
        known_B = self.draws_B[np.isfinite(self.draws_B)]
        if known_B.size < (1 - MOST_UNDEFINED) * self.draws_B.size or not np.isfinite(self.value):
            return Interval(value=self.value, low=np.nan, high=np.nan)
        low, high = np.quantile(known_B, [(1 - level) / 2, (1 + level) / 2])
        return Interval(value=self.value, low=float(low), high=float(high))


@dataclass(frozen=True)
class Draws:
    """B resamplings of T dates: ``index_BT`` in order, ``counts_BT`` how often each date was drawn."""

    index_BT: NDArray[np.int64]
    counts_BT: Floats
    block: int

    def ratio(self, top_T: Floats, bottom_T: Floats) -> Estimate:
        """sum(top) / sum(bottom) over dates: a mean over cells, or a share. NaN where the bottom is 0."""

        def divide(top: Floats, bottom: Floats) -> Floats:
            scale = 1e-12 * np.abs(bottom_T).sum()
            quotient = np.full(top.shape, np.nan)
            np.divide(top, bottom, out=quotient, where=np.abs(bottom) > scale)
            return quotient

        value = divide(np.asarray(top_T.sum()), np.asarray(bottom_T.sum()))
        return Estimate(float(value), divide(self.counts_BT @ top_T, self.counts_BT @ bottom_T))

    def mean(self, value_TN: Floats) -> Estimate:
        """The mean of all finite cells of dates x tickers."""
        known_TN = np.isfinite(value_TN)
        return self.ratio(np.where(known_TN, value_TN, 0.0).sum(1), known_TN.sum(1).astype(float))

    def correlation(self, x_TN: Floats, y_TN: Floats) -> Estimate:
        """Pearson correlation pooled over all finite (date, ticker) pairs."""
        sums_T6 = metrics.moment_sums(x_TN, y_TN)
        return Estimate(float(metrics.correlation(sums_T6.sum(0))), metrics.correlation(self.counts_BT @ sums_T6))

    def rank_correlation(self, x_TN: Floats, y_TN: Floats) -> Estimate:
        """Spearman correlation, pooled. Ranks are taken once, in the whole sample, not anew in each draw."""
        return self.correlation(*metrics.ranks(x_TN, y_TN))

    def path(self, metric: Callable[[Floats], Floats], series_T: Floats) -> Estimate:
        """A metric of one daily series, such as the Sharpe ratio: ``metric`` maps [T] and [B, T]."""
        return Estimate(float(metric(series_T)), metric(series_T[self.index_BT]))


def draw_dates(series_TK: Floats, *, draws: int, seed: int, shortest: float = 1.0) -> Draws:
    """Draw dates by the stationary bootstrap (Politis & Romano 1994), blocks wrapping around the end.

    The mean block length is the largest of the optimal lengths of the K daily series (Politis &
    White 2004, corrected 2009), at least ``shortest`` (overlapping outcomes depend on each other
    that long) and at most a tenth of the dates.
    """
    from arch.bootstrap import StationaryBootstrap

    dates = len(series_TK)
    block = math.ceil(min(max(_optimal_block(series_TK), shortest, 1.0), max(1.0, dates / 10)))
    bootstrap = StationaryBootstrap(block, np.arange(dates), seed=np.random.default_rng(seed))
    index_BT = np.stack([positional[0] for positional, _ in bootstrap.bootstrap(draws)]).astype(np.int64)
    offset_B1 = np.arange(draws)[:, None] * dates
    counts = np.bincount((index_BT + offset_B1).ravel(), minlength=draws * dates)
    return Draws(index_BT, counts.reshape(draws, dates).astype(float), block)


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

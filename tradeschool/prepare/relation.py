"""What each feature had to do with the outcome, on the training part alone: rank ICs with their intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tradeschool import metrics
from tradeschool.evaluate.certainty import Estimate, draw_dates
from tradeschool.evaluate.result import Interval
from tradeschool.evaluate.verdict import holm
from tradeschool.market import indicators, outcomes
from tradeschool.market.panel import FIELDS, Floats, Panel
from tradeschool.market.statistics import panel_statistics
from tradeschool.market.window import strength_TN

LEVEL = 0.95
DRAWS = 2000
DRAWS_A_FEATURE = 100
"""The smallest p of B draws is 2 / (B + 1): with so many, Holm's correction can still find one feature of many."""
IN_PRICE = frozenset(
    [
        "sma_20",
        "sma_50",
        "ema_20",
        "mom_10",
        "macd",
        "macd_signal",
        "macd_hist",
        "bb_upper",
        "bb_middle",
        "bb_lower",
        "atr_14",
        "stat_min",
        "stat_max",
        "stat_mean",
        "stat_median",
        "stat_trend",
    ]
)
"""Features in units of the price: divided by the close, because the rank of a price is no signal."""


@dataclass(frozen=True)
class Relation:
    """One feature. ``ic`` is its rank IC with the outcome, ``p_value`` two-sided and adjusted by Holm over all
    features; both NaN where the feature is constant or never known. ``dates`` is on how many dates it was known.
    """

    feature: str
    ic: Interval
    p_value: float
    dates: int


@dataclass(frozen=True)
class Relations:
    """All features, the largest IC in size first. ``dates`` are the training dates whose outcome lies in train too.

    ``by_date``: ranks were taken among the tickers of each date, and the ICs averaged over dates; otherwise (a
    single ticker) among its dates.
    """

    rows: list[Relation]
    horizons: tuple[int, ...]
    by_date: bool
    dates: int
    block: int
    draws: int

    @property
    def known(self) -> list[Relation]:
        """Those with an interval."""
        return [row for row in self.rows if math.isfinite(row.ic.low)]

    @property
    def excluding_zero(self) -> list[Relation]:
        """Those whose interval leaves zero out."""
        return [row for row in self.known if row.ic.excludes_zero]

    @property
    def after_holm(self) -> list[Relation]:
        """Those that stay when the number of features is allowed for."""
        return [row for row in self.known if row.p_value < 1 - LEVEL]

    @property
    def smallest_p(self) -> float:
        """The smallest adjusted p that so many draws can show for the best of so many features."""
        return 2 * len(self.known) / (1 + self.draws)


def relations(panel: Panel, first_train_row: int, last_train_row: int, horizons: Sequence[int], seed: int) -> Relations:
    """Rank IC of every feature with the forward return that tasks are scored on (``outcomes.excess_TN``).

    The panel is cut after the last training row before anything is computed. So no price after it can enter,
    and training rows whose outcome lies beyond it have none.

    Intervals: stationary block bootstrap over dates, blocks at least as long as the outcome reaches.
    """
    train = _until(panel, last_train_row)
    rows = slice(first_train_row, last_train_row + 1)
    outcome_TN = outcomes.excess_TN(train, horizons)[rows]
    by_date = len(panel.tickers) > 1
    found = {name: values_TN[rows] for name, values_TN in features(train).items()}
    series_TK = np.stack([_series(values_TN, outcome_TN, by_date) for values_TN in found.values()], axis=1)
    draws = max(DRAWS, DRAWS_A_FEATURE * len(found))
    dates = draw_dates(series_TK, draws=draws, seed=seed, shortest=max(horizons))
    estimates = {
        name: dates.mean(series_TK[:, [k]]) if by_date else dates.rank_correlation(values_TN, outcome_TN)
        for k, (name, values_TN) in enumerate(found.items())
    }
    known = dict(zip(found, np.isfinite(series_TK).sum(axis=0).tolist(), strict=True))
    with_outcome = int(np.isfinite(outcome_TN).any(axis=1).sum())
    return Relations(_ranked(estimates, known), tuple(horizons), by_date, with_outcome, dates.block, draws)


def features(panel: Panel) -> dict[str, Floats]:
    """Every indicator, the strength against the market and the window statistics, [T, N] each, free of price units."""
    values = indicators.compute(panel)
    values["strength_10"] = strength_TN(panel, values[indicators.VOLATILITY])
    values |= panel_statistics(panel)
    return {
        f"{name} / close" if name in IN_PRICE else name: values_TN / panel.close_TN if name in IN_PRICE else values_TN
        for name, values_TN in values.items()
    }


def _until(panel: Panel, row: int) -> Panel:
    bars = {f"{name}_TN": getattr(panel, f"{name}_TN")[: row + 1] for name in FIELDS}
    return replace(panel, dates_T=panel.dates_T[: row + 1], notes=(), planted_TN=None, factor_TN=None, **bars)


def _series(values_TN: Floats, outcome_TN: Floats, by_date: bool) -> Floats:
    """The IC of each date; for a single ticker the products of its ranks, whose mean the IC is, up to scale."""
    if by_date:
        ranks = _ranks_by_date(values_TN, outcome_TN)
        return metrics.correlation(metrics.moment_sums(*ranks))
    feature_TN, forward_TN = metrics.ranks(values_TN, outcome_TN)
    product_T: Floats = (feature_TN * forward_TN)[:, 0]
    return product_T


def _ranks_by_date(values_TN: Floats, outcome_TN: Floats) -> tuple[Floats, Floats]:
    """Both as ranks among the tickers of each date that have both, ties sharing their mean rank."""
    from scipy.stats import rankdata

    known_TN = np.isfinite(values_TN) & np.isfinite(outcome_TN)
    # Infinite values come last, so that they leave the ranks of the others as they are.
    ranked = [rankdata(np.where(known_TN, given_TN, np.inf), axis=1) for given_TN in (values_TN, outcome_TN)]
    return np.where(known_TN, ranked[0], np.nan), np.where(known_TN, ranked[1], np.nan)


def _ranked(estimates: dict[str, Estimate], dates: dict[str, int]) -> list[Relation]:
    intervals = {name: estimate.interval(LEVEL) for name, estimate in estimates.items()}
    adjusted = holm(
        {name: _p_value(estimates[name]) for name, interval in intervals.items() if math.isfinite(interval.low)}
    )
    rows = [Relation(name, interval, adjusted.get(name, math.nan), dates[name]) for name, interval in intervals.items()]
    return sorted(rows, key=lambda row: -abs(row.ic.value) if math.isfinite(row.ic.low) else math.inf)


def _p_value(estimate: Estimate) -> float:
    """Two-sided: twice the share of draws on the other side of zero, the estimate itself counted as one of them."""
    draws_B = estimate.draws_B[np.isfinite(estimate.draws_B)]
    other = min(np.count_nonzero(draws_B <= 0), np.count_nonzero(draws_B >= 0))
    return min(1.0, 2 * (1 + other) / (1 + draws_B.size))

"""Rank IC of each feature with the outcome on the training part, with intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tradeschool import metrics
from tradeschool.evaluate import inference
from tradeschool.evaluate.comparison import Interval
from tradeschool.evaluate.inference import Estimate, holm
from tradeschool.market import features, labels
from tradeschool.market.panel import FIELDS, Floats, Panel

LEVEL = 0.95
IN_PRICE = frozenset((
    "sma_20", "sma_50", "ema_20", "mom_10", "macd", "macd_signal", "macd_hist", "bb_upper", "bb_middle", "bb_lower",
    "atr_14", "stat_min", "stat_max", "stat_mean", "stat_median", "stat_trend",
))  # fmt: skip
"""Features in price units, which are divided by the close: the rank of a price is not a signal."""


@dataclass(frozen=True)
class FeatureIC:
    """One feature's rank IC with the outcome.

    ``p_value`` is two-sided and adjusted by Holm over all features. Both are NaN for a constant or unknown feature.
    ``dates`` is the number of dates on which the feature was known.
    """

    feature: str
    ic: Interval
    p_value: float
    dates: int


@dataclass(frozen=True)
class FeatureICs:
    """All features, the largest absolute IC first.

    ``dates`` counts the training dates whose outcome also lies in train. ``by_date``: ranks are taken among the tickers
    of each date and ICs averaged over dates; otherwise (a single ticker) ranks are taken among its dates.
    """

    rows: list[FeatureIC]
    horizons: tuple[int, ...]
    by_date: bool
    dates: int
    cosines: int

    @property
    def known(self) -> list[FeatureIC]:
        """Features with an interval."""
        return [row for row in self.rows if math.isfinite(row.ic.low)]

    @property
    def excluding_zero(self) -> list[FeatureIC]:
        """Features whose interval excludes zero."""
        return [row for row in self.known if row.ic.excludes_zero]

    @property
    def after_holm(self) -> list[FeatureIC]:
        """Features significant after Holm's correction."""
        return [row for row in self.known if row.p_value < 1 - LEVEL]


def feature_ics(panel: Panel, first_train_row: int, last_train_row: int, horizons: Sequence[int]) -> FeatureICs:
    """Rank IC of every feature with the forward return that tasks are scored on (``labels.excess_TN``).

    The panel is truncated after the last training row before anything is computed, so no later price can enter;
    training rows whose outcome lies beyond it have none. Intervals are those of ``evaluate/inference.py``.
    """
    known = slice(last_train_row + 1)
    bars = {f"{name}_TN": getattr(panel, f"{name}_TN")[known] for name in FIELDS}
    train = replace(panel, dates_T=panel.dates_T[known], events=(), true_alpha_TN=None, factor_TN=None, **bars)
    rows = slice(first_train_row, last_train_row + 1)
    outcome_TN = labels.excess_TN(train, horizons)[rows]
    by_date = len(panel.tickers) > 1
    horizon = max(horizons)
    estimates: dict[str, Estimate] = {}
    dates: dict[str, int] = {}
    for name, values_TN in feature_values(train).items():
        ic_T = _series(values_TN[rows], outcome_TN, by_date)
        dates[name] = int(np.isfinite(ic_T).sum())
        estimates[name] = (
            inference.mean(ic_T[:, None], horizon)
            if by_date
            else inference.rank_correlation(values_TN[rows], outcome_TN, horizon)
        )
    has_outcome_T = np.isfinite(outcome_TN).any(axis=1)
    cosines = inference.cosines_of(has_outcome_T.astype(float), horizon)
    intervals = {name: estimate.interval(LEVEL) for name, estimate in estimates.items()}
    known_p = {name: estimates[name].p_value() for name, found in intervals.items() if math.isfinite(found.low)}
    adjusted = holm(known_p)
    found = [FeatureIC(name, one, adjusted.get(name, math.nan), dates[name]) for name, one in intervals.items()]
    found.sort(key=lambda row: -abs(row.ic.value) if math.isfinite(row.ic.low) else math.inf)
    return FeatureICs(found, tuple(horizons), by_date, int(has_outcome_T.sum()), cosines)


def feature_values(panel: Panel) -> dict[str, Floats]:
    """All indicators, the strength against the market and the window statistics, [T, N] each, without price units."""
    values = features.compute(panel)
    values["strength_10"] = features.strength_TN(panel, values[features.VOLATILITY])
    values |= features.panel_statistics(panel)
    return {
        f"{name} / close" if name in IN_PRICE else name: values_TN / panel.close_TN if name in IN_PRICE else values_TN
        for name, values_TN in values.items()
    }


def _series(values_TN: Floats, outcome_TN: Floats, by_date: bool) -> Floats:
    """The IC of each date; for a single ticker the products of ranks, whose mean is proportional to the IC."""
    from scipy.stats import rankdata

    if not by_date:
        feature_TN, forward_TN = metrics.ranks(values_TN, outcome_TN)
        product_T: Floats = (feature_TN * forward_TN)[:, 0]
        return product_T
    known_TN = np.isfinite(values_TN) & np.isfinite(outcome_TN)
    # Ranks among the tickers of each date that have both values, ties with their mean rank. Unknown values sort last,
    # so that they do not affect the other ranks.
    ranked = [rankdata(np.where(known_TN, given_TN, np.inf), axis=1) for given_TN in (values_TN, outcome_TN)]
    by_date_T: Floats = metrics.correlation(*(np.where(known_TN, rank_TN, np.nan) for rank_TN in ranked))
    return by_date_T

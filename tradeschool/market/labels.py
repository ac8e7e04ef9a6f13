"""Forward returns, excess returns and rating labels, all counted in the ticker's own bars.

The only module that looks ahead; only scoring and evaluation import it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import DataError
from tradeschool.market.features import rolling_std, segments, volatility_TN
from tradeschool.market.panel import Floats, Panel

LABEL_WEIGHTS: dict[int, float] = {3: 0.3, 7: 0.5, 15: 0.2}
"""Horizon in days to its weight in the label's signal (Trading-R1, arXiv 2509.11420, Algorithm S1)."""
LABEL_QUANTILES = (0.03, 0.15, 0.53, 0.85)
LONGEST_LABEL_HORIZON = 15
CLIP = 4.0
"""Bound of one horizon's excess return, in volatilities, so that a single jump does not dominate."""
SMALLEST_VOLATILITY = 1e-8
"""A daily volatility below this is rounding error; nothing is divided by it."""

LabelMode = Literal["forward", "paper"]


@dataclass(frozen=True)
class Labels:
    """Rating labels [T, N].

    ``label_TN`` runs from -2 (STRONG_SELL) to 2 (STRONG_BUY), NaN where undefined. ``signal_TN`` is the signal that was
    cut into classes; ``cuts`` are the four ascending bounds, fitted on the training rows.
    """

    label_TN: Floats
    signal_TN: Floats
    cuts: tuple[float, float, float, float]


def forward_return_TN(panel: Panel, horizon: int) -> Floats:
    """Log return [T, N] of a decision taken after the close of t and filled at the ticker's next open.

    log(open[b+1+horizon] / open[b+1]) of the ticker's own bars, where b is its bar of date t; ``horizon`` is at least 1
    bar. NaN where the ticker has no bar at t, or not that many later ones (a suspension, a delisting, the end of the
    panel): losses of a delisting are not included.
    """
    shift, open_BN = panel.own_bars.shift, panel.own_bars.take(panel.open_TN)
    forward_BN = np.log(shift(open_BN, -1 - horizon) / shift(open_BN, -1))
    return np.where(panel.listed_TN, panel.own_bars.put(forward_BN), np.nan)


def forward_close_TN(panel: Panel, horizon: int) -> Floats:
    """The close [T, N] of the ticker's own bar ``horizon`` bars later; NaN without one or across a suspension."""
    own = panel.own_bars
    forward_TN = own.put(own.shift(own.take(panel.close_TN), -horizon))
    return np.where(panel.listed_TN, forward_TN, np.nan)


def excess_TN(panel: Panel, horizons: Sequence[int]) -> Floats:
    """Forward return above the market [T, N], in units of volatility, averaged over ``horizons`` (own bars).

    Per horizon h: clip((forward - mean forward of that date) / (volatility at t * sqrt(h)), -4, 4). The mean is over
    the tickers that have one on that date, equal-weighted, and includes the ticker itself. In a panel of one ticker
    nothing is subtracted; in a larger panel a date with a single ticker is NaN. Also NaN where any horizon's return is
    missing, so that all values have the same definition, and where the volatility is unknown or zero.
    """
    volatility = volatility_TN(panel)
    volatility = np.where(volatility > SMALLEST_VOLATILITY, volatility, np.nan)
    total_TN = np.zeros(panel.shape)
    for horizon in horizons:
        above_TN = above_market(forward_return_TN(panel, horizon))
        total_TN += np.clip(above_TN / (volatility * np.sqrt(horizon)), -CLIP, CLIP)
    return total_TN / len(horizons)


def above_market(forward_TN: Floats) -> Floats:
    """Returns less their mean of the date over tickers, equal-weighted; see :func:`excess_TN`."""
    if forward_TN.shape[1] == 1:
        return forward_TN
    known_TN = np.isfinite(forward_TN)
    count_T1 = known_TN.sum(axis=1, keepdims=True)
    sum_T1 = np.where(known_TN, forward_TN, 0.0).sum(axis=1, keepdims=True)
    market_T1 = np.divide(sum_T1, count_T1, out=np.full(sum_T1.shape, np.nan), where=count_T1 >= 2)
    above_TN: Floats = forward_TN - market_T1
    return above_TN


def true_alpha_TN(panel: Panel) -> Floats | None:
    """The best possible forecast [T, N] of a synthetic market (see :class:`Panel`); None for real markets."""
    return panel.true_alpha_TN


def rating_labels(panel: Panel, train_rows_T: NDArray[np.bool_], mode: LabelMode = "forward") -> Labels:
    """Five-point labels by Trading-R1's Algorithm S1 (arXiv 2509.11420), with two corrections.

    Per ticker: E = EMA(close, span 3, pandas ``ewm`` convention); for each horizon tau of 3, 7 and 15 days
    S_tau = R_tau / V_tau; signal = .3 S3 + .5 S7 + .2 S15. The quantiles .03, .15, .53, .85 cut the signal; a value
    equal to a cut belongs to the class above.

    Correction 1: the paper's algorithm uses trailing returns where its text means forward returns. ``forward`` uses
    R_tau = E[t+tau] / E[t] - 1, ``paper`` R_tau = E[t] / E[t-tau] - 1. In both, V_tau is the std (ddof 1) of the last
    20 tau-day returns realised by t, so the scale is known at t.
    Correction 2: the cuts are fitted on training rows only, in ``forward`` mode without the last 15 bars, whose signals
    look beyond the training part. (An all-True mask in ``paper`` mode reproduces the paper.)

    Cuts are pooled over tickers, because a ticker listed late has too few training rows for a 3 % tail. The class
    shares of one ticker can therefore differ from 3/12/38/32/15 %.

    Args:
        panel: prices; labels are NaN around a suspension.
        train_rows_T: True on training rows, [T].
        mode: ``forward`` or ``paper``.

    Raises:
        DataError: no training row has a signal.
    """
    signal_TN = _label_signal(panel, mode)
    fit_TN = np.isfinite(signal_TN) & np.array(train_rows_T, dtype=bool)[:, None]
    if mode == "forward" and np.any(train_rows_T):
        # The row of the last bar that each bar's signal looks at; NaN where there is none.
        row_BN = panel.own_bars.take(np.where(panel.listed_TN, np.arange(panel.shape[0])[:, None], np.nan))
        outcome_TN = panel.own_bars.put(panel.own_bars.shift(row_BN, -LONGEST_LABEL_HORIZON))
        fit_TN &= outcome_TN <= np.flatnonzero(train_rows_T)[-1]
    fit = signal_TN[fit_TN]
    if not fit.size:
        raise DataError(
            f"{panel.name}: none of the {int(np.sum(train_rows_T))} training rows has a rating label. A label needs "
            f"35 days of unbroken history and {LONGEST_LABEL_HORIZON} days of future inside the training part. "
            "Give a longer history or a larger training share."
        )
    cuts = np.quantile(fit, LABEL_QUANTILES)
    label_TN = np.searchsorted(cuts, signal_TN, side="right").astype(np.float64) - 2.0
    label_TN[~np.isfinite(signal_TN)] = np.nan
    return Labels(label_TN, signal_TN, (float(cuts[0]), float(cuts[1]), float(cuts[2]), float(cuts[3])))


def _label_signal(panel: Panel, mode: LabelMode) -> Floats:
    import pandas as pd

    close_BN = panel.own_bars.take(panel.close_TN)
    ema_BN = np.full(close_BN.shape, np.nan)
    for n in range(close_BN.shape[1]):
        for rows in segments(np.isfinite(close_BN[:, n])):
            ema_BN[rows, n] = pd.Series(close_BN[rows, n]).ewm(span=3).mean().to_numpy()
    signal_BN = np.zeros(ema_BN.shape)
    for tau, weight in LABEL_WEIGHTS.items():
        trailing_BN = ema_BN / panel.own_bars.shift(ema_BN, tau) - 1.0
        # The last 20 forward returns realised by bar b are the trailing returns of bars b-19 to b.
        scale_BN = rolling_std(trailing_BN, 20)
        scale_BN[~(scale_BN > SMALLEST_VOLATILITY)] = np.nan
        return_BN = panel.own_bars.shift(trailing_BN, -tau) if mode == "forward" else trailing_BN
        signal_BN += weight * return_BN / scale_BN
    return panel.own_bars.put(signal_BN)

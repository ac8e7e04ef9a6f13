"""The only door to tomorrow: forward returns, excess returns and rating labels. Only scoring and evaluation use it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import DataError
from tradeschool.market.indicators import rolling_std, segments, volatility_TN
from tradeschool.market.panel import Floats, Panel

LABEL_WEIGHTS: dict[int, float] = {3: 0.3, 7: 0.5, 15: 0.2}
"""Horizon in days to its weight in the label's signal (Trading-R1, arXiv 2509.11420, Algorithm S1)."""
LABEL_QUANTILES = (0.03, 0.15, 0.53, 0.85)
LONGEST_LABEL_HORIZON = 15
CLIP = 4.0
"""Bound of one horizon's excess return, in volatilities, so that one jump does not drown the rest."""
SMALLEST_VOLATILITY = 1e-8
"""Below it a daily volatility is rounding, not risk, and nothing is divided by it."""

LabelMode = Literal["forward", "paper"]


@dataclass(frozen=True)
class Labels:
    """``label_TN`` is -2 (STRONG_SELL) to 2 (STRONG_BUY), NaN where there is none; ``signal_TN`` is what was cut.

    ``cuts`` are the four ascending bounds fitted on the training rows.
    """

    label_TN: Floats
    signal_TN: Floats
    cuts: tuple[float, float, float, float]


def forward_return_TN(panel: Panel, horizon: int) -> Floats:
    """log(open[t+1+horizon] / open[t+1]): what a decision taken after the close of t earns, filled at the next open.

    NaN where the ticker has no bar at t (nobody could decide), no open at t+1 (no fill) or none at
    t+1+horizon (a gap, a delisting, the end of the panel). What is lost in a delisting is therefore
    not in it.
    """
    if horizon < 1:
        raise ValueError(f"horizon is {horizon} days; it must be at least 1")
    forward_TN = np.full(panel.shape, np.nan)
    rows = len(panel.dates_T) - 1 - horizon
    if rows > 0:
        forward_TN[:rows] = np.log(panel.open_TN[1 + horizon :] / panel.open_TN[1 : 1 + rows])
    forward_TN[~panel.listed_TN] = np.nan
    return forward_TN


def excess_TN(panel: Panel, horizons: Sequence[int]) -> Floats:
    """Forward return above the market, in volatilities, averaged over ``horizons`` (days).

    Per horizon h: clip((forward - mean forward over the tickers of that date) / (volatility at t * sqrt(h)),
    -4, 4). The mean is equal-weight, the ticker itself included. A panel of one ticker has no market to
    compare with, so nothing is subtracted there; in a larger panel a date with a single ticker is NaN.
    NaN, too, where any horizon's return is missing (so that all values mean the same) and where the
    volatility is unknown or zero.
    """
    if not horizons:
        raise ValueError("horizons is empty; give at least one number of days")
    volatility = volatility_TN(panel)
    volatility = np.where(volatility > SMALLEST_VOLATILITY, volatility, np.nan)
    total_TN = np.zeros(panel.shape)
    for horizon in horizons:
        above_TN = _above_market(forward_return_TN(panel, horizon))
        total_TN += np.clip(above_TN / (volatility * np.sqrt(horizon)), -CLIP, CLIP)
    return total_TN / len(horizons)


def _above_market(forward_TN: Floats) -> Floats:
    if forward_TN.shape[1] == 1:
        return forward_TN
    known_TN = np.isfinite(forward_TN)
    count_T1 = known_TN.sum(axis=1, keepdims=True)
    sum_T1 = np.where(known_TN, forward_TN, 0.0).sum(axis=1, keepdims=True)
    market_T1 = np.divide(sum_T1, count_T1, out=np.full(sum_T1.shape, np.nan), where=count_T1 >= 2)
    above_TN: Floats = forward_TN - market_T1
    return above_TN


def planted_TN(panel: Panel) -> Floats | None:
    """The best possible forecast, on practice markets only: see :class:`Panel`. None on real ones."""
    return panel.planted_TN


def rating_labels(panel: Panel, train_rows_T: NDArray[np.bool_], mode: LabelMode = "forward") -> Labels:
    """Five-point labels by Trading-R1's Algorithm S1 (arXiv 2509.11420), with two cures.

    Per ticker: E = EMA(close, span 3, pandas ``ewm`` convention); for each horizon tau of 3, 7 and 15 days
    S_tau = R_tau / V_tau; signal = .3 S3 + .5 S7 + .2 S15; the quantiles .03, .15, .53, .85 cut it, a value equal
    to a cut belonging to the class above.

    Cure 1: the paper's algorithm writes trailing returns though it means forward ones. ``forward`` takes
    R_tau = E[t+tau] / E[t] - 1, and V_tau = std (ddof 1) of the last 20 such returns that were fully realised by t,
    so the scale is known at t. ``paper`` takes the trailing R_tau = E[t] / E[t-tau] - 1 with the same V_tau.
    Cure 2: the cuts are fitted on training rows only, without the last 15 in ``forward`` mode, whose signals
    reach beyond them. So no price after the last training row moves a cut. (An all-True mask in ``paper`` mode
    is the paper's own rule.)

    The cuts are pooled over tickers: signals are already in each ticker's own volatility, and a ticker
    listed late has too few training rows for a 3 % tail. A ticker's shares of the classes can therefore differ
    from 3/12/38/32/15 %; the pool's cannot.

    Args:
        panel: prices; a gap leaves labels NaN around it and spoils no other row.
        train_rows_T: True on training rows, [T].
        mode: ``forward`` or ``paper``.

    Raises:
        DataError: no training row has a signal.
    """
    signal_TN = _label_signal(panel, mode)
    fit_T = np.array(train_rows_T, dtype=bool)
    if mode == "forward" and fit_T.any():
        fit_T[max(0, int(np.flatnonzero(fit_T)[-1]) - LONGEST_LABEL_HORIZON + 1) :] = False
    fit = signal_TN[fit_T]
    fit = fit[np.isfinite(fit)]
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
    if mode not in ("forward", "paper"):
        raise ValueError(f"mode is {mode!r}; it is 'forward' or 'paper'")
    ema_TN = _ema(panel.close_TN, span=3)
    signal_TN = np.zeros(panel.shape)
    for tau, weight in LABEL_WEIGHTS.items():
        trailing_TN = np.full(panel.shape, np.nan)
        trailing_TN[tau:] = ema_TN[tau:] / ema_TN[:-tau] - 1.0
        forward_TN = np.full(panel.shape, np.nan)
        forward_TN[:-tau] = trailing_TN[tau:]
        # The last 20 forward returns realised by t are the trailing returns of rows t-19 to t.
        scale_TN = rolling_std(trailing_TN, 20)
        scale_TN[~(scale_TN > SMALLEST_VOLATILITY)] = np.nan
        signal_TN += weight * (forward_TN if mode == "forward" else trailing_TN) / scale_TN
    return signal_TN


def _ema(close_TN: Floats, span: int) -> Floats:
    import pandas as pd

    ema_TN = np.full(close_TN.shape, np.nan)
    for n in range(close_TN.shape[1]):
        for rows in segments(np.isfinite(close_TN[:, n])):
            ema_TN[rows, n] = pd.Series(close_TN[rows, n]).ewm(span=span).mean().to_numpy()
    return ema_TN

"""What became of every question of the direction task, and what the training dates say about outcomes.

H horizons, F numbers that a probability depends on.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tradeschool.market import labels
from tradeschool.market.features import volatility_TN
from tradeschool.market.panel import Floats, Panel

EVEN = 0.5
FEWEST = 20
"""With fewer outcomes a share is not estimated, and counts as even."""


@dataclass(frozen=True)
class Outcomes:
    """Moves of one horizon, all arrays [T, N].

    Attributes:
        days: the horizon.
        move_TN: from the next open, in percent; above the mean of all stocks for the label ``neutral``. NaN where not
            known.
        typical_TN: size of a typical move, in percent, known at the close: in proportion to the volatility.
        train_TN: the training outcomes.
    """

    days: int
    move_TN: Floats
    typical_TN: Floats
    train_TN: NDArray[np.bool_]

    @classmethod
    def of(cls, panel: Panel, train_T: NDArray[np.int64], days: int, label: Literal["neutral", "raw"]) -> "Outcomes":
        """The moves over ``days`` own bars."""
        forward_TN = labels.forward_return_TN(panel, days)
        move_TN = 100 * (np.expm1(forward_TN) if label == "raw" else labels.above_market(forward_TN))
        known_TN = np.zeros(panel.shape, dtype=bool)
        known_TN[train_T] = np.isfinite(move_TN[train_T])
        wide_TN = volatility_TN(panel) * np.sqrt(days)
        both_TN = known_TN & np.isfinite(wide_TN)
        middle = float(np.median(np.abs(move_TN[known_TN]))) if known_TN.any() else 1.0
        per_volatility = np.median(np.abs(move_TN[both_TN])) / np.median(wide_TN[both_TN]) if both_TN.any() else np.nan
        typical_TN = per_volatility * wide_TN
        return cls(days, move_TN, np.where(np.isfinite(typical_TN), typical_TN, middle), known_TN)

    @property
    def up_TN(self) -> Floats:
        """1 where the move is above 0, otherwise 0; NaN where it is not known."""
        return np.where(np.isfinite(self.move_TN), (self.move_TN > 0).astype(float), np.nan)

    def share_up(self, where_TN: NDArray[np.bool_] | None = None) -> float:
        """The share of training outcomes that went up; even where they are few."""
        chosen_TN = self.train_TN if where_TN is None else self.train_TN & where_TN
        return float(self.up_TN[chosen_TN].mean()) if chosen_TN.sum() >= FEWEST else EVEN


def day_return_TN(panel: Panel) -> Floats:
    """Log return of the close since the own bar before, known at the close."""
    return panel.own_bars.put(np.diff(np.log(panel.own_bars.take(panel.close_TN)), axis=0, prepend=np.nan))


def best_probability_TN(panel: Panel, outcomes: Outcomes, label: Literal["neutral", "raw"]) -> Floats | None:
    """The probability of UP given the true forecast of a synthetic market; None on any other, or beyond one day.

    A logistic regression of the training outcomes on the forecast, which is in volatilities; for the label ``raw`` also
    on one over the volatility, since the drift that all stocks share is the same in percent. It errs by what this curve
    misses of the true one, and by nothing about the forecast.
    """
    alpha_TN = labels.true_alpha_TN(panel)
    if alpha_TN is None or outcomes.days != 1 or not outcomes.train_TN.any():
        return None
    if label == "neutral":
        columns = [np.ones(panel.shape), labels.above_market(alpha_TN)]
    else:
        columns = [np.ones(panel.shape), alpha_TN, 0.01 / volatility_TN(panel)]
    x_TNF = np.stack(columns, axis=2)
    fit_TN = outcomes.train_TN & np.isfinite(x_TNF).all(2)
    probability_TN: Floats = _logistic(x_TNF @ _regression(x_TNF[fit_TN], outcomes.up_TN[fit_TN]))
    return probability_TN


def _logistic(x: Floats) -> Floats:
    y: Floats = 1 / (1 + np.exp(-x))
    return y


def _regression(x_QF: Floats, y_Q: Floats, steps: int = 25) -> Floats:
    """The coefficients of a logistic regression, by Newton's method."""
    weight_F = np.zeros(x_QF.shape[1])
    for _ in range(steps):
        p_Q = _logistic(x_QF @ weight_F)
        curve_FF = (x_QF * (p_Q * (1 - p_Q))[:, None]).T @ x_QF + 1e-9 * np.eye(len(weight_F))
        weight_F = weight_F + np.linalg.solve(curve_FF, x_QF.T @ (y_Q - p_Q))
    return weight_F

"""Simple and statistical forecasts of closes as policies: what a forecasting model must beat.

They read the scaled closes up to the question's date, which are more than a prompt shows.
"""

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from tradeschool.errors import RecipeError
from tradeschool.market.panel import Floats
from tradeschool.policies.base import Answerer, Kind
from tradeschool.tasks.base import Example
from tradeschool.tasks.forecast_windows import PanelWindows

Forecast = Callable[[Example], tuple[float, ...]]
"""A question to a path in the unit of the prompt."""
HISTORY = 250
"""Closes from which drift is estimated."""
FIT_STEPS = 100
"""Of the optimizer that fits a statistical model."""
PERSISTENCE, BUY_AND_HOLD = "persistence", "buy and hold"


class Questions(Protocol):
    """What a forecast needs of its task."""

    windows: PanelWindows
    horizons: list[int]
    inputs: int

    def path(self, example: Example, changes: Sequence[float]) -> tuple[float, ...]:
        """A path in the unit of the prompt from changes in daily volatilities."""


class Forecaster(Answerer):
    """Answers with the paths of a forecast, in the task's format."""

    def __init__(self, name: str, kind: Kind, forecast: Forecast) -> None:
        self.name, self.kind, self._forecast = name, kind, forecast

    def answer(self, task: Any, examples: Sequence[Example]) -> list[str]:
        """One answer per example."""
        return [task.format_answer(self._forecast(example), f"By {self.name}.") for example in examples]


def simple(task: Questions) -> dict[str, Forecast]:
    """Forecasts without parameters, by name."""
    days_H, inputs = np.array(task.horizons, float), task.inputs

    def of_closes(bars: int, path: Callable[[Floats], Floats]) -> Forecast:
        def forecast(example: Example) -> tuple[float, ...]:
            closes_L = task.windows.closes(example.t, example.n, bars)
            step = task.windows.step_TN[example.t, example.n]
            return task.path(example, ((path(closes_L) - closes_L[-1]) / step).tolist())

        return forecast

    def drift(closes_L: Floats) -> Floats:
        change = (closes_L[-1] - closes_L[0]) / max(len(closes_L) - 1, 1)
        path_H: Floats = closes_L[-1] + change * days_H
        return path_H

    def line(closes_L: Floats) -> Floats:
        slope, level = np.polyfit(np.arange(len(closes_L)), closes_L, 1)
        path_H: Floats = level + slope * (len(closes_L) - 1 + days_H)
        return path_H

    return {
        PERSISTENCE: of_closes(1, lambda closes_L: np.full(len(days_H), closes_L[-1])),
        "drift": of_closes(HISTORY, drift),
        "moving average": of_closes(inputs, lambda closes_L: np.full(len(days_H), closes_L.mean())),
        "linear extrapolation": of_closes(inputs, line),
    }


def baselines(task: Questions, full_change: float, statistical: bool) -> list[Answerer]:
    """The forecasts above, and one that implies a stock that is bought and held.

    Args:
        task: the questions.
        full_change: the change over the longest horizon, in daily volatilities, that implies a full position.
        statistical: whether ARIMA and exponential smoothing are among them.
    """
    found: list[Answerer] = [
        Forecaster(name, "naive" if name in (PERSISTENCE, "drift") else "rule", forecast)
        for name, forecast in simple(task).items()
    ]
    # A straight line a little steeper than needed: a poor forecast, whose position is always full.
    rise_H = 1.2 * full_change * np.array(task.horizons) / task.horizons[-1]
    found.append(Forecaster(BUY_AND_HOLD, "naive", lambda example: task.path(example, rise_H.tolist())))
    if statistical:
        if importlib.util.find_spec("statsmodels") is None:
            raise RecipeError(
                "task.statistical: the baselines ARIMA and exponential smoothing need statsmodels, which is not "
                "installed. Install it: pip install 'tradeschool[forecast]', or set task.statistical=false."
            )
        found.append(Forecaster("ARIMA", "rule", FittedForecast(task, _arima)))
        found.append(Forecaster("exponential smoothing", "rule", FittedForecast(task, _smoothing)))
    return found


# statistical models -------------------------------------------------------------------------------


class FittedForecast:
    """A state-space model of statsmodels for each ticker: one fit, on the training closes.

    Its Kalman filter then runs once over all closes. The state at a close has seen nothing later, and with fixed
    parameters it gives the forecast of every horizon. A ticker is fitted when it is first asked about.

    Args:
        task: the questions.
        model: of a series of closes.
    """

    def __init__(self, task: Questions, model: Callable[[Floats], Any]) -> None:
        self._task, self._model = task, model
        self._known: dict[int, Floats] = {}

    def __call__(self, example: Example) -> tuple[float, ...]:
        """The path in the unit of the prompt."""
        t, n, windows = example.t, example.n, self._task.windows
        if n not in self._known:
            self._known[n] = self._paths_TH(n)
        change_H = (self._known[n][t] - windows.scaled_TN[t, n]) / windows.step_TN[t, n]
        return self._task.path(example, change_H.tolist())

    def _paths_TH(self, n: int) -> Floats:
        """The scaled closes forecast after each row's close; NaN on rows without one."""
        rows_B, training = self._task.windows.own_closes(n)
        closes_B = self._task.windows.scaled_TN[rows_B, n]
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of starting values and of slow convergence; the fit is still the best found
            params = self._model(closes_B[:training]).fit(disp=0, maxiter=FIT_STEPS).params
            filtered = self._model(closes_B).filter(params)
        state_SB = filtered.predicted_state[:, 1:]  # of the next bar, from all bars up to each
        space = filtered.filter_results
        move_SS, read_S = space.transition[:, :, 0], space.design[0, :, 0]
        paths_TH = np.full((self._task.windows.scaled_TN.shape[0], len(self._task.horizons)), np.nan)
        ahead = 1
        for place, horizon in enumerate(self._task.horizons):
            state_SB = np.linalg.matrix_power(move_SS, horizon - ahead) @ state_SB
            paths_TH[rows_B, place], ahead = read_S @ state_SB, horizon
        return paths_TH


def _arima(closes_B: Floats) -> Any:
    """ARIMA(1, 1, 1) without drift."""
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    return SARIMAX(closes_B, order=(1, 1, 1))


def _smoothing(closes_B: Floats) -> Any:
    """Exponential smoothing of level and trend; the trend is damped."""
    from statsmodels.tsa.statespace.exponential_smoothing import ExponentialSmoothing

    return ExponentialSmoothing(closes_B, trend=True, damped_trend=True)

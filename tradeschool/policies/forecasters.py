"""Simple and statistical forecasts of closes as policies: what a forecasting model must beat.

They read the scaled closes up to the question's date, which are more than a prompt shows.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from tradeschool.market.panel import Floats
from tradeschool.policies.base import Answerer, Kind
from tradeschool.tasks.base import Example
from tradeschool.tasks.forecast_windows import PanelWindows

Forecast = Callable[[Example], Sequence[float]]
"""A question to a path in the unit of the prompt."""
HISTORY = 250
"""Closes from which drift is estimated."""
PERSISTENCE, BUY_AND_HOLD = "persistence", "buy and hold"


class Questions(Protocol):
    """What a forecast needs of its task."""

    windows: PanelWindows
    horizons: Sequence[int]
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
        def forecast(example: Example) -> Sequence[float]:
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
    return found

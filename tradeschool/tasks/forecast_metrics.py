"""Metrics and figures of the forecast task.

They read the values of ``ForecastTask.metric_values``. Shapes: T dates, Q questions of a date, H horizons.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tradeschool.market.panel import Floats
from tradeschool.tasks.base import Figure, Metric, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PERSISTENCE = "persistence"
"""The name of the policy that repeats the last close, which every forecast is compared with."""
INK = "#010203"  # what evaluate/charts.py makes the colour of the page's text
BINS = 10
MOST_OWN = 4
"""Up to this many horizons each has a skill of its own in the table; of more, the first, the middle and the last."""


def metrics(horizons: Sequence[int]) -> list[Metric]:
    """The columns of the evaluation."""
    last = horizons[-1]
    pair = (f"forecast_{last}", f"outcome_{last}")
    days = f"day {last}"
    return [
        Metric("skill", "skill", "1 - squared error in variances / that of persistence, the last close", primary=True,
               aggregate="ratio", inputs=("gain", "persistence_error")),
        Metric("mse", "MSE", "mean squared error of scaled closes", 4, better="lower", aggregate="mean_error"),
        Metric("mse_skill", "skill in MSE", "1 - MSE / that of persistence", aggregate="ratio",
               inputs=("mse_gain", "persistence_mse"), terminal="no"),
        Metric("mae", "MAE", "mean absolute error of scaled closes", 4, better="lower", aggregate="mean_error",
               terminal="no"),
        Metric("mase", "MASE", "mean absolute error / mean absolute change of a day in training", 2, better="lower",
               aggregate="mean_error", terminal="no"),
        Metric("direction", "direction %", f"forecasts of {days} on the right side of the last close", 1, 100,
               aggregate="sign_agreement", inputs=pair, terminal="no"),
        Metric("ic", "IC", f"correlation of forecast and true change, {days}", aggregate="correlation", inputs=pair,
               terminal="no"),
        Metric("rank_ic", "rank IC", f"rank correlation of forecast and true change, {days}",
               aggregate="rank_correlation", inputs=pair),
        Metric("dm", "DM", "Diebold-Mariano statistic: mean gain on persistence's squared error, in standard errors",
               2, aggregate="statistic", inputs=("gain",), terminal="no"),
        Metric("dm_p", "DM p", "its two-sided p-value, not adjusted for the number of policies", 3, better="lower",
               aggregate="p_value", inputs=("gain",)),
        *(
            Metric(f"skill_{h}", f"skill, day {h}", f"skill in the close after {h} days", aggregate="ratio",
                   inputs=(f"gain_{h}", f"persistence_error_{h}"), terminal="no")
            for h in _shown(horizons)
        ),
    ]  # fmt: skip


def _shown(horizons: Sequence[int]) -> list[int]:
    """The horizons with a skill of their own in the table."""
    if len(horizons) <= MOST_OWN:
        return list(horizons) if len(horizons) > 1 else []
    return [horizons[0], horizons[(len(horizons) - 1) // 2], horizons[-1]]


# figures ------------------------------------------------------------------------------------------


def figures(horizons: Sequence[int]) -> list[Figure]:
    """Forecast fans over true paths, error by horizon, calibration."""
    last = horizons[-1]
    found = [Figure(f"Forecasts and what happened, day {last}", partial(_paint_calibration, last))]
    if len(horizons) > 1:
        found += [
            Figure("Skill by day of the forecast", partial(_paint_by_horizon, horizons)),
            *(Figure(f"Forecasts of one question ({name})", partial(_paint_fan, horizons, share))
              for name, share in (("first third of the dates", 1 / 3), ("second third", 2 / 3))),
        ]  # fmt: skip
    return found


def _paint_calibration(day: int, axes: "Axes", policies: Mapping[str, Values]) -> None:
    """Mean true change by tenth of the forecasts: on the diagonal where forecasts have the right size."""
    reach = 0.0
    for policy, values in policies.items():
        forecast, outcome = (_flat(values, f"{name}_{day}") for name in ("forecast", "outcome"))
        known = np.isfinite(forecast) & np.isfinite(outcome)
        if policy == PERSISTENCE or not known.any() or np.ptp(forecast[known]) == 0:
            continue
        order = np.argsort(forecast[known], kind="stable")
        parts = [part for part in np.array_split(order, BINS) if part.size]
        x, y = ([float(given[known][part].mean()) for part in parts] for given in (forecast, outcome))
        axes.plot(x, y, marker="o", markersize=3, linewidth=1.2, label=policy)
        reach = max(reach, *map(abs, x))
    axes.axline((0, 0), slope=1, color=INK, linewidth=0.8, linestyle=":")
    axes.set_xlim(-min(reach, 4 * np.sqrt(day)), min(reach, 4 * np.sqrt(day)) or 1.0)
    axes.set_xlabel(f"forecast change over {day} days, daily volatilities")
    axes.set_ylabel("mean true change")
    _legend(axes)


def _paint_by_horizon(horizons: Sequence[int], axes: "Axes", policies: Mapping[str, Values]) -> None:
    """1 - squared error / that of persistence, for each day."""
    lowest = -0.05
    for policy, values in policies.items():
        gain_H, error_H = (
            np.array([np.nansum(values[f"{name}_{h}"]) if f"{name}_{h}" in values else np.nan for h in horizons])
            for name in ("gain", "persistence_error")
        )
        skill_H = np.divide(gain_H, error_H, out=np.full(len(horizons), np.nan), where=error_H > 0)
        if np.isfinite(skill_H).any():
            axes.plot(horizons, skill_H, marker="o", markersize=3, linewidth=1.2, label=policy)
            lowest = min(lowest, float(np.nanmin(skill_H)))
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_ylim(bottom=max(lowest - 0.02, -0.5))  # what is far worse than persistence would hide the rest
    axes.set_xlabel("days ahead")
    axes.set_ylabel("skill against persistence")
    _legend(axes)


def _paint_fan(horizons: Sequence[int], share: float, axes: "Axes", policies: Mapping[str, Values]) -> None:
    """The forecasts of all policies and the true path of the question at that share of the dates."""
    values = next((one for one in policies.values() if f"outcome_{horizons[-1]}" in one), None)
    if values is None:
        return
    known_TQ = np.isfinite(values[f"outcome_{horizons[-1]}"])
    dates_T = np.flatnonzero(known_TQ.any(axis=1))
    t = int(dates_T[int(share * (len(dates_T) - 1))])
    q = int(np.flatnonzero(known_TQ[t])[0])
    days = [0, *horizons]
    for policy, found in policies.items():
        path = [0.0, *(float(found[f"forecast_{h}"][t, q]) if f"forecast_{h}" in found else np.nan for h in horizons)]
        if np.isfinite(path).all():
            axes.plot(days, path, linewidth=1.1, label=policy)
    true = [0.0, *(float(values[f"outcome_{h}"][t, q]) for h in horizons)]
    axes.plot(days, true, color=INK, linewidth=2, label="true path")
    axes.set_xlabel("days ahead")
    axes.set_ylabel("change, daily volatilities")
    _legend(axes)


def _flat(values: Values, name: str) -> Floats:
    return values[name].ravel() if name in values else np.array([np.nan])


def _legend(axes: "Axes") -> None:
    handles, labels = axes.get_legend_handles_labels()
    axes.figure.legend(handles, labels, loc="outside lower center", ncols=3)

"""Statistics of the last few closes: extremes, mean and median with their time steps, trend, lag correlations."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tradeschool.market.panel import Floats, Panel

LENGTH = 10
"""Closes in a window: what the forecasting pipeline of VTA (arXiv 2511.08616) reads."""
LAGS = 3
BLOCK_CELLS = 32_768
"""Closes that are worked on together: with their windows a few MB, so that memory does not grow with the panel."""


def names(lags: int = LAGS) -> tuple[str, ...]:
    """The statistics by name, in the order of :func:`window_statistics`."""
    extremes = ("min", "min_timestep", "max", "max_timestep", "mean", "median", "median_timestep", "trend")
    return (*extremes, *(f"lag_{lag}" for lag in range(1, lags + 1)))


def window_statistics(windows_WL: Floats, lags: int = LAGS) -> dict[str, Floats]:
    """Each statistic of each window, [W]; NaN where a value of the window is missing or infinite.

    Time steps count from 0, the oldest value, to L - 1, the newest.

    =================  =====================================================================================
    min, max           smallest and largest value; ``min_timestep``, ``max_timestep``: where, the first of equals
    mean               sum / L, from deviations to the first value, so that equal values have themselves as mean
    median             middle value, or the mean of the two middle ones; ``median_timestep``: where the value nearest
                       to it stands, the first of equals (with an even L both middle values are equally near)
    trend              least-squares slope, in units of the values per step: sum((i - i_mean) x_i) / sum((i - i_mean)^2)
    lag_k              autocorrelation at lag k (Box and Jenkins, Time Series Analysis, 2.1.5):
                       sum_{i<L-k}((x_i - m)(x_{i+k} - m)) / sum((x_i - m)^2); NaN where all values are equal
    =================  =====================================================================================

    The original (VTA, arXiv 2511.08616) has no slope but the sum of the steps, last - first value, as its trend,
    the lower of the two middle values as its median, and a ranking of circular lags in place of correlations.

    Args:
        windows_WL: windows by values, oldest first.
        lags: lag correlations 1 to ``lags``.

    Raises:
        ValueError: fewer than two values in a window, or a lag that leaves no pair.
    """
    if windows_WL.ndim != 2:
        raise ValueError(f"windows have shape {windows_WL.shape}; give [W, L]")
    _check(windows_WL.shape[1], lags)
    windows_LW = np.array(windows_WL.T, dtype=np.float64, order="C")
    known_W = np.isfinite(windows_LW).all(axis=0)
    # So that no warning and no infinity arises in windows that are NaN anyway.
    windows_LW[:, ~known_W] = 0.0
    found = _positions(windows_LW) | _moments(windows_LW, lags)
    for values_W in found.values():
        values_W[~known_W] = np.nan
    return {name: found[name] for name in names(lags)}


def _check(length: int, lags: int) -> None:
    if length < 2:
        raise ValueError(f"a window has {length} values; it must have at least 2")
    if not 0 <= lags < length:
        raise ValueError(f"lags is {lags}; a window of {length} values has lag correlations 1 to {length - 1}")


def _positions(windows_LW: Floats) -> dict[str, Floats]:
    count = len(windows_LW)
    sorted_LW = np.sort(windows_LW, axis=0)
    low_W, high_W = sorted_LW[(count - 1) // 2], sorted_LW[count // 2]
    middle_LW = (windows_LW == low_W) | (windows_LW == high_W)
    return {
        "min": sorted_LW[0].copy(),
        "min_timestep": windows_LW.argmin(axis=0).astype(np.float64),
        "max": sorted_LW[-1].copy(),
        "max_timestep": windows_LW.argmax(axis=0).astype(np.float64),
        "median": low_W + (high_W - low_W) / 2,
        "median_timestep": middle_LW.argmax(axis=0).astype(np.float64),
    }


def _moments(windows_LW: Floats, lags: int) -> dict[str, Floats]:
    count = len(windows_LW)
    first_W = windows_LW[0]
    # Centred on the window's first value: equal values give exactly 0, and large prices lose no digits.
    centred_LW = windows_LW - first_W
    shift_W = _total(centred_LW) / count
    steps_L = np.arange(count) - (count - 1) / 2
    found = {
        "mean": first_W + shift_W,
        "trend": _total(steps_L[:, None] * centred_LW) / float(steps_L @ steps_L),
    }
    deviations_LW = centred_LW - shift_W
    spread_W = _total(deviations_LW * deviations_LW)
    spread_W[spread_W == 0] = np.nan
    for lag in range(1, lags + 1):
        found[f"lag_{lag}"] = _total(deviations_LW[:-lag] * deviations_LW[lag:]) / spread_W
    return found


def _total(values_LW: Floats) -> Floats:
    # Row by row: numpy's own sum adds in another order for other shapes, and a cut history must give the same floats.
    total_W = values_LW[0].copy()
    for values_W in values_LW[1:]:
        total_W += values_W
    return total_W


def panel_statistics(panel: Panel, length: int = LENGTH, lags: int = LAGS) -> dict[str, Floats]:
    """:func:`window_statistics` of the last ``length`` closes at every close of t: ``stat_min``, ..., [T, N] each.

    NaN in the first ``length`` - 1 rows of every unbroken run of bars: a window never bridges a gap. A value
    depends on its own ``length`` closes only, so a cut history gives the same floats.

    Raises:
        ValueError: as :func:`window_statistics`.
    """
    _check(length, lags)
    values = {f"stat_{name}": np.full(panel.shape, np.nan) for name in names(lags)}
    step = max(1, BLOCK_CELLS // panel.shape[0])
    for first in range(0, panel.shape[1], step) if panel.shape[0] >= length else ():
        block = np.s_[:, first : first + step]
        windows_TBL = sliding_window_view(panel.close_TN[block], length, axis=0)
        found = window_statistics(windows_TBL.reshape(-1, length), lags)
        for name, values_W in found.items():
            values[f"stat_{name}"][length - 1 :][block] = values_W.reshape(windows_TBL.shape[:2])
    return values

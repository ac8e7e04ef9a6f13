"""Causal features: the value at row t uses bars up to and including row t only.

Every ticker's are computed on its own bars, so the days on which others trade do not matter: a day without a bar has
no value, and a suspension (:class:`~tradeschool.market.own_bars.OwnBars`) starts a new warm-up.

Indicators through TA-Lib (:data:`TABLE`), volatility, the strength against the market, and statistics of the last ten
closes.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import talib
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tradeschool.errors import DataError, did_you_mean
from tradeschool.market.panel import Floats, Panel

SETTLED = 250
"""Bars after which exponentially smoothed indicators (RSI, ADX, MACD, ATR, EMA) no longer depend on where the
history starts, to 1e-6."""
PRICES, VOLUMES = ("high", "low", "close"), ("volume",)
FLAT_SPAN = 14
STRENGTH_DAYS = 10
STATISTICS_LENGTH = 10
"""Closes that the statistics describe: what the forecasting pipeline of VTA (arXiv 2511.08616) reads."""
STATISTICS_LAGS = 3


@dataclass(frozen=True)
class Bars:
    """One ticker over an unbroken run of its own bars, [T] each; the volume may be NaN where only prices are needed."""

    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    @cached_property
    def flat_T(self) -> NDArray[np.bool_] | None:
        """True where the last 14 bars had one single price; None if there is no such bar."""
        if (self.high > self.low).all():
            return None
        flat_T: NDArray[np.bool_] = talib.MAX(self.high, FLAT_SPAN) == talib.MIN(self.low, FLAT_SPAN)
        return flat_T


Formula = Callable[[Bars], Any]
"""Bars to one array [T] or a tuple of them."""


@dataclass(frozen=True)
class Indicator:
    """One row of :data:`TABLE`: output number ``output`` of a formula that is called once for all its rows.

    ``source`` is the formula in words, ``warm_up`` the number of NaN rows at the start of every unbroken run of bars,
    ``needs`` the columns that must be known. ``recursive`` ones depend on the run's start for :data:`SETTLED` bars.
    """

    name: str
    source: str
    warm_up: int
    formula: Formula
    output: int = 0
    recursive: bool = False
    needs: tuple[str, ...] = PRICES


def _unless_flat(bars: Bars, *outputs_T: Floats) -> tuple[Floats, ...]:
    # TA-Lib writes 0 where an oscillator divides by zero, and 0 reads as "oversold".
    if bars.flat_T is not None:
        for values_T in outputs_T:
            values_T[bars.flat_T] = np.nan
    return outputs_T


def _stochastic(bars: Bars) -> tuple[Floats, ...]:
    stochastic = talib.STOCH(bars.high, bars.low, bars.close, fastk_period=14, slowk_period=3, slowd_period=3)
    return _unless_flat(bars, *stochastic)


def _macd(bars: Bars) -> Any:
    return talib.MACD(bars.close, 12, 26, 9)


def _bands(bars: Bars) -> Any:
    return talib.BBANDS(bars.close, 20, 2, 2)


def _volume_ratio(bars: Bars) -> Floats:
    mean_T: Floats = talib.SMA(bars.volume, 20)
    mean_T[~(mean_T > 0)] = np.nan
    return np.divide(bars.volume, mean_T, out=mean_T)


def _of_bars(function: Callable[..., Any], period: int) -> Formula:
    return lambda bars: function(bars.high, bars.low, bars.close, period)


def _of_close(function: Callable[..., Any], period: int) -> Formula:
    return lambda bars: function(bars.close, period)


# To add an indicator, add a row. Periods are in bars. TP is (high + low + close) / 3; TR is
# max(high, previous close) - min(low, previous close); Wilder(x) is w += (x - w) / 14, started with a plain mean.
# fmt: off
TABLE: tuple[Indicator, ...] = (
    Indicator("sma_20", "TA-Lib SMA: mean of the last 20 closes", 19, _of_close(talib.SMA, 20)),
    Indicator("sma_50", "TA-Lib SMA: mean of the last 50 closes", 49, _of_close(talib.SMA, 50)),
    Indicator("ema_20", "TA-Lib EMA: e += 2/21 (close - e), started with the mean of 20 closes", 19,
              _of_close(talib.EMA, 20), recursive=True),
    Indicator("mom_10", "TA-Lib MOM: close - close 10 bars ago", 10, _of_close(talib.MOM, 10)),
    Indicator("roc_10", "TA-Lib ROC: change of the close over 10 bars, percent", 10, _of_close(talib.ROC, 10)),
    Indicator("stoch_k", "TA-Lib STOCH 14, 3, 3 (Lane): mean of 3 of 100 (close - low) / (high - low) over 14 bars: "
              "slow %K", 17, _stochastic),
    Indicator("stoch_d", "TA-Lib STOCH 14, 3, 3 (Lane): mean of the last 3 slow %K: slow %D", 17, _stochastic, 1),
    Indicator("rsi_14", "TA-Lib RSI (Wilder 1978): 100 Wilder(rises) / Wilder(rises + falls) of the close", 14,
              lambda bars: _unless_flat(bars, talib.RSI(bars.close, 14)), recursive=True),
    Indicator("macd", "TA-Lib MACD 12, 26, 9 (Appel): EMA 12 - EMA 26 of the close", 33, _macd, 0, True),
    Indicator("macd_signal", "TA-Lib MACD 12, 26, 9 (Appel): EMA 9 of macd", 33, _macd, 1, True),
    Indicator("macd_hist", "TA-Lib MACD 12, 26, 9 (Appel): macd - macd_signal", 33, _macd, 2, True),
    Indicator("willr_14", "TA-Lib WILLR (Williams %R): -100 (highest - close) / (highest - lowest) of 14 bars", 13,
              lambda bars: _unless_flat(bars, talib.WILLR(bars.high, bars.low, bars.close, 14))),
    Indicator("cci_20", "TA-Lib CCI (Lambert 1980): (TP - mean of 20 TP) / (.015 mean absolute deviation)", 19,
              _of_bars(talib.CCI, 20)),
    Indicator("adx_14", "TA-Lib ADX (Wilder 1978): Wilder(100 |plus_di - minus_di| / (plus_di + minus_di))", 27,
              _of_bars(talib.ADX, 14), recursive=True),
    Indicator("plus_di", "TA-Lib PLUS_DI 14 (Wilder 1978): 100 Wilder(rise of the high, where larger) / Wilder(TR)",
              14, _of_bars(talib.PLUS_DI, 14), recursive=True),
    Indicator("minus_di", "TA-Lib MINUS_DI 14 (Wilder 1978): 100 Wilder(fall of the low, where larger) / Wilder(TR)",
              14, _of_bars(talib.MINUS_DI, 14), recursive=True),
    Indicator("bb_upper", "TA-Lib BBANDS (Bollinger): mean of 20 closes + 2 std (ddof 0)", 19, _bands),
    Indicator("bb_middle", "TA-Lib BBANDS (Bollinger): mean of 20 closes", 19, _bands, 1),
    Indicator("bb_lower", "TA-Lib BBANDS (Bollinger): mean of 20 closes - 2 std (ddof 0)", 19, _bands, 2),
    Indicator("atr_14", "TA-Lib ATR (Wilder 1978): Wilder(TR), price units", 14, _of_bars(talib.ATR, 14),
              recursive=True),
    Indicator("volume_ratio_20", "volume / TA-Lib SMA of the last 20 volumes, today included", 19, _volume_ratio,
              needs=VOLUMES),
)
# fmt: on
VOLATILITY = "volatility_20"
"""See :func:`volatility_TN`; not in TABLE because it does not use TA-Lib. Warm-up 20 rows."""

NAMES: tuple[str, ...] = (*(row.name for row in TABLE), VOLATILITY)


def compute(panel: Panel, names: Iterable[str] | None = None) -> dict[str, Floats]:
    """Compute indicators as arrays [T, N] (Fortran order), NaN where undefined.

    :data:`TABLE` has each indicator's formula and warm-up. Bars after row t never change row t: a truncated history
    gives the same floats.

    Args:
        panel: the market.
        names: which indicators; all of :data:`NAMES` by default.

    Raises:
        DataError: a name is not in :data:`NAMES`.
    """
    wanted = NAMES if names is None else tuple(dict.fromkeys(names))
    for name in wanted:
        if name not in NAMES:
            raise DataError(f"Unknown indicator '{name}'.{did_you_mean(name, NAMES)} Available: {', '.join(NAMES)}.")
    values: dict[str, Floats] = {}
    for needs in (PRICES, VOLUMES):
        if rows := [row for row in TABLE if row.needs == needs and row.name in wanted]:
            values |= {name: panel.own_bars.put(own_BN) for name, own_BN in _table_values(panel, rows, needs).items()}
    if VOLATILITY in wanted:
        values[VOLATILITY] = volatility_TN(panel)
    return {name: values[name] for name in wanted}


def _table_values(panel: Panel, rows: list[Indicator], needs: tuple[str, ...]) -> dict[str, Floats]:
    take = panel.own_bars.take
    columns = {name: np.ascontiguousarray(take(getattr(panel, f"{name}_TN")).T) for name in (*PRICES, *VOLUMES)}
    known_NT: NDArray[np.bool_] = np.all([np.isfinite(columns[name]) for name in needs], axis=0)
    values = {row.name: np.full(known_NT.shape, np.nan) for row in rows}
    for n in range(len(panel.tickers)):
        for run in segments(known_NT[n]):
            bars = Bars(**{name: column_NT[n, run] for name, column_NT in columns.items()})
            found = {formula: formula(bars) for formula in dict.fromkeys(row.formula for row in rows)}
            for row in rows:
                outputs = found[row.formula]
                values[row.name][n, run] = outputs[row.output] if isinstance(outputs, tuple) else outputs
    return {name: values_NT.T for name, values_NT in values.items()}


def segments(good_T: NDArray[np.bool_]) -> Iterator[slice]:
    """The slices of unbroken True rows, in order."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], good_T, [False])).astype(np.int8)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        yield slice(int(start), int(stop))


def volatility_TN(panel: Panel, span: int = 20) -> Floats:
    """Daily volatility [T, N] known at the close of t: std (ddof 1) of the last ``span`` log close returns.

    NaN until there are ``span`` returns without a suspension.
    """
    logs_BN = np.log(panel.own_bars.take(panel.close_TN))
    return panel.own_bars.put(rolling_std(logs_BN - panel.own_bars.shift(logs_BN, 1), span))


def rolling_std(values_TN: Floats, span: int) -> Floats:
    """Std (ddof 1) [T, N] over the last ``span`` rows, the current one included; NaN if any of them is NaN."""
    import pandas as pd

    return pd.DataFrame(values_TN).rolling(span).std().to_numpy(copy=True)


def strength_TN(panel: Panel, volatility_TN: Floats) -> Floats:
    """Log return of ten own bars minus the market's of that date (equal weights), in units of own volatility, [T, N].

    With a single ticker there is no market to compare with, so its own return is used.

    Args:
        panel: the market.
        volatility_TN: each ticker's daily volatility, [T, N].
    """
    logs_BN = np.log(panel.own_bars.take(panel.close_TN))
    gained_TN = panel.own_bars.put(logs_BN - panel.own_bars.shift(logs_BN, STRENGTH_DAYS))
    if panel.shape[1] > 1:
        count_T = np.isfinite(gained_TN).sum(axis=1)
        mean_T = np.nansum(gained_TN, axis=1) / np.maximum(count_T, 1)
        gained_TN = gained_TN - mean_T[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled_TN = gained_TN / (volatility_TN * np.sqrt(STRENGTH_DAYS))
    return np.where(volatility_TN > 0, scaled_TN, np.nan)


# Statistics of the last closes -----------------------------------------------------------------------


def statistic_names(lags: int = STATISTICS_LAGS) -> tuple[str, ...]:
    """The statistics' names, in the order of :func:`window_statistics`."""
    extremes = ("min", "min_timestep", "max", "max_timestep", "mean", "median", "median_timestep", "trend")
    return (*extremes, *(f"lag_{lag}" for lag in range(1, lags + 1)))


def window_statistics(windows_WL: Floats, lags: int = STATISTICS_LAGS) -> dict[str, Floats]:
    """Each statistic of each window, [W]; NaN where a value of the window is missing or infinite.

    Time steps count from 0, the oldest value, to L - 1, the newest.

    =================  =====================================================================================
    min, max           smallest and largest value; ``min_timestep``, ``max_timestep``: where, the first of equals
    mean               sum / L, from deviations to the first value, so that equal values have themselves as mean
    median             middle value, or the mean of the two middle ones; ``median_timestep``: where the value nearest
                       to it is, the first of equals (with an even L both middle values are equally near)
    trend              least-squares slope, in units of the values per step: sum((i - i_mean) x_i) / sum((i - i_mean)^2)
    lag_k              autocorrelation at lag k (Box and Jenkins, Time Series Analysis, 2.1.5):
                       sum_{i<L-k}((x_i - m)(x_{i+k} - m)) / sum((x_i - m)^2); NaN where all values are equal
    =================  =====================================================================================

    VTA (arXiv 2511.08616) differs: its trend is last - first value, its median the lower of the two middle values,
    and it ranks circular lags instead of computing correlations.

    Args:
        windows_WL: windows by values, oldest first; at least two values each.
        lags: lag correlations 1 to ``lags``, fewer than there are values.
    """
    windows_LW = np.array(windows_WL.T, dtype=np.float64, order="C")
    known_W = np.isfinite(windows_LW).all(axis=0)
    # Avoids warnings and infinities in windows that become NaN anyway.
    windows_LW[:, ~known_W] = 0.0
    found = _positions(windows_LW) | _moments(windows_LW, lags)
    for values_W in found.values():
        values_W[~known_W] = np.nan
    return {name: found[name] for name in statistic_names(lags)}


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
    # Row by row: numpy's sum changes its order with the shape, and a truncated history must give the same floats.
    total_W = values_LW[0].copy()
    for values_W in values_LW[1:]:
        total_W += values_W
    return total_W


def panel_statistics(panel: Panel) -> dict[str, Floats]:
    """:func:`window_statistics` of the last ten closes at every row: ``stat_min``, ``stat_max``, ..., [T, N] each.

    NaN in the first nine bars of a ticker, and after a suspension. A value depends on its own ten closes only, so a
    truncated history gives the same floats.
    """
    first = STATISTICS_LENGTH - 1
    close_BN = panel.own_bars.take(panel.close_TN)
    values = {name: np.full(close_BN.shape, np.nan) for name in statistic_names()}
    # One ticker at a time, so that memory does not grow with the panel.
    for n in range(panel.shape[1] if len(close_BN) > first else 0):
        for name, values_W in window_statistics(sliding_window_view(close_BN[:, n], STATISTICS_LENGTH)).items():
            values[name][first:, n] = values_W
    return {f"stat_{name}": panel.own_bars.put(own_BN) for name, own_BN in values.items()}

"""Causal indicators through TA-Lib: the value in row t uses bars up to and including row t, and no later one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import talib
from numpy.typing import NDArray

from tradeschool.market.panel import Floats, Panel

Bars = dict[str, Floats]
"""Open, high, low, close and volume of one ticker over one segment, each [T], float64, contiguous."""

SETTLED = 250
"""Bars after which exponentially smoothed indicators (RSI, ADX, MACD, ATR, EMA) no longer depend on where the
history starts, to 1e-6. Before it they are defined, but depend on the first bars."""


@dataclass(frozen=True)
class Indicator:
    """One row of the table. ``warm_up`` counts the NaN rows at the start of every segment."""

    name: str
    source: str
    warm_up: int
    formula: Callable[[Bars], Any]
    needs: tuple[str, ...] = ("open", "high", "low", "close")


def _stochastic(bars: Bars) -> tuple[Floats, Floats]:
    high, low, close = bars["high"], bars["low"], bars["close"]
    slow_k, slow_d = talib.STOCH(high, low, close, fastk_period=14, slowk_period=3, slowd_period=3)
    return _unless_flat(bars, slow_k), _unless_flat(bars, slow_d)


def _unless_flat(bars: Bars, values_T: Floats) -> Floats:
    # TA-Lib writes 0 where an oscillator divides by zero, and 0 reads as "oversold".
    flat_T = talib.MAX(bars["high"], 14) == talib.MIN(bars["low"], 14)
    return np.where(flat_T, np.nan, values_T)


def _directional(function: Callable[..., Any]) -> Callable[[Bars], Any]:
    return lambda bars: function(bars["high"], bars["low"], bars["close"], timeperiod=14)


def _volume_ratio(bars: Bars) -> Floats:
    volume, mean = bars["volume"], talib.SMA(bars["volume"], 20)
    ratio_T: Floats = np.divide(volume, mean, out=np.full_like(volume, np.nan), where=mean > 0)
    return ratio_T


# A new indicator is a new row here. Periods are in bars; the formula's own paper or book is its source.
TABLE: tuple[Indicator, ...] = (
    Indicator("sma_20", "TA-Lib SMA: mean of the last 20 closes", 19, lambda b: talib.SMA(b["close"], 20)),
    Indicator("sma_50", "TA-Lib SMA: mean of the last 50 closes", 49, lambda b: talib.SMA(b["close"], 50)),
    Indicator("ema_20", "TA-Lib EMA: alpha 2/21, begun with the SMA", 19, lambda b: talib.EMA(b["close"], 20)),
    Indicator("mom_10", "TA-Lib MOM: close - close 10 bars ago", 10, lambda b: talib.MOM(b["close"], 10)),
    Indicator("roc_10", "TA-Lib ROC: change over 10 bars, percent", 10, lambda b: talib.ROC(b["close"], 10)),
    Indicator("stoch_k", "TA-Lib STOCH 14, 3, 3: slow %K (Lane)", 17, lambda b: _stochastic(b)[0]),
    Indicator("stoch_d", "TA-Lib STOCH 14, 3, 3: slow %D (Lane)", 17, lambda b: _stochastic(b)[1]),
    Indicator("rsi_14", "TA-Lib RSI (Wilder 1978)", 14, lambda b: _unless_flat(b, talib.RSI(b["close"], 14))),
    Indicator("macd", "TA-Lib MACD 12, 26, 9 (Appel)", 33, lambda b: talib.MACD(b["close"], 12, 26, 9)[0]),
    Indicator("macd_signal", "TA-Lib MACD 12, 26, 9: signal line", 33, lambda b: talib.MACD(b["close"], 12, 26, 9)[1]),
    Indicator("macd_hist", "TA-Lib MACD 12, 26, 9: histogram", 33, lambda b: talib.MACD(b["close"], 12, 26, 9)[2]),
    Indicator(
        "willr_14",
        "TA-Lib WILLR: Williams %R, -100 to 0",
        13,
        lambda b: _unless_flat(b, talib.WILLR(b["high"], b["low"], b["close"], 14)),
    ),
    Indicator("cci_20", "TA-Lib CCI (Lambert 1980)", 19, lambda b: talib.CCI(b["high"], b["low"], b["close"], 20)),
    Indicator("adx_14", "TA-Lib ADX (Wilder 1978)", 27, _directional(talib.ADX)),
    Indicator("plus_di", "TA-Lib PLUS_DI 14 (Wilder 1978)", 14, _directional(talib.PLUS_DI)),
    Indicator("minus_di", "TA-Lib MINUS_DI 14 (Wilder 1978)", 14, _directional(talib.MINUS_DI)),
    Indicator("bb_upper", "TA-Lib BBANDS: mean + 2 std (ddof 0)", 19, lambda b: talib.BBANDS(b["close"], 20, 2, 2)[0]),
    Indicator("bb_middle", "TA-Lib BBANDS: mean of 20 closes", 19, lambda b: talib.BBANDS(b["close"], 20, 2, 2)[1]),
    Indicator("bb_lower", "TA-Lib BBANDS: mean - 2 std (ddof 0)", 19, lambda b: talib.BBANDS(b["close"], 20, 2, 2)[2]),
    Indicator("atr_14", "TA-Lib ATR (Wilder 1978), price units", 14, _directional(talib.ATR)),
    Indicator(
        "volume_ratio_20", "volume / TA-Lib SMA of the last 20 volumes, today included", 19, _volume_ratio, ("volume",)
    ),
)
VOLATILITY = "volatility_20"
"""Not a TABLE row because it needs no TA-Lib: see :func:`volatility_TN`. Warm-up 20 rows."""

NAMES: tuple[str, ...] = (*(row.name for row in TABLE), VOLATILITY)


def compute(panel: Panel) -> dict[str, Floats]:
    """Every indicator of :data:`NAMES` as [T, N], NaN during warm-up and where no bar exists.

    Each ticker is computed per run of unbroken bars, so a gap starts a new warm-up instead of
    spoiling all that follows. Bars after row t never change row t: computing a cut history gives
    the same floats as computing the whole and cutting.
    """
    values = {name: np.full(panel.shape, np.nan) for name in NAMES}
    for n in range(len(panel.tickers)):
        for needs in dict.fromkeys(row.needs for row in TABLE):
            columns = {
                name: np.ascontiguousarray(getattr(panel, f"{name}_TN")[:, n], dtype=np.float64) for name in needs
            }
            whole_T: NDArray[np.bool_] = np.all([np.isfinite(column_T) for column_T in columns.values()], axis=0)
            for rows in segments(whole_T):
                bars = {name: np.ascontiguousarray(column_T[rows]) for name, column_T in columns.items()}
                for indicator in TABLE:
                    if indicator.needs == needs:
                        values[indicator.name][rows, n] = indicator.formula(bars)
    values[VOLATILITY] = volatility_TN(panel)
    return values


def segments(good_T: NDArray[np.bool_]) -> Iterator[slice]:
    """The slices of unbroken True rows, in order."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], good_T, [False])).astype(np.int8)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        yield slice(int(start), int(stop))


def volatility_TN(panel: Panel, span: int = 20) -> Floats:
    """Daily volatility known at the close of t: std (ddof 1) of the last ``span`` log close returns, [T, N].

    NaN until ``span`` returns of unbroken bars exist.
    """
    returns_TN = np.full(panel.shape, np.nan)
    returns_TN[1:] = np.diff(np.log(panel.close_TN), axis=0)
    return rolling_std(returns_TN, span)


def rolling_std(values_TN: Floats, span: int) -> Floats:
    """Std (ddof 1) over the last ``span`` rows, today included; NaN where any of them is NaN.

    Two passes over lagged rows: no running sum, so a value depends on its own ``span`` rows only,
    to the last bit, and a constant series has a std of exactly 0.
    """
    if span < 2:
        raise ValueError(f"span is {span}; a standard deviation needs at least 2 rows")
    std_TN = np.full(values_TN.shape, np.nan)
    rows = len(values_TN) - span + 1
    if rows <= 0:
        return std_TN
    lagged = [values_TN[k : k + rows] for k in range(span)]
    # Centred on the window's first value, so that equal values give exactly 0.
    centred = [values - lagged[0] for values in lagged]
    mean = sum(centred[1:], centred[0]) / span
    std_TN[span - 1 :] = np.sqrt(sum(((values - mean) ** 2 for values in centred), np.zeros_like(mean)) / (span - 1))
    return std_TN

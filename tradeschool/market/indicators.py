"""Causal indicators through TA-Lib: the value in row t uses bars up to and including row t, and no later one."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import talib
from numpy.typing import NDArray

from tradeschool.errors import DataError, did_you_mean
from tradeschool.market.panel import Floats, Panel

SETTLED = 250
"""Bars after which exponentially smoothed indicators (RSI, ADX, MACD, ATR, EMA) no longer depend on where the
history starts, to 1e-6. Before it they are defined, but depend on the first bars."""

PRICES, VOLUMES = ("high", "low", "close"), ("volume",)
FLAT_SPAN = 14
BLOCK_CELLS = 16_384
"""Values that are worked on together: 128 KB, so that the passes over them stay in the processor's cache."""


class Bars:
    """High, low, close or volume of one ticker over one unbroken run of bars, each [T], float64, contiguous."""

    def __init__(self, **columns: Floats) -> None:
        self.__dict__.update(columns)

    def __getattr__(self, name: str) -> Floats:
        raise AttributeError(f"the formula reads '{name}', which its row of TABLE does not list in needs")

    @cached_property
    def flat_T(self) -> NDArray[np.bool_] | None:
        """True where the last 14 bars were one single price; None where no bar is, which is nearly always."""
        if (self.high > self.low).all():
            return None
        flat_T: NDArray[np.bool_] = talib.MAX(self.high, FLAT_SPAN) == talib.MIN(self.low, FLAT_SPAN)
        return flat_T


Formula = Callable[[Bars], Any]
"""Bars to one [T], or to a tuple of them."""


@dataclass(frozen=True)
class Indicator:
    """One row of the table: output number ``output`` of a formula, which is called once for all its rows.

    ``source`` says what is computed and whose formula it is. ``warm_up`` counts the NaN rows at the start of every
    unbroken run of bars. ``recursive`` marks the smoothed ones, which go on depending on where that run began,
    less and less, until :data:`SETTLED` bars.
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


def _rsi(bars: Bars) -> tuple[Floats, ...]:
    return _unless_flat(bars, talib.RSI(bars.close, 14))


def _willr(bars: Bars) -> tuple[Floats, ...]:
    return _unless_flat(bars, talib.WILLR(bars.high, bars.low, bars.close, 14))


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


# A new indicator is a new row here. Periods are in bars. TP is (high + low + close) / 3; TR is
# max(high, close before) - min(low, close before); Wilder(x) is his mean, w += (x - w) / 14, begun with a plain mean.
TABLE: tuple[Indicator, ...] = (
    Indicator("sma_20", "TA-Lib SMA: mean of the last 20 closes", 19, _of_close(talib.SMA, 20)),
    Indicator("sma_50", "TA-Lib SMA: mean of the last 50 closes", 49, _of_close(talib.SMA, 50)),
    Indicator(
        "ema_20",
        "TA-Lib EMA: e += 2/21 (close - e), begun with the mean of 20 closes",
        19,
        _of_close(talib.EMA, 20),
        recursive=True,
    ),
    Indicator("mom_10", "TA-Lib MOM: close - close 10 bars ago", 10, _of_close(talib.MOM, 10)),
    Indicator("roc_10", "TA-Lib ROC: change of the close over 10 bars, percent", 10, _of_close(talib.ROC, 10)),
    Indicator(
        "stoch_k",
        "TA-Lib STOCH 14, 3, 3 (Lane): mean of 3 of 100 (close - low) / (high - low) over 14 bars: slow %K",
        17,
        _stochastic,
    ),
    Indicator("stoch_d", "TA-Lib STOCH 14, 3, 3 (Lane): mean of the last 3 slow %K: slow %D", 17, _stochastic, 1),
    Indicator(
        "rsi_14",
        "TA-Lib RSI (Wilder 1978): 100 Wilder(rises) / Wilder(rises + falls) of the close",
        14,
        _rsi,
        recursive=True,
    ),
    Indicator("macd", "TA-Lib MACD 12, 26, 9 (Appel): EMA 12 - EMA 26 of the close", 33, _macd, 0, True),
    Indicator("macd_signal", "TA-Lib MACD 12, 26, 9 (Appel): EMA 9 of macd", 33, _macd, 1, True),
    Indicator("macd_hist", "TA-Lib MACD 12, 26, 9 (Appel): macd - macd_signal", 33, _macd, 2, True),
    Indicator(
        "willr_14", "TA-Lib WILLR (Williams %R): -100 (highest - close) / (highest - lowest) of 14 bars", 13, _willr
    ),
    Indicator(
        "cci_20",
        "TA-Lib CCI (Lambert 1980): (TP - mean of 20 TP) / (.015 mean absolute deviation)",
        19,
        _of_bars(talib.CCI, 20),
    ),
    Indicator(
        "adx_14",
        "TA-Lib ADX (Wilder 1978): Wilder(100 |plus_di - minus_di| / (plus_di + minus_di))",
        27,
        _of_bars(talib.ADX, 14),
        recursive=True,
    ),
    Indicator(
        "plus_di",
        "TA-Lib PLUS_DI 14 (Wilder 1978): 100 Wilder(rise of the high, where larger) / Wilder(TR)",
        14,
        _of_bars(talib.PLUS_DI, 14),
        recursive=True,
    ),
    Indicator(
        "minus_di",
        "TA-Lib MINUS_DI 14 (Wilder 1978): 100 Wilder(fall of the low, where larger) / Wilder(TR)",
        14,
        _of_bars(talib.MINUS_DI, 14),
        recursive=True,
    ),
    Indicator("bb_upper", "TA-Lib BBANDS (Bollinger): mean of 20 closes + 2 std (ddof 0)", 19, _bands),
    Indicator("bb_middle", "TA-Lib BBANDS (Bollinger): mean of 20 closes", 19, _bands, 1),
    Indicator("bb_lower", "TA-Lib BBANDS (Bollinger): mean of 20 closes - 2 std (ddof 0)", 19, _bands, 2),
    Indicator(
        "atr_14", "TA-Lib ATR (Wilder 1978): Wilder(TR), price units", 14, _of_bars(talib.ATR, 14), recursive=True
    ),
    Indicator(
        "volume_ratio_20",
        "volume / TA-Lib SMA of the last 20 volumes, today included",
        19,
        _volume_ratio,
        needs=VOLUMES,
    ),
)
VOLATILITY = "volatility_20"
"""Not a TABLE row because it needs no TA-Lib: see :func:`volatility_TN`. Warm-up 20 rows."""

NAMES: tuple[str, ...] = (*(row.name for row in TABLE), VOLATILITY)


def compute(panel: Panel, names: Iterable[str] | None = None) -> dict[str, Floats]:
    """The indicators ``names`` (all of :data:`NAMES` by default) as [T, N] each, NaN where they have no value.

    What each of them is, whose formula it follows and how long it warms up stands in :data:`TABLE`.
    Each ticker is computed per run of unbroken bars, so a gap starts a new warm-up instead of
    spoiling all that follows. Bars after row t never change row t: computing a cut history gives
    the same floats as computing the whole and cutting. The arrays lie ticker by ticker in memory
    (Fortran order), as TA-Lib writes them.

    Raises:
        DataError: a name is not in :data:`NAMES`.
    """
    wanted = _checked(names)
    values: dict[str, Floats] = {}
    for needs in (PRICES, VOLUMES):
        rows = [row for row in TABLE if row.needs == needs and row.name in wanted]
        if rows:
            values |= _table_values(panel, rows, needs)
    if VOLATILITY in wanted:
        values[VOLATILITY] = volatility_TN(panel)
    return {name: values[name] for name in wanted}


def _checked(names: Iterable[str] | None) -> tuple[str, ...]:
    wanted = NAMES if names is None else tuple(dict.fromkeys([names] if isinstance(names, str) else names))
    for name in wanted:
        if name not in NAMES:
            raise DataError(
                f"There is no indicator '{name}'.{did_you_mean(name, NAMES)} There are: {', '.join(NAMES)}."
            )
    return wanted


def _table_values(panel: Panel, rows: list[Indicator], needs: tuple[str, ...]) -> dict[str, Floats]:
    columns = {name: np.ascontiguousarray(getattr(panel, f"{name}_TN").T, dtype=np.float64) for name in needs}
    known_NT: NDArray[np.bool_] = np.all([np.isfinite(column_NT) for column_NT in columns.values()], axis=0)
    unbroken_N: NDArray[np.bool_] = np.all(known_NT, axis=1)
    # One block for all results, because new memory is slow to touch and a large block is given in large pages;
    # filled with NaN only where something may stay unwritten.
    values_KNT = np.empty((len(rows), *known_NT.shape))
    values_KNT[:, ~unbroken_N] = np.nan
    formulas: dict[Formula, list[tuple[int, Floats]]] = {}
    for row, values_NT in zip(rows, values_KNT, strict=True):
        formulas.setdefault(row.formula, []).append((row.output, values_NT))
    whole = slice(0, known_NT.shape[1])
    for n in range(len(panel.tickers)):
        for run in [whole] if unbroken_N[n] else segments(known_NT[n]):
            bars = Bars(**{name: column_NT[n, run] for name, column_NT in columns.items()})
            for formula, outputs in formulas.items():
                found = formula(bars)
                for output, values_NT in outputs:
                    values_NT[n, run] = found[output] if isinstance(found, tuple) else found
    return {row.name: values_NT.T for row, values_NT in zip(rows, values_KNT, strict=True)}


def segments(good_T: NDArray[np.bool_]) -> Iterator[slice]:
    """The slices of unbroken True rows, in order."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], good_T, [False])).astype(np.int8)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        yield slice(int(start), int(stop))


def volatility_TN(panel: Panel, span: int = 20) -> Floats:
    """Daily volatility known at the close of t: std (ddof 1) of the last ``span`` log close returns, [T, N].

    NaN until ``span`` returns of unbroken bars exist.
    """
    returns_TN, logs_TN = np.full(panel.shape, np.nan), np.log(panel.close_TN)
    np.subtract(logs_TN[1:], logs_TN[:-1], out=returns_TN[1:])
    return rolling_std(returns_TN, span)


def rolling_std(values_TN: Floats, span: int) -> Floats:
    """Std (ddof 1) over the last ``span`` rows, today included; NaN where any of them is NaN.

    Windows of 1, 2, 4, ... rows are joined to one of ``span`` (Chan, Golub and LeVeque 1979). No running sum, so a
    value depends on its own ``span`` rows only, to the last bit, and equal values have a std of exactly 0.
    """
    if span < 2:
        raise ValueError(f"span is {span}; a standard deviation needs at least 2 rows")
    std_TN = np.full(values_TN.shape, np.nan)
    if len(values_TN) >= span:
        step = max(1, BLOCK_CELLS // len(values_TN))
        for first in range(0, values_TN.shape[1], step):
            block = np.s_[:, first : first + step]
            squares = _windows(np.ascontiguousarray(values_TN[block]), span).squares
            squares /= span - 1
            np.sqrt(squares, out=std_TN[span - 1 :][block])
    return std_TN


@dataclass(frozen=True)
class _Windows:
    """Mean and sum of squared deviations of the window of ``size`` rows that starts at each row."""

    mean: Floats
    squares: Floats
    size: int

    def then(self, following: "_Windows") -> "_Windows":
        """Each window together with the one of ``following`` that starts where it ends."""
        size, rows = self.size + following.size, len(following.mean) - self.size
        apart = following.mean[self.size :] - self.mean[:rows]
        mean = apart * (following.size / size)
        mean += self.mean[:rows]
        apart *= apart
        apart *= self.size * following.size / size
        apart += self.squares[:rows]
        apart += following.squares[self.size :]
        return _Windows(mean, apart, size)


def _windows(values_TN: Floats, span: int) -> _Windows:
    doubled, joined = _Windows(values_TN, np.zeros_like(values_TN), 1), None
    while True:
        if span & doubled.size:
            joined = doubled.then(joined) if joined else doubled
        if joined and joined.size == span:
            return joined
        doubled = doubled.then(doubled)

"""All indicators of a market: ours, TA-Lib's bare functions, pandas-ta-classic and ta, side by side in one run.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/features.py [--quick]

Prints medians over alternating repeats on a seeded market of 500 tickers x 1,300 days, and how the cost grows with
tickers and with days. Each function has the parameters and outputs of ``features.TABLE``; a STDDEV over 20 closes
stands in for volatility_20. The peers are measured on fewer tickers and scaled up linearly, which the table says.
They come with the ``bench`` extra; what is missing is named. ``--quick`` takes a tenth of the tickers.
"""

import importlib
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import talib

from tradeschool.market import features
from tradeschool.market.panel import Floats, Panel

TICKERS, DAYS, PEER_TICKERS = 500, 1300, 10
REPEATS, CURVE_REPEATS = 9, 5
CURVE_TICKERS, CURVE_DAYS = (125, 250, 500, 1000), (325, 650, 1300, 2600)
Columns = tuple[Floats, Floats, Floats, Floats]
"""High, low, close and volume of one ticker, [T] each, contiguous."""
Series = tuple["pd.Series[float]", ...]


def market(tickers: int, days: int) -> Panel:
    """Random walks with valid bars, the same for the same size."""
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (days, tickers)), axis=0))
    start = close * np.exp(rng.normal(0, 0.005, close.shape))
    high, low = np.maximum(start, close) * 1.004, np.minimum(start, close) * 0.997
    volume = np.round(rng.lognormal(12, 0.5, close.shape))
    dates = np.datetime64("2000-01-03", "D") + np.arange(days)
    return Panel(dates, tuple(f"S{n:04}" for n in range(tickers)), start, high, low, close, volume)


def columns(panel: Panel) -> list[Columns]:
    """The panel ticker by ticker, as TA-Lib likes it best."""
    high, low, close, volume = (
        np.ascontiguousarray(field.T) for field in (panel.high_TN, panel.low_TN, panel.close_TN, panel.volume_TN)
    )
    return list(zip(high, low, close, volume, strict=True))


def bare(tickers: list[Columns], keep: bool = False) -> list[Any]:
    """TA-Lib's functions in a loop, nothing else; ``keep`` holds on to the results, as a user of them must."""
    kept: list[Any] = []
    for h, low, c, v in tickers:
        results = (
            talib.SMA(c, 20), talib.SMA(c, 50), talib.EMA(c, 20), talib.MOM(c, 10), talib.ROC(c, 10),
            talib.STOCH(h, low, c, 14, 3, 0, 3, 0), talib.RSI(c, 14), talib.MACD(c, 12, 26, 9),
            talib.WILLR(h, low, c, 14), talib.CCI(h, low, c, 20), talib.ADX(h, low, c, 14),
            talib.PLUS_DI(h, low, c, 14), talib.MINUS_DI(h, low, c, 14), talib.BBANDS(c, 20, 2, 2),
            talib.ATR(h, low, c, 14), talib.SMA(v, 20), talib.STDDEV(c, 20),
        )  # fmt: skip
        if keep:
            kept.append(results)
    return kept


def pandas_ta_classic(module: ModuleType, tickers: list[Series], own_code: bool) -> None:
    """``own_code``: its pandas and numpy code. Otherwise it calls TA-Lib where it can, which is its default."""
    t = {"talib": not own_code}
    for h, low, c, v in tickers:
        _ = (
            module.sma(c, 20, **t), module.sma(c, 50, **t), module.ema(c, 20, **t), module.mom(c, 10, **t),
            module.roc(c, 10, **t), module.stoch(h, low, c, 14, 3, 3, **t), module.rsi(c, 14, **t),
            module.macd(c, 12, 26, 9, **t), module.willr(h, low, c, 14, **t), module.cci(h, low, c, 20, **t),
            module.adx(h, low, c, 14, **t), module.bbands(c, 20, 2, **t), module.atr(h, low, c, 14, **t),
            module.sma(v, 20, **t), module.stdev(c, 20, **t),
        )  # fmt: skip


def ta_library(module: ModuleType, tickers: list[Series]) -> None:
    """``ta`` has no plain momentum and no standard deviation, so pandas' own diff and rolling std stand in."""
    trend, momentum, volatility = module.trend, module.momentum, module.volatility
    for h, low, c, v in tickers:
        stochastic, macd = momentum.StochasticOscillator(h, low, c, 14, 3), trend.MACD(c, 26, 12, 9)
        adx, bands = trend.ADXIndicator(h, low, c, 14), volatility.BollingerBands(c, 20, 2)
        _ = (
            trend.sma_indicator(c, 20), trend.sma_indicator(c, 50), trend.ema_indicator(c, 20), c.diff(10),
            momentum.roc(c, 10), stochastic.stoch(), stochastic.stoch_signal(), momentum.rsi(c, 14),
            macd.macd(), macd.macd_signal(), macd.macd_diff(), momentum.williams_r(h, low, c, 14),
            trend.cci(h, low, c, 20), adx.adx(), adx.adx_pos(), adx.adx_neg(), bands.bollinger_hband(),
            bands.bollinger_mavg(), bands.bollinger_lband(), volatility.average_true_range(h, low, c, 14),
            trend.sma_indicator(v, 20), c.rolling(20).std(),
        )  # fmt: skip


def series(tickers: list[Columns]) -> list[Series]:
    """The same as pandas Series, which the peers ask for; making them is not timed."""
    index = pd.date_range("2000-01-03", periods=len(tickers[0][0]))
    return [tuple(pd.Series(column, index=index) for column in ticker) for ticker in tickers]


def seconds(
    runs: dict[str, Callable[[], object]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Each run once to warm up, then ``repeats`` times in turn, so that a busy moment hits all alike."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            started = clock()
            run()
            if repeat:
                found[name].append(clock() - started)
    return found


def user_time() -> float:
    """Seconds this process has computed, without what the system spent on handing it new memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def side_by_side(tickers: int) -> None:
    panel = market(tickers, DAYS)
    ready = columns(panel)
    ours: dict[str, Callable[[], object]] = {
        "TA-Lib bare": partial(bare, ready),
        "TA-Lib bare, results kept": partial(bare, ready, keep=True),
        "tradeschool": partial(features.compute, panel),
    }
    few = series(ready[:PEER_TICKERS])
    peers: dict[str, Callable[[], object]] = {}
    absent: list[str] = []
    if classic := imported("pandas_ta_classic", absent):
        peers["pandas-ta-classic, own code"] = partial(pandas_ta_classic, classic, few, True)
        peers["pandas-ta-classic, its default"] = partial(pandas_ta_classic, classic, few, False)
    if ta := imported("ta", absent):
        peers["ta"] = partial(ta_library, ta, few)
    scale = tickers / PEER_TICKERS
    found = seconds(ours | peers, REPEATS)
    for name in peers:
        found[name] = [scale * second for second in found[name]]
    print(f"All indicators ({len(features.NAMES)} outputs), {tickers} tickers x {DAYS:,} days")
    print(f"{'':32}{'median s':>9}  {'range':16}{'of bare':>8}")
    base = statistics.median(found["TA-Lib bare"])
    for name, times in found.items():
        median, note = statistics.median(times), f"  ({PEER_TICKERS} tickers, times {scale:g})" if name in peers else ""
        print(f"{name:32}{median:9.3f}  {min(times):.3f} to {max(times):<6.3f}{median / base:8.2f}{note}")
    for name in absent:
        print(f"{name:32}   absent: pip install 'tradeschool[bench]'")


def imported(name: str, absent: list[str]) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        absent.append(name)
        return None


def curve(title: str, sizes: list[tuple[int, int]]) -> None:
    """The cost of a ticker-day, which stays the same where the whole is linear, by the wall clock and in user time.

    On a virtual machine the wall clock of large results is mostly the host handing out memory, which varies.
    """
    panels = {f"{tickers} x {days}": market(tickers, days) for tickers, days in sizes}
    print(f"\n{title}\n{'tickers x days':14}{'indicators':>38}{'window statistics':>38}")
    computations: tuple[Callable[[Panel], object], ...] = (features.compute, features.panel_statistics)
    runs: dict[str, Callable[[], object]] = {
        f"{name} {k}": partial(feature, panel)
        for name, panel in panels.items()
        for k, feature in enumerate(computations)
    }
    wall, user = seconds(runs, CURVE_REPEATS), seconds(runs, CURVE_REPEATS, user_time)
    for name, panel in panels.items():
        words = ""
        for k in range(len(computations)):
            whole, computing = (statistics.median(clock[f"{name} {k}"]) for clock in (wall, user))
            rows = panel.shape[0] * panel.shape[1] / 1e9
            words += f"{whole:12.3f} s {whole / rows:4.0f} ns a row, {computing / rows:4.0f} user"
        print(f"{name:14}{words}")


def main() -> None:
    warnings.filterwarnings("ignore", module=r"pandas_ta_classic|ta\.")
    share = 10 if "--quick" in sys.argv[1:] else 1
    side_by_side(TICKERS // share)
    curve(f"By tickers, {DAYS:,} days", [(tickers // share, DAYS) for tickers in CURVE_TICKERS])
    curve(f"By days, {TICKERS // share} tickers", [(TICKERS // share, days) for days in CURVE_DAYS])


if __name__ == "__main__":
    main()

"""Markets for the tests of the environment: hostile ones, and ones of a few rows written by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
from markets import scrambled_after

from tradeschool.env.market_data import MarketData
from tradeschool.market.panel import FIELDS, Panel

NAN = float("nan")


def hostile(seed: int = 0, stocks: int = 6, rows: int = 140) -> Panel:
    """Jumps, gaps, delistings, a late listing, days without volume or of unknown volume, and little volume."""
    rng = np.random.default_rng([seed, 7])
    close = 20 * np.exp(np.cumsum(rng.standard_t(3, (rows, stocks)) * 0.03, axis=0))
    open_ = close * np.exp(rng.normal(0, 0.02, close.shape))
    high, low = np.maximum(open_, close) * 1.01, np.minimum(open_, close) * 0.99
    volume = np.round(10 ** rng.uniform(2, 6, close.shape))
    volume[rng.random(close.shape) < 0.05] = 0.0
    volume[rng.random(close.shape) < 0.05] = NAN
    silent = rng.random(close.shape) < 0.06
    silent[: rows // 3, 0] = True
    silent[rng.integers(rows // 2, rows - 10) :, 1] = True
    silent[rows - 12 :, 2] = True
    bars = {"open": open_, "high": high, "low": low, "close": close, "volume": volume}
    for values in bars.values():
        values[silent] = NAN
    return _panel(bars, stocks, rows)


def by_hand(open_: Any, close: Any, volume: Any = None) -> Panel:
    """Rows of opens and closes, [T] or [T, N]; a NaN close is a day without a bar. Volume is a billion."""
    opens, closes = (np.array(values, np.float64) for values in (open_, close))
    opens, closes = (values.reshape(len(values), -1) for values in (opens, closes))
    volumes = np.full(closes.shape, 1e9) if volume is None else np.array(volume, np.float64).reshape(closes.shape)
    bars = {
        "open": np.where(np.isnan(closes), NAN, opens),
        "high": np.fmax(opens, closes) + 0 * closes,
        "low": np.fmin(opens, closes) + 0 * closes,
        "close": closes,
        "volume": np.where(np.isnan(closes), NAN, volumes),
    }
    return _panel(bars, closes.shape[1], len(closes))


def scrambled(panel: Panel, t: int) -> Panel:
    """Another future after row t, in which a stock that is delisted by t stays so: that it is, is known at t."""
    other = scrambled_after(panel, t)
    gone_N = MarketData(panel).gone_TN[: t + 1].any(axis=0)
    bars = {f"{name}_TN": getattr(other, f"{name}_TN").copy() for name in FIELDS}
    for values in bars.values():
        values[t + 1 :, gone_N] = np.nan
        # Every other one trades again, or its last bar would be another row than in the true market.
        values[-1, ~gone_N] = np.where(np.isnan(values[-1, ~gone_N]), 10.0, values[-1, ~gone_N])
    for name in FIELDS[:4]:
        bars[f"{name}_TN"][-1, ~gone_N] = 10.0
    return replace(other, **bars)


def _panel(bars: dict[str, Any], stocks: int, rows: int) -> Panel:
    dates = np.busday_offset("2020-01-01", np.arange(rows), roll="forward").astype("datetime64[D]")
    fields = {f"{name}_TN": values for name, values in bars.items()}
    return Panel(dates_T=dates, tickers=tuple(f"TICK{n}" for n in range(stocks)), name="a market by hand", **fields)
